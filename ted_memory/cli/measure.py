"""The command that measures. What calls models is imported when it is needed, see `learn`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ted_memory.cli import options, output
from ted_memory.memory.client import TedMemory
from ted_memory.models import Sample
from ted_memory.wiring import make_chat_model


def evaluate(
    file: options.File,
    student: options.Student,
    student_base_url: options.StudentUrl = None,
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
    repeats: options.Repeats = 1,
    checkpoints: options.OlderVersions = 0,
    examples: options.Examples = None,
    examples_split: options.ExamplesSplit = None,
    selection: options.Selection = None,
    top_k: options.TopK = None,
    retrieval: options.Retrieval = None,
    language: options.Language = None,
    placement: options.Placement = None,
    concurrency: options.Concurrency = None,
    prices: options.Prices = None,
    report: options.ReportFolder = None,
    learning: options.Learning = None,
    gpu_hours: options.GpuHours = None,
    gpu_hour_price: options.GpuHourPrice = None,
    json: options.Json = False,
) -> None:
    """Measure a student with and without the experiences, on the same samples, in pairs.

    With --examples, also with the nearest solved samples in place of the experiences, at about as
    many tokens. With --report, the figures are also written to a folder as Markdown, JSON and
    plots.
    """
    from ted_memory.datasets import read_samples

    samples = read_samples(file, limit=limit, mapping=mapping, split=split)
    solved = read_samples(examples, mapping=mapping, split=examples_split) if examples else None
    memory = options.memory_of(
        url, namespace, home,
        selection=selection, top_k=top_k, retrieval=retrieval, language=language,
        placement=placement, concurrency=concurrency,
    )  # fmt: skip
    price_list = options.prices_of(prices)
    given: dict[str, Any] = {
        "student": make_chat_model(
            student,
            base_url=student_base_url,
            max_tokens=student_max_tokens,
            temperature=student_temperature,
        ),
        "grader": options.grader_of(grader, judge, judge_base_url),
        "repeats": repeats,
        "checkpoints": checkpoints,
        "examples": solved,
        "prices": price_list,
    }
    written = options.written_to(report, learning, price_list, gpu_hours, gpu_hour_price)
    asyncio.run(_measure(memory, samples, given, written, as_json=json))


async def _measure(
    memory: TedMemory,
    samples: Sequence[Sample],
    given: Mapping[str, Any],
    written: tuple[Path, Mapping[str, Any]] | None,
    *,
    as_json: bool,
) -> None:
    from ted_memory.evaluation import evaluate as run_evaluation
    from ted_memory.evaluation import write_report

    async with memory:
        with output.progress() as on_progress:
            result = await run_evaluation(samples, memory=memory, on_progress=on_progress, **given)
        if as_json:
            output.print_json(result.to_json())
        else:
            output.print_evaluation(result)
        if written is not None:
            folder, more = written
            now, usage = await memory.load(), await memory.usage()
            log = await memory.log(limit=now.version)
            paths = write_report(folder, result, snapshot=now, usage=usage, log=log, **more)
            output.err.print(f"wrote {', '.join(str(path) for path in paths)}", markup=False)
