"""Commands that call models. What calls them is imported when it is needed: other commands start without LangChain."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ted_memory.cli import options, output
from ted_memory.memory import TedMemory
from ted_memory.models import Sample
from ted_memory.wiring import make_chat_model

if TYPE_CHECKING:
    from ted_memory.distill import Prices


def distill(
    file: options.File,
    student: options.Student,
    teacher: options.Teacher,
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
    """Learn from a data set.

    Interrupted at any moment, the same command goes on where it stopped. Agents see the result in one step, and only
    what passed the gate: each sample judges the lessons that did not come from it.
    """
    from ted_memory.evaluation import read_samples

    price_list = options.prices_of(prices)  # a wrong one is told before anything is paid for
    samples = read_samples(file, limit=limit, mapping=mapping, split=split)
    memory = options.memory_of(
        url, namespace, home,
        rollouts=rollouts, inclusion=inclusion, temperature=temperature, validation=validation, profile=profile,
        instructions=options.text_of(instructions, "the instructions"), prompts=prompts,
        verify_calls=verify_calls, max_revisions=max_revisions, critique_batch=critique_batch,
        checkpoints=checkpoints, compaction=compaction, compact_every=compact_every,
        selection=selection, top_k=top_k, placement=placement, concurrency=concurrency,
        retrieval=retrieval, language=language,
    )  # fmt: skip
    given: dict[str, Any] = {
        "student": make_chat_model(
            student, base_url=student_base_url, max_tokens=student_max_tokens, temperature=student_temperature
        ),
        "teacher": make_chat_model(teacher, base_url=teacher_base_url),
        "grader": options.grader_of(grader, judge, judge_base_url),
        "budget": options.budget_of(max_calls, max_tokens, max_cost, prices),
        "name": file.stem,
    }
    asyncio.run(_learn(memory, samples, given, price_list, as_json=json))


async def _learn(
    memory: TedMemory, samples: Sequence[Sample], given: Mapping[str, Any], prices: Prices | None, *, as_json: bool
) -> None:
    from ted_memory.distill import distill as run_distillation

    async with memory:
        with output.progress() as on_progress:
            report = await run_distillation(samples, memory=memory, on_progress=on_progress, **given)
    if as_json:
        output.print_json(report.model_dump(mode="json"))
    else:
        output.print_report(report, prices)
