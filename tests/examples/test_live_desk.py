"""The desk of `make results` learns from its own traffic, with a profile's defaults.

Here with scripted models.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import fmean

import pytest
from langchain_core.messages import BaseMessage

from examples.families import FAMILIES
from examples.families.teacher import make_teacher
from examples.live_desk import REQUESTS_A_DAY, WINDOW, Desk, OpenMemory, serve
from examples.moved_days import find_library, moved_days
from examples.results_traffic import about_traffic
from ted_memory import TedMemory
from ted_memory.testing import ScriptedChatModel, in_memory

MUSEUM = FAMILIES["museum"]
RUN = {"family": "museum", "code": "abc1234"}


def _follows(messages: list[BaseMessage]) -> str:
    """Know nothing, and follow the lesson that is shown."""
    found = re.search(r"answer (office \w)", "\n".join(str(m.text) for m in messages))
    return found.group(1) if found else "office X"


def always(memory: TedMemory) -> OpenMemory:
    """Return what opens the same memory each day."""

    @asynccontextmanager
    async def opened(_day: int) -> AsyncIterator[TedMemory]:
        yield memory

    return opened


async def test_a_desk_gets_better_and_tells_what_it_took() -> None:
    memory = in_memory(profile="small")
    desk = Desk(MUSEUM, requests=400, speaks_up=1.0)
    told: list[str] = []
    student = ScriptedChatModel(script=_follows)
    figures = await serve(
        desk, always(memory), student=student, teacher=make_teacher(MUSEUM), told=told.append
    )
    await memory.aclose()
    assert (figures["requests"], figures["graded"], figures["cut_short"]) == (400, 400, False)
    assert len(figures["windows"]) == len(told) == 400 // WINDOW
    assert figures["windows"][0] < 0.3
    assert figures["funnel"]["active"] == len(figures["lessons"]) > 0
    assert max(figures["windows"][-3:]) > figures["windows"][0] + 0.2, figures
    assert figures["funnel"]["pairs"] > 0
    replays = figures["replay_calls_by_day"]
    assert len(replays) == 400 // REQUESTS_A_DAY
    assert figures["funnel"]["replay_calls"] == sum(replays) > 0
    learning = figures["funnel"]["learning"]
    assert learning["student"]["calls"] > 0
    text = about_traffic(figures | RUN)
    first, last = (fmean(figures["windows"][part]) for part in (slice(4), slice(-4, None)))
    assert (
        f"From the first 4 windows of 50 requests to the last 4: "
        f"{first:.2f} to {last:.2f}, {last - first:+.2f}." in text
    )
    made = figures["funnel"]["replays"]["student"]["calls"]
    assert (
        f"{learning['student']['calls'] + made:,} calls of the student "
        f"({made:,} of them for replays)" in text
    )
    assert text.count("\n| ") == 1 + len(figures["windows"])
    assert "with the code of commit abc1234" in text
    assert f"{max(replays):,} student calls on the busiest of 4 days, of 2,000" in text
    assert "the server of the models" in text
    short = about_traffic(figures | RUN | {"windows": [0.1, 0.9]})
    assert "too few requests" in short


async def test_traffic_that_has_no_more_time_tells_what_came_until_then() -> None:
    memory = in_memory(profile="small")
    student = ScriptedChatModel(script=_follows)
    desk = Desk(MUSEUM, requests=1_000_000, hours=0)
    figures = await serve(desk, always(memory), student=student, teacher=make_teacher(MUSEUM))
    await memory.aclose()
    assert figures["requests"] == 1  # the first request is always answered
    assert figures["cut_short"]
    assert figures["windows"] == []


def test_every_sample_is_asked_before_one_is_asked_again() -> None:
    split = MUSEUM.read()
    everything = {s.id for s in (*split.train, *split.held_out)}
    asked = [s.id for s in Desk(MUSEUM, requests=2 * len(everything)).questions()]
    assert {*asked[: len(everything)]} == {*asked[len(everything) :]} == everything
    assert asked[: len(everything)] != asked[len(everything) :]


def test_a_day_has_so_many_requests() -> None:
    desk = Desk(MUSEUM, requests=2 * REQUESTS_A_DAY + 1)
    assert [len(day) for day in desk.days()] == [REQUESTS_A_DAY, REQUESTS_A_DAY, 1]
    assert [sample for day in desk.days() for sample in day] == desk.questions()


@pytest.mark.skipif(find_library() is None, reason="Debian's faketime is not installed")
async def test_each_day_of_the_traffic_is_one_of_the_server() -> None:
    """What replays have used up on one day is theirs again on the next."""
    async with moved_days("desk", {"profile": "small"}) as days:
        for day in range(3):
            async with days.open(day) as memory:
                assert "replay_calls" not in (await memory.traffic()).today
                await memory.repository.count({"replay_calls": 2000})
                assert (await memory.traffic()).today["replay_calls"] == 2000


async def test_without_a_clock_to_move_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(RuntimeError, match="install Debian's faketime"):
        async with moved_days("desk", {}):
            pass
