r"""``ted-memory eval``: what the lessons are worth.

Both sides answer the same samples. With --examples, also with the nearest solved samples in
place of the experiences, at about as many tokens. With --report, the figures are also written
to a folder as Markdown, JSON and plots.

Keys of --json: namespace, version, presentation, active (lessons), samples, repeats, without,
with, difference, mcnemar_p, gain_per_lesson, gain_per_100_tokens, examples (null without
--examples), categories, curve (empty without --checkpoints), failures, spend, cost, currency
(null without --prices).

Examples:
    ted-memory eval test.jsonl --student openai:gpt-5-nano --namespace tickets
    ted-memory eval test.jsonl --student openai:gpt-5-nano -n tickets --examples train.jsonl \
        --report report/ --learning run.json --prices 0.05,0.4,1.25,10
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ted_memory.cli import output
from ted_memory.cli.options import data, grading, models, place, reporting, showing, spending
from ted_memory.cli.options.reporting import ReportOptions
from ted_memory.memory.client import TedMemory
from ted_memory.models import Sample
from ted_memory.wiring import make_chat_model

if TYPE_CHECKING:  # commands that call no model start without LangChain
    from ted_memory.evaluation import Evaluation


def evaluate(
    file: data.File,
    student: models.Student,
    student_base_url: models.StudentUrl = None,
    student_max_tokens: models.StudentTokens = None,
    student_temperature: models.StudentTemperature = None,
    concurrency: models.Concurrency = None,
    mapping: data.Mapping = "auto",
    split: data.Split = None,
    limit: data.Limit = None,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    grader: grading.Grader = "auto",
    judge: grading.Judge = None,
    judge_base_url: grading.JudgeUrl = None,
    repeats: reporting.Repeats = 1,
    checkpoints: reporting.OlderVersions = 0,
    examples: reporting.Examples = None,
    examples_split: reporting.ExamplesSplit = None,
    selection: showing.Selection = None,
    top_k: showing.TopK = None,
    retrieval: showing.Retrieval = None,
    language: showing.Language = None,
    placement: showing.Placement = None,
    prices: spending.Prices = None,
    report: reporting.ReportFolder = None,
    learning: reporting.Learning = None,
    gpu_hours: reporting.GpuHours = None,
    gpu_hour_price: reporting.GpuHourPrice = None,
    json: place.Json = False,
) -> None:
    """Measure a student with and without the lessons, in pairs."""
    from ted_memory.datasets import read_samples

    samples = read_samples(file, limit=limit, mapping=mapping, split=split)
    solved = read_samples(examples, mapping=mapping, split=examples_split) if examples else None
    memory = place.memory_of(
        url, namespace, home,
        selection=selection, top_k=top_k, retrieval=retrieval, language=language,
        placement=placement, concurrency=concurrency,
    )  # fmt: skip
    price_list = spending.prices_of(prices)
    measured: dict[str, Any] = {"repeats": repeats, "checkpoints": checkpoints, "examples": solved}
    measured |= _answering(locals()) | {"prices": price_list}
    wanted = reporting.report_options_of(report, learning, price_list, gpu_hours, gpu_hour_price)
    asyncio.run(_evaluate(memory, samples, measured, wanted, as_json=json))


def _answering(options: Mapping[str, Any]) -> dict[str, Any]:
    """Make student and grader as the command's options name them."""
    student = make_chat_model(
        options["student"],
        base_url=options["student_base_url"],
        max_tokens=options["student_max_tokens"],
        temperature=options["student_temperature"],
    )
    grader = grading.grader_of(options["grader"], options["judge"], options["judge_base_url"])
    return {"student": student, "grader": grader}


async def _evaluate(
    memory: TedMemory,
    samples: Sequence[Sample],
    measured: Mapping[str, Any],
    wanted: ReportOptions | None,
    *,
    as_json: bool,
) -> None:
    from ted_memory.evaluation import evaluate as run_evaluation

    async with memory:
        with output.progress() as on_progress:
            result = await run_evaluation(
                samples, memory=memory, on_progress=on_progress, **measured
            )
        if as_json:
            output.print_json(result.to_json())
        else:
            output.print_evaluation(result)
        if wanted is not None:
            await _write_report(memory, result, wanted)


async def _write_report(memory: TedMemory, result: Evaluation, wanted: ReportOptions) -> None:
    from ted_memory.evaluation import write_report

    now, usage = await memory.load(), await memory.usage()
    paths = write_report(
        wanted.folder,
        result,
        snapshot=now,
        usage=usage,
        log=await memory.log(limit=now.version),
        learning=wanted.learning,
        training=wanted.training,
        prices=wanted.prices,
    )
    output.err.print(f"wrote {', '.join(str(path) for path in paths)}", markup=False)
