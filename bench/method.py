"""What the method costs: time against the least possible, our own work, calls and tokens.

The models follow a script, in a world of topics: each has an answer that only a lesson can teach
for sure. Texts are as long as a small model's: tasks of 80 tokens, attempts of 250, lessons of 25.
"""

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from bench import grpo
from ted_memory import Add, Sample, TedMemory
from ted_memory.distill import Report, distill
from ted_memory.distill.profiles import SMALL
from ted_memory.llm.spend import Spend
from ted_memory.testing import ScriptedChatModel, in_memory

_SYLLABLES = ("ba", "ko", "mi", "ru", "te", "zo", "la", "pe", "vu", "di")
_TEXT = "we take what it says and add one part after another until all is done"
LATENCY, CAP = 0.2, 8
GOOD = 0.95  # share of attempts that are right with a fitting lesson


def topic(i: int) -> str:
    """A made-up word that no other topic shares."""
    return "".join(_SYLLABLES[i // 10**k % 10] for k in range(3)) + "n"


def filler(tokens: int, seed: int) -> str:
    """Text of so many tokens, at four bytes each."""
    words = random.Random(seed).choices(_TEXT.split(), k=tokens)
    return " ".join(words)[: tokens * 4]


def world(count: int, each: int = 5) -> list[Sample]:
    """Samples in random order, so many on each topic, with tasks of about 80 tokens."""
    samples = [
        Sample(
            id=f"case-{i}",
            input=f"Case {i}: what is the code of the {topic(i // each)} ledger? {filler(65, i)}.",
            reference=f"code {i // each * 7 + 11}",
            category=topic(i // each),
        )
        for i in range(count)
    ]
    random.Random(0).shuffle(samples)
    return samples


def right(*, inputs: Any, outputs: Any, reference_outputs: Any) -> float:  # noqa: ARG001
    """1 for an attempt that ends with the reference."""
    return float(str(outputs).rstrip().endswith(f"{reference_outputs}"))


class World:
    """Scripts for both models: a student that solves a share alone, a teacher that knows all."""

    def __init__(self, samples: Sequence[Sample], share: float, latency: float = 0.0) -> None:
        self.samples = samples
        self.by_id = {s.id: s for s in samples}
        self.luck = random.Random(1)
        # most samples are nearly always solved or nearly never: a small model's groups look like
        # that
        self.skill = {s.id: self.luck.betavariate(2 * share, 2 * (1 - share)) for s in samples}
        self.student = ScriptedChatModel(script=self.attempt, name_told="student", delay=latency)
        self.teacher = ScriptedChatModel(script=self.teach, name_told="teacher", delay=latency)

    def sample_in(self, text: str) -> Sample:
        """The sample whose task stands in a prompt."""
        return self.by_id[f"case-{text.rpartition('Case ')[2].partition(':')[0]}"]

    def attempt(self, messages: list[BaseMessage]) -> str:
        """Answer a task, as its lesson says if it is shown."""
        sample = self.sample_in(str(messages[-1].text))
        told = "\n".join(str(m.text) for m in messages)
        knows = self.luck.random() < (GOOD if lesson(sample) in told else self.skill[sample.id])
        thoughts = filler(246, self.luck.randrange(10**6))
        return f"{thoughts}.\nAnswer: {sample.reference if knows else 'code 0'}"

    def teach(self, messages: list[BaseMessage]) -> str:
        """Solve, criticise or tidy up, or do a stage of the other method."""
        head, told = str(messages[0].text), str(messages[-1].text)
        if head == grpo.SUMMARY:
            return filler(150, self.luck.randrange(10**6))
        if head == grpo.ADVANTAGE:
            return json.dumps([{"option": "add", "experience": full_lesson(self.sample_in(told))}])
        if head in {grpo.UPDATE, grpo.BATCH_UPDATE}:
            known, _, operations = told.partition("Operations:\n")
            given = {o["experience"]: o for o in json.loads(operations)}
            return json.dumps([o for text, o in given.items() if text not in known])
        if head == SMALL.prompts["compactor"].fixed:
            return json.dumps({"reason": "All of it is needed.", "edits": []})
        if head == SMALL.prompts["critic"].fixed:
            return self._criticise(messages)
        sample = self.sample_in(told)
        return f"{filler(246, 0)}.\nAnswer: {sample.reference}"

    def _criticise(self, messages: list[BaseMessage]) -> str:
        task, _, rest = str(messages[1].text).partition("Known lessons:")
        sample = self.sample_in(task)
        known = lesson(sample) in rest.partition("Teacher's solution:")[0]
        again = " Always." * (len(messages) // 2 - 1)  # a lesson that was refused is said otherwise
        edit = {
            "op": "add",
            "when": f"{sample.category} ledger",
            "text": full_lesson(sample) + again,
            "ids": [],
        }
        return json.dumps(
            {"reason": filler(15, 1), "edits": [] if known else [edit], "helped": [], "hurt": []}
        )


def lesson(sample: Sample) -> str:
    """The words of a lesson that the student follows."""
    return f"the {sample.category} book has {sample.reference}"


def full_lesson(sample: Sample) -> str:
    """A lesson of about 25 tokens."""
    return f"When the ledger is asked for, know that {lesson(sample)}; end the answer with it."


@dataclass(frozen=True)
class Timed:
    """A run against the clock."""

    calls: int
    seconds: float
    cpu: float
    report: Report
    latency: float = LATENCY

    @property
    def ratio(self) -> float:
        """Wall clock by what the calls take when no place is ever empty."""
        return self.seconds / (self.calls * self.latency / CAP)

    @property
    def cpu_ms(self) -> float:
        """Processor time of this process for one call, the scripted models' own included."""
        return self.cpu * 1000 / self.calls


async def timed(memory: TedMemory, count: int = 100, *, latency: float = LATENCY) -> Timed:
    """Distil so many samples with models that take so many seconds a call, `CAP` at a time."""
    given = World(world(count), 0.2, latency)
    began, cpu = time.perf_counter(), time.process_time()
    report = await distill(
        given.samples,
        student=given.student,
        teacher=given.teacher,
        memory=memory,
        grader=right,
        name="bench",
    )
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Timed(len(given.student.asked) + len(given.teacher.asked), seconds, cpu, report, latency)


def other_lessons(count: int) -> list[Add]:
    """Lessons about other topics than the world's."""
    return [
        Add(text=f"The {topic(900 + i)} book is kept in room {i}.", when=f"{topic(900 + i)} book")
        for i in range(count)
    ]


def tokens(spend: Spend) -> int:
    """The tokens of both models, in and out."""
    roles = (spend.student, spend.teacher)
    return sum(role.tokens_in + role.tokens_out for role in roles)


async def ours(count: int, share: float, *, tries: int) -> Spend:
    """Distil the samples without a gate, which the other method has not."""
    given = World(world(count), share)
    memory = in_memory(
        namespace="counted",
        trust="always",
        validation=0,
        profile="small",
        selection="all",
        max_revisions=tries,
    )
    report = await distill(
        given.samples,
        student=given.student,
        teacher=given.teacher,
        memory=memory,
        grader=right,
        name="bench",
    )
    return report.spend


def _solved(sample: Sample, text: str) -> bool:
    return right(inputs={}, outputs=text, reference_outputs=sample.reference) == 1


async def theirs(count: int, share: float, passes: int) -> Spend:
    """Send the same samples through the other method."""
    given = World(world(count), share)
    other = grpo.Grpo(given.student, given.teacher, _solved, passes)
    await other.run(given.samples)
    return other.spend
