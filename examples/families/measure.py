"""Score a student on held-out samples with a block in its prompt."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from examples.families.arms import Arm
from examples.families.family import Family
from ted_memory import Sample
from ted_memory.evaluation.compare import bootstrap

Figures = dict[str, Any]


@dataclass
class Measurement:
    """One student on one family's held-out samples; the same prompt is asked for once."""

    family: Family
    student: BaseChatModel
    samples: Sequence[Sample]
    _answers: dict[str, str] = field(default_factory=dict)

    async def arm(self, arm: Arm) -> Figures:
        """Mean score of an arm, mean tokens that it adds to a prompt, and each answer."""
        scores, tokens, answers = [], [], []
        for sample in self.samples:
            messages, added = await arm.prompt(sample)
            text = await self._answer(messages)
            score = round(self.family.score(sample, text), 4)
            scores.append(score)
            tokens.append(added)
            answers.append({"id": sample.id, "score": score, "answer": text[:200]})
        return {
            "accuracy": round(fmean(scores), 4),
            "tokens": round(fmean(tokens)),
            "answers": answers,
        }

    async def _answer(self, messages: Sequence[BaseMessage]) -> str:
        key = json.dumps([(message.type, message.text) for message in messages])
        if key not in self._answers:
            self._answers[key] = str((await self.student.ainvoke(list(messages))).text)
        return self._answers[key]


def add_differences(arms: dict[str, Figures]) -> None:
    """Add to each arm its paired difference to the arm ``none``, with a 95 % bootstrap interval."""
    base = {answer["id"]: answer["score"] for answer in arms["none"]["answers"]}
    for figures in arms.values():
        pairs = [answer["score"] - base[answer["id"]] for answer in figures["answers"]]
        figures["difference"] = bootstrap(pairs).model_dump()
