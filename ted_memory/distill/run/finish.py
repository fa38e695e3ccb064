"""The end of a run: what passed goes live in one commit, and what did not is kept for a person."""

import time
from collections.abc import Sequence

from ted_memory.distill.merging import touched_by
from ted_memory.distill.report import Gate, JoinedLessons, RejectedLesson, Report, SetAside, SetSize
from ted_memory.distill.run import gate as gate_rules
from ted_memory.distill.run.job import TIDIED, Job
from ted_memory.distill.run.material import new_lessons
from ted_memory.experience.edits import difference
from ted_memory.experience.rendering import FRAME_TOKENS, render_line
from ted_memory.llm.calls import model_name
from ted_memory.models import Edit, ExperienceSet, Restore, Sample, SetState


async def finish(
    job: Job,
    train: Sequence[Sample],
    gate: Gate | None,
    chosen: ExperienceSet,
    *,
    stopped: str,
    began: float,
) -> Report:
    """Promote what was chosen if the gate lets it through, and forget the staging."""
    edits = difference(job.base.active, chosen.active)
    back = _taken_back(job, edits)
    conflicts: tuple[str, ...] = ()
    promoted = bool(edits)
    if edits or job.carried:
        promotion = await job.memory.commit(
            [*edits, *back],
            author=f"distill:{job.name}",
            why=f"run {job.id} over {len(train)} samples",
            token=f"{job.id}:promote",
            base=job.base,
            usage=await job.staging.usage(),
            models={
                "student": model_name(job.context.student),
                "teacher": model_name(job.context.teacher),
            },
            presentation=chosen.presentation if edits else None,
        )
        conflicts = tuple(f"{r.edit.op}: {r.reason}" for r in promotion.rejected)
    rejected = _not_verified(job, train)
    if gate is not None:
        rejected += await _keep_rejected(job, gate)
    now = await job.memory.load()
    report = _report(job, train, gate, now, promoted=promoted, conflicts=conflicts, began=began)
    await job.staging.repository.drop()
    return report.model_copy(update={"stopped": stopped, "rejected": tuple(rejected)})


def _taken_back(job: Job, edits: Sequence[Edit]) -> list[Edit]:
    """Return the edits that make proposals of lessons which hurt this student.

    What this run changes anyway is left as it changes it.
    """
    touched = touched_by(edits) | {e.experience.id for e in edits if isinstance(e, Restore)}
    hurt = [
        lesson.id for lesson in job.carried if lesson.verdict == "hurt" and lesson.id not in touched
    ]
    return [SetState(id=id, state="proposed") for id in hurt]


async def _keep_rejected(job: Job, gate: Gate) -> list[RejectedLesson]:
    """Keep what the gate refused as proposed lessons, with the reason."""
    reasons = {verdict.lesson: verdict.reason for verdict in gate.lessons if not verdict.kept}
    staged = await job.staging.load()
    refused = [
        (e, reasons[said])
        for e in new_lessons(job.base.active, staged.active)
        if (said := render_line(e.text, e.when, e.example, e.task)) in reasons
    ]
    edits = gate_rules.proposals(refused, await job.memory.load())
    await job.memory.commit(
        edits, author=f"distill:{job.name}", why="refused by the gate", token=f"{job.id}:rejected"
    )
    return [
        RejectedLesson(lesson=lesson, reason=f"gate: {reason}")
        for lesson, reason in reasons.items()
    ]


def _not_verified(job: Job, train: Sequence[Sample]) -> list[RejectedLesson]:
    records = (job.records.samples.get(sample.id, {}) for sample in train)
    return [
        RejectedLesson(lesson=refused["edit"], reason=refused["reason"])
        for record in records
        for refused in record.get("refused", [])
    ]


def _report(
    job: Job,
    train: Sequence[Sample],
    gate: Gate | None,
    now: ExperienceSet,
    *,
    promoted: bool,
    conflicts: tuple[str, ...],
    began: float,
) -> Report:
    done = {**job.records.failed, **job.records.samples}
    records = {s.id: done[s.id] for s in train if s.id in done}
    without = [id for id, record in records.items() if record["status"] in {"set_aside", "failed"}]
    tokens = sum(e.tokens for e in now.active)
    return Report(
        namespace=job.memory.namespace,
        version=now.version,
        samples=len(records),
        learned=sum(record["status"] == "learned" for record in records.values()),
        set_aside=len(without),
        experiences=SetSize(active=len(now.active), tokens=tokens + FRAME_TOKENS if tokens else 0),
        spend=job.context.calls.spent,
        seconds=round(time.monotonic() - began, 3),
        promoted=promoted,
        gate=gate,
        resumed=job.resumed,
        collapsed=sum(bool(record["same"]) for record in records.values()),
        reasons=tuple(SetAside(sample=id, reason=records[id]["note"]) for id in without),
        conflicts=conflicts,
        joined=tuple(_joined(job, train)),
        shown=job.shown,
        carried=job.carried,
        solved_tasks=job.solved_tasks,
    )


def _joined(job: Job, train: Sequence[Sample]) -> list[JoinedLessons]:
    records = (job.records.samples.get(sample.id, {}) for sample in train)
    on_the_way = [
        JoinedLessons(**joined) for record in records for joined in record.get("joined", [])
    ]
    at_the_end = job.records[TIDIED]["joined"] if TIDIED in job.records else []
    return [*on_the_way, *(JoinedLessons(**joined) for joined in at_the_end)]
