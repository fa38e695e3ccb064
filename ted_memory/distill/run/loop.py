"""Learning from a data set: sample by sample in a staging set, which agents see in one commit.

Between the two stands the gate (setting ``validation``; 0 for none). Every sample judges what the
others taught, and from `LARGE` samples on a share of them is held out for that. With
``checkpoints`` above 1 the best of so many stages of the run goes through the gate.

A sample begins only if the budget has room for all of it. The gate's calls are set aside: what was
learned until the budget ended goes through the gate, and the report says so.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.runnables import Runnable

from ted_memory.distill.profiles import Profile, profile_of
from ted_memory.distill.report import Report
from ted_memory.distill.run.finish import finish
from ted_memory.distill.run.job import Job
from ted_memory.distill.run.judging import validate
from ted_memory.distill.run.names import digest
from ted_memory.distill.scoring import OnProgress
from ted_memory.errors import InvalidInput, ModelError
from ted_memory.grading.graders import Grader
from ted_memory.llm.spend import Budget
from ted_memory.memory.client import TedMemory
from ted_memory.models import Sample
from ted_memory.settings import DistillSettings

# samples from which on some are held out: with fewer, each one judges what it did not teach
LARGE = 200


async def distill(
    samples: Sequence[Sample],
    *,
    student: Runnable[Any, Any],
    teacher: Runnable[Any, Any],
    memory: TedMemory,
    grader: str | Grader = "auto",
    name: str = "samples",
    budget: Budget | None = None,
    profile: Profile | None = None,
    instructions: str | None = None,
    prompts: Mapping[str, str] | str | Path | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Report:
    """Learn from a data set.

    Agents see one commit at the end, and only what passed the gate (`ted_memory.distill.run.gate`).
    What it refuses is kept as proposed lessons, which no agent is shown. Killed at any moment and
    called again with the same samples, models, profile and settings, it goes on; a finished run
    called again is a new run.

    Args:
        samples: ids must differ.
        student: the model or agent that is to get better.
        teacher: chat model; solves, criticises, compacts.
        memory: where the lessons go.
        grader: see `ted_memory.grading.graders`.
        name: of the data set; lessons carry ``dataset:<name>#<sample id>`` as their source.
        budget: what the run may spend, the gate's calls included. A limit in calls holds exactly;
            one in tokens or money is estimated from the calls before, and may be passed by a
            little.
        profile: how these models are taught; default: the one that the settings name.
        instructions: as for `Profile.adapted`, in place of what the settings say; or added to
            ``profile``.
        prompts: likewise.
        on_progress: called after each sample.

    Raises:
        InvalidInput: no samples, or two with one id.
        ModelError: a model cannot be used, or went on being unavailable; what is done is kept for
            the next call.
        StoreError: the memory cannot be reached.
        SettingsError: a prompt of the user's cannot be used.
    """
    began = time.monotonic()
    _check(samples)
    train, held_out = split(samples, memory.settings.validation)
    profile = _adapted(profile, memory.settings, instructions, prompts)
    models = (student, teacher)
    run = await Job.open(memory, samples, models=models, grader=grader, name=name, profile=profile)
    run.on_progress = on_progress
    set_aside = run.gate_calls(train, held_out, budget)
    try:
        stopped = await run.learn(train, budget, at_the_gate=set_aside)
        gate, chosen = await validate(run, train, held_out, budget)
    except ModelError as error:
        await run.records.save_spent()
        kept = f"{len(run.records.samples)} of {len(train)} samples are done and kept"
        raise type(error)(f"{error} {kept}; call again to go on") from error
    return await finish(run, train, gate, chosen, stopped=stopped, began=began)


def _adapted(
    profile: Profile | None,
    settings: DistillSettings,
    instructions: str | None,
    prompts: Mapping[str, str] | str | Path | None,
) -> Profile:
    if profile is None:
        return profile_of(settings, instructions=instructions, prompts=prompts)
    if instructions or prompts:
        return profile.adapted(instructions=instructions or "", prompts=prompts)
    return profile


def split(samples: Sequence[Sample], validation: float) -> tuple[list[Sample], list[Sample]]:
    """Return training and held-out samples; the same samples always fall the same way.

    Of few none is held out. Of `LARGE` and more every n-th is, of those sorted by category and
    reference.
    """
    if not validation or len(samples) < LARGE:
        return list(samples), []
    ordered = sorted(samples, key=lambda s: (s.category or "", s.reference or "", digest(s.id)))
    count = min(max(1, round(len(samples) * validation)), len(samples) - 1)
    held_out = {ordered[int((i + 0.5) * len(ordered) / count)].id for i in range(count)}
    return [s for s in samples if s.id not in held_out], [s for s in samples if s.id in held_out]


def _check(samples: Sequence[Sample]) -> None:
    if not samples:
        raise InvalidInput("there are no samples to learn from")
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise InvalidInput(f"two samples have the id {sample.id!r}; make the ids differ")
        seen.add(sample.id)
