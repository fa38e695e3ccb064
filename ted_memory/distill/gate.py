"""The validation gate: the set that goes live is the best one on held-out samples, compared in pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

from ted_memory.distill import grading, teacher
from ted_memory.distill.calls import is_final, one_line
from ted_memory.distill.kit import Kit
from ted_memory.distill.records import Records
from ted_memory.distill.report import Gate, Point, SetAside
from ted_memory.distill.scoring import OnProgress, Progress, score_with, side_by_side
from ted_memory.distill.state import DistillState
from ted_memory.models import Add, Edit, Experience, ExperienceSet, Sample

BEFORE = "before"
MOST_REJECTED = 200  # lessons that wait for somebody to look at them


def candidates_of(base: ExperienceSet, staged: Sequence[ExperienceSet]) -> dict[str, ExperienceSet]:
    """Return the sets to choose from, by the name that they have in a run's record, the oldest first."""
    return {BEFORE: base, **{f"v{snapshot.version}": snapshot for snapshot in staged}}


async def validate(
    held_out: Sequence[Sample],
    candidates: Mapping[str, ExperienceSet],
    kit: Kit,
    records: Records,
    on_progress: OnProgress,
) -> tuple[Gate, ExperienceSet]:
    """Score the held-out samples with every candidate; return the verdict and the best candidate.

    Only samples that all candidates could be scored on count. A candidate passes when it is better than the set from
    before, and not merely as good: on so few samples no difference proves nothing.
    """
    tasks = [(name, sample) for sample in held_out for name in candidates]

    def tell() -> None:
        on_progress(Progress("validate", records.count("gate:"), len(tasks)))

    async def one(task: tuple[str, Sample]) -> None:
        name, sample = task
        snapshot = candidates[name]
        try:
            reference = await _reference(sample, kit, records)
            score, spend = await score_with(kit, sample, snapshot, snapshot.active, reference)
            record: dict[str, Any] = {"score": score, "spend": spend.model_dump()}
        except Exception as error:
            if is_final(error):
                raise
            record = {"score": None, "note": one_line(error), "spend": {}}
        await records.save(f"gate:{name}:{sample.id}", record)
        tell()

    tell()
    todo = [task for task in tasks if f"gate:{task[0]}:{task[1].id}" not in records]
    await side_by_side(one, todo, kit.settings.concurrency)
    rows = {sample.id: [records[f"gate:{name}:{sample.id}"] for name in candidates] for sample in held_out}
    scored = [[r["score"] for r in row] for row in rows.values() if all(r["score"] is not None for r in row)]
    failed = ((id, record["note"]) for id, row in rows.items() for record in row if record["score"] is None)
    means = {name: sum(row[i] for row in scored) / len(scored) if scored else 0.0 for i, name in enumerate(candidates)}
    learned = [name for name in candidates if name != BEFORE]
    best = max(reversed(learned), key=lambda name: means[name])  # of two as good, the one that learned from more
    gate = Gate(
        samples=len(scored),
        before=means[BEFORE],
        after=means[best],
        passed=means[best] > means[BEFORE],
        failures=tuple(SetAside(sample=id, reason=reason) for id, reason in dict(failed).items()),
        curve=tuple(
            Point(version=0 if name == BEFORE else s.version, experiences=len(s.active), score=means[name])
            for name, s in candidates.items()
        ),
    )
    return gate, candidates[best]


async def _reference(sample: Sample, kit: Kit, records: Records) -> str:
    """Return what a held-out sample is measured against: its reference, else the teacher's answer."""
    if sample.reference:
        return sample.reference
    key = f"reference:{sample.id}"
    if key not in records:
        solved = await teacher.solve(DistillState(sample=sample.model_dump(mode="json")), kit=kit)
        answer = grading.final_answer(solved["solution"])
        await records.save(key, {"answer": answer, "spend": solved.get("spend", {})})
    return str(records[key]["answer"])


def new_lessons(before: Sequence[Experience], after: Sequence[Experience]) -> list[Experience]:
    """Return what was learned: lessons of the later set that the earlier one does not say."""
    known = {(e.when, e.text) for e in before}
    return [e for e in after if (e.when, e.text) not in known]


def proposals(rejected: Sequence[Experience], now: ExperienceSet, reason: str) -> list[Edit]:
    """Return edits that keep rejected lessons where a person finds them: proposed, which no agent is shown."""
    room = max(0, MOST_REJECTED - len(now.proposed))
    return [
        Add(text=e.text, when=e.when, state="proposed", sources=e.sources, metadata={"rejected": reason})
        for e in new_lessons(now.experiences, rejected)[:room]
    ]
