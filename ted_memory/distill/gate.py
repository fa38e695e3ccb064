"""The validation gate: the set that goes live is the best one on held-out samples, compared in pairs."""

from collections.abc import Mapping, Sequence

from ted_memory.distill.kit import Kit
from ted_memory.distill.nodes import teacher
from ted_memory.distill.progress import Records
from ted_memory.distill.report import Gate, Point, SetAside
from ted_memory.distill.scoring import OnProgress, Progress, patiently, score_with
from ted_memory.distill.state import DistillState
from ted_memory.grading import answers
from ted_memory.llm.calls import is_final, is_transient, one_line
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
    left_out: dict[str, str] = {}

    def tell() -> None:
        on_progress(Progress("validate", records.count("gate:"), len(held_out) * len(candidates)))

    async def one(sample: Sample) -> str:
        left_out.pop(sample.id, None)
        for name, snapshot in candidates.items():
            key = f"gate:{name}:{sample.id}"
            if key in records:
                continue
            try:
                reference = await _reference(sample, kit, records)
                score = await score_with(kit, sample, snapshot, snapshot.active, reference)
                await records.save(key, {"score": score})
            except Exception as error:
                if is_final(error):
                    raise
                left_out[sample.id] = one_line(error)
                return left_out[sample.id] if is_transient(error) else ""
            tell()
        return ""

    tell()
    await patiently(one, held_out, kit.settings.concurrency)
    scored = [
        [records[f"gate:{name}:{sample.id}"]["score"] for name in candidates]
        for sample in held_out
        if sample.id not in left_out
    ]
    means = {name: sum(row[i] for row in scored) / len(scored) if scored else 0.0 for i, name in enumerate(candidates)}
    learned = [name for name in candidates if name != BEFORE]
    best = max(reversed(learned), key=lambda name: means[name])  # of two as good, the one that learned from more
    gate = Gate(
        samples=len(scored),
        before=means[BEFORE],
        after=means[best],
        passed=means[best] > means[BEFORE],
        failures=tuple(SetAside(sample=id, reason=reason) for id, reason in left_out.items()),
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
        answer = answers.final_answer(solved["solution"])
        await records.save(key, {"answer": answer})
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
