"""Forgetting a person: nothing of them is left in the server, its files, or later prompts."""

import asyncio
import contextlib
import hashlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from pydantic import Field

from ted_memory import Add, TedMemory, open_memory
from ted_memory.episodes import Episode, Subject
from ted_memory.errors import InvalidInput, StoreError
from ted_memory.experience.edits import MOST_SOURCES
from ted_memory.learner import Learner
from ted_memory.memory import forgetting
from ted_memory.models import Merge, Message, Rewrite
from ted_memory.storage.redis import erasing, scripts
from ted_memory.storage.redis.store import RedisStore
from ted_memory.testing import ScriptedChatModel, in_memory, wait_until
from tests.distill.scripts import CODES, critique, prompt_of, role, student, teacher, thing_in
from tests.learner.worlds import complain, episode
from tests.test_curation import everything_stored

WORD = "Xylograph"  # which nobody but Anna says
ANNA = f"anna-{WORD}@example.com"
EDITS = [{"op": "add", "when": "apples", "text": f"say c111, as {WORD} wants it"}]


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[TedMemory]:
    async with open_memory(
        home=str(tmp_path / "home"), namespace="desk", feedback_wait=0.0
    ) as opened:
        yield opened


def files(memory: TedMemory) -> str:
    """Return all that the embedded server has on disk."""
    folder = Path(memory.settings.home) / "data"
    return "".join(p.read_text("latin-1") for p in folder.rglob("*") if p.is_file())


def annas(run_id: str) -> Episode:
    """Return a run of Anna's."""
    asked = Message(role="user", content=f"What is the code of apples? I am {WORD}.")
    said = Message(role="assistant", content=f"no idea, {WORD}")
    return Episode(
        run_id=run_id, principal=ANNA, thread_id=f"{WORD}-thread", input=(asked,), output=(said,)
    )


async def annas_traffic(memory: TedMemory) -> None:
    """Leave Anna's words everywhere: queue, dead letters, feedback, archive, lessons, drafts."""
    runs = [annas(f"run-{i}") for i in range(6)]
    await complain(memory, runs[:2])
    quoting = teacher(lambda _: critique(*EDITS))
    await Learner(memory, student=student(), teacher=quoting, replay="none").run(until_empty=True)
    for run in runs[2:]:
        await memory.record(run)
    await memory.flush()
    log = memory.store.episodes
    [dead, *_] = (
        await log.claim("desk", "x", lease=0.01, count=1, max_deliveries=1, alone=False)
    ).claims
    await log.return_claim(
        "desk", dead, counts=True, reason=f"{WORD} is no code", delay=0, max_deliveries=1
    )
    await memory.give_feedback(
        runs[3].run_id, score=0.0, correction=f"c111, says {WORD}", principal=ANNA
    )
    await memory.record(episode("figs", principal="bert"))
    await memory.flush()
    await memory.give_feedback(
        "figs-bert-0", comment=f"{WORD} knows better", principal=ANNA, reviewer=True
    )
    await memory.commit(
        [Add(text=f"Greet {WORD}.", sources=(f"principal:{ANNA}",)), Add(text="Be brief.")],
        author="me",
    )
    one, two = (await memory.load()).active
    await memory.commit(
        [Merge(ids=(one.id, two.id), text=f"Be brief with {WORD}.")], author="me", why=f"for {WORD}"
    )
    staging = memory.staging("run-1")
    await staging.commit(
        [Add(text=f"Draft of {WORD}.", sources=(f"principal:{ANNA}",))], author="me"
    )
    await staging.store.save_progress(
        staging.namespace, "sample:1", {"answer": f"{WORD}'s", "of": f"principal:{ANNA}"}
    )
    other = memory.staging("run-2")
    await other.store.save_progress(other.namespace, "sample:1", {"answer": "of somebody else"})


async def test_no_word_of_a_forgotten_person_is_left_anywhere(memory: TedMemory) -> None:
    await annas_traffic(memory)
    before = await everything_stored(memory)
    for place in (":episodes", ":run:", ":dead", ":archive ", ":log", ":rate:"):
        assert any(place in line and WORD in line for line in before.splitlines()), (
            f"the control: {place}"
        )
    assert WORD in files(memory), "the control"
    report = await memory.forget("principal", ANNA)
    assert (report.episodes, report.drafts, report.compacted) == (4, 1, True)
    assert (report.lessons.archived, report.words >= 4) == (2, True)
    assert WORD not in await everything_stored(memory)
    client = memory.store._clients.get().commit  # type: ignore[attr-defined]
    assert not [key async for key in client.scan_iter(match=f"*{WORD}*")]
    drafts = [key async for key in client.scan_iter(match="ted:{desk~*") if ":applied:" not in key]
    assert drafts == ["ted:{desk~run-2}:progress"]
    assert WORD not in files(memory)
    assert [e.text for e in await memory.load() if e.state == "active"] == ["Be brief."]
    [claim] = (
        await memory.store.episodes.claim(
            "desk", "x", lease=9, count=9, max_deliveries=9, alone=False
        )
    ).claims
    assert (claim.episode.run_id, claim.feedback) == ("figs-bert-0", ())


async def test_a_person_is_found_among_as_many_sources_as_a_lesson_has(memory: TedMemory) -> None:
    """The first of them and the last; whoever came later was refused, and has left nothing."""
    early = f"principal:{ANNA}"
    [made] = (
        await memory.commit([Add(text=f"Greet {WORD}.", sources=(early,))], author="me")
    ).applied
    for start in range(1, MOST_SOURCES, 100):
        names = tuple(f"principal:p{i}" for i in range(start, min(start + 100, MOST_SOURCES)))
        await memory.commit(
            [Rewrite(id=made.id, text=f"Greet {WORD} {start}.", sources=names)], author="me"
        )
    late = Rewrite(id=made.id, text="Late.", sources=("principal:late",))
    assert [r.reason for r in (await memory.commit([late], author="me")).rejected] == [
        "too many sources"
    ]
    [lesson] = await memory.load()
    assert len(lesson.sources) == MOST_SOURCES
    last = await memory.forget("principal", f"p{MOST_SOURCES - 1}")
    assert last.lessons.removed == (), "it goes back to what it was before the last one"
    assert WORD in (await memory.load()).experiences[0].text
    await memory.forget("principal", ANNA)
    assert list(await memory.load()) == []
    assert WORD not in await everything_stored(memory)


async def test_no_run_of_a_forgotten_person_is_named_any_more(memory: TedMemory) -> None:
    """Its id leads to them elsewhere, in a trace."""
    await complain(memory, [annas("traced-7f3a")])
    quoting = teacher(lambda _: critique(*EDITS))
    await Learner(memory, student=student(), teacher=quoting, replay="none").run(until_empty=True)
    [lesson] = await memory.load()
    assert lesson.sources == ("run:traced-7f3a", f"principal:{ANNA}"), "the control"
    await memory.forget("principal", ANNA)
    assert "traced-7f3a" not in await everything_stored(memory)


@pytest.mark.parametrize("kind", ["run", "thread"])
async def test_a_run_or_a_conversation_is_forgotten_with_what_was_learned_from_it(
    memory: TedMemory, kind: Any
) -> None:
    runs = [episode("apples", i, principal="anna", thread_id=f"t{i}") for i in range(2)]
    await complain(memory, runs)
    quoting = teacher(lambda _: critique(*EDITS))
    await Learner(memory, student=student(), teacher=quoting, replay="none").run(until_empty=True)
    [archived, other] = await memory.store.episodes.archived("desk")
    report = await memory.forget(kind, archived.run_id if kind == "run" else "t0")
    assert (report.runs, report.lessons.archived) == (1, 1)
    assert [one.run_id for one in await memory.store.episodes.archived("desk")] == [other.run_id]
    assert archived.run_id not in await everything_stored(memory)


async def test_a_conversation_is_forgotten_from_the_archive_when_its_runs_are_known_no_more(
    memory: TedMemory,
) -> None:
    await complain(memory, [annas("r")])
    await Learner(
        memory, student=student(), teacher=teacher(lambda _: critique()), replay="none"
    ).run(until_empty=True)
    client = memory.store._clients.get().commit  # type: ignore[attr-defined]
    await client.delete("ted:{desk}:run:r")
    report = await memory.forget("thread", f"{WORD}-thread")
    assert report.lessons.archived == 1
    assert await memory.store.episodes.archived("desk") == ()


async def test_who_is_interrupted_while_he_forgets_calls_it_again(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await complain(memory, [annas("r")])
    quoting = teacher(lambda _: critique(*EDITS))
    await Learner(memory, student=student(), teacher=quoting, replay="none").run(until_empty=True)

    async def away(*_: Any, author: str) -> Any:
        raise StoreError(f"away, {author}")

    with monkeypatch.context() as patch:
        patch.setattr(forgetting, "purge", away)
        with pytest.raises(StoreError, match="away, forget"):
            await memory.forget("thread", f"{WORD}-thread")
    report = await memory.forget("thread", f"{WORD}-thread")
    assert report.lessons.archived == 1


async def test_drafts_that_only_hold_the_same_letters_stay(memory: TedMemory) -> None:
    for run, record in (
        ("fruit", {"answer": "bananas"}),
        ("of-anabel", {"of": "principal:anabel"}),
        ("of-ana", {"of": ["principal:ana"]}),
    ):
        staging = memory.staging(run)
        await staging.store.save_progress(staging.namespace, "k", record)
    worked_on = memory.staging("worked-on")
    await worked_on.store.save_progress(worked_on.namespace, "sample:r-1", {"status": "learned"})
    await memory.record(Episode(run_id="r-1", principal="ana"))
    await memory.flush()
    assert (await memory.forget("principal", "ana")).drafts == 2
    client = memory.store._clients.get().commit  # type: ignore[attr-defined]
    left = {key async for key in client.scan_iter(match="ted:{desk~*}:progress")}
    assert left == {"ted:{desk~fruit}:progress", "ted:{desk~of-anabel}:progress"}


async def test_what_a_run_leaves_that_nobody_takes_up_again_ends(memory: TedMemory) -> None:
    staging = memory.staging("run")
    await staging.commit([Add(text="Draft.")], author="me")
    await staging.store.save_progress(staging.namespace, "k", {})
    client = memory.store._clients.get().commit  # type: ignore[attr-defined]
    assert [
        key
        async for key in client.scan_iter(match="ted:{desk~run}:*")
        if await client.ttl(key) == -1
    ] == []


async def test_nobody_in_particular_cannot_be_forgotten(memory: TedMemory) -> None:
    with pytest.raises(InvalidInput, match="nobody in particular"):
        await memory.forget("principal", "anonymous")


async def test_learners_that_are_running_send_no_model_what_was_forgotten(
    memory: TedMemory,
) -> None:
    """Neither what waits, nor what they hold of it to try lessons on, nor what comes late."""
    asked: list[list[BaseMessage]] = []

    def answers(messages: list[BaseMessage]) -> str:
        asked.append(messages)
        return critique(edits=[{"op": "add", "when": "figs", "text": f"say {CODES['figs']}"}])

    learner = Learner(memory, student=student(), teacher=teacher(answers), replay="model")
    running = asyncio.create_task(learner.run())
    try:
        await complain(memory, [annas("early")])
        await wait_until(lambda: learner.report.settled == 1)
        await memory.forget("principal", ANNA)
        asked.clear()
        await complain(memory, [annas("late")])
        for i, who in enumerate(("bert", "carl", "dora")):
            await complain(memory, [episode("figs", i, principal=who)])
        await wait_until(lambda: learner.report.settled == 5)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert asked, "it went on learning from the others"
    assert WORD not in str(asked)
    assert f"I am {WORD}" not in await everything_stored(memory)


class Held(ScriptedChatModel):
    """Answers a prompt with Anna's word only while the gate is open.

    ``waiting`` counts the calls that stand before it.
    """

    gate: Any
    waiting: list[int] = Field(default_factory=lambda: [0])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **more: Any) -> ChatResult:
        if WORD in prompt_of(messages):
            self.waiting[0] += 1
            await self.gate.wait()
            self.waiting[0] -= 1
        return await super()._agenerate(messages, *args, **more)


def quotes_anna(messages: list[BaseMessage]) -> str:
    """Teach what Anna says in her words, and of others nothing."""
    if role(messages) != "critic":
        return CODES[thing_in(prompt_of(messages))]
    return critique(*EDITS) if WORD in prompt_of(messages) else critique()


@contextlib.asynccontextmanager
async def traffic_of_others(memory: TedMemory) -> AsyncIterator[None]:
    """Have others ask and complain for as long as this lasts."""

    async def goes_on() -> None:
        for i in itertools.count():
            await complain(memory, [episode("figs", i, principal=f"user-{i % 7}")])
            await asyncio.sleep(0.02)

    going = asyncio.create_task(goes_on())
    try:
        yield
    finally:
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)


@contextlib.asynccontextmanager
async def learners_at_work(
    memory: TedMemory, model: ScriptedChatModel
) -> AsyncIterator[list[Learner]]:
    """Have two learners run for as long as this lasts, episodes and replays."""
    learners = [Learner(memory, student=student(), teacher=model) for _ in range(2)]
    running = [asyncio.create_task(learner.run()) for learner in learners]
    try:
        yield learners
    finally:
        for learner in learners:
            learner.stop()
        await asyncio.gather(*running)


async def forget_while_learners_run(memory: TedMemory) -> tuple[str, str]:
    """Forget Anna while two learners work and others ask.

    Gives all keys and files as they are some time later.
    """
    model = Held(script=quotes_anna, name_told="teacher", gate=asyncio.Event())
    model.gate.set()
    await complain(memory, [annas(f"early-{i}") for i in range(3)])
    async with traffic_of_others(memory), learners_at_work(memory, model) as learners:

        def count(*outcomes: str) -> int:
            return sum(
                learner.report.outcomes[outcome] for learner in learners for outcome in outcomes
            )

        await wait_until(lambda: count("learned") >= 1, timeout=60, what="a lesson of Anna's")
        model.gate.clear()
        await complain(memory, [annas(f"late-{i}") for i in range(3)])
        await wait_until(lambda: model.waiting[0] > 0, timeout=60, what="work on what Anna said")
        before = await everything_stored(memory, "*")
        for place in (":episodes", ":run:", ":archive ", ":experiences", ":log"):
            assert any(place in line and WORD in line for line in before.splitlines()), (
                f"the control: {place}"
            )
        assert WORD in files(memory), "the control"
        await memory.forget("principal", ANNA)
        model.gate.set()
        then = count("nothing")
        await wait_until(
            lambda: model.waiting[0] == 0 and count("nothing") > then + 10,
            timeout=60,
            what="more work",
        )
        assert count("fenced") >= 1, "what learners were at came too late"
        assert not count("failed", "dead")
        during = await everything_stored(memory, "*"), files(memory)
    after = await everything_stored(memory, "*"), files(memory)
    return during[0] + after[0], during[1] + after[1]


@pytest.fixture
async def busy(tmp_path: Path) -> AsyncIterator[TedMemory]:
    options: dict[str, Any] = {"rollouts": 1, "verify_calls": 0, "rate_limit": 10_000}
    async with open_memory(
        home=str(tmp_path / "busy"), namespace="desk", feedback_wait=0.0, **options
    ) as opened:
        yield opened


async def test_with_learners_running_neither_keys_nor_files_hold_a_word_of_the_forgotten(
    busy: TedMemory,
) -> None:
    keys, written = await forget_while_learners_run(busy)
    for word in (WORD, "early-0", "late-0", "c111"):
        assert word not in keys
        assert word not in written


async def test_were_the_file_not_rewritten_it_would_hold_them(
    busy: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""

    async def compact(_: RedisStore) -> bool:
        return True

    monkeypatch.setattr(RedisStore, "compact", compact)
    keys, written = await forget_while_learners_run(busy)
    assert WORD not in keys
    assert WORD in written


async def test_might_learners_end_what_they_are_at_both_would_hold_them(
    busy: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: neither a fence nor a tombstone keeps out what comes late."""
    line = (
        "if settle and holder(at, settle.seq) ~= settle.fence "
        "then return redis.error_reply('TEDFENCED') end"
    )
    assert scripts._COMMIT.count(line) == 1
    broken = scripts._COMMIT.replace(line, "")
    monkeypatch.setattr(scripts, "_COMMIT", broken)
    monkeypatch.setitem(scripts._DIGESTS, broken, hashlib.sha1(broken.encode()).hexdigest())

    async def tombstone(*_: Any) -> None:
        pass

    monkeypatch.setattr(RedisStore, "tombstone", tombstone)
    with pytest.raises(AssertionError, match="came too late"):
        await forget_while_learners_run(busy)
    assert WORD in await everything_stored(busy, "*")
    assert WORD in files(busy)


async def test_an_export_from_before_brings_nothing_of_it_back(memory: TedMemory) -> None:
    await memory.commit(
        [Add(text=f"Greet {WORD}.", sources=(f"principal:{ANNA}",)), Add(text="Be brief.")],
        author="me",
    )
    exported = await memory.export()
    await memory.forget("principal", ANNA)
    report = await memory.import_set(exported, merge=True)
    assert [reason for _, reason in report.refused] == ["purged"]
    assert WORD not in await memory.export()


async def test_a_dropped_namespace_leaves_no_key(memory: TedMemory) -> None:
    await annas_traffic(memory)
    await memory.store.drop("desk")
    client = memory.store._clients.get().commit  # type: ignore[attr-defined]
    assert [key async for key in client.scan_iter(match="ted:{desk}:*")] == []


async def test_on_ones_own_server_the_report_says_whose_the_files_are(
    valkey: Any, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace) as opened:
        assert (await opened.forget("principal", "anna")).compacted is False


async def test_a_file_that_is_not_rewritten_in_time_is_told(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "REWRITE_TRIES", 0)
    await memory.load()
    with pytest.raises(StoreError, match="call it again"):
        await memory.forget("principal", "anna")


async def test_names_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidInput):
        await in_memory().forget("principal", "")


def test_a_conversation_is_known_by_its_unit_alone() -> None:
    subject = Subject(kind="thread", name="t1")
    run = episode("apples", thread_id="t1")
    assert subject.owns_record(run.run_id, run.principal, run.unit)
    assert not subject.owns_record(
        run.run_id, run.principal, episode("apples", thread_id="t2").unit
    )
    assert json.loads(subject.model_dump_json()) == {"kind": "thread", "name": "t1"}
