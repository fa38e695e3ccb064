"""Measure what right lessons do for a student: ``python -m examples.families [FAMILY ...]``.

Lessons are written by hand, the student answers held-out tasks at temperature 0, and nothing is learned. The figures go
to ``docs/results/families``, one file for each family and student.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer
from langchain_core.language_models import BaseChatModel

from examples.demo import Choice, models
from examples.families import FAMILIES, Family
from examples.families.arms import Arm, arms
from examples.local_models import STUDENT, TEACHER
from ted_memory import Sample
from ted_memory.cli import output
from ted_memory.experience.rendering import count_tokens
from ted_memory.grading.graders import find_grader, grade
from ted_memory.llm.messages import place_block, sample_messages
from ted_memory.wiring import make_chat_model

RESULTS = Path(__file__).parent.parent.parent / "docs" / "results" / "families"

Figures = dict[str, Any]


async def measure(family: Family, student: BaseChatModel, limit: int | None = None) -> Figures:
    """Return the student's mean score on held-out samples, and the tokens of the block, for each arm."""
    train, held_out = family.read()
    held_out = held_out[:limit]
    answers: dict[str, str] = {}
    figures = {}
    for arm in await arms(family, train, family.lessons):
        scores, tokens, said = [], [], []
        for sample in held_out:
            block = await arm.block(sample)
            text = await _answer(student, sample, arm, block, answers)
            score, _ = await grade(find_grader(family.grader), sample, text, sample.reference or "")
            scores.append(score)
            tokens.append(count_tokens(block))
            said.append({"id": sample.id, "score": round(score, 3), "answer": text[:200]})
        figures[arm.name] = {"accuracy": round(fmean(scores), 4), "tokens": round(fmean(tokens)), "answers": said}
        output.out.print(f"  {arm.name:24} {fmean(scores):.3f}  ({fmean(tokens):.0f} tokens)", markup=False)
    return {"held_out": len(held_out), "train": len(train), "lessons": len(family.rules), "arms": figures}


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


async def _run(families: Sequence[Family], name: str, url: str, limit: int | None) -> None:
    for family in families:
        student = family.student() if family.student else _local(name, url, family)
        who = "scripted" if family.student else name
        output.out.print(f"[bold]{family.name}[/], {who}")
        figures = {"family": family.name, "about": family.about, "student": who} | await measure(family, student, limit)
        RESULTS.mkdir(parents=True, exist_ok=True)
        text = json.dumps(figures, indent=1, ensure_ascii=False)
        (RESULTS / f"{family.name}-{'scripted' if family.student else name.split('-')[2]}.json").write_text(text + "\n", encoding="utf-8")


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Families; none: all of them.")] = None,
    base_url: Annotated[str | None, typer.Option(help="A server that runs already.")] = None,
    large: Annotated[bool, typer.Option(help="The 1.5B instead of the 0.5B.")] = False,
    limit: Annotated[int | None, typer.Option(help="Held-out samples at most.")] = None,
) -> None:
    """Measure families."""
    families = [FAMILIES[name] for name in names or FAMILIES]
    model = TEACHER if large else STUDENT
    if base_url:
        asyncio.run(_run(families, model.name, base_url, limit))


if __name__ == "__main__":
    typer.run(main)
