"""Commands that call models. What calls them is imported when it is needed: other commands start without LangChain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ted_memory.cli import options, output
from ted_memory.errors import InvalidInput
from ted_memory.memory.client import TedMemory
from ted_memory.models import Sample
from ted_memory.wiring import make_chat_model

if TYPE_CHECKING:
    from ted_memory.distill import Prices

Reader = Callable[[TedMemory], Awaitable[Sequence[Sample]]]


def distill(
    student: options.Student,
    teacher: options.Teacher,
    file: options.OptionalFile = None,
    from_traffic: options.FromTraffic = False,
    up_to: options.UpTo = None,
    student_base_url: options.StudentUrl = None,
    teacher_base_url: options.TeacherUrl = None,
    student_max_tokens: options.StudentTokens = None,
    student_temperature: options.StudentTemperature = None,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    mapping: options.Mapping = "auto",
    split: options.Split = None,
    grader: options.Grader = "auto",
    judge: options.Judge = None,
    judge_base_url: options.JudgeUrl = None,
    limit: options.Limit = None,
    rollouts: options.Rollouts = None,
    inclusion: options.Inclusion = None,
    profile: options.Profile = None,
    instructions: options.Instructions = None,
    prompts: options.Prompts = None,
    verify_calls: options.VerifyCalls = None,
    max_revisions: options.MaxRevisions = None,
    critique_batch: options.CritiqueBatch = None,
    temperature: options.Temperature = None,
    validation: options.Validation = None,
    checkpoints: options.Checkpoints = None,
    compaction: options.Compaction = None,
    compact_every: options.CompactEvery = None,
    max_calls: options.MaxCalls = None,
    max_tokens: options.MaxTokens = None,
    max_cost: options.MaxCost = None,
    prices: options.Prices = None,
    selection: options.Selection = None,
    top_k: options.TopK = None,
    retrieval: options.Retrieval = None,
    language: options.Language = None,
    placement: options.Placement = None,
    concurrency: options.Concurrency = None,
    json: options.Json = False,
) -> None:
    """Learn from a data set, or from the graded episodes of live traffic.

    Interrupted at any moment, the same command goes on where it stopped. Agents see the result in
    one step, and only what passed the gate: each sample judges the lessons that did not come from
    it.

    With --from-traffic the archive of graded episodes is the data set, for traffic that is too
    little for trials (ted-memory plan). What passes the gate is active at once: that is your word
    for what your users said.
    """
    price_list = options.prices_of(prices)  # a wrong one is told before anything is paid for
    read = _reader(
        file, from_traffic=from_traffic, up_to=up_to, limit=limit, mapping=mapping, split=split
    )
    memory = options.memory_of(url, namespace, home, **options.settings_among(locals()))
    given = _called_for("traffic" if file is None else file.stem, locals())
    asyncio.run(_learn(memory, read, given, price_list, as_json=json))


def _reader(
    file: Path | None,
    *,
    from_traffic: bool,
    up_to: str | None,
    limit: int | None,
    mapping: str,
    split: str | None,
) -> Reader:
    """Return what reads the samples that a command's options name.

    Raises:
        InvalidInput: they name no data set, or two.
    """
    if from_traffic == (file is not None):
        raise InvalidInput("give one data set: a FILE, or --from-traffic")
    if file is not None:
        from ted_memory.datasets import read_samples

        if up_to is not None:
            raise InvalidInput("--up-to is for --from-traffic")
        samples = read_samples(file, limit=limit, mapping=mapping, split=split)

        async def from_file(_: TedMemory) -> Sequence[Sample]:
            return samples

        return from_file
    if split is not None or mapping != "auto":
        raise InvalidInput(
            "--split and --mapping are for a FILE; episodes have the same shape always"
        )

    async def from_archive(memory: TedMemory) -> Sequence[Sample]:
        from ted_memory.learner import archived_samples

        found = await archived_samples(memory, limit=limit, up_to=up_to)
        again = f"; to take the same ones again: --up-to {found[-1].id}" if up_to is None else ""
        people = {
            source
            for sample in found
            for source in sample.sources
            if source.startswith("principal:")
        }
        told = f"{_counted(len(found), 'archived episode')} of {_counted(len(people), 'principal')}"
        output.err.print(f"learning from {told}{again}", markup=False)
        return found

    return from_archive


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _called_for(name: str, options_of: Mapping[str, Any]) -> dict[str, Any]:
    """Return models, grader and budget of a run as the command's options name them."""
    o = options_of
    return {
        "student": make_chat_model(
            o["student"],
            base_url=o["student_base_url"],
            max_tokens=o["student_max_tokens"],
            temperature=o["student_temperature"],
        ),
        "teacher": make_chat_model(o["teacher"], base_url=o["teacher_base_url"]),
        "grader": options.grader_of(o["grader"], o["judge"], o["judge_base_url"]),
        "budget": options.budget_of(o["max_calls"], o["max_tokens"], o["max_cost"], o["prices"]),
        "name": name,
    }


async def _learn(
    memory: TedMemory,
    read: Reader,
    given: Mapping[str, Any],
    prices: Prices | None,
    *,
    as_json: bool,
) -> None:
    from ted_memory.distill import distill as run_distillation

    async with memory:
        samples = await read(memory)
        with output.progress() as on_progress:
            report = await run_distillation(
                samples, memory=memory, on_progress=on_progress, **given
            )
    if as_json:
        output.print_json(report.model_dump(mode="json"))
    else:
        output.print_report(report, prices)
    if report.samples and report.set_aside == report.samples:  # for whoever runs it in a script
        raise typer.Exit(1)
