"""A desk's traffic: an agent in service, users who say what was wrong, a learner beside it.

Requests come on several days: each morning agent and learner open the memory anew, so that what is
allowed a day (such as the calls of replays) is a day's. All settings are the defaults of the
models' profile. A user who speaks up says whether the answer was right, and where it was wrong,
what would have been.
"""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from examples.families.family import Family
from examples.families.measure import Figures
from ted_memory import Sample, TedMemory
from ted_memory.experience.rendering import render_line
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.learner import Funnel, Learner, LearnerReport, funnel
from ted_memory.llm.spend import Spend

PRINCIPALS = 20
SPEAKS_UP = 0.2  # share of the requests whose user says how the answer was
REQUESTS = 1000
WINDOW = 50  # requests of which the report tells the accuracy
# graded episodes that may wait for the learner: real requests come more slowly than two cores learn
BACKLOG = 4
PATIENCE = 60.0  # seconds that the next request waits for the learner at most
REQUESTS_A_DAY = 100  # a small desk


@dataclass(frozen=True)
class Desk:
    """What comes in: so many requests with the family's samples, from so many principals.

    After so many ``hours`` none but the first one comes in.
    """

    family: Family
    requests: int = REQUESTS
    principals: int = PRINCIPALS
    speaks_up: float = SPEAKS_UP
    seed: int = 1
    hours: float = math.inf

    def questions(self) -> list[Sample]:
        """Return what is asked: all samples in a random order, then all again in another one."""
        luck, asked = random.Random(self.seed), list[Sample]()
        split = self.family.read()
        while len(asked) < self.requests:
            asked += luck.sample(
                [*split.train, *split.held_out], len(split.train) + len(split.held_out)
            )
        return asked[: self.requests]

    def days(self) -> list[list[Sample]]:
        """What is asked on each day."""
        asked = self.questions()
        return [asked[i : i + REQUESTS_A_DAY] for i in range(0, len(asked), REQUESTS_A_DAY)]


@dataclass
class Record:
    """What came of the days until now; ``funnels`` and ``reports`` have one of each day."""

    scores: list[float] = field(default_factory=list)
    graded: int = 0
    in_vain: int = 0
    funnels: list[Funnel] = field(default_factory=list)
    reports: list[LearnerReport] = field(default_factory=list)
    lessons: list[str] = field(default_factory=list)


OpenMemory = Callable[[int], AbstractAsyncContextManager[TedMemory]]
"""Opens the memory for the day of that number."""


async def serve(
    desk: Desk,
    opened: OpenMemory,
    *,
    student: BaseChatModel,
    teacher: BaseChatModel,
    told: Callable[[str], None] = lambda _: None,
) -> Figures:
    """Let the agent answer all requests one after the other, with a learner beside it.

    ``windows`` are the mean scores of each `WINDOW` requests. `told` is told of each of them.
    """
    record, luck = Record(), random.Random(desk.seed)
    began, cpu_before = time.monotonic(), time.process_time()
    until = began + desk.hours * 3600
    for day, samples in enumerate(desk.days()):
        if day and time.monotonic() >= until:
            break
        async with opened(day) as memory:
            shift = Shift(desk, memory, record, luck, told)
            await shift.work(samples, student=student, teacher=teacher, until=until)
    seconds = time.monotonic() - began
    return {
        "graded": record.graded,
        "waited_in_vain": record.in_vain,
        "window": WINDOW,
        "requests_a_day": REQUESTS_A_DAY,
        "cut_short": len(record.scores) < desk.requests,
        "cpu_seconds": round(time.process_time() - cpu_before),
        "seconds": round(seconds),
        **_summary(record),
    }


@dataclass
class Shift:
    """One day of the desk: its memory, and what it adds to the record."""

    desk: Desk
    memory: TedMemory
    record: Record
    luck: random.Random
    told: Callable[[str], None]

    async def work(
        self,
        samples: Sequence[Sample],
        *,
        student: BaseChatModel,
        teacher: BaseChatModel,
        until: float,
    ) -> None:
        """Answer these samples; none but the first begins after that moment (`time.monotonic`)."""
        recording = TedMemoryMiddleware(self.memory, record=True)
        agent = create_agent(student, [], middleware=[recording])
        learner = Learner(
            self.memory, student=student, teacher=teacher, grader=self.desk.family.grader
        )
        learning = asyncio.create_task(learner.run())
        try:
            for sample in samples:
                await self._answer(agent, sample)
                if time.monotonic() >= until:
                    break
        finally:
            learner.stop()
            await learning
        lessons = (await self.memory.load()).active
        self.record.funnels.append(await funnel(self.memory))
        self.record.reports.append(learner.report)
        self.record.lessons = [render_line(e.text, e.when, e.example, e.task) for e in lessons]

    async def _answer(self, agent: Any, sample: Sample) -> None:
        """Answer one request; perhaps its user says how the answer was."""
        user = f"user-{self.luck.randrange(self.desk.principals)}"
        run_id, answer = await _ask(agent, sample, user)
        score = self.desk.family.score(sample, answer)
        scores = self.record.scores
        scores.append(score)
        if self.luck.random() < self.desk.speaks_up:
            self.record.graded += 1
            correction = "" if score == 1 else sample.reference or ""
            await self.memory.give_feedback(
                run_id, score=score, correction=correction, principal=user
            )
            self.record.in_vain += not await _leave_time(self.memory, self.record.graded)
        if len(scores) % WINDOW == 0:
            await self._tell()

    async def _tell(self) -> None:
        scores, now = self.record.scores, await self.memory.load()
        right = f"after {len(scores)} requests: {fmean(scores[-WINDOW:]):.2f} of the last {WINDOW}"
        states = (
            f"{len(now.proposed)} proposed, {len(now.trial)} on trial, {len(now.active)} active"
        )
        self.told(f"{right}, {states}")


async def _leave_time(memory: TedMemory, graded: int) -> bool:
    """Wait until the learner has dealt with nearly all that users said; tell whether it has."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if graded - (await memory.store.episodes.traffic(memory.namespace)).archived <= BACKLOG:
            return True
        await asyncio.sleep(0.2)
    return False


async def _ask(agent: Any, sample: Sample, user: str) -> tuple[str, str]:
    """Return the run's id and the answer."""
    given = {"messages": [HumanMessage(sample.text)]}
    done = await agent.ainvoke(given, config=RunnableConfig(configurable={"principal": user}))
    said = done["messages"][-1]
    return said.response_metadata["ted_memory"]["run_id"], str(said.text)


COUNTED_BY_THE_DAY = ("replay_calls", "trials_begun", "activated", "retired", "demoted")
"""What a `Funnel` tells of today, beside what it cost."""


def _summary(record: Record) -> Figures:
    """Return scores by window, what the days cost in all, and where the lessons are at the end."""
    scores, funnels, reports = record.scores, record.funnels, record.reports
    ends = range(WINDOW, len(scores) + 1, WINDOW)
    in_all: dict[str, Any] = {
        name: sum(getattr(each, name) for each in funnels) for name in COUNTED_BY_THE_DAY
    }
    for work in ("learning", "replays"):
        in_all[work] = sum((getattr(each, work) for each in funnels), Spend())
    outcomes: Counter[str] = Counter()
    for report in reports:
        outcomes += report.outcomes
    return {
        "requests": len(scores),
        "windows": [round(fmean(scores[end - WINDOW : end]), 3) for end in ends],
        "funnel": funnels[-1].model_copy(update=in_all).model_dump(mode="json"),
        "replay_calls_by_day": [each.replay_calls for each in funnels],
        "episodes": dict(outcomes),
        "steps": [step for report in reports for step in report.steps],
        "lessons": record.lessons,
    }
