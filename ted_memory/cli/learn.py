"""Commands that call models. What calls them is imported when it is needed: other commands start without LangChain."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ted_memory.cli import options, output
from ted_memory.wiring import make_chat_model

File = Annotated[Path, typer.Argument(help="Data set: JSON Lines, one sample a line.", show_default=False)]


def distill(
    file: File,
    student: options.Student,
    teacher: options.Teacher,
    student_base_url: options.StudentUrl = None,
    teacher_base_url: options.TeacherUrl = None,
    student_max_tokens: options.StudentTokens = None,
    student_temperature: options.StudentTemperature = None,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    grader: options.Grader = "auto",
    limit: options.Limit = None,
    rollouts: options.Rollouts = None,
    max_tries: options.MaxTries = None,
    validation: options.Validation = None,
    compact_every: options.CompactEvery = None,
    selection: options.Selection = None,
    top_k: options.TopK = None,
    placement: options.Placement = None,
    concurrency: options.Concurrency = None,
    json: options.Json = False,
) -> None:
    """Learn from a data set.

    Interrupted at any moment, the same command goes on where it stopped. Agents see the result in one step, and only
    if it scores higher on held-out samples than what they had.
    """
    from ted_memory.distill import distill as run_distillation
    from ted_memory.evaluation import read_samples

    async def run() -> None:
        samples = read_samples(file, limit=limit)
        memory = options.memory_of(
            url, namespace, home,
            rollouts=rollouts, max_tries=max_tries, validation=validation, compact_every=compact_every,
            selection=selection, top_k=top_k, placement=placement, concurrency=concurrency,
        )  # fmt: skip
        learner = make_chat_model(
            student, base_url=student_base_url, max_tokens=student_max_tokens, temperature=student_temperature
        )
        master = make_chat_model(teacher, base_url=teacher_base_url)
        async with memory:
            with output.progress() as on_progress:
                report = await run_distillation(
                    samples,
                    student=learner,
                    teacher=master,
                    memory=memory,
                    grader=grader,
                    name=file.stem,
                    on_progress=on_progress,
                )
        if json:
            output.print_json(report.model_dump(mode="json"))
        else:
            output.print_report(report)

    asyncio.run(run())


def evaluate(
    file: File,
    student: options.Student,
    student_base_url: options.StudentUrl = None,
    student_max_tokens: options.StudentTokens = None,
    student_temperature: options.StudentTemperature = None,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    grader: options.Grader = "auto",
    limit: options.Limit = None,
    selection: options.Selection = None,
    top_k: options.TopK = None,
    placement: options.Placement = None,
    concurrency: options.Concurrency = None,
    json: options.Json = False,
) -> None:
    """Measure a student with and without the experiences, on the same samples."""
    from ted_memory.evaluation import evaluate as run_evaluation
    from ted_memory.evaluation import read_samples

    async def run() -> None:
        samples = read_samples(file, limit=limit)
        memory = options.memory_of(
            url, namespace, home, selection=selection, top_k=top_k, placement=placement, concurrency=concurrency
        )
        model = make_chat_model(
            student, base_url=student_base_url, max_tokens=student_max_tokens, temperature=student_temperature
        )
        async with memory:
            with output.progress() as on_progress:
                result = await run_evaluation(
                    samples, student=model, memory=memory, grader=grader, on_progress=on_progress
                )
        if json:
            output.print_json(result.to_json())
        else:
            output.print_evaluation(result)

    asyncio.run(run())
