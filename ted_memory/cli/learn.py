"""``ted-memory learn``: a learner, which works until it is stopped.

Any number of these may run at once, on one machine or many. What is under way when one is
stopped is finished, or given back; what one that is killed held is another's after the lease.

With --metrics-port, GET /metrics there answers what `ted-memory status --metrics` prints, of each
namespace that is learned from, as Prometheus reads it. Nobody logs in: keep it on an inside host.

With --json, it is printed at the end. Keys of --json: outcomes (of episodes, by name), replayed
(pairs), steps (what was done with lessons), last_error, funnel (as `status` prints it; null if
the store is away). With --all-namespaces there is funnels (by namespace) in place of funnel.

Examples:
    ted-memory learn --teacher openai:gpt-5 --student openai:gpt-5-nano --namespace support
    ted-memory learn --all-namespaces --teacher openai:gpt-5 --attempts none --max-calls 2000
    ted-memory learn --teacher openai:gpt-5 --attempts none --metrics-port 9464
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ted_memory.cli import output
from ted_memory.cli.options import grading, learning, models, place, showing, spending
from ted_memory.cli.output.funnel import in_one_line, print_funnel
from ted_memory.cli.output.metrics import exposition_of_all
from ted_memory.cli.output.scraping import PATH, Read, serving
from ted_memory.errors import CorruptData, InvalidInput, ModelRefused, StoreError
from ted_memory.fields import NAMESPACE
from ted_memory.memory.client import TedMemory
from ted_memory.wiring import make_chat_model

if TYPE_CHECKING:  # commands that call no model start without LangChain
    from ted_memory.learner import Funnel, Learner, LearnerReport
    from ted_memory.llm.spend import Prices

_PERIOD = 5.0  # seconds between lines of a learner at work

_Student = Annotated[
    str | None,
    typer.Option(
        "--student",
        help="As for distill; needed unless --attempts none.",
        rich_help_panel="Models",
    ),
]
_AtOnce = Annotated[int | None, typer.Option("--at-once", help="Episodes at a time.  [default: 4]")]
_UntilEmpty = Annotated[
    bool, typer.Option("--until-empty", help="End when nothing waits any more.")
]
_Every = Annotated[
    bool,
    typer.Option(
        "--all-namespaces",
        help="Learn for every namespace that has traffic.",
        rich_help_panel="Memory",
    ),
]
_Attempts = Annotated[
    str,
    typer.Option(
        "--attempts",
        help="How a task is attempted again: model (over the recorded tools), none.",
        rich_help_panel="Learning",
    ),
]
_MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65535,
        help="Serve metrics for Prometheus here; 0: any free port.",
        rich_help_panel="Metrics",
    ),
]
_MetricsHost = Annotated[
    str,
    typer.Option("--metrics-host", help="Where they are served.", rich_help_panel="Metrics"),
]


def learn(
    teacher: models.Teacher,
    student: _Student = None,
    student_base_url: models.StudentUrl = None,
    teacher_base_url: models.TeacherUrl = None,
    student_max_tokens: models.StudentTokens = None,
    temperature: models.Temperature = None,
    concurrency: models.Concurrency = None,
    at_once: _AtOnce = None,
    until_empty: _UntilEmpty = False,
    namespace: place.Namespace = None,
    every: _Every = False,
    url: place.Url = None,
    home: place.Home = None,
    grader: grading.Grader = "auto",
    judge: grading.Judge = None,
    judge_base_url: grading.JudgeUrl = None,
    trust: learning.Trust = None,
    attempts: _Attempts = "model",
    rollouts: learning.Rollouts = None,
    profile: learning.Profile = None,
    instructions: learning.Instructions = None,
    prompts: learning.Prompts = None,
    verify_calls: learning.VerifyCalls = None,
    max_revisions: learning.MaxRevisions = None,
    retrieval: showing.Retrieval = None,
    language: showing.Language = None,
    max_calls: spending.CallsADay = None,
    max_tokens: spending.TokensADay = None,
    max_cost: spending.CostADay = None,
    prices: spending.Prices = None,
    metrics_port: _MetricsPort = None,
    metrics_host: _MetricsHost = "127.0.0.1",
    json: place.Json = False,
) -> None:
    """Learn from live traffic until it is stopped (Ctrl-C, SIGTERM)."""
    from ted_memory.learner import Learner

    if attempts not in {"model", "none"}:
        raise InvalidInput(
            f"--attempts {attempts!r}: use model or none (agent is for Learner, in Python)"
        )
    settings = learning.settings_among(locals())
    memory = place.memory_of(url, namespace, home, episodes_at_once=at_once, **settings)
    learner = Learner(
        memory,
        student=_student_of(student, student_base_url, student_max_tokens),
        teacher=make_chat_model(teacher, base_url=teacher_base_url),
        grader=grading.grader_of(grader, judge, judge_base_url),
        namespaces="all" if every else "own",
        replay="none" if attempts == "none" else "model",
        budget=spending.budget_of(max_calls, max_tokens, max_cost, prices),
    )
    shown = _Shown(spending.prices_of(prices), every=every, as_json=json)
    served = _served(partial(_metrics, memory, shown), metrics_host, metrics_port)
    asyncio.run(_learn(memory, learner, shown, served, until_empty=until_empty))


@dataclass(frozen=True)
class _Shown:
    """What is printed and served: of every namespace or one, with prices or without."""

    prices: Prices | None
    every: bool
    as_json: bool


def _student_of(name: str | None, url: str | None, longest: int | None) -> Any:
    return None if name is None else make_chat_model(name, base_url=url, max_tokens=longest)


async def _learn(
    memory: TedMemory,
    learner: Learner,
    shown: _Shown,
    served: AbstractAsyncContextManager[None],
    *,
    until_empty: bool,
) -> None:
    async with memory, served:
        report = await _work(learner, until_empty=until_empty)
        if shown.as_json:
            output.print_json(_as_json(report) | await _funnels_as_json(memory, every=shown.every))
        else:
            output.out.print(_progress(report), markup=False)
            await _print_funnels(memory, shown.prices, every=shown.every)
    if until_empty and report.refused:
        raise ModelRefused(f"{report.refused} The episodes wait; call again to go on")


async def _work(learner: Learner, *, until_empty: bool) -> LearnerReport:
    """Let a learner work until it is stopped, and tell on standard error what it does."""
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(name, learner.stop)
    teller = _Teller(learner.report, learner.memory)
    telling = asyncio.create_task(teller.tell_always())
    try:
        report = await learner.run(until_empty=until_empty)
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
    teller.tell_steps()
    return report


@contextlib.asynccontextmanager
async def _served(read: Read, host: str, port: int | None) -> AsyncIterator[None]:
    """Serve metrics, and tell on standard error where; nothing without a port."""
    if port is None:
        yield
        return
    async with serving(read, host, port) as served_at:
        output.err.print(f"metrics at http://{host}:{served_at}{PATH}", markup=False)
        yield


async def _metrics(memory: TedMemory, shown: _Shown) -> str:
    """Write the metrics of the namespaces that are learned from. Raises StoreError."""
    from ted_memory.learner import funnel

    names = await memory.namespaces(with_traffic=True) if shown.every else (memory.namespace,)
    sets = []
    for name in filter(NAMESPACE.fullmatch, names):
        one = memory.for_namespace(name) if shown.every else memory
        with contextlib.suppress(CorruptData):  # of one namespace; the others are told
            sets.append((await one.load(), await one.traffic(), await funnel(one)))
    return exposition_of_all(sets, shown.prices)


class _Teller:
    """Tells what a learner does, on standard error."""

    def __init__(self, report: LearnerReport, memory: TedMemory) -> None:
        self._report = report
        self._memory = memory
        self._began = time.monotonic()
        self._steps = 0
        self._line = ""

    async def tell_always(self) -> None:
        """Print what is new, now and then."""
        output.err.print("learning; stop with Ctrl-C", markup=False)
        while True:
            await asyncio.sleep(_PERIOD)
            self.tell_steps()
            if (line := _progress(self._report)) != self._line:
                output.err.print(f"{line}{await self._left()}", markup=False)
                self._line = line

    async def _left(self) -> str:
        """Say how many episodes of the memory's own namespace wait, and for how long about."""
        try:
            waiting = (await self._memory.traffic()).waiting
        except StoreError:  # the learner tells of it
            return ""
        seconds = time.monotonic() - self._began
        left = output.time_left(self._report.settled, waiting, seconds)
        return f"; {waiting} wait{f', {left}' if left else ''}" if waiting else ""

    def tell_steps(self) -> None:
        """Print the steps that were taken since the last time."""
        steps, self._steps = self._report.steps_since(self._steps)
        for step in steps:
            output.err.print(step, markup=False)


def _progress(report: LearnerReport) -> str:
    counts = report.outcomes
    done = ", ".join(f"{name.replace('_', ' ')} {counts[name]}" for name in sorted(counts))
    replayed = f"; {report.replayed} pairs replayed" if report.replayed else ""
    error = f"; last error: {report.last_error}" if report.last_error else ""
    return f"{report.settled} episodes: {done or 'nothing yet'}{replayed}{error}"


def _as_json(report: LearnerReport) -> dict[str, Any]:
    return {
        "outcomes": dict(report.outcomes),
        "replayed": report.replayed,
        "steps": report.steps,
        "last_error": report.last_error,
    }


async def _funnels_as_json(memory: TedMemory, *, every: bool) -> dict[str, Any]:
    if not every:
        way = await _funnel_of(memory)
        return {"funnel": way.model_dump(mode="json") if way else None}
    ways = await _funnels_of_all(memory)
    return {"funnels": {name: way.model_dump(mode="json") for name, way in ways.items()}}


async def _print_funnels(memory: TedMemory, prices: Prices | None, *, every: bool) -> None:
    if every:
        for name, way in (await _funnels_of_all(memory)).items():
            output.out.print(in_one_line(name, way, prices), markup=False)
        return
    own = await _funnel_of(memory)
    if own is not None:
        with contextlib.suppress(StoreError):
            traffic = await memory.traffic()
            print_funnel(own, traffic.counts, prices)


async def _funnel_of(memory: TedMemory) -> Funnel | None:
    """Read how far one namespace has come; None where the store is away.

    What the learner did is told anyway.
    """
    from ted_memory.learner import funnel

    try:
        return await funnel(memory)
    except StoreError:
        return None


async def _funnels_of_all(memory: TedMemory) -> dict[str, Funnel]:
    """Read how far each namespace with traffic has come; those that cannot be read are left out."""
    names: tuple[str, ...] = ()
    with contextlib.suppress(StoreError):
        names = await memory.namespaces(with_traffic=True)
    ways: dict[str, Funnel] = {}
    for name in names:
        if not NAMESPACE.fullmatch(name):  # the learner has told of it
            continue
        found = await _funnel_of(memory.for_namespace(name))
        if found is not None:
            ways[name] = found
    return ways
