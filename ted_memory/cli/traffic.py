"""Commands on live traffic: learn from it, give feedback, look after dead letters."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ted_memory.cli import options, output
from ted_memory.cli.funnel import in_one_line, print_funnel
from ted_memory.errors import InvalidInput, ModelRefused, StoreError
from ted_memory.fields import NAMESPACE
from ted_memory.memory.client import TedMemory
from ted_memory.wiring import make_chat_model

if TYPE_CHECKING:
    from ted_memory.episodes import DeadLetter
    from ted_memory.learner import Funnel, Learner, LearnerReport
    from ted_memory.llm.spend import Prices

PERIOD = 5.0  # seconds between lines of a learner at work

Seqs = Annotated[
    list[int] | None, typer.Argument(help="Numbers of dead letters, as `dead list` shows them.")
]
All = Annotated[bool, typer.Option("--all", help="All of them.")]

EVERY_ONE = 1_000_000  # more dead letters than are ever kept
dead = typer.Typer(help="Episodes that could not be learned from.", no_args_is_help=True)


def learn(
    teacher: options.Teacher,
    student: Annotated[
        str | None, typer.Option("--student", help="As for distill; needed unless --attempts none.")
    ] = None,
    student_base_url: options.StudentUrl = None,
    teacher_base_url: options.TeacherUrl = None,
    student_max_tokens: options.StudentTokens = None,
    namespace: options.Namespace = None,
    every: Annotated[
        bool, typer.Option("--all-namespaces", help="Learn for every namespace that has traffic.")
    ] = False,
    url: options.Url = None,
    home: options.Home = None,
    grader: options.Grader = "auto",
    judge: options.Judge = None,
    judge_base_url: options.JudgeUrl = None,
    trust: options.Trust = None,
    attempts: Annotated[
        str,
        typer.Option(
            "--attempts",
            help="How a task is attempted again: model (over the recorded tools), none.",
        ),
    ] = "model",
    rollouts: options.Rollouts = None,
    profile: options.Profile = None,
    instructions: options.Instructions = None,
    prompts: options.Prompts = None,
    verify_calls: options.VerifyCalls = None,
    max_revisions: options.MaxRevisions = None,
    temperature: options.Temperature = None,
    retrieval: options.Retrieval = None,
    language: options.Language = None,
    at_once: Annotated[
        int | None, typer.Option("--at-once", help="Episodes at a time.  [default: 4]")
    ] = None,
    max_calls: Annotated[
        int | None, typer.Option("--max-calls", help="A day and namespace.", min=1)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="A day and namespace.", min=1)
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", help="A day and namespace; needs --prices.")
    ] = None,
    prices: options.Prices = None,
    concurrency: options.Concurrency = None,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End when nothing waits any more.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Learn from live traffic until it is stopped (Ctrl-C, SIGTERM).

    Any number of these may run at once, on one machine or many. What is under way when one is
    stopped is finished, or given back; what one that is killed held is another's after the lease.
    """
    from ted_memory.learner import Learner

    memory = options.memory_of(
        url, namespace, home, episodes_at_once=at_once, **options.settings_among(locals())
    )
    if attempts not in {"model", "none"}:
        raise InvalidInput(
            f"--attempts {attempts!r}: use model or none (agent is for Learner, in Python)"
        )
    answering: dict[str, Any] = {"base_url": student_base_url, "max_tokens": student_max_tokens}
    learner = Learner(
        memory,
        student=None if student is None else make_chat_model(student, **answering),
        teacher=make_chat_model(teacher, base_url=teacher_base_url),
        grader=options.grader_of(grader, judge, judge_base_url),
        namespaces="all" if every else "own",
        replay="none" if attempts == "none" else "model",
        budget=options.budget_of(max_calls, max_tokens, max_cost, prices),
    )
    asyncio.run(
        _learn(
            memory,
            learner,
            options.prices_of(prices),
            until_empty=until_empty,
            as_json=json,
            every=every,
        )
    )


async def _learn(
    memory: TedMemory,
    learner: Learner,
    prices: Prices | None,
    *,
    until_empty: bool,
    as_json: bool,
    every: bool,
) -> None:
    async with memory:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(name, learner.stop)
        teller = _Teller(learner.report)
        telling = asyncio.create_task(teller.tell_always())
        try:
            report = await learner.run(until_empty=until_empty)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        teller.tell_steps()
        if as_json:
            way = None if every else await _way_of(memory)
            done = {
                "outcomes": dict(report.outcomes),
                "replayed": report.replayed,
                "steps": report.steps,
            }
            funnel = way.model_dump(mode="json") if way else None
            output.print_json({**done, "last_error": report.last_error, "funnel": funnel})
        else:
            output.out.print(_progress(report), markup=False)
            await (_print_ways(memory, prices) if every else _print_way(memory, prices))
    if until_empty and report.refused:
        raise ModelRefused(f"{report.refused} The episodes wait; call again to go on")


async def _way_of(memory: TedMemory) -> Funnel | None:
    """Return how far one namespace has come; None where the store is away at the end: what was done is told anyway."""
    from ted_memory.learner import funnel

    try:
        return await funnel(memory)
    except StoreError:
        return None


async def _print_way(memory: TedMemory, prices: Prices | None) -> None:
    if way := await _way_of(memory):
        with contextlib.suppress(StoreError):
            traffic = await memory.store.episodes.traffic(memory.namespace)
            print_funnel(way, traffic.counts, prices)


async def _print_ways(memory: TedMemory, prices: Prices | None) -> None:
    """Print a line for each namespace that has traffic."""
    names: tuple[str, ...] = ()
    with contextlib.suppress(StoreError):
        names = await memory.store.episodes.namespaces()
    for name in filter(NAMESPACE.fullmatch, names):  # the learner has told of the others
        if way := await _way_of(memory.for_namespace(name)):
            output.out.print(in_one_line(name, way, prices), markup=False)


class _Teller:
    """Tells what a learner does, on standard error."""

    def __init__(self, report: LearnerReport) -> None:
        self._report = report
        self._steps = 0
        self._line = ""

    async def tell_always(self) -> None:
        """Print what is new, now and then."""
        output.err.print("learning; stop with Ctrl-C", markup=False)
        while True:
            await asyncio.sleep(PERIOD)
            self.tell_steps()
            if (line := _progress(self._report)) != self._line:
                output.err.print(line, markup=False)
                self._line = line

    def tell_steps(self) -> None:
        """Print the steps that were taken since the last time."""
        steps, self._steps = self._report.steps_since(self._steps)
        for step in steps:
            output.err.print(step, markup=False)


def _progress(report: LearnerReport) -> str:
    counts = report.outcomes
    done = (
        ", ".join(f"{name.replace('_', ' ')} {counts[name]}" for name in sorted(counts))
        or "nothing yet"
    )
    replayed = f"; {report.replayed} pairs replayed" if report.replayed else ""
    error = f"; last error: {report.last_error}" if report.last_error else ""
    return f"{report.settled} episodes: {done}{replayed}{error}"


def feedback(
    run_id: Annotated[
        str, typer.Argument(help='Of the run: response_metadata["ted_memory"]["run_id"].')
    ],
    score: Annotated[
        float | None, typer.Option("--score", help="From 0 (wrong) to 1 (right).")
    ] = None,
    comment: Annotated[str, typer.Option("--comment", help="What was said about it.")] = "",
    correction: Annotated[
        str, typer.Option("--correction", help="The answer that would have been right.")
    ] = "",
    principal: Annotated[str, typer.Option("--principal", help="Who says so.")] = "anonymous",
    reviewer: Annotated[
        bool, typer.Option("--reviewer", help="That one may speak of others' runs.")
    ] = False,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Say how good a run was; it is credited to the lessons that the run had seen."""
    if score is None and not comment and not correction:
        raise InvalidInput("there is nothing to say: give --score, --comment or --correction")

    async def give() -> str:
        async with options.memory_of(url, namespace, home) as memory:
            return await memory.give_feedback(
                run_id,
                score=score,
                comment=comment,
                correction=correction,
                principal=principal,
                reviewer=reviewer,
            )

    verdict = asyncio.run(give())
    told = {
        "unknown": "no such run is recorded here (yet); should it come, this waits for it",
        "kept": "kept",
    }
    told["foreign"] = (
        "not counted: the run is another principal's; --reviewer for who may speak of others' runs"
    )
    if json:
        output.print_json({"run_id": run_id, "verdict": verdict})
    else:
        output.out.print(told.get(verdict, verdict), markup=False)


@dead.command("list")
def dead_list(
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many.")] = 20,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Show dead letters, newest first, with the reason."""

    async def read() -> tuple[DeadLetter, ...]:
        async with options.memory_of(url, namespace, home) as memory:
            return await memory.dead_letters(limit)

    letters = asyncio.run(read())
    if json:
        output.print_json({"dead": [letter.model_dump(mode="json") for letter in letters]})
        return
    for letter in letters:
        when = f"{letter.at:%Y-%m-%d %H:%M:%S}Z"
        run_id, reason = map(output.one_line, (letter.run_id, letter.reason))
        output.out.print(f"{letter.seq}  run {run_id}  {when}  {reason}", markup=False)
    if not letters:
        output.out.print("no dead letters")


@dead.command("retry")
def dead_retry(
    seqs: Seqs = None,
    every: All = False,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Put dead letters back into the queue."""
    asyncio.run(_deal_with(seqs, namespace, url, home, every=every, retry=True, as_json=json))


@dead.command("drop")
def dead_drop(
    seqs: Seqs = None,
    every: All = False,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Forget dead letters for good."""
    asyncio.run(_deal_with(seqs, namespace, url, home, every=every, retry=False, as_json=json))


async def _deal_with(
    seqs: list[int] | None,
    namespace: str | None,
    url: str | None,
    home: str | None,
    *,
    every: bool,
    retry: bool,
    as_json: bool,
) -> None:
    if bool(seqs) == every:
        raise InvalidInput("give numbers of dead letters, or --all")
    async with options.memory_of(url, namespace, home) as memory:
        if every:
            seqs = [letter.seq for letter in await memory.dead_letters(EVERY_ONE)]
        call = memory.retry_dead_letters if retry else memory.drop_dead_letters
        found = await call(seqs) if seqs else 0
    if as_json:
        output.print_json({"retried" if retry else "dropped": found})
    else:
        output.out.print(f"{found} dead letters {'wait again' if retry else 'are forgotten'}")
