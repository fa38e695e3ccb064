"""The data set loop: distil sample by sample in a staging set, then let agents see the result in one commit."""

import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import Runnable

from ted_memory.distill import grading, teacher
from ted_memory.distill.calls import Calls, is_final, model_name, one_line
from ted_memory.distill.grading import Grader, find_grader
from ted_memory.distill.graph import Graph, build_distillation_graph
from ted_memory.distill.kit import Kit
from ted_memory.distill.report import Gate, Report, SetAside, SetSize
from ted_memory.distill.scoring import OnProgress, Progress, score_with, side_by_side
from ted_memory.distill.spend import Spend
from ted_memory.distill.state import DistillState, dump_set, mean_score, read_graded, read_set
from ted_memory.distill.structured import StructuredModel
from ted_memory.errors import InvalidInput, ModelError
from ted_memory.experience.edits import difference
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.experience.selection import common_words, match
from ted_memory.memory import TedMemory
from ted_memory.models import Experience, ExperienceSet, Restore, Sample

NEAR_PEERS, OTHER_PEERS = 8, 4


async def distill(
    samples: Sequence[Sample],
    *,
    student: Runnable[Any, Any],
    teacher: Runnable[Any, Any],
    memory: TedMemory,
    grader: str | Grader = "auto",
    name: str = "samples",
    on_progress: OnProgress = lambda _: None,
) -> Report:
    """Learn from a data set; return what was learned.

    Agents see one commit at the end, and only if the set that was learned scores higher on the held-out samples
    (setting ``validation``, 0 for no gate) than the set before. Killed at any moment and called again with the same
    samples, models and settings, it goes on; a finished run called again is a new run.

    Args:
        samples: ids must differ.
        student: the model or agent that is to get better.
        teacher: chat model; solves, criticises, compacts.
        memory: where the lessons go.
        grader: see `ted_memory.distill.grading`.
        name: of the data set; lessons carry ``dataset:<name>#<sample id>`` as their source.
        on_progress: called after each sample.

    Raises:
        InvalidInput: no samples, or two with one id.
        ModelError: a model cannot be used at all; what is done is kept for the next call.
        StoreError: the memory cannot be reached.
    """
    began = time.monotonic()
    _check(samples)
    train, held_out = split(samples, memory.settings.validation)
    run = await _Run.open(memory, samples, (student, teacher), grader, name)
    run.on_progress = on_progress
    try:
        await run.learn(train)
        gate = await run.validate(held_out) if held_out else None
    except ModelError as error:
        kept = f"{len(run.finished)} of {len(train)} samples are done and kept"
        raise ModelError(f"{error} {kept}; call again to go on") from error
    return await run.finish(train, gate, began)


def split(samples: Sequence[Sample], validation: float) -> tuple[list[Sample], list[Sample]]:
    """Return training and held-out samples: every n-th of those sorted by category and reference is held out.

    The same samples always fall the same way.
    """
    if not validation or len(samples) < 2:
        return list(samples), []
    ordered = sorted(samples, key=lambda s: (s.category or "", s.reference or "", _digest(s.id)))
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


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class _Run:
    """One run: its staging set, and the record that lets it be taken up again."""

    def __init__(self, memory: TedMemory, staging: TedMemory, kit: Kit, graph: Graph, name: str) -> None:
        self.memory = memory
        self.staging = staging
        self.kit = kit
        self.graph = graph
        self.name = name
        self.id = ""
        self.base: ExperienceSet
        self.records: dict[str, Mapping[str, Any]] = {}
        self.resumed = 0
        self.common: list[str] = []
        self.on_progress: OnProgress = lambda _: None

    @classmethod
    async def open(
        cls,
        memory: TedMemory,
        samples: Sequence[Sample],
        models: tuple[Runnable[Any, Any], Runnable[Any, Any]],
        grader: str | Grader,
        name: str,
    ) -> "_Run":
        """Take up the run that was interrupted, or begin one."""
        now = await memory.load()
        # the set's own caps hold in staging too; what an operator chose to learn from is active there at once
        settings = memory.settings.model_copy(update={**now.caps.model_dump(), "trust": "operator"})
        student, critic = models
        told = [*(s.model_dump_json() for s in samples), *(model_name(model) for model in models)]
        key = _digest(*told, settings.model_dump_json(), str(grader), name)
        staging = memory.staging(key[:12], settings)
        calls = Calls(settings.concurrency)
        graph = build_distillation_graph(
            student=student, teacher=critic, memory=staging, grader=grader, calls=calls, author=f"distill:{name}"
        )
        asks = StructuredModel(critic, calls)
        kit = Kit(student, staging, find_grader(grader), calls, critic, asks, author=f"distill:{name}")
        run = cls(memory, staging, kit, graph, name)
        await run._take_up(now)
        return run

    async def _take_up(self, now: ExperienceSet) -> None:
        self.records = dict(await self.staging.store.load_progress(self.staging.namespace))
        if "run" not in self.records:
            await self._save("run", {"id": secrets.token_hex(8), "snapshot": dump_set(now)})
        self.id = str(self.records["run"]["id"])
        self.base = read_set(self.records["run"])
        self.resumed = len(self.finished)
        await self.staging.commit(
            [Restore(experience=e) for e in self.base.active],
            author="distill",
            why="where the run begins",
            token=f"{self.id}:seed",
        )

    @property
    def finished(self) -> dict[str, Mapping[str, Any]]:
        """The samples that are done, by id."""
        return {key[7:]: record for key, record in self.records.items() if key.startswith("sample:")}

    async def learn(self, train: Sequence[Sample]) -> None:
        """Distil every sample that is not done yet, side by side."""

        async def one(sample: Sample) -> None:
            record = await self._pass(sample, train)
            if record["status"] == "failed":  # nothing is known of it: the next start tries again
                self.records[f"failed:{sample.id}"] = record
            else:
                await self._save(f"sample:{sample.id}", record)
            self._tell("distil", len(self.finished), len(train))

        self.common = sorted(common_words([s.text for s in train]))
        self._tell("distil", len(self.finished), len(train))
        todo = [sample for sample in train if sample.id not in self.finished]
        await side_by_side(one, todo, self.kit.settings.concurrency)

    async def _pass(self, sample: Sample, train: Sequence[Sample]) -> dict[str, Any]:
        state = {
            "sample": sample.model_dump(mode="json"),
            "run": f"{self.id}:{_digest(sample.id)[:16]}",  # names tokens, which are short; ids need not be
            "source": f"dataset:{self.name}#{sample.id}",
            "peers": self._peers(sample, train),
            "common": self.common,
        }
        try:
            out = await self.graph.ainvoke(state)  # type: ignore[call-overload]
        except Exception as error:
            if is_final(error):
                raise
            return {"status": "failed", "note": one_line(error), "score": None, "spend": {}, "same": False}
        attempts = read_graded(out)
        return {
            "status": out["status"],
            "note": out["note"],
            "score": mean_score(attempts),
            "spend": out["spend"],
            "same": len(attempts) > 1 and len({t.text for t in attempts}) == 1,
        }

    def _peers(self, sample: Sample, train: Sequence[Sample]) -> list[dict[str, Any]]:
        """Return other samples to test a lesson on: the most alike, and some with another answer."""
        others = [s for s in train if s.id != sample.id]
        scores = match([s.text for s in others], sample.text)
        ranked = [others[i] for i in sorted(range(len(others)), key=lambda i: -scores[i])]
        near, rest = ranked[:NEAR_PEERS], ranked[NEAR_PEERS:]
        far = [s for s in rest if s.reference != sample.reference][:OTHER_PEERS]
        done = self.finished
        return [
            {"sample": s.model_dump(mode="json"), "score": done[s.id]["score"] if s.id in done else None}
            for s in (*near, *far)
        ]

    async def validate(self, held_out: Sequence[Sample]) -> Gate:
        """Score the held-out samples with the set before and after, in pairs."""
        staged = await self.staging.load()
        arms: dict[str, tuple[ExperienceSet, Sequence[Experience]]] = {
            "before": (self.base, self.base.active),
            "after": (staged, staged.active),
        }
        total = 2 * len(held_out)

        async def one(task: tuple[str, Sample]) -> None:
            arm, sample = task
            try:
                score, spend = await score_with(self.kit, sample, *arms[arm], await self._reference(sample))
                record = {"score": score, "spend": spend.model_dump()}
            except Exception as error:
                if is_final(error):
                    raise
                record = {"score": None, "note": one_line(error)}
            await self._save(f"gate:{arm}:{sample.id}", record)
            self._tell("validate", self._count("gate:"), total)

        self._tell("validate", self._count("gate:"), total)
        tasks = [(arm, sample) for sample in held_out for arm in arms]
        todo = [task for task in tasks if f"gate:{task[0]}:{task[1].id}" not in self.records]
        await side_by_side(one, todo, self.kit.settings.concurrency)
        pairs = [tuple(self.records[f"gate:{arm}:{sample.id}"]["score"] for arm in arms) for sample in held_out]
        scored = [pair for pair in pairs if None not in pair]
        before, after = (sum(scores) / len(scores) for scores in zip(*scored, strict=True)) if scored else (0.0, 0.0)
        return Gate(samples=len(scored), before=before, after=after, passed=after > before)

    async def _reference(self, sample: Sample) -> str:
        """Return what a held-out sample is measured against: its reference, else the teacher's answer."""
        if sample.reference:
            return sample.reference
        key = f"reference:{sample.id}"
        if key not in self.records:
            solved = await teacher.solve(DistillState(sample=sample.model_dump(mode="json")), kit=self.kit)
            answer = grading.final_answer(solved["solution"])
            await self._save(key, {"answer": answer, "spend": solved.get("spend", {})})
        return str(self.records[key]["answer"])

    async def finish(self, train: Sequence[Sample], gate: Gate | None, began: float) -> Report:
        """Promote the staged set if the gate lets it through, and forget the staging."""
        staged = await self.staging.load()
        edits = difference(self.base.active, staged.active)
        conflicts: tuple[str, ...] = ()
        promoted = bool(edits) and (gate is None or gate.passed)
        if promoted:
            promotion = await self.memory.commit(
                edits,
                author=f"distill:{self.name}",
                why=f"run {self.id} over {len(train)} samples",
                token=f"{self.id}:promote",
                base=self.base,
                usage=await self.staging.usage(),
                models={"student": model_name(self.kit.student), "teacher": model_name(self.kit.teacher)},
            )
            conflicts = tuple(f"{r.edit.op}: {r.reason}" for r in promotion.rejected)
        now = await self.memory.load()
        report = self._report(train, gate, now, promoted=promoted, conflicts=conflicts, began=began)
        await self.staging.store.drop(self.staging.namespace)
        return report

    def _report(
        self,
        train: Sequence[Sample],
        gate: Gate | None,
        now: ExperienceSet,
        *,
        promoted: bool,
        conflicts: tuple[str, ...],
        began: float,
    ) -> Report:
        records = {s.id: self.records.get(f"sample:{s.id}") or self.records[f"failed:{s.id}"] for s in train}
        without = [id for id, record in records.items() if record["status"] in {"set_aside", "failed"}]
        tokens = sum(e.tokens for e in now.active)
        return Report(
            namespace=self.memory.namespace,
            version=now.version,
            samples=len(train),
            learned=sum(record["status"] == "learned" for record in records.values()),
            set_aside=len(without),
            experiences=SetSize(active=len(now.active), tokens=tokens + FRAME_TOKENS if tokens else 0),
            spend=sum((Spend.model_validate(record.get("spend") or {}) for record in self.records.values()), Spend()),
            seconds=round(time.monotonic() - began, 3),
            promoted=promoted,
            gate=gate,
            resumed=self.resumed,
            collapsed=sum(bool(record["same"]) for record in records.values()),
            reasons=tuple(SetAside(sample=id, reason=records[id]["note"]) for id in without),
            conflicts=conflicts,
        )

    async def _save(self, key: str, record: Mapping[str, Any]) -> None:
        await self.staging.store.save_progress(self.staging.namespace, key, record)
        self.records[key] = json.loads(json.dumps(record))

    def _count(self, prefix: str) -> int:
        return sum(key.startswith(prefix) for key in self.records)

    def _tell(self, phase: str, done: int, total: int) -> None:
        statuses = [record["status"] for record in self.finished.values()]
        self.on_progress(Progress(phase, done, total, statuses.count("learned"), statuses.count("set_aside")))
