"""`TedMemory`: rendering, commits, going back, refusals; no agent waits for a lost server."""

import signal
import time

import pytest

from ted_memory import Add, Merge, Remove, Rewrite, TedMemory, open_memory
from ted_memory.errors import (
    CommitRefused,
    HistoryTrimmed,
    InvalidInput,
    StoreUnavailable,
    TedMemoryError,
)
from ted_memory.models import Commit, Edit, Restore, SetState, Usage
from ted_memory.protocols import CommitRequest
from ted_memory.settings import Selection
from ted_memory.testing import in_memory, wait_until
from ted_memory.testing.oracle.store import InMemoryStore
from tests.conftest import Server

AT_MOST = 2.0
"""Seconds; a generous bound on what waits for `read_timeout` (0.05 s)."""

PATIENT = 5.0
"""Seconds as `read_timeout` where a machine under load must not matter."""


async def add(memory: TedMemory, *texts: str) -> list[str]:
    """Add lessons; return their ids."""
    commit = await memory.commit([Add(text=text) for text in texts], author="me")
    assert not commit.rejected
    return [applied.id for applied in commit.applied]


async def texts(memory: TedMemory) -> list[str]:
    return [e.text for e in await memory.load()]


def one_line(error: BaseException) -> str:
    assert "\n" not in str(error)
    return str(error)


# --- render


async def test_who_commits_and_renders_at_once_sees_what_was_committed(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, read_timeout=PATIENT) as memory:
        for i in range(20):
            await add(memory, f"Lesson {i}.")
            assert f"Lesson {i}." in await memory.render()
        assert memory.health().stale_reads == 0


async def test_only_active_lessons_are_rendered(scratch: TedMemory) -> None:
    await scratch.commit(
        [Add(text="Waits.", state="proposed"), Add(text="Is tried.", state="trial")], author="me"
    )
    assert await scratch.render() == ""
    await add(scratch, "Is active.")
    assert "Is active." in await scratch.render()
    assert "Waits." not in await scratch.render()
    assert "Is tried." not in await scratch.render()


async def test_an_empty_set_renders_as_nothing_also_after_it_was_full(scratch: TedMemory) -> None:
    assert await scratch.render() == ""
    [id] = await add(scratch, "One.")
    await scratch.commit([Remove(id=id)], author="me")
    assert await scratch.render() == ""


@pytest.mark.parametrize("selection", ["all", "budget", "relevant"])
async def test_two_memories_render_the_same_bytes_at_the_same_version(
    valkey: Server, namespace: str, selection: Selection
) -> None:
    first, second = (
        open_memory(valkey.url, namespace=namespace, selection=selection, read_timeout=PATIENT)
        for _ in range(2)
    )
    ids = await add(first, *(f"Lesson about topic {i}." for i in range(6)))
    await first.commit(
        [Rewrite(id=ids[2], text="Rewritten about topic 2."), Remove(id=ids[4])],
        author="me",
        usage={
            ids[5]: Usage(weight=9, weighted_difference=3),
            ids[0]: Usage(weight=9, weighted_difference=-3),
        },
    )
    await first.credit({ids[1]: Usage(weight=99, weighted_difference=60)}, token="later")
    blocks = [
        await memory.render("a question about topic 3 and topic 5") for memory in (first, second)
    ]
    # the first one came here by changes, the second one read the whole set
    assert blocks[0] == blocks[1] != ""
    await first.aclose()
    await second.aclose()


async def test_credit_changes_the_order_of_the_block_with_the_next_commit_only() -> None:
    ranked = in_memory(store=InMemoryStore(), selection="budget")
    one, two = await add(ranked, "One.", "Two.")
    before = await ranked.render()
    assert before.index("One.") < before.index("Two.")
    await ranked.credit({two: Usage(weight=50, weighted_difference=30)}, token="c")
    fresh = TedMemory(ranked.store, ranked.settings, ranked.namespace)
    assert await ranked.render() == await fresh.render() == before
    await add(ranked, "Three.")
    after = await ranked.render()
    assert after.index("Two.") < after.index("One.") < after.index("Three.")
    assert (await ranked.usage())[two].weight == 50
    assert one not in await ranked.usage()


# --- commit


async def test_no_edits_make_no_version_and_use_no_token(scratch: TedMemory) -> None:
    await add(scratch, "One.")
    assert (await scratch.commit([], author="me", token="t")).version == 1
    commit = await scratch.commit([Add(text="Two.")], author="me", token="t")
    assert (commit.version, commit.repeated) == (2, False)


async def test_an_all_or_nothing_commit_changes_nothing_when_one_edit_is_refused(
    scratch: TedMemory,
) -> None:
    commit = await scratch.commit([Add(text="One."), Remove(id="nobody")], author="me", atomic=True)
    assert [rejected.reason for rejected in commit.rejected] == ["aborted", "unknown"]
    assert await texts(scratch) == []


async def test_caps_that_nobody_states_are_those_of_the_set() -> None:
    store = InMemoryStore()
    strict, plain = in_memory(store=store, max_experiences=2), in_memory(store=store)
    await add(strict, "One.", "Two.")
    commit = await plain.commit([Add(text="Three.")], author="me")
    assert [rejected.reason for rejected in commit.rejected] == ["cap"]
    await add(in_memory(store=store, max_experiences=3), "Three.")
    caps = (await plain.load()).caps
    assert (caps.max_experiences, caps.token_budget) == (3, 2000)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("author", ""),
        ("token", ""),
        ("token", "t" * 201),
        ("author", "\ud800"),
        ("token", "\udfff"),
        ("why", "\ud800"),
    ],
)
async def test_a_commit_whose_label_cannot_be_used_is_refused_in_one_line(
    memory: TedMemory, field: str, value: str
) -> None:
    labels = {"author": "me", field: value}
    with pytest.raises(InvalidInput) as caught:
        await memory.commit([Add(text="One.")], **labels)  # type: ignore[arg-type]
    assert field in one_line(caught.value)
    assert (await memory.load()).version == 0


async def test_a_token_of_two_hundred_characters_is_one(memory: TedMemory) -> None:
    assert not (await memory.commit([Add(text="One.")], author="me", token="t" * 200)).repeated
    assert (await memory.commit([Add(text="One.")], author="me", token="t" * 200)).repeated


def test_half_a_character_is_refused_where_the_edit_is_made() -> None:
    for make in (
        lambda: Add(text="\ud800"),
        lambda: Add(text="x", when="\udfff"),
        lambda: Rewrite(id="a", text="\ud800"),
        lambda: Merge(ids=("a", "b"), text="\ud800"),
        lambda: Add(text="x", sources=("\ud800",)),
    ):
        with pytest.raises(ValueError, match="lone surrogate"):
            make()


# --- log and rollback


async def test_the_log_has_the_newest_first_and_no_more_than_asked_for(scratch: TedMemory) -> None:
    assert await scratch.log() == ()
    for i in range(5):
        await add(scratch, f"Lesson {i}.")
    assert [entry.version for entry in await scratch.log()] == [5, 4, 3, 2, 1]
    assert [entry.version for entry in await scratch.log(limit=2)] == [5, 4]
    assert await scratch.log(limit=0) == ()


async def test_going_back_restores_texts_states_and_order(memory: TedMemory) -> None:
    one, two, three = await add(memory, "One.", "Two.", "Three.")
    old = await memory.load()
    edits: list[Edit] = [
        Rewrite(id=one, text="First."),
        SetState(id=two, state="trial"),
        Remove(id=three),
    ]
    await memory.commit(edits, author="me")
    await memory.commit(
        [Merge(ids=(one, (await add(memory, "Four."))[0]), text="Both.")], author="me"
    )
    commit = await memory.rollback(1, author="anna")
    back = await memory.load()
    assert (commit.version, back.version) == (5, 5)
    assert [e.model_copy(update={"rev": 0}) for e in back] == [
        e.model_copy(update={"rev": 0}) for e in old
    ]
    assert all(e.rev == 5 for e in back), "a rev is never used again"
    [entry] = await memory.log(limit=1)
    assert (entry.author, entry.why) == ("anna", "back to version 1")
    await add(memory, "Five.")
    assert (await texts(memory))[-1] == "Five."


async def test_going_back_can_be_undone_by_going_back(scratch: TedMemory) -> None:
    [one] = await add(scratch, "One.")
    await scratch.commit([Rewrite(id=one, text="First."), Add(text="Two.")], author="me")
    await scratch.rollback(1)
    assert await texts(scratch) == ["One."]
    await scratch.rollback(2)
    assert await texts(scratch) == ["First.", "Two."]
    await scratch.rollback(0)
    assert await texts(scratch) == []
    await scratch.rollback(4)
    assert await texts(scratch) == ["First.", "Two."]
    assert (await scratch.load()).version == 6


async def test_every_version_of_the_history_can_be_gone_back_to(scratch: TedMemory) -> None:
    states = {0: await texts(scratch)}
    for i in range(6):
        ids = [e.id for e in await scratch.load()]
        edits: list[Edit] = [Add(text=f"Lesson {i}.")]
        edits += (
            [Rewrite(id=ids[0], text=f"Again {i}.")] if i % 2 else [Remove(id=id) for id in ids[:1]]
        )
        commit = await scratch.commit(edits, author="me")
        states[commit.version] = await texts(scratch)
    for version, wanted in reversed(states.items()):
        await scratch.rollback(version)
        assert await texts(scratch) == wanted, f"version {version}"


async def test_going_back_to_where_one_is_makes_no_version(scratch: TedMemory) -> None:
    await add(scratch, "One.")
    assert (await scratch.rollback(1)).version == 1
    assert [entry.version for entry in await scratch.log()] == [1]


async def test_a_version_outside_the_history_is_told_with_its_bounds(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, history_versions=3) as memory:
        for i in range(6):
            await add(memory, f"Lesson {i}.")
        for version in (-1, 0, 2, 7):
            with pytest.raises(HistoryTrimmed) as caught:
                await memory.rollback(version)
            assert f"version {version} " in one_line(caught.value)
            assert "from 3 to 6" in str(caught.value)
        assert (await memory.load()).version == 6
        await memory.rollback(3)
        assert await texts(memory) == ["Lesson 0.", "Lesson 1.", "Lesson 2."]


class Busy(InMemoryStore):
    """Somebody else commits just before each of our next commits."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.at_work = False

    async def commit(self, namespace: str, request: CommitRequest) -> Commit:
        if request.expect_version is not None and self.times and not self.at_work:
            self.times -= 1
            self.at_work = True
            await add(
                in_memory(store=self, namespace=namespace), f"From elsewhere, {self.times} to come."
            )
            self.at_work = False
        return await super().commit(namespace, request)


async def test_going_back_while_others_commit_tries_again_with_what_they_did() -> None:
    memory = in_memory(store=Busy(times=2))
    await add(memory, "One.")
    await add(memory, "Two.")
    commit = await memory.rollback(1)
    assert await texts(memory) == ["One."]
    assert commit.version == 5
    assert [len(entry.changes) for entry in await memory.log(limit=1)] == [3], (
        "what others added is out, and in the log"
    )


async def test_going_back_gives_up_when_others_never_stop() -> None:
    memory = in_memory(store=Busy(times=99))
    await add(memory, "One.")
    await add(memory, "Two.")
    with pytest.raises(CommitRefused) as caught:
        await memory.rollback(1)
    assert "changed 5 times" in one_line(caught.value)
    assert (await texts(memory))[:2] == ["One.", "Two."]


async def test_going_back_to_more_than_the_caps_allow_changes_nothing() -> None:
    store = InMemoryStore()
    memory = in_memory(store=store)
    ids = await add(memory, "One.", "Two.", "Three.")
    await memory.commit([Remove(id=id) for id in ids], author="me")
    strict = in_memory(store=store, max_experiences=2)
    await add(strict, "Four.")
    with pytest.raises(CommitRefused) as caught:
        await strict.rollback(1)
    assert "cap" in one_line(caught.value)
    assert await texts(strict) == ["Four."]
    assert (await strict.load()).version == 3


async def test_restoring_by_hand_takes_a_lesson_from_the_log(scratch: TedMemory) -> None:
    [one] = await add(scratch, "One.")
    await scratch.commit([Remove(id=one)], author="me")
    [entry] = await scratch.log(limit=1)
    await scratch.commit([Restore(experience=entry.changes[0].before[0])], author="me")
    assert [e.id for e in await scratch.load()] == [one]


# --- a server that is gone


async def test_an_agent_goes_on_with_the_last_block_when_the_server_is_gone(
    own_server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = open_memory(own_server.url, namespace=namespace, refresh=0, read_timeout=PATIENT)
    await add(memory, "Kept.")
    block = await memory.render()
    assert "Kept." in block
    assert memory.health().failed_reads == 0
    # from now on every call waits for a look at the store
    monkeypatch.setattr("ted_memory.memory.cache.IDLE", 0.0)
    own_server.stop()
    began = time.monotonic()
    assert [await memory.render() for _ in range(3)] == [block] * 3
    assert time.monotonic() - began < AT_MOST
    health = memory.health()
    assert health.failed_reads == 3
    assert health.stale_reads == 3
    assert health.version == 1
    assert "Is the server running" in health.last_error
    await memory.aclose()


async def test_an_agent_waits_no_longer_than_it_may_for_a_server_that_hangs(
    own_server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = open_memory(own_server.url, namespace=namespace, refresh=0)
    await add(memory, "Kept.")
    await memory.load()
    block = await memory.render()
    stale = memory.health().stale_reads
    assert "Kept." in block
    # from now on every call waits for a look at the store
    monkeypatch.setattr("ted_memory.memory.cache.IDLE", 0.0)
    own_server.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert await memory.render() == block
    fresh = open_memory(own_server.url, namespace=namespace)
    assert await fresh.render() == "", "one that never read has nothing to say"
    assert time.monotonic() - began < AT_MOST
    assert memory.health().stale_reads == stale + 1
    assert fresh.health().version is None
    own_server.process.send_signal(signal.SIGCONT)

    async def is_back() -> bool:
        return await fresh.render() == block

    await wait_until(is_back)
    assert await memory.render() == block
    await memory.aclose()
    await fresh.aclose()


async def test_whoever_asks_for_more_than_a_block_is_told(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ted_memory.storage.redis.clients.COMMIT_RETRIES", 0)
    memory = open_memory(own_server.url)
    own_server.stop()
    for call in (
        memory.load(),
        memory.log(),
        memory.rollback(0),
        memory.usage(),
        add(memory, "One."),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            await call
        one_line(caught.value)
    with pytest.raises(StoreUnavailable):
        async with memory:
            pass
    await memory.aclose()


# --- health and the rest


async def test_health_counts_what_agents_did(scratch: TedMemory) -> None:
    assert scratch.health().version is None
    await scratch.load()
    assert scratch.health().version == 0
    await add(scratch, "One.")
    for _ in range(3):
        await scratch.render()
    health = scratch.health()
    assert (health.reads, health.stale_reads, health.failed_reads, health.last_error) == (
        3,
        0,
        0,
        "",
    )
    assert health.version == 1
    assert health.age is not None
    assert 0 <= health.age < 60


async def test_a_staging_set_is_read_by_nobody_who_did_not_make_it(scratch: TedMemory) -> None:
    staging = scratch.staging("run-1")
    await add(staging, "Not yet.")
    assert await texts(scratch) == []
    assert await scratch.render() == ""
    assert await texts(scratch.staging("run-1")) == ["Not yet."]
    with pytest.raises(TedMemoryError):
        scratch.for_namespace(staging.namespace)


async def test_a_memory_that_cannot_be_opened_lets_go_of_its_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python calls no ``__aexit__`` where ``__aenter__`` has failed."""
    memory, closed = in_memory(), list[bool]()

    async def away(*_: object) -> None:
        raise StoreUnavailable("it is away")

    async def aclose() -> None:
        closed.append(True)

    monkeypatch.setattr(memory.store, "read", away)
    monkeypatch.setattr(memory.store, "aclose", aclose)
    with pytest.raises(StoreUnavailable, match="it is away"):
        async with memory:
            pytest.fail("it is not open")
    assert closed == [True]
