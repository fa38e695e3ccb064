"""Looking after a set, in this process and on a server: caps, diff, export and import, purge."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ted_memory import Add, Merge, Remove, Rewrite, TedMemory, open_memory
from ted_memory.errors import CommitRefused, HistoryTrimmed, InvalidInput
from ted_memory.models import (
    Commit,
    Experience,
    Presentation,
    Rejected,
    Restore,
    SetState,
    Usage,
)
from ted_memory.protocols import CommitRequest
from ted_memory.testing import in_memory
from ted_memory.testing.oracle.store import InMemoryStore
from tests.conftest import Server

EVE, BOB = "principal:eve", "principal:bob"


@pytest.fixture(params=["scratch", "memory"])
def either(request: pytest.FixtureRequest) -> TedMemory:
    """A memory in this process, then one on a real server."""
    chosen: TedMemory = request.getfixturevalue(request.param)
    return chosen


async def add(
    memory: TedMemory, *texts: str, source: str = BOB, state: str = "active"
) -> list[str]:
    commit = await memory.commit(
        [Add(text=text, sources=(source,), state=state) for text in texts], author="me"
    )
    assert not commit.rejected
    return [applied.id for applied in commit.applied]


async def texts(memory: TedMemory) -> list[str]:
    return [e.text for e in await memory.load()]


# --- caps


async def test_a_cap_that_is_lowered_holds_with_the_next_commit_and_the_worst_go(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace) as memory:
        ids = await add(memory, *(f"Lesson {i}." for i in range(6)))
        good = {ids[i]: Usage(weight=20, weighted_difference=10) for i in (1, 4)}
        await memory.commit([Add(text="Else.")], author="me", usage=good)
    async with open_memory(valkey.url, namespace=namespace, max_experiences=3) as smaller:
        commit = await smaller.commit([Add(text="One more.")], author="me")
        assert [r.reason for r in commit.rejected] == ["cap"]
        now = await smaller.load()
        assert now.caps.max_experiences == 3
        assert {"Lesson 1.", "Lesson 4."} < {e.text for e in now.active}
        assert len(now.active) == 3
        entry = (await smaller.log(1))[0]
        assert (entry.author, entry.why) == ("caps", "caps lowered to 3 experiences, 2000 tokens")
        with pytest.raises(CommitRefused, match="cap"):
            await smaller.rollback(entry.version - 1)


# --- diff


async def test_diff_tells_what_changed_between_any_two_versions(either: TedMemory) -> None:
    one, two = await add(either, "One.", "Two.")
    await either.commit(
        [Rewrite(id=one, text="First."), Remove(id=two), Add(text="Three.")], author="me"
    )
    changes = await either.diff(1, 2)
    told = [(d.before and d.before.text, d.after and d.after.text) for d in changes]
    assert told == [("One.", "First."), ("Two.", None), (None, "Three.")]
    assert await either.diff(1) == changes
    back = await either.diff(2, 1)
    assert {d.id: (d.after, d.before) for d in back} == {d.id: (d.before, d.after) for d in changes}
    assert await either.diff(2, 2) == ()
    with pytest.raises(HistoryTrimmed, match="from 0 to 2"):
        await either.diff(1, 9)


# --- export and import


async def exported(memory: TedMemory) -> tuple[str, list[str]]:
    ids = await add(memory, "Ünï “quoted” \U0001f600.", "Two.")
    await memory.commit(
        [
            Add(text="Three.", when="asked", metadata={"a": [1]}),
            SetState(id=ids[1], state="proposed"),
        ],
        author="me",
        usage={ids[0]: Usage(weight=2, weighted_difference=1)},
        models={"student": "small", "teacher": "big"},
        presentation=Presentation(selection="relevant", top_k=2, placement="user", examples=False),
    )
    return await memory.export(), ids


async def test_another_installation_reads_what_was_exported(either: TedMemory) -> None:
    text, ids = await exported(either)
    head = json.loads(text.splitlines()[0])
    assert (head["format"], head["models"]) == (3, {"student": "small", "teacher": "big"})
    other = in_memory(namespace="other")
    report = await other.import_set(text)
    was, now = await either.load(), await other.load()
    assert report.added == tuple(e.id for e in was)
    assert [e.model_copy(update={"rev": 0}) for e in now] == [
        e.model_copy(update={"rev": 0}) for e in was
    ]
    assert now.usage[ids[0]] == was.usage[ids[0]]
    assert now.models == was.models
    assert (
        now.presentation
        == was.presentation
        == Presentation(selection="relevant", top_k=2, placement="user", examples=False)
    )
    assert (await other.export()).splitlines()[1:][0] == text.splitlines()[1:][0].replace(
        '"rev": 2', '"rev": 1'
    )


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda t: t[:-20], "cut off or was changed"),
        (lambda t: t.replace("Two", "Six"), "cut off or was changed"),
        (lambda t: t.replace('"format": 3', '"format": 4'), "format 4"),
        (lambda t: "{}\n", "no export"),
        (lambda t: "", "line 1: not a JSON object"),
        (lambda t: t.splitlines()[0], "cut off or was changed"),
        (lambda t: t.replace('"version": 2', '"version": null'), "line 1: version"),
        (lambda t: t.replace('"models": {', '"models": [1], "x": {'), "line 1: models"),
        (lambda t: t.replace('"top_k": 2', '"top_k": 0'), "line 1: presentation.top_k"),
        (lambda t: "[" * 200_000, "line 1"),
        (lambda t: t + "\ud800", "surrogate"),
    ],
)
async def test_a_damaged_export_is_refused_and_nothing_is_imported(
    scratch: TedMemory, damage, said: str
) -> None:
    text, _ = await exported(scratch)
    other = in_memory(namespace="other")
    with pytest.raises(InvalidInput, match=said):
        await other.import_set(damage(text))
    assert len(await other.load()) == 0


async def test_an_export_from_before_presentations_is_read(scratch: TedMemory) -> None:
    text, _ = await exported(scratch)
    head, _, body = text.partition("\n")
    older = {name: value for name, value in json.loads(head).items() if name != "presentation"}
    other = in_memory(namespace="other")
    await other.import_set(f"{json.dumps(older)}\n{body}")
    assert (await other.load()).presentation is None


async def test_a_set_that_is_not_empty_is_only_merged_into(either: TedMemory) -> None:
    text, ids = await exported(either)
    with pytest.raises(CommitRefused, match="merge"):
        await either.import_set(text)
    other = in_memory(namespace="other", max_experiences=2)
    await add(other, "Mine.")
    await other.commit(
        [Restore(experience=Experience(id=ids[1], text="Says something else."))], author="me"
    )
    report = await other.import_set(text, merge=True)
    assert (report.conflicts, [reason for _, reason in report.refused]) == (
        (ids[1],),
        ["cap", "cap"],
    )
    assert await texts(other) == ["Mine.", "Says something else."]
    roomy = in_memory(namespace="roomy")
    assert len((await roomy.import_set(text, merge=True)).added) == 3
    again = await roomy.import_set(text, merge=True)
    assert (len(again.added), len(again.unchanged), again.version) == (0, 3, 1)


async def test_what_does_not_fit_is_refused_as_a_whole(scratch: TedMemory) -> None:
    text, _ = await exported(scratch)
    small = in_memory(namespace="small", max_experiences=1)
    with pytest.raises(CommitRefused, match="cap"):
        await small.import_set(text)
    assert (await small.load()).version == 0


# --- purge


async def test_a_purge_takes_out_what_came_from_a_source_and_nothing_else(
    either: TedMemory,
) -> None:
    await add(either, "Good.")
    await add(either, "Evil.", source=EVE)
    report = await either.purge(EVE)
    assert await texts(either) == ["Good."]
    assert (len(report.removed), report.restored, report.unknown) == (1, (), ())
    assert "Evil" not in str(await either.log(100))


async def test_what_a_purged_source_had_rewritten_is_again_as_it_was(either: TedMemory) -> None:
    [id] = await add(either, "Good.")
    await either.commit(
        [Rewrite(id=id, text="Better.", sources=("principal:anna",))], author="anna"
    )
    await either.commit([Rewrite(id=id, text="Evil.", sources=(EVE,))], author="eve")
    await either.commit([Rewrite(id=id, text="Evil and more.", sources=(BOB,))], author="bob")
    report = await either.purge(EVE)
    assert await texts(either) == ["Better."]
    assert report.restored == (id,)


async def test_a_merge_goes_back_to_the_parents_that_are_free_of_the_source(
    either: TedMemory,
) -> None:
    one, two = await add(either, "One.", "Two.")
    [evil] = await add(either, "Evil.", source=EVE)
    first = await either.commit([Merge(ids=(one, evil), text="One and evil.")], author="me")
    second = await either.commit(
        [Merge(ids=(first.applied[0].id, two), text="All of it.")], author="me"
    )
    await either.commit([Rewrite(id=second.applied[0].id, text="All of it, shorter.")], author="me")
    for _ in range(5):
        await add(either, f"Other {_}.")
    report = await either.purge(EVE)
    assert sorted(await texts(either)) == sorted(
        ["One.", "Two.", *(f"Other {i}." for i in range(5))]
    )
    assert set(report.restored) == {one, two}
    log = str(await either.log(100))
    assert "vil" not in log.replace("principal:eve", "")
    assert "All of it" not in log
    assert "One." in log


async def test_neither_rollback_nor_import_nor_a_commit_brings_it_back(either: TedMemory) -> None:
    [one] = await add(either, "One.")
    [evil] = await add(either, "Evil.", source=EVE)
    await either.commit([Merge(ids=(one, evil), text="Both.")], author="me", token="merge")
    copy = await either.export()
    await either.purge(EVE)
    for version in (2, 3):
        await either.rollback(version)
        assert await texts(either) == ["One."], f"version {version}"
    await either.rollback(0)
    report = await either.import_set(copy, merge=True)
    assert [reason for _, reason in report.refused] == ["purged"]
    commit = await either.commit([Add(text="Evil again.", sources=(EVE,))], author="eve")
    assert [r.reason for r in commit.rejected] == ["purged"]
    repeated = await either.commit([Add(text="Else.")], author="me", token="merge")
    assert repeated.repeated
    assert "Both" not in str(repeated)


async def test_two_purges_leave_what_neither_source_had_to_do_with(either: TedMemory) -> None:
    [one] = await add(either, "One.")
    [evil] = await add(either, "Evil.", source=EVE)
    [bad] = await add(either, "Bad.", source="principal:mal")
    merged = await either.commit([Merge(ids=(evil, bad), text="Evil and bad.")], author="me")
    await either.commit([Merge(ids=(one, merged.applied[0].id), text="Everything.")], author="me")
    await either.purge(EVE)
    assert sorted(await texts(either)) == ["Bad.", "One."]
    await either.purge("principal:mal")
    assert await texts(either) == ["One."]
    log = str(await either.log(100))
    assert not [word for word in ("Evil.", "Bad.", "Everything", "Evil and bad") if word in log]


def _members(client: Any) -> Any:
    return lambda key: client.zrange(key, 0, -1)


async def everything_stored(memory: TedMemory, match: str = "") -> str:
    """Return all keys and values of the namespace, or of other keys, as they are in the server."""
    client = memory.store._clients.get().commit
    told = []
    async for key in client.scan_iter(match=match or f"ted:{{{memory.namespace}}}:*"):
        read = {
            "string": client.get,
            "hash": client.hgetall,
            "set": client.smembers,
            "zset": _members(client),
        }
        kind = await client.type(key)
        if kind != "none":  # else it has ended meanwhile
            told.append(f"{key} {await read[kind](key)}")
    return "\n".join(told)


async def test_no_word_of_a_purged_source_is_left_in_the_server(memory: TedMemory) -> None:
    narrow = TedMemory(
        memory.store, memory.settings.model_copy(update={"history_versions": 3}), memory.namespace
    )
    [one] = await add(narrow, "One.")
    [evil] = await add(narrow, "Evil.", source=EVE)
    evil_too = Rewrite(id=one, text="Evil twin.", index_terms="Evil words", sources=(EVE,))
    await narrow.commit([evil_too], author="eve", why="Evil reasons.")
    await narrow.commit(
        [Add(text="Fine."), Remove(id="nobody"), Add(text="", sources=(EVE,))], author="me"
    )
    for i in range(4):
        await add(narrow, f"Other {i}.")
    await narrow.commit(
        [Merge(ids=(evil, one), text="Evil merger.")], author="me", why="Evil reasons."
    )
    assert "Evil" in await everything_stored(narrow), "the control"
    await narrow.purge(EVE)
    left = await everything_stored(narrow)
    assert "Evil" not in left
    assert "Fine." in left


async def test_two_purges_at_once_and_one_that_died_on_its_way_come_to_an_end(
    either: TedMemory,
) -> None:
    [one] = await add(either, "One.")
    [evil] = await add(either, "Evil.", source=EVE)
    [bad] = await add(either, "Bad.", source="principal:mal")
    await either.commit([Merge(ids=(one, evil, bad), text="All.")], author="me")
    await either.store.tombstone(either.namespace, EVE)  # and then it died
    await asyncio.gather(
        either.purge("principal:mal"), either.for_namespace(either.namespace).purge(BOB + "by")
    )
    assert await texts(either) == ["One."]
    await either.purge(EVE)
    assert not [word for word in ("Evil", "Bad", "All.") if word in str(await either.log(100))]


async def test_a_purge_that_begins_within_another_one_takes_no_lesson_of_a_third_person(
    either: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first version of the lesson is back, which neither of the two had to do with."""
    bert, anna = "principal:bert", "principal:anna"
    [id] = await add(either, "Ask for the number.", source="principal:carl")
    for text, source in (("Ask for the date.", bert), ("Ask for the name.", anna)):
        await either.commit([Rewrite(id=id, text=text, sources=(source,))], author="me")
    commit, within = either.store.commit, 0

    async def another_begins(namespace: str, request: CommitRequest) -> Commit:
        nonlocal within
        within += 1
        if within == 1:
            await either.store.tombstone(namespace, bert)
        return await commit(namespace, request)

    monkeypatch.setattr(either.store, "commit", another_begins)
    report = await either.purge(anna)
    assert within > 1
    assert (report.removed, report.restored) == ((), (id,))
    assert await texts(either) == ["Ask for the number."]


async def test_what_cannot_be_put_right_again_is_taken_out(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    [one] = await add(scratch, "One.")
    await scratch.commit([Rewrite(id=one, text="Evil twin.", sources=(EVE,))], author="eve")
    commit = scratch.store.commit

    async def refuses_what_comes_back(namespace: str, request: CommitRequest) -> Commit:
        edits = [change.edit for change in request.changes]
        if not any(isinstance(edit, Restore) for edit in edits):
            return await commit(namespace, request)
        refused = tuple(Rejected(edit=edit, reason="too many sources") for edit in edits)
        return Commit(epoch="", version=0, rejected=refused)

    monkeypatch.setattr(scratch.store, "commit", refuses_what_comes_back)
    report = await scratch.purge(EVE)
    assert (report.removed, report.restored, report.unknown) == ((one,), (), (one,))
    assert await texts(scratch) == []


async def test_an_origin_that_is_longer_than_today_allows_comes_back_all_the_same(
    either: TedMemory,
) -> None:
    long = "Long " * 60
    [one] = await add(either, long)
    [evil] = await add(either, "Evil.", source=EVE)
    await either.commit([Merge(ids=(one, evil), text="Both.")], author="me")
    strict = TedMemory(
        either.store, either.settings.model_copy(update={"max_text": 100}), either.namespace
    )
    await strict.purge(EVE)
    assert await texts(either) == [long.strip()]


async def test_an_id_that_was_used_before_for_something_else_is_no_origin(
    either: TedMemory,
) -> None:
    await either.commit(
        [Restore(experience=Experience(id="k", text="Carol's.", sources=("principal:carol",)))],
        author="c",
    )
    await either.commit([Remove(id="k")], author="c")
    await add(either, "Something else.", source=EVE)
    evil = Experience(id="k", text="Evil.", sources=(EVE,), created_at=datetime.now(UTC))
    await either.commit([Restore(experience=evil)], author="eve")
    await either.purge(EVE)
    assert await texts(either) == []


async def test_a_memory_that_states_one_cap_leaves_the_other_as_it_is() -> None:
    store = InMemoryStore()
    first, second = (
        in_memory(store=store, token_budget=3000),
        in_memory(store=store, max_experiences=2),
    )
    await add(first, "One.")
    await add(second, "Two.")
    commit = await first.commit([Add(text="Three.")], author="me")
    assert [r.reason for r in commit.rejected] == ["cap"]
    caps = (await first.load()).caps
    assert (caps.max_experiences, caps.token_budget) == (2, 3000)


@pytest.mark.parametrize(
    "fields", [{"order": -1}, {"order": 2**60}, {"rev": -1}, {"parents": ("\ud800",)}]
)
def test_what_would_corrupt_a_set_is_no_experience(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Experience(id="k", text="t", **fields)


def test_metadata_that_could_not_be_read_back_are_refused() -> None:
    deep: list[object] = []
    for _ in range(150):
        deep = [deep]
    with pytest.raises(ValueError, match="metadata must be JSON"):
        Add(text="t", metadata={"a": deep})


async def test_without_room_the_parents_wait_as_proposals(either: TedMemory) -> None:
    [one, two] = await add(either, "One.", "Two.")
    [evil] = await add(either, "Evil.", source=EVE)
    await either.commit([Merge(ids=(one, two, evil), text="All.")], author="me")
    narrow = TedMemory(
        either.store, either.settings.model_copy(update={"max_experiences": 1}), either.namespace
    )  # stated: one active experience
    report = await narrow.purge(EVE)
    now = await narrow.load()
    assert len(now.active) == 1
    assert len(now.proposed) == 1
    assert len(report.waiting) == 1


async def test_a_history_that_was_trimmed_is_told() -> None:
    memory = in_memory(history_versions=1)
    [one] = await add(memory, "One.")
    [evil] = await add(memory, "Evil.", source=EVE)
    await memory.commit([Merge(ids=(one, evil), text="Both.")], author="me")
    await add(memory, "Else.")
    report = await memory.purge(EVE)
    assert await texts(memory) == ["Else."]
    assert len(report.unknown) == 1


async def test_without_the_list_of_forbidden_sources_it_would_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control of the tests above."""

    async def nothing(*_: object) -> None: ...

    monkeypatch.setattr(InMemoryStore, "tombstone", nothing)
    memory = in_memory()
    await add(memory, "Evil.", source=EVE)
    copy = await memory.export()
    await memory.purge(EVE)
    await memory.import_set(copy, merge=True)
    assert await texts(memory) == ["Evil."]


async def test_a_rollback_to_what_was_said_before_makes_no_version(memory: TedMemory) -> None:
    await memory.commit([Add(text="One.")], author="me")
    [one] = await memory.load()
    for text in ("Two.", "One."):
        await memory.commit([Rewrite(id=one.id, text=text)], author="me")
    now = await memory.load()
    assert now.experiences[0].updated_at != one.updated_at, "it was changed since, and back"
    assert (await memory.rollback(1)).version == 3
    assert await memory.load() == now
