"""The whole way of a lesson with default settings: from a complaint to every prompt, or out."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Exposure
from ted_memory.experience import trials
from ted_memory.experience.trials import ENOUGH_OF_A_LARGE_LIFT, Step, loudest
from ted_memory.learner import Learner, funnel, standings
from ted_memory.models import Experience, SetState, Trial
from tests.conftest import Server
from tests.distill.scripts import CODES, prompt_of, right_lesson, student, teacher, thing_in
from tests.learner.worlds import (
    archive,
    complain,
    episode,
    lesson,
    propose,
    replayed,
    settle,
    shown,
    sums,
)

FALSE = "c999"
MANY = tuple(f"person-{i}" for i in range(60))
RIGHT = f"say {CODES['apples']}"


def obeys(messages: list[BaseMessage]) -> str:
    """Say what a lesson on this thing says; know nothing without one."""
    thing = thing_in(str(messages[-1].text))
    told = re.findall(rf"about {thing}: say (c\d+)", prompt_of(messages))
    return str(told[-1]) if told else "no idea"


def believes(messages: Sequence[BaseMessage]) -> str:
    """A critic that believes whatever it is told is right."""
    told = right_lesson(messages)
    return re.sub(r"say c\d+", f"say {FALSE}", told) if FALSE in prompt_of(messages) else told


def learner(memory: TedMemory) -> Learner:
    return Learner(memory, student=student(obeys), teacher=teacher(believes))


async def learn(memory: TedMemory) -> Learner:
    """Let a learner do all that is to be done now, and return it."""
    one = learner(memory)
    await one.run(until_empty=True)
    return one


async def request(memory: TedMemory, i: int, thing: str = "apples") -> Exposure:
    """One user's request, how good the answer was, and what would have been right."""
    who, unit = f"user-{i % 9}", f"unit-{i}"
    seen = await memory.expose(f"What is the code of {thing}?", unit=unit, principal=who)
    said = re.findall(rf"about {thing}: say (c\d+)", seen.block)
    answer = said[-1] if said else "no idea"
    fields = seen.model_dump(
        include={"seen", "withheld", "counted", "withhold_share", "epoch", "version"}
    )
    await memory.record(episode(thing, i, principal=who, answer=answer).model_copy(update=fields))
    await memory.flush()
    right = answer == CODES[thing]
    await memory.give_feedback(
        f"{thing}-{who}-{i}", score=float(right), correction=CODES[thing], principal=who
    )
    return seen


async def state(memory: TedMemory, text: str) -> str:
    """Return how far the lesson of this text has come; "" where there is none."""
    return next((e.state for e in await memory.load() if e.text == text), "")


async def note_wealths(memory: TedMemory, one: Exposure, wealths: dict[str, float]) -> None:
    """Note the wealth of a lesson's replays when a user sees it first."""
    for id in one.seen:
        wealths.setdefault(id, (await shown(memory, id)).evidence.helps(loudest(memory.settings)))


async def until_active(
    memory: TedMemory, wealths: dict[str, float]
) -> tuple[list[Exposure], list[str]]:
    """Serve and learn until the right lesson is active; return what was shown, and steps."""
    told, steps = list[Exposure](), list[str]()
    for i in range(400):
        told.append(await request(memory, i))
        await note_wealths(memory, told[-1], wealths)
        if i % 6 == 5:
            steps += (await learn(memory)).report.steps
            if await state(memory, RIGHT) == "active":
                return told, steps
    raise AssertionError(f"it never became active: {steps}")


def check_replayed_first(wealths: Mapping[str, float]) -> None:
    """Nobody saw a lesson before replays on others' episodes had shown what it is worth."""
    assert wealths, "the control: users did see lessons"
    for id, helps in wealths.items():
        assert helps >= ENOUGH_OF_A_LARGE_LIFT, f"{id} was shown with a wealth of {helps:.2f}"


async def test_a_right_lesson_becomes_active_and_is_seen_after_replays_only(
    memory: TedMemory,
) -> None:
    assert memory.settings.min_principals == 3
    wealths: dict[str, float] = {}
    told, steps = await until_active(memory, wealths)
    first = next(i for i, one in enumerate(told) if one.seen or one.withheld)
    assert all(one.block == "" for one in told[:first])
    check_replayed_first(wealths)
    assert [re.sub(r"^\w+: |: .*", "", step) for step in steps] == ["trial", "active"]
    assert "replays show it: lift +1.00" in steps[0]
    way = await funnel(memory)
    assert (way.trials_begun, way.activated, way.retired) == (1, 1, 0)
    assert {bool(one.seen) for one in told[first:]} == {True, False}, (
        "a coin decides who sees it on trial"
    )
    assert RIGHT in await memory.render("What is the code of apples?")
    [found] = [e for e in await memory.load() if e.text == RIGHT]
    assert (await sums(memory, found.id)).outcomes < 100
    shares = [
        bool((await memory.expose("The code of apples?", unit=f"u{i}", principal="x")).seen)
        for i in range(300)
    ]
    assert sum(shares) >= 280, "active: nearly everybody sees it"


async def test_a_lesson_that_is_shown_without_replays_is_found_out(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""

    def at_once(e: Experience, *_: Any) -> Step:
        trial = Trial(bet=0.5, began_at=datetime.now(UTC))
        return Step(SetState(id=e.id, state="trial", trial=trial, rev=e.rev), "at once")

    monkeypatch.setattr(trials, "_replayed", at_once)
    wealths: dict[str, float] = {}
    await until_active(memory, wealths)
    with pytest.raises(AssertionError, match="was shown with a wealth of"):
        check_replayed_first(wealths)


async def test_a_useless_lesson_is_retired_and_no_user_ever_sees_it(memory: TedMemory) -> None:
    await memory.record(episode("apples", principal="mallory"))
    await memory.flush()
    await memory.give_feedback("apples-mallory-0", score=0.0, correction=FALSE, principal="mallory")
    await learn(memory)
    assert await state(memory, f"say {FALSE}") == "proposed", (
        "on its own episode it helps, as verification has seen"
    )

    blocks, steps = list[str](), list[str]()
    for start in range(0, len(MANY), 20):
        await complain(
            memory,
            [episode("apples", i, principal=p) for i, p in enumerate(MANY[start : start + 20])],
        )
        steps += (await learn(memory)).report.steps
        for i in range(20):
            seen = await memory.expose(
                "What is the code of apples?", unit=f"{start}-{i}", principal=f"q{i}"
            )
            blocks.append(seen.block)
    retired = [step for step in steps if "retired" in step]
    assert len(retired) == (await funnel(memory)).retired == 1
    assert re.search(r"retired: of no use: lift \+0\.00 in \d+ pairs", retired[0]), retired
    assert await state(memory, f"say {FALSE}") == ""
    assert not any(FALSE in block for block in blocks)
    assert await state(memory, RIGHT) in {"trial", "active"}, (
        "the control: the right one gets through"
    )
    assert any(RIGHT in block for block in blocks)


async def test_two_principals_bring_nothing_before_users_and_a_third_one_does(
    memory: TedMemory,
) -> None:
    await archive(memory, "apples", ["bert", "carl"] * 20)
    [id] = await propose(memory, "apples")
    await replayed(memory)
    found = await lesson(memory, id)
    assert found is not None
    assert (found.state, (await sums(memory, id)).pairs) == ("proposed", 40)
    [standing] = await standings(memory)
    assert standing.helps == pytest.approx(1)
    assert "without the 2 loudest principals" in standing.waits_for
    await archive(memory, "apples", [f"person-{i % 3}" for i in range(9)])
    await replayed(memory)
    found = await lesson(memory, id)
    assert found is not None
    assert found.state == "trial"


async def test_where_one_principal_is_enough_one_is_enough(valkey: Server, namespace: str) -> None:
    """The control."""
    async with open_memory(valkey.url, namespace=namespace, min_principals=1) as memory:
        await archive(memory, "apples", ["bert"] * 10)
        [id] = await propose(memory, "apples")
        await replayed(memory)
        found = await lesson(memory, id)
        assert found is not None
        assert found.state == "trial"


@pytest.mark.parametrize("settings", [{"trust": "review"}, {"trial_rule": "quick"}])
async def test_what_the_operator_asks_for_holds(
    valkey: Server, namespace: str, settings: dict[str, Any]
) -> None:
    async with open_memory(valkey.url, namespace=namespace, **settings) as memory:
        if settings.get("trial_rule"):
            wealths: dict[str, float] = {}
            await until_active(memory, wealths)
            check_replayed_first(wealths)
            return

        async def passed() -> Experience | None:
            return next(
                (e for e in (await memory.load()).trial if e.trial and e.trial.passed), None
            )

        i = 0
        while (waiting := await passed()) is None:
            await request(memory, i)
            i += 1
            if i % 6 == 0:
                await learn(memory)
            assert i < 400
        assert (await standings(memory))[0].waits_for == "a person's approval: its trial is passed"
        assert await memory.render() == ""
        await memory.commit([SetState(id=waiting.id, state="active")], author="a person")
        assert RIGHT in await memory.render()


async def test_a_learner_that_runs_all_the_time_does_the_same(memory: TedMemory) -> None:
    one = learner(memory)
    running, wealths = asyncio.create_task(one.run()), dict[str, float]()
    try:
        for i in range(600):
            await note_wealths(memory, await request(memory, i), wealths)
            await asyncio.sleep(0.02)
            if any(": active: " in step for step in one.report.steps):
                break
    finally:
        one.stop()
        await running
    check_replayed_first(wealths)
    assert await state(memory, RIGHT) == "active", one.report


async def test_the_archive_of_a_learner_without_a_student_is_replayed_by_one_that_has_one(
    memory: TedMemory,
) -> None:
    await complain(memory, [episode("apples", i, principal=p) for i, p in enumerate(MANY[:12])])
    await Learner(memory, teacher=teacher(believes), replay="none").run(until_empty=True)
    assert await state(memory, RIGHT) == "proposed"
    await settle(memory)
    assert (await replayed(memory, student(obeys))).report.replayed >= 7
    assert await state(memory, RIGHT) == "trial"
