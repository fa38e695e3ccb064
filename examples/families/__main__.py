"""Measure what right lessons do for a student: ``python -m examples.families [FAMILY ...]``.

Lessons are written by hand, the student answers held-out tasks at temperature 0, and nothing is learned. The figures go
to ``docs/results/families``, one file for each family and student.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, NamedTuple

import typer
from langchain_core.language_models import BaseChatModel

from examples.demo import Choice, models
from examples.families import FAMILIES, Family
from examples.families.arms import Arm, arms
from examples.local_models import STUDENT, TEACHER, LocalModel
from ted_memory import Sample
from ted_memory.cli import output
from ted_memory.experience.rendering import count_tokens
from ted_memory.grading.graders import find_grader, grade
from ted_memory.llm.calls import model_name
from ted_memory.llm.messages import place_block, sample_messages
from ted_memory.wiring import make_chat_model

RESULTS = Path(__file__).parent.parent.parent / "docs" / "results" / "families"

Figures = dict[str, Any]


class Size(NamedTuple):
    """How much is measured: held-out samples at most, and which arms; none named: all of them."""

    limit: int | None = None
    arms: tuple[str, ...] = ()


async def measure(family: Family, student: BaseChatModel, size: Size, path: Path) -> None:
    """Measure each arm that has no figures yet on as many samples, and keep them as soon as it is done."""
    train, held_out = family.read()
    held_out = held_out[: size.limit]
    who = "scripted" if family.student else model_name(student)
    figures: Figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if figures.get("held_out") != len(held_out):
        head = {"family": family.name, "about": family.about, "student": who, "control": family.control}
        figures = {**head, "train": len(train), "held_out": len(held_out), "lessons": len(family.rules), "arms": {}}
    answers: dict[str, str] = {}
    for arm in await arms(family, train, family.lessons):
        if arm.name not in figures["arms"] and (not size.arms or arm.name in size.arms):
            figures["arms"][arm.name] = await _measured(family, student, arm, held_out, answers)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            output.out.print(f"  {arm.name:24} {figures['arms'][arm.name]['accuracy']:.3f}", markup=False)


async def _measured(
    family: Family, student: BaseChatModel, arm: Arm, samples: Sequence[Sample], answers: dict[str, str]
) -> Figures:
    scores, tokens, said = [], [], []
    for sample in samples:
        block = await arm.block(sample)
        text = await _answer(student, sample, arm, block, answers)
        score, _ = await grade(find_grader(family.grader), sample, text, sample.reference or "")
        scores.append(score)
        tokens.append(count_tokens(block))
        said.append({"id": sample.id, "score": round(score, 3), "answer": text[:200]})
    return {"accuracy": round(fmean(scores), 4), "tokens": round(fmean(tokens)), "answers": said}


async def _answer(
    student: BaseChatModel, sample: Sample, arm: Arm, block: str, known: dict[str, str]
) -> str:
    messages = place_block(sample_messages(sample), block, arm.placement)
    key = json.dumps([(m.type, m.text) for m in messages])
    if key not in known:
        known[key] = str((await student.ainvoke(messages)).text)
    return known[key]


def _local(name: str, url: str, family: Family) -> BaseChatModel:
    return make_chat_model(name, base_url=url, temperature=0, max_tokens=family.answer_tokens)


async def _run(families: Sequence[Family], model: LocalModel, url: str, size: Size) -> None:
    for family in families:
        student = family.student() if family.student else _local(model.name, url, family)
        short = "scripted" if family.student else "1.5b" if model is TEACHER else "0.5b"
        output.out.print(f"[bold]{family.name}[/], {short}")
        await measure(family, student, size, RESULTS / f"{family.name}-{short}.json")


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Families; none: all of them.")] = None,
    base_url: Annotated[str | None, typer.Option(help="A server that runs already.")] = None,
    large: Annotated[bool, typer.Option(help="The 1.5B instead of the 0.5B.")] = False,
    arm: Annotated[list[str] | None, typer.Option(help="Only these arms; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option(help="Held-out samples at most.")] = None,
) -> None:
    """Measure families."""
    families = [FAMILIES[name] for name in names or FAMILIES]
    model = TEACHER if large else STUDENT
    if base_url:
        asyncio.run(_run(families, model, base_url, Size(limit, tuple(arm or ()))))


if __name__ == "__main__":
    typer.run(main)
