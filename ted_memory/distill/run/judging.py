"""A run at the gate: who judges, by which answers, and what verification had found before."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ted_memory.distill.nodes import teacher
from ted_memory.distill.report import Gate, Point
from ted_memory.distill.run import gate
from ted_memory.distill.run.carrying import verify_again
from ted_memory.distill.run.gate import Judging
from ted_memory.distill.run.job import Job, source_of
from ted_memory.distill.run.material import Material
from ted_memory.distill.run.showing import choose_presentation
from ted_memory.distill.state import DistillState, Evidence
from ted_memory.errors import BudgetExceeded
from ted_memory.experience.edits import difference
from ted_memory.grading import answers
from ted_memory.llm.calls import is_final, is_transient
from ted_memory.llm.spend import Budget
from ted_memory.models import ExperienceSet, Sample


async def validate(
    job: Job, train: Sequence[Sample], held_out: Sequence[Sample], budget: Budget | None
) -> tuple[Gate | None, ExperienceSet]:
    """Return the gate's verdict, None when there is none, and the set with what goes live."""
    staged = await job.staging.load()
    nothing_new = not difference(job.base.active, staged.active)
    if not job.kit.settings.validation or (nothing_new and not job.meets_another_student):
        return None, staged
    judges = [*held_out, *train]
    references = {sample.id: await _reference(job, sample) for sample in judges}
    count = min(job.kit.settings.checkpoints, max(staged.version - job.began_at, 1))
    versions = [staged.version - i * (staged.version - job.began_at) // max(count, 1) for i in range(count)]
    stages = [await _material(job, version, staged, held_out, references) for version in reversed(versions)]
    pairs = job.gate_calls(train, held_out, budget)["student"] // 2 if budget else None
    judging = Judging(stages[-1], job.kit, job.records, job.on_progress, pairs_left=pairs)
    curve: tuple[Point, ...] = ()
    if len(stages) > 1 and budget is None:  # what is set aside of a budget is the gate's
        judging.material, curve = await gate.choose_stage(judges, stages, judging)
    if nothing_new:
        job.carried = await verify_again(judges, judging)
        return None, staged
    if job.kit.settings.measure_presentation and judging.material.new and budget is None:
        way, job.shown = await choose_presentation(judges, judging)
        staged_so = replace(judging.material.staged, presentation=way)
        judging.material = replace(judging.material, staged=staged_so)
    verdict, live = await gate.validate(judges, judging)
    if job.meets_another_student:
        job.carried = await verify_again(judges, judging)
    chosen = replace(judging.material.staged, experiences=live)
    return verdict.model_copy(update={"curve": curve}), chosen


async def _material(
    job: Job, version: int, staged: ExperienceSet, held_out: Sequence[Sample], references: Mapping[str, str]
) -> Material:
    aside = {sample.id for sample in held_out}
    evidence: dict[str, Evidence] = {}
    tests = 0
    for found in job.records.evidence:
        tests += 1
        known = evidence.get(found["lesson"])
        if known is None or (found["verified"], found["wealth"]) > (known["verified"], known["wealth"]):
            evidence[found["lesson"]] = found
    log = await job.staging.store.log(job.staging.namespace, range(version, 0, -1))
    return Material(
        base=job.base,
        staged=staged if version == staged.version else await job.staging.at(version),
        log=log,
        evidence=evidence,
        tests=tests,
        labels=job.labels,
        common=job.common,
        source_of=lambda sample: "" if sample.id in aside else source_of(job.name, sample),
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
            solved = await teacher.solve(DistillState(sample=sample.model_dump(mode="json")), kit=job.kit)
        except Exception as error:
            if isinstance(error, BudgetExceeded):
                return ""
            if is_final(error) or is_transient(error):
                raise
            return ""
        await job.records.save(key, {"answer": answers.final_answer(solved["solution"])})
    return str(job.records[key]["answer"])
