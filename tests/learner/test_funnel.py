"""What moved today is counted as what it was: put on trial, activated, retired, demoted."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ted_memory import Add, TedMemory
from ted_memory.errors import StoreUnavailable
from ted_memory.experience.trials import Step
from ted_memory.learner import funnel, trials
from ted_memory.learner.trials import look
from ted_memory.models import Experience, SetState, State, Trial
from ted_memory.testing import in_memory

ON_TRIAL = Trial(bet=0.4)


async def held(memory: TedMemory, *states: State) -> list[str]:
    """Put lessons from traffic into the set, one in each of these states; return their ids."""
    added = [
        Add(text=f"Do {i}.", state="proposed", sources=("principal:anna",))
        for i in range(len(states))
    ]
    ids = [made.id for made in (await memory.commit(added, author="learner")).applied]
    for id, state in zip(ids, states, strict=True):
        if state != "proposed":
            await memory.commit([SetState(id=id, state=state, trial=ON_TRIAL)], author="test")
    return ids


def these_are_due(monkeypatch: pytest.MonkeyPatch, *steps: tuple[str, State, Trial | None]) -> None:
    due = [
        Step(SetState(id=id, state=state, trial=trial), "it is due") for id, state, trial in steps
    ]
    monkeypatch.setattr(trials, "next_steps", lambda *_: due)


async def moved(memory: TedMemory) -> Sequence[int]:
    way = await funnel(memory)
    return way.trials_begun, way.activated, way.retired, way.demoted


async def test_each_step_counts_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = in_memory()
    new, tried, useless, turned = await held(memory, "proposed", "trial", "proposed", "active")
    ended = Trial(ended="it has come to hurt")
    steps = (
        (new, "trial", ON_TRIAL),
        (tried, "active", None),
        (useless, "retired", None),
        (turned, "proposed", ended),
    )
    these_are_due(monkeypatch, *steps)  # type: ignore[arg-type]
    done, _ = await look(memory, "one")
    assert len(done) == 4
    assert await moved(memory) == (1, 1, 1, 1)
    await memory.aclose()


async def test_a_trial_that_a_person_is_to_approve_is_begun_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = in_memory(trust="review")
    [tried] = await held(memory, "trial")
    these_are_due(monkeypatch, (tried, "trial", ON_TRIAL.model_copy(update={"passed": True})))
    await look(memory, "one")
    assert await moved(memory) == (0, 0, 0, 0)
    await memory.aclose()


async def test_what_makes_room_is_retired(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = in_memory(max_experiences=1)
    old, better = await held(memory, "active", "trial")
    these_are_due(monkeypatch, (better, "active", None))
    monkeypatch.setattr(trials, "room_for", lambda *_: [SetState(id=old, state="retired")])
    await look(memory, "one")
    assert await moved(memory) == (0, 1, 1, 0)
    await memory.aclose()


async def test_the_log_tells_who_made_room(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = in_memory(max_experiences=1)
    old, better = await held(memory, "active", "trial")
    these_are_due(monkeypatch, (better, "active", None))
    monkeypatch.setattr(trials, "room_for", lambda *_: [SetState(id=old, state="retired")])
    done, _ = await look(memory, "one")
    [entry] = await memory.log(limit=1)
    assert entry.why == f"it is due; {old} made room, of which replays had shown less"
    assert done == [f"{better}: active: {entry.why}"]
    await memory.aclose()


async def test_a_lesson_that_a_person_approved_makes_no_room_and_the_trial_ends_by_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = in_memory(max_experiences=1)
    approved, better = await held(memory, "active", "trial")
    began = Trial(bet=0.4, began_at=datetime.now(UTC))
    await memory.commit([SetState(id=better, state="trial", trial=began)], author="test")
    these_are_due(monkeypatch, (better, "active", None))
    assert (await look(memory, "one"))[0] == []
    now = datetime.now(UTC)
    longest = trials.without_room

    def later(lesson: Experience, _: datetime) -> Step | None:
        return longest(lesson, now + timedelta(days=40))

    monkeypatch.setattr(trials, "without_room", later)
    [told], _ = await look(memory, "one")
    assert told.startswith(
        f"{better}: proposed: its trial is passed, and the set has no room for it"
    )
    assert [e.id for e in (await memory.load()).active] == [approved]
    await memory.aclose()


async def test_where_it_cannot_be_counted_the_steps_are_told_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = in_memory()
    first, second = await held(memory, "proposed", "proposed")
    these_are_due(monkeypatch, (first, "trial", ON_TRIAL), (second, "trial", ON_TRIAL))

    async def away(*_: Any) -> None:
        raise StoreUnavailable("it is away")

    monkeypatch.setattr(memory.store.episodes, "count", away)
    done, _ = await look(memory, "one")
    assert len(done) == 2
    assert await moved(memory) == (0, 0, 0, 0)
    await memory.aclose()


async def test_a_step_is_in_the_report_though_the_learner_ends_while_it_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory, counting = in_memory(), asyncio.Event()
    [id] = await held(memory, "proposed")
    these_are_due(monkeypatch, (id, "trial", ON_TRIAL))

    async def hangs(*_: Any) -> None:
        counting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(memory.store.episodes, "count", hangs)
    steps: list[str] = []
    looking = asyncio.create_task(look(memory, "one", None, steps))
    await asyncio.wait_for(counting.wait(), 5)
    looking.cancel()
    await asyncio.wait({looking})
    assert steps == [f"{id}: trial: it is due"]
    await memory.aclose()
