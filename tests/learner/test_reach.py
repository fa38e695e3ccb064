"""Which episode a lesson is replayed on next: few are looked at, none is missed."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from ted_memory import TedMemory
from ted_memory.episodes import Archived
from ted_memory.experience.ranking import Ranking
from ted_memory.learner import reach as reach_module
from ted_memory.learner.reach import LOOKUPS, WINDOW, Reach
from ted_memory.models import Experience, SetState, State, Trial
from ted_memory.protocols import Shown
from ted_memory.testing import in_memory
from tests.learner.worlds import fill_archive, propose


@pytest.fixture
def memory(namespace: str) -> TedMemory:
    return in_memory(namespace=namespace)


class Looked:
    """Counts what a memory's retriever is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.times = 0
        self.now = 0
        self.at: list[int] = []
        real = TedMemory.rank

        async def rank(
            memory: TedMemory, lessons: Sequence[Experience], question: str, **more: Any
        ) -> Ranking:
            self.times += 1
            self.at.append(self.now)
            self.pairs.update((lesson.id, question) for lesson in lessons)
            return await real(memory, lessons, question, **more)

        monkeypatch.setattr(TedMemory, "rank", rank)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    return Looked(monkeypatch)


async def begun(
    memory: TedMemory, reach: Reach | None = None, known: dict[str, Shown] | None = None
) -> Reach:
    reach = reach or Reach()
    await reach.refresh(memory)
    reach.follow([*(await memory.load()).proposed], known or {})
    return reach


def people(count: int) -> list[str]:
    return [f"user-{i}" for i in range(count)]


async def all_of(memory: TedMemory, reach: Reach, id: str) -> list[int]:
    """Return the episodes of a lesson in the order in which it would be replayed on them."""
    lesson, taken = (await memory.load()).by_id[id], list[int]()
    while (found := reach.next_for(lesson, set(taken))) is not None:
        taken.append(found.seq)
    return taken


async def test_what_a_lesson_on_trial_had_a_part_in_is_no_pair_besides(memory: TedMemory) -> None:
    """Its outcome there is counted: a question that is counted twice is no new evidence."""
    before = await fill_archive(memory, people(3))
    [id] = await propose(memory, "apples")
    at = (await memory.load()).version
    before += await fill_archive(memory, people(3), version=at)
    commit = await memory.commit(
        [SetState(id=id, state="trial", trial=Trial(bet=0.4))], author="test"
    )
    since = await fill_archive(memory, people(3), version=commit.version)
    lesson = (await memory.load()).by_id[id]
    for state, found in (("trial", before), ("active", since), ("proposed", [*before, *since])):
        reach = Reach()
        await reach.refresh(memory)
        known = {id: Shown(floor=max(before))} if state == "active" else {}
        reach.follow([lesson.model_copy(update={"state": state})], known)
        await reach.look(memory)
        assert sorted(await all_of(memory, reach, id)) == sorted(found), state


# --- how many are looked at


async def test_the_look_ups_of_a_round_are_bounded_and_none_is_made_twice(
    memory: TedMemory, looked: Looked
) -> None:
    for thing in ("figs", "apples"):
        await fill_archive(memory, people(2 * LOOKUPS), thing)
    ids = await propose(memory, "figs", *["dates"] * 20)
    reach, rounds = await begun(memory), list[int]()
    more = True
    while more:
        before = looked.times
        more = await reach.look(memory)
        rounds.append(looked.times - before)
    assert max(rounds) <= LOOKUPS
    assert len(rounds) >= 4, "the control: it takes several rounds"
    assert set(looked.pairs.values()) == {1}
    found = await all_of(memory, reach, ids[0])
    assert len(found) >= WINDOW


async def test_others_go_first_between_two_look_ups(memory: TedMemory, looked: Looked) -> None:
    await fill_archive(memory, people(2 * LOOKUPS))
    await propose(memory, *["figs"] * 50)

    async def tick() -> None:
        while True:
            looked.now += 1
            await asyncio.sleep(0)

    async def at_once() -> int:
        """Return how many look-ups the event loop waits for at most."""
        looked.at.clear()
        ticking = asyncio.create_task(tick())
        await (await begun(memory)).look(memory)
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        return max(Counter(looked.at).values())

    assert await at_once() == 1
    # the control: without a break it waits for all of them
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reach_module, "asyncio", _NeverSleeps())
        assert await at_once() == LOOKUPS


class _NeverSleeps:
    """Stands for asyncio where nobody is let go first."""

    @staticmethod
    def sleep(_: float) -> Any:
        return contextlib.nullcontext().__aexit__()


async def test_only_as_many_are_looked_at_as_are_needed_soon(
    memory: TedMemory, looked: Looked
) -> None:
    await fill_archive(memory, people(4 * WINDOW))
    [id] = await propose(memory, "apples")
    reach = await begun(memory)
    assert not await reach.look(memory)
    assert looked.times == WINDOW
    done = await all_of(memory, reach, id)
    reach.follow([*(await memory.load()).proposed], {id: Shown(change=1, done=frozenset(done))})
    assert await all_of(memory, reach, id) == []
    await reach.look(memory)
    assert looked.times == 2 * WINDOW, "more are looked at when they are needed"
    assert not set(await all_of(memory, reach, id)) & set(done)


async def test_a_new_lesson_or_episode_is_looked_at_by_itself(
    memory: TedMemory, looked: Looked
) -> None:
    await fill_archive(memory, people(10))
    [old] = await propose(memory, "apples")
    reach = await begun(memory)
    await reach.look(memory)
    [new] = await propose(memory, "apples", says="guess")
    [seq] = await fill_archive(memory, ["late"])
    looked.pairs.clear()
    await begun(memory, reach)
    await reach.look(memory)
    assert Counter(id for id, _ in looked.pairs.elements()) == {old: 1, new: 11}
    assert all(seq in found for found in [await all_of(memory, reach, id) for id in (old, new)])


# --- which come first


async def test_who_fills_the_archive_does_not_fill_the_window(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = await fill_archive(memory, people(12))
    await fill_archive(memory, ["eve"] * 100)
    [id] = await propose(memory, "apples")

    async def first(count: int) -> list[int]:
        reach = await begun(memory)
        while await reach.look(memory):
            pass
        return (await all_of(memory, reach, id))[:count]

    assert set(others) <= set(await first(13)), "one of hers, and all of the others"
    monkeypatch.setattr(reach_module, "OF_ONE_SPEAKER", WINDOW)
    assert not set(others) & set(await first(13)), "the control"


async def test_the_newest_of_a_speaker_comes_first(memory: TedMemory) -> None:
    seqs = await fill_archive(memory, ["anna", "bert", "anna", "bert", "anna"])
    [id] = await propose(memory, "apples")
    reach = await begun(memory)
    await reach.look(memory)
    assert await all_of(memory, reach, id) == [seqs[i] for i in (4, 3, 2, 1, 0)]
    # who was heard more often is later
    known = {id: Shown(change=1, done=frozenset([seqs[4], seqs[2]]))}
    await begun(memory, reach, known)
    assert await all_of(memory, reach, id) == [seqs[i] for i in (3, 1, 0)]


@pytest.mark.parametrize("state", ["proposed", "active"])
async def test_what_counts_as_done_is_not_replayed(memory: TedMemory, state: State) -> None:
    """The list of what a lesson was replayed on is bounded; what it has no room for stays done."""
    seqs = await fill_archive(memory, people(6))
    [id] = await propose(memory, "apples")
    lesson = (await memory.load()).by_id[id].model_copy(update={"state": state})
    told = Shown(change=1, done=frozenset(seqs[4:5]), done_to=seqs[1], floor=seqs[0])
    fresh, following = Reach(), Reach()
    for reach, first in ((fresh, told), (following, Shown(floor=seqs[0]))):
        await reach.refresh(memory)
        reach.follow([lesson], {id: first})
        await reach.look(memory)
        reach.follow([lesson], {id: told})
        assert sorted(await all_of(memory, reach, id)) == [seqs[2], seqs[3], seqs[5]]


async def test_a_reload_that_finds_an_older_episode_reads_none_twice(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    [id] = await propose(memory, "apples")
    seqs = await fill_archive(memory, people(4))
    log, reach = memory.store.episodes, Reach()
    real, hidden = type(log).archived, {seqs[0]}

    async def archived(self: object, namespace: str, after: int = 0) -> tuple[Archived, ...]:
        return tuple(one for one in await real(log, namespace, after) if one.seq not in hidden)

    monkeypatch.setattr(type(log), "archived", archived)
    await begun(memory, reach)
    hidden.clear()  # settled late
    reach.reload()
    await begun(memory, reach)
    lesson = (await memory.load()).by_id[id]
    while await reach.look(memory):
        pass
    reach.skip(lesson, seqs[3])
    await begun(memory, reach)
    while await reach.look(memory):
        pass
    assert sorted(await all_of(memory, reach, id)) == seqs[:3]


async def test_a_lesson_with_nothing_left_does_not_block_the_others(
    memory: TedMemory, looked: Looked
) -> None:
    seqs = await fill_archive(memory, people(20))
    over, fresh = await propose(memory, "apples", "apples")
    known = {over: Shown(change=1, done=frozenset(seqs))}
    reach = await begun(memory, known=known)
    while await reach.look(memory):
        pass
    assert await all_of(memory, reach, over) == []
    assert len(await all_of(memory, reach, fresh)) == 20
    before = looked.times
    for _ in range(5):
        await begun(memory, reach, known)
        assert not await reach.look(memory)
    assert looked.times == before, "what has nothing left is not looked for again"


# --- what comes and goes


async def test_what_is_settled_out_of_turn_is_found_at_the_next_reload(memory: TedMemory) -> None:
    early, late = await fill_archive(memory, ["anna", "bert"])
    queue: Any = memory.store.episodes
    archive = queue._queue(memory.namespace).archive
    held = archive.pop(early)
    [id] = await propose(memory, "apples")
    reach = await begun(memory)
    await reach.look(memory)
    assert await all_of(memory, reach, id) == [late]
    archive[early] = held
    await begun(memory, reach)
    await reach.look(memory)
    assert await all_of(memory, reach, id) == [late], (
        "the control: only what is newer is read again"
    )
    reach.reload()
    await begun(memory, reach)
    await reach.look(memory)
    assert await all_of(memory, reach, id) == [late, early]


async def test_what_is_gone_is_not_replayed_after_a_reload(memory: TedMemory) -> None:
    first, second = await fill_archive(memory, ["anna", "bert"])
    [id] = await propose(memory, "apples")
    reach = await begun(memory)
    await reach.look(memory)
    await memory.store.episodes.forget_archived(memory.namespace, [second])
    assert await all_of(memory, reach, id) == [second, first], "the control: it is still known"
    reach.reload()
    await begun(memory, reach)
    assert await all_of(memory, reach, id) == [first]


async def test_no_more_is_held_than_the_archive_may_have(namespace: str) -> None:
    memory = in_memory(namespace=namespace, max_archived=5)
    seqs = await fill_archive(memory, people(8))
    reach = await begun(memory)
    assert sorted(reach.archive) == seqs[-5:]


async def test_what_is_put_off_comes_again_after_a_reload_and_what_is_broken_never(
    memory: TedMemory,
) -> None:
    first, second, third = await fill_archive(memory, ["anna", "bert", "carl"])
    [id] = await propose(memory, "apples")
    reach = await begun(memory)
    await reach.look(memory)
    reach.put_off(third)
    reach.give_up(second)
    assert await all_of(memory, reach, id) == [first]
    reach.reload()
    await begun(memory, reach)
    await reach.look(memory)
    assert await all_of(memory, reach, id) == [third, first]


async def test_nothing_is_kept_of_lessons_that_are_gone(memory: TedMemory) -> None:
    await fill_archive(memory, ["anna"])
    await propose(memory, *["apples"] * 5)
    reach = await begun(memory)
    await reach.look(memory)
    assert len(reach._reaches) == 5
    reach.follow([*(await memory.load()).proposed][:1], {})
    assert len(reach._reaches) == 1
    reach.forget()
    assert (reach.archive, reach._reaches) == ({}, {})
