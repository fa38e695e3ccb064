r"""``ted-memory distill``: lessons from a data set, or from the archive of live traffic.

Interrupted at any moment, the same command goes on where it stopped. Agents see the result in
one step, and only what passed the gate: each sample judges the lessons that did not come from
it.

With --from-traffic the archive of graded episodes is the data set, for traffic that is too
little for trials (ted-memory plan). What passes the gate is active at once: that is your word
for what your users said.

Keys of --json: namespace, version, samples, learned, set_aside, resumed, collapsed, reasons,
stopped (of the samples), promoted, gate, conflicts, rejected, joined, shown, carried,
solved_tasks, experiences (of the lessons), spend, seconds.

Examples:
    ted-memory distill train.jsonl --student openai:gpt-5-nano --teacher openai:gpt-5 -n tickets
    ted-memory distill --from-traffic --student openai:gpt-5-nano --teacher openai:gpt-5
    ted-memory distill train.jsonl --student qwen3 --student-base-url http://localhost:8000/v1 \
        --teacher openai:gpt-5 --max-cost 5 --prices 0,0,1.25,10 --json > run.json
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ted_memory.cli import output
from ted_memory.cli.options import data, grading, learning, models, place, showing, spending
from ted_memory.errors import InvalidInput
from ted_memory.memory.client import TedMemory
from ted_memory.models import Sample
from ted_memory.wiring import make_chat_model

if TYPE_CHECKING:  # commands that call no model start without LangChain
    from ted_memory.distill import Prices

_Reader = Callable[[TedMemory], Awaitable[Sequence[Sample]]]


def distill(
    student: models.Student,
    teacher: models.Teacher,
    file: data.OptionalFile = None,
    student_base_url: models.StudentUrl = None,
    teacher_base_url: models.TeacherUrl = None,
    student_max_tokens: models.StudentTokens = None,
    student_temperature: models.StudentTemperature = None,
    temperature: models.Temperature = None,
    concurrency: models.Concurrency = None,
    from_traffic: data.FromTraffic = False,
    up_to: data.UpTo = None,
    mapping: data.Mapping = "auto",
    split: data.Split = None,
    limit: data.Limit = None,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    grader: grading.Grader = "auto",
    judge: grading.Judge = None,
    judge_base_url: grading.JudgeUrl = None,
    rollouts: learning.Rollouts = None,
    shown_share: learning.ShownShare = None,
    profile: learning.Profile = None,
    instructions: learning.Instructions = None,
    prompts: learning.Prompts = None,
    verify_calls: learning.VerifyCalls = None,
    max_revisions: learning.MaxRevisions = None,
    critique_batch: learning.CritiqueBatch = None,
    validation: learning.Validation = None,
    checkpoints: learning.Checkpoints = None,
    compaction: learning.Compaction = None,
    compact_every: learning.CompactEvery = None,
    max_calls: spending.MaxCalls = None,
    max_tokens: spending.MaxTokens = None,
    max_cost: spending.MaxCost = None,
    prices: spending.Prices = None,
    selection: showing.Selection = None,
    top_k: showing.TopK = None,
    retrieval: showing.Retrieval = None,
    language: showing.Language = None,
    placement: showing.Placement = None,
    json: place.Json = False,
) -> None:
    """Learn from a data set, or from graded episodes of traffic."""
    price_list = spending.prices_of(prices)  # a wrong one is told before anything is paid for
    read = _reader(file, up_to, limit, mapping, split, from_traffic=from_traffic)
    memory = place.memory_of(url, namespace, home, **learning.settings_among(locals()))
    run = _run_of("traffic" if file is None else file.stem, locals())
    asyncio.run(_distill(memory, read, run, price_list, as_json=json))


def _run_of(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Make models, grader and budget of a run as the command's options name them."""
    return {
        "name": name,
        "student": make_chat_model(
            options["student"],
            base_url=options["student_base_url"],
            max_tokens=options["student_max_tokens"],
            temperature=options["student_temperature"],
        ),
        "teacher": make_chat_model(options["teacher"], base_url=options["teacher_base_url"]),
        "grader": grading.grader_of(options["grader"], options["judge"], options["judge_base_url"]),
        "budget": spending.budget_of(
            options["max_calls"], options["max_tokens"], options["max_cost"], options["prices"]
        ),
    }


async def _distill(
    memory: TedMemory,
    read: _Reader,
    run: Mapping[str, Any],
    prices: Prices | None,
    *,
    as_json: bool,
) -> None:
    from ted_memory.distill import distill as run_distillation

    async with memory:
        samples = await read(memory)
        with output.progress() as on_progress:
            report = await run_distillation(samples, memory=memory, on_progress=on_progress, **run)
    if as_json:
        output.print_json(report.model_dump(mode="json"))
    else:
        output.print_report(report, prices)
    if report.samples and report.set_aside == report.samples:  # a script has to notice
        raise typer.Exit(1)


def _reader(
    file: Path | None,
    up_to: str | None,
    limit: int | None,
    mapping: str,
    split: str | None,
    *,
    from_traffic: bool,
) -> _Reader:
    """Choose the data set that the options name.

    Raises:
        InvalidInput: they name none, or two.
    """
    if from_traffic == (file is not None):
        raise InvalidInput("give one data set: a FILE, or --from-traffic")
    if file is not None:
        return _file_reader(file, up_to, limit, mapping, split)
    return _archive_reader(up_to, limit, mapping, split)


def _file_reader(
    file: Path, up_to: str | None, limit: int | None, mapping: str, split: str | None
) -> _Reader:
    """Read a data set at once: what is wrong with it is told before the memory is opened."""
    from ted_memory.datasets import read_samples

    if up_to is not None:
        raise InvalidInput("--up-to is for --from-traffic")
    samples = read_samples(file, limit=limit, mapping=mapping, split=split)

    async def read(_: TedMemory) -> Sequence[Sample]:
        return samples

    return read


def _archive_reader(
    up_to: str | None, limit: int | None, mapping: str, split: str | None
) -> _Reader:
    if split is not None or mapping != "auto":
        raise InvalidInput(
            "--split and --mapping are for a FILE; episodes have the same shape always"
        )

    async def read(memory: TedMemory) -> Sequence[Sample]:
        from ted_memory.learner import archived_samples

        samples = await archived_samples(memory, limit=limit, up_to=up_to)
        again = f"; to take the same ones again: --up-to {samples[-1].id}" if up_to is None else ""
        sources = {source for sample in samples for source in sample.sources}
        people = sum(source.startswith("principal:") for source in sources)
        told = f"{_counted(len(samples), 'archived episode')} of {_counted(people, 'principal')}"
        output.err.print(f"learning from {told}{again}", markup=False)
        return samples

    return read


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
