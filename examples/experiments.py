"""The experiments of `examples.results`: ways to learn, and what they are measured beside.

Every method learns from the same training samples with the same models, and is measured on the same
held-out samples. What a rival learned is shown twice: as it was published (all of it, in the system
message), and as ours is (as many lessons, the ones nearest to the task, in the same place).
"""

import math
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from langchain_core.language_models import BaseChatModel

from bench.grpo import PASSES, Grpo, render_experiences
from examples.code_version import code_version
from examples.demo import SETTINGS
from examples.families import FAMILIES, Family, Split
from examples.families.arms import ROOM, Arm, Shows, examples, nearest, shown
from examples.families.measure import Figures, Measurement, add_differences
from examples.families.teacher import make_teacher
from examples.live_desk import Desk, serve
from examples.moved_days import moved_days
from examples.rivals.ace import Ace, render_playbook
from ted_memory import Add, Sample, TedMemory, open_memory
from ted_memory.cli import output
from ted_memory.distill import distill
from ted_memory.episodes import Exposure
from ted_memory.experience.rendering import render_line
from ted_memory.llm.calls import model_name, with_temperature
from ted_memory.llm.spend import Spend
from ted_memory.memory.presentation import exposure_of
from ted_memory.testing import in_memory

ROLLOUT_TEMPERATURE = 0.7
Rival = Literal["grpo", "ace"]
Method = Literal["ted", "beside", "traffic"] | Rival


class Models(Protocol):
    """Where an experiment's models come from; answers of a family are as long as its tasks want."""

    def student(self, family: Family) -> BaseChatModel:
        """The student of a family, at temperature 0."""

    def teacher(self, family: Family) -> BaseChatModel:
        """The real teacher."""


@dataclass(frozen=True)
class Experiment:
    """One run: who learns what, by which method and from whom.

    ``settings`` are those that differ from the demo's.

    ``limit``: training samples at most. ``teacher``: a model, or the family's program that is
    always right.
    """

    name: str
    family: str
    method: Method = "ted"
    teacher: Literal["real", "program"] = "real"
    limit: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)


class Learner(Protocol):
    """A rival while it learns."""

    spend: Spend
    lost: int

    async def run(self, samples: Sequence[Sample]) -> None:
        """Learn from the samples."""


async def run(experiment: Experiment, models: Models, *, hours: float = math.inf) -> Figures:
    """Learn and measure; return the figures. A desk's traffic ends after so many hours."""
    family = FAMILIES[experiment.family]
    train, held_out = family.read()
    split = Split(train[: experiment.limit], held_out)
    student = family.student() if family.student else models.student(family)
    measurement = Measurement(family, student, split.held_out)
    head = {
        "name": experiment.name,
        "code": code_version(),
        "family": family.name,
        "about": family.about,
        "control": family.control,
        "method": experiment.method,
        "student": "scripted" if family.student else model_name(student),
        "settings": SETTINGS | experiment.settings,
        "training_samples": len(split.train),
        "held_out": len(split.held_out),
    }
    if experiment.method == "beside":
        return head | {"teacher": "none"} | await _beside(family, split, measurement)
    teacher = make_teacher(family) if experiment.teacher == "program" else models.teacher(family)
    head["teacher"] = "program" if experiment.teacher == "program" else model_name(teacher)
    if experiment.method == "traffic":
        return head | await _traffic(Desk(family, hours=hours), student, teacher)
    if experiment.method == "ted":
        return head | await _ted(experiment, family, split, measurement, teacher)
    return head | await RIVALS[experiment.method](family, split, measurement, teacher)


async def _ted(
    experiment: Experiment,
    family: Family,
    split: Split,
    measurement: Measurement,
    teacher: BaseChatModel,
) -> Figures:
    """Distil into a memory of the experiment's own, then measure with what agents would see."""
    home = tempfile.mkdtemp(prefix="ted-results-")
    try:
        settings = SETTINGS | experiment.settings
        async with open_memory(home=home, namespace=experiment.name, **settings) as memory:
            with output.progress() as on_progress:
                report = await distill(
                    split.train,
                    student=measurement.student,
                    teacher=teacher,
                    memory=memory,
                    grader=family.grader,
                    name=family.name,
                    on_progress=on_progress,
                )
            now = await memory.load()
            known = now.active
            arms = [Arm("none"), Arm("ted", shown(memory))]
            return {
                "learning": report.model_dump(mode="json"),
                "arms": await _measured(measurement, arms, {"ted": len(known)}),
                "lessons": [render_line(e.text, e.when, e.example, e.task) for e in known],
            }
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _traffic(desk: Desk, student: BaseChatModel, teacher: BaseChatModel) -> Figures:
    """Serve a desk's traffic of several days from an empty memory, with the profile's defaults."""
    settings: dict[str, Any] = {"profile": "small"}
    async with moved_days("traffic", settings) as days:
        came = await serve(desk, days.open, student=student, teacher=teacher, told=output.out.print)
    return {"settings": settings} | came


async def _beside(family: Family, split: Split, measurement: Measurement) -> Figures:
    """Measure what needs no learning: nothing shown, right lessons by hand, retrieved samples."""
    by_hand = await _as_ours(family.lessons)
    arms = [
        Arm("none"),
        Arm("right lessons by hand", shown(by_hand)),
        *(arm for k in (1, 3) for arm in examples(family, split.train, k)),
    ]
    if family.student:  # what a model would take from an example no program can tell
        arms = arms[:2]
    counts = {"right lessons by hand": len(family.rules)}
    return {"learning": None, "arms": await _measured(measurement, arms, counts), "lessons": []}


async def _grpo(
    family: Family, split: Split, measurement: Measurement, teacher: BaseChatModel
) -> Figures:
    student = with_temperature(measurement.student, ROLLOUT_TEMPERATURE)
    learner = Grpo(student, teacher, family.score, passes=PASSES, at_once=1)
    return await _rival(
        "grpo", learner, split, measurement, lambda: learner.experiences, render_experiences
    )


async def _ace(
    family: Family, split: Split, measurement: Measurement, teacher: BaseChatModel
) -> Figures:
    learner = Ace(measurement.student, teacher, family.score)

    def as_published(_: Sequence[str]) -> str:
        return render_playbook(learner.playbook)

    return await _rival("ace", learner, split, measurement, lambda: learner.lessons, as_published)


RIVALS: dict[str, Callable[[Family, Split, Measurement, BaseChatModel], Awaitable[Figures]]] = {
    "grpo": _grpo,
    "ace": _ace,
}


async def _rival(
    name: str,
    learner: Learner,
    split: Split,
    measurement: Measurement,
    lessons: Callable[[], Sequence[str]],
    render: Callable[[Sequence[str]], str],
) -> Figures:
    began = time.monotonic()
    await learner.run(split.train)
    seconds = time.monotonic() - began
    learned = list(lessons())
    whole = render(learned)
    arms = [
        Arm("none"),
        Arm(f"{name}, as published", _always(whole)),
        Arm(f"{name}, shown as ours", await _nearest(measurement.family, learned)),
    ]
    counts = {arm.name: len(learned) for arm in arms[1:]}
    spend = learner.spend.model_dump(mode="json")
    return {
        "learning": {"seconds": seconds, "spend": spend, "lost": learner.lost},
        "arms": await _measured(measurement, arms, counts),
        "lessons": learned,
    }


async def _measured(
    measurement: Measurement, arms: Sequence[Arm], lessons: dict[str, int]
) -> dict[str, Figures]:
    """Return the figures of these arms, ``none`` among them.

    ``lessons``: how many each arm draws on.
    """
    measured = {arm.name: await measurement.arm(arm) for arm in arms}
    add_differences(measured)
    for name, figures in measured.items():
        figures["lessons"] = lessons.get(name, 0)
    return measured


async def _as_ours(lessons: Sequence[Add]) -> TedMemory:
    """Return a memory that shows these lessons as an agent's would."""
    # not connected: nothing is read or written
    ours = open_memory(namespace="shown", **SETTINGS).settings
    way: dict[str, Any] = {
        "selection": ours.selection,
        "top_k": ours.top_k,
        "placement": ours.placement,
    }
    memory = in_memory(namespace="shown", **ROOM, **way)
    if lessons:
        await memory.commit(lessons, author="results")
    return memory


async def _nearest(family: Family, texts: Sequence[str]) -> Shows:
    """Return a way that shows as many of these lessons as ours shows, in our place.

    They have no conditions, so they are found by their own words.
    """
    memory = await _as_ours([Add(text=text) for text in texts])
    known = (await memory.load()).active
    words = [lesson.text for lesson in known]

    async def shows(sample: Sample) -> Exposure:
        chosen = nearest(words, family, sample, memory.settings.top_k)
        return exposure_of([known[i] for i in chosen], memory.settings.placement)

    return shows


def _always(text: str) -> Shows:
    async def shows(_: Sample) -> Exposure:
        return Exposure(block=text)

    return shows
