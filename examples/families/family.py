"""A family of tasks: samples, a grader, and the rules that are right."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from langchain_core.language_models import BaseChatModel

from ted_memory import Add, Sample
from ted_memory.grading.graders import Grader, find_grader

ANSWER_TOKENS = 40


class Split(NamedTuple):
    """Training and held-out samples; they have no task in common."""

    train: list[Sample]
    held_out: list[Sample]


@dataclass(frozen=True)
class Rule:
    """One right lesson.

    ``kind`` is the category of the samples that it is about; "": all of them.
    """

    text: str
    kind: str = ""
    when: str = ""
    example: str = ""

    def fits(self, sample: Sample) -> bool:
        """Whether a sample falls under this rule."""
        return self.kind in {"", sample.category}

    @property
    def lesson(self) -> Add:
        """The rule as a person would write it into a memory."""
        return Add(text=self.text, when=self.when, example=self.example, everywhere=not self.kind)


@dataclass(frozen=True)
class Family:
    """Tasks of one kind.

    ``gist`` cuts a task's text down to what sets it apart from the others: examples are found and
    shown by it. ``student`` makes a scripted student, for families that no small model can do;
    None: a real one. ``control``: no gain is expected from lessons.
    """

    name: str
    about: str
    read: Callable[[], Split]
    rules: tuple[Rule, ...]
    gist: Callable[[str], str]
    grader: str | Grader = "auto"
    answer_tokens: int = ANSWER_TOKENS
    student: Callable[[], BaseChatModel] | None = None
    control: bool = False

    def score(self, sample: Sample, answer: str) -> float:
        """What the family's grader makes of an answer, in [0, 1]."""
        inputs = {"input": sample.text, "choices": list(sample.choices)}
        grader = find_grader(self.grader)
        score = grader(inputs=inputs, outputs=answer, reference_outputs=sample.reference or "")
        if not isinstance(score, int | float):
            raise TypeError(
                f"the grader of {self.name} gave {type(score).__name__}; "
                "a family's gives a number at once"
            )
        return float(score)

    @property
    def lessons(self) -> list[Add]:
        """All right lessons."""
        return [rule.lesson for rule in self.rules]


def last_paragraph(text: str) -> str:
    """The last paragraph of a task; before it comes the form that it shares with all others."""
    return text.strip().rpartition("\n\n")[2]
