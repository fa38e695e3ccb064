"""A run at the gate: who judges, by which answers, and what verification had found before."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ted_memory.distill.nodes import teacher
from ted_memory.distill.report import Gate, Point, Shown
from ted_memory.distill.run import gate
from ted_memory.distill.run.asking import Judging
from ted_memory.distill.run.carrying import verify_again
from ted_memory.distill.run.earlier_turns import candidates, with_turns
from ted_memory.distill.run.job import Job
from ted_memory.distill.run.material import Material
from ted_memory.distill.run.names import source_of
from ted_memory.distill.run.showing import choose_presentation, most_answers
from ted_memory.distill.run.stages import choose_stage
from ted_memory.distill.state import Evidence
from ted_memory.errors import BudgetExceeded
from ted_memory.experience.edits import difference
from ted_memory.grading import answers
from ted_memory.llm.calls import is_final, is_transient
from ted_memory.llm.spend import Budget
from ted_memory.models import ExperienceSet, Presentation, Sample

# records of what was chosen, so that it is chosen once
CHOSEN_STAGE, CHOSEN_WAY = "chosen-stage", "chosen-way"


async def validate(
    job: Job, train: Sequence[Sample], held_out: Sequence[Sample], budget: Budget | None
) -> tuple[Gate | None, ExperienceSet]:
    """Return the gate's verdict, None when there is none, and the set with what goes live."""
    staged = await job.staging.load()
    is_changed = bool(difference(job.base.active, staged.active))
    if not job.context.settings.validation:
        return None, staged
    now = await job.memory.load()
    judges = [*held_out, *train]
    if not (is_changed or job.meets_another_student or candidates(job, train, now, staged)):
        return None, staged
    stages = await _stages(job, judges, held_out, staged)
    pairs = job.gate_pairs(len(judges), budget) if budget else None
    judging = Judging(stages[-1], job.context, job.records, job.on_progress, pairs_left=pairs)
    verdict, passed = None, staged
    if is_changed:
        verdict, passed = await _at_the_gate(job, judges, stages, judging)
    if job.meets_another_student:
        job.carried = await verify_again(judges, judging)
    if tasks := candidates(job, train, now, passed):
        judging.material = replace(judging.material, staged=passed)
        passed, job.solved_tasks = await with_turns(judges, judging, tasks)
    return verdict, passed


async def _at_the_gate(
    job: Job, judges: Sequence[Sample], stages: Sequence[Material], judging: Judging
) -> tuple[Gate, ExperienceSet]:
    """Return what the gate says of the best stage, and the set with what passed.

    The stage is judged in its best way to be shown.
    """
    judging.material, curve = await _chosen_stage(job, judges, stages, judging)
    if job.context.settings.measure_presentation and judging.material.new:
        way, job.shown = await _chosen_presentation(job, judges, judging)
        staged_so = replace(judging.material.staged, presentation=way)
        judging.material = replace(judging.material, staged=staged_so)
    verdict, live = await gate.validate(judges, judging)
    passed = replace(judging.material.staged, experiences=live)
    if not verdict.passed:
        passed = replace(passed, presentation=job.base.presentation)
    return verdict.model_copy(update={"curve": curve}), passed


async def _stages(
    job: Job, judges: Sequence[Sample], held_out: Sequence[Sample], staged: ExperienceSet
) -> list[Material]:
    """Return what the gate may choose from: the set at a few moments of the run.

    The last one is the run's end.
    """
    references = {sample.id: await _reference(job, sample) for sample in judges}
    steps = staged.version - job.began_at
    count = min(job.context.settings.checkpoints, max(steps, 1))
    versions = [staged.version - i * steps // count for i in range(count)]
    return [
        await _material(job, version, staged, held_out, references)
        for version in reversed(versions)
    ]


async def _chosen_stage(
    job: Job, judges: Sequence[Sample], stages: Sequence[Material], judging: Judging
) -> tuple[Material, tuple[Point, ...]]:
    """Return the stage that goes through the gate, and the learning curve.

    A run that is taken up keeps its choice.
    """
    if len(stages) == 1:
        return stages[-1], ()
    if CHOSEN_STAGE not in job.records:
        if not _has_room(job, judging, (1 + len(stages)) * len(judges)):
            return stages[-1], ()
        try:
            stage, curve = await choose_stage(judges, stages, judging)
        except BudgetExceeded:  # its limit in tokens or money could only be estimated
            return stages[-1], ()
        points = [point.model_dump() for point in curve]
        await job.records.save(CHOSEN_STAGE, {"version": stage.staged.version, "curve": points})
    chosen = job.records[CHOSEN_STAGE]
    stage = next((s for s in stages if s.staged.version == chosen["version"]), stages[-1])
    return stage, tuple(Point(**point) for point in chosen["curve"])


async def _chosen_presentation(
    job: Job, judges: Sequence[Sample], judging: Judging
) -> tuple[Presentation | None, tuple[Shown, ...]]:
    """Return how the set is shown, and what was measured.

    It is shown as it is now where the budget has no room to find out.
    """
    if CHOSEN_WAY not in job.records:
        if not _has_room(job, judging, most_answers(len(judges))):
            return judging.material.staged.presentation, ()
        try:
            way, shown = await choose_presentation(judges, judging)
        except BudgetExceeded:
            return judging.material.staged.presentation, ()
        measured = [one.model_dump() for one in shown]
        await job.records.save(CHOSEN_WAY, {"way": way.model_dump(), "shown": measured})
    chosen = job.records[CHOSEN_WAY]
    return Presentation(**chosen["way"]), tuple(Shown(**one) for one in chosen["shown"])


def _has_room(job: Job, judging: Judging, answers: int) -> bool:
    """Tell whether the budget has room for so many answers and for all pairs of the gate."""
    wanted = answers + 2 * (judging.pairs_left or 0)
    try:
        job.context.calls.check_room(Counter(student=wanted, teacher=wanted * job.judged))
    except BudgetExceeded:
        return False
    return True


async def _material(
    job: Job,
    version: int,
    staged: ExperienceSet,
    held_out: Sequence[Sample],
    references: Mapping[str, str],
) -> Material:
    aside = {sample.id for sample in held_out}
    evidence: dict[str, Evidence] = {}
    tests = 0
    for found in job.records.evidence:
        tests += 1
        known = evidence.get(found["lesson"])
        if known is None or (found["verified"], found["wealth"]) > (
            known["verified"],
            known["wealth"],
        ):
            evidence[found["lesson"]] = found
    log = await job.staging.repository.entries(range(version, 0, -1))
    return Material(
        base=job.base,
        staged=staged if version == staged.version else await job.staging.at(version),
        log=log,
        evidence=evidence,
        tests=tests,
        labels=job.labels,
        common=job.common,
        sources_of=lambda sample: _sources_of(sample, job, is_held_out=sample.id in aside),
        reference_of=references,
    )


async def _reference(job: Job, sample: Sample) -> str:
    """Return what a sample is measured against: its reference, else the teacher's answer."""
    if sample.reference:
        return sample.reference
    if learned := job.records.samples.get(sample.id):
        return str(learned.get("reference", ""))
    key = f"reference:{sample.id}"
    if key not in job.records:
        try:
            solution, _ = await teacher.solution_of(sample, job.context)
        except Exception as error:
            if isinstance(error, BudgetExceeded):
                return ""
            if is_final(error) or is_transient(error):
                raise
            return ""
        await job.records.save(key, {"answer": answers.final_answer(solution)})
    return str(job.records[key]["answer"])


def _sources_of(sample: Sample, job: Job, *, is_held_out: bool) -> frozenset[str]:
    """Return the sources of lessons that a sample is no witness of."""
    people = [source for source in sample.sources if source.startswith("principal:")]
    return frozenset(people if is_held_out else [source_of(job.name, sample), *people])
