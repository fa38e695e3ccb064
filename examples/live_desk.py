"""A desk's traffic: an agent in service, users of whom some say what was wrong, and a learner beside it.

All settings are the defaults of the models' profile, but for the calls that replays may take
(`Desk.replay_calls`). A user who speaks up says whether the answer was right, and where it was
wrong, what would have been.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
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
from ted_memory.learner import Learner, funnel

PRINCIPALS = 20
SPEAKS_UP = 0.2  # share of the requests whose user says how the answer was
REQUESTS = 1000
WINDOW = 50  # requests of which the report tells the accuracy
# graded episodes that may wait for the learner: real requests come more slowly than two cores learn
BACKLOG = 4
PATIENCE = 60.0  # seconds that the next request waits for the learner at most
# a small desk: what a day may spend on replays is counted by these days, not by the clock's
REQUESTS_A_DAY = 100


@dataclass(frozen=True)
class Desk:
    """What comes in: the family's samples in a random order, from so many principals, so many requests.

    None comes in after so many ``hours``.
    """

    family: Family
    requests: int = REQUESTS
    principals: int = PRINCIPALS
    speaks_up: float = SPEAKS_UP
    seed: int = 1
    hours: float = math.inf

    def questions(self) -> list[Sample]:
        """Return what is asked: all samples, and once these are through, all of them again in another order."""
        luck, asked = random.Random(self.seed), list[Sample]()
        split = self.family.read()
        while len(asked) < self.requests:
            asked += luck.sample(
                [*split.train, *split.held_out], len(split.train) + len(split.held_out)
            )
        return asked[: self.requests]

    def replay_calls(self, a_day: int) -> int:
        """Return what replays may take in all, where a day of traffic may take so much: the traffic is hurried up."""
        return a_day * math.ceil(self.requests / REQUESTS_A_DAY)


async def serve(
    desk: Desk,
    memory: TedMemory,
    *,
    student: BaseChatModel,
    teacher: BaseChatModel,
    told: Callable[[str], None] = lambda _: None,
) -> Figures:
    """Let the agent answer all requests one after the other, with a learner beside it; return what came of it.

    ``windows`` are the mean scores of each `WINDOW` requests. `told` is told of each of them.
    """
    agent = create_agent(student, [], middleware=[TedMemoryMiddleware(memory, record=True)])
    learner = Learner(memory, student=student, teacher=teacher, grader=desk.family.grader)
    luck, scores, graded, in_vain, began = (
        random.Random(desk.seed),
        list[float](),
        0,
        0,
        time.monotonic(),
    )
    cpu_before = time.process_time()
    learning = asyncio.create_task(learner.run())
    try:
        for sample in desk.questions():
            if time.monotonic() - began >= desk.hours * 3600:
                break
            user = f"user-{luck.randrange(desk.principals)}"
            run_id, answer = await _ask(agent, sample, user)
            scores.append(desk.family.score(sample, answer))
            if luck.random() < desk.speaks_up:
                graded += 1
                correction = "" if scores[-1] == 1 else sample.reference or ""
                await memory.give_feedback(
                    run_id, score=scores[-1], correction=correction, principal=user
                )
                in_vain += not await _leave_time(memory, graded)
            if len(scores) % WINDOW == 0:
                now = await memory.load()
                states = f"{len(now.proposed)} proposed, {len(now.trial)} on trial, {len(now.active)} active"
                told(
                    f"after {len(scores)} requests: {fmean(scores[-WINDOW:]):.2f} of the last {WINDOW}, {states}"
                )
    finally:
        learner.stop()
        await learning
    came = await _figures(memory, learner, scores, seconds=time.monotonic() - began)
    ended = {
        "cut_short": len(scores) < desk.requests,
        "cpu_seconds": round(time.process_time() - cpu_before),
    }
    return {"graded": graded, "waited_in_vain": in_vain, "window": WINDOW} | ended | came


async def _leave_time(memory: TedMemory, graded: int) -> bool:
    """Wait until the learner has come to the end of what users said, or nearly so; tell whether it has."""
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


async def _figures(
    memory: TedMemory, learner: Learner, scores: list[float], *, seconds: float
) -> Figures:
    lessons = (await memory.load()).active
    return {
        "requests": len(scores),
        "windows": [
            round(fmean(scores[i - WINDOW : i]), 3) for i in range(WINDOW, len(scores) + 1, WINDOW)
        ],
        "seconds": round(seconds),
        "funnel": (await funnel(memory)).model_dump(mode="json"),
        "episodes": dict(learner.report.outcomes),
        "steps": learner.report.steps,
        "lessons": [render_line(e.text, e.when, e.example, e.task) for e in lessons],
    }
