"""The data set loop: distil sample by sample in a staging set, then let agents see the result in one commit."""

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import Runnable

from ted_memory.distill import gate as validation_gate
from ted_memory.distill.graph import Graph, build_distillation_graph
from ted_memory.distill.kit import Kit
from ted_memory.distill.nodes.compactor import said_twice
from ted_memory.distill.nodes.verify import describe
from ted_memory.distill.progress import Records
from ted_memory.distill.report import Gate, RejectedLesson, Report, SetAside, SetSize
from ted_memory.distill.room import Room
from ted_memory.distill.scoring import OnProgress, Progress, patiently
from ted_memory.distill.state import dump_set, mean_score, read_graded, read_set
from ted_memory.errors import BudgetExceeded, InvalidInput, ModelError
from ted_memory.experience.edits import difference
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.grading.graders import Grader
from ted_memory.grading.judge import Judge, bind_grader
from ted_memory.llm.calls import Calls, is_final, is_transient, model_name, one_line
from ted_memory.llm.spend import Budget
from ted_memory.llm.structured import StructuredModel
from ted_memory.memory import TedMemory
from ted_memory.models import ExperienceSet, Restore, Sample
from ted_memory.retrieval.selection import common_words, match

NEAR_PEERS, OTHER_PEERS = 8, 4


async def distill(
    samples: Sequence[Sample],
    *,
    student: Runnable[Any, Any],
    teacher: Runnable[Any, Any],
    memory: TedMemory,
    grader: str | Grader = "auto",
    name: str = "samples",
    budget: Budget | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Report:
    """Learn from a data set; return what was learned.

    Agents see one commit at the end, and only if what was learned scores higher on the held-out samples (setting
    ``validation``, 0 for no gate) than the set before; with ``checkpoints`` above 1 the best of so many stages of the
    run goes live. What the gate refuses is kept as proposed lessons, which no agent is shown. Killed at any moment and
    called again with the same samples, models and settings, it goes on; a finished run called again is a new run.

    Args:
        samples: ids must differ.
        student: the model or agent that is to get better.
        teacher: chat model; solves, criticises, compacts.
        memory: where the lessons go.
        grader: see `ted_memory.grading.graders`.
        name: of the data set; lessons carry ``dataset:<name>#<sample id>`` as their source.
        budget: what the run may spend. A sample begins only if there is room for all of it, and the gate's calls are
            set aside; what was learned until then goes through the gate, and the report says so. A limit in calls
            holds exactly; one in tokens or money is estimated from the calls before, and may be passed by a little.
        on_progress: called after each sample.

    Raises:
        InvalidInput: no samples, or two with one id.
        ModelError: a model cannot be used at all, or went on being unavailable; what is done is kept for the next
            call.
        StoreError: the memory cannot be reached.
    """
    began = time.monotonic()
    _check(samples)
    train, held_out = split(samples, memory.settings.validation)
    run = await _Run.open(memory, samples, (student, teacher), grader, name)
    run.on_progress = on_progress
    try:
        stopped = await run.learn(train, budget, at_the_gate=run.gate_calls(held_out))
        gate, chosen = await run.validate(held_out)
    except ModelError as error:
        await run.records.save_spent()
        kept = f"{len(run.records.samples)} of {len(train)} samples are done and kept"
        raise type(error)(f"{error} {kept}; call again to go on") from error
    return await run.finish(train, gate, chosen, stopped=stopped, began=began)


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


def _name_of(grader: str | Grader) -> str:
    """Return what a grader is known by in another process: the text of a function has its address in it."""
    return grader if isinstance(grader, str) else str(getattr(grader, "__qualname__", None) or repr(grader))


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
        self.records: Records
        self.judged = False
        self.began_at = 0
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
        key = _digest(*told, settings.model_dump_json(), _name_of(grader), name)
        staging = memory.staging(key[:12], settings)
        calls = Calls(settings.concurrency)
        graph = build_distillation_graph(
            student=student, teacher=critic, memory=staging, grader=grader, calls=calls, author=f"distill:{name}"
        )
        asks = StructuredModel(critic, calls)
        kit = Kit(student, staging, bind_grader(grader, calls), calls, critic, asks, author=f"distill:{name}")
        run = cls(memory, staging, kit, graph, name)
        run.judged = isinstance(grader, Judge)
        await run._take_up(now)
        return run

    async def _take_up(self, now: ExperienceSet) -> None:
        self.records = await Records.load(self.staging, self.kit.calls)
        if "run" not in self.records:
            await self.records.save("run", {"id": secrets.token_hex(8), "snapshot": dump_set(now)})
        self.id = str(self.records["run"]["id"])
        self.base = read_set(self.records["run"])
        self.resumed = len(self.records.samples)
        seed = await self.staging.commit(
            [Restore(experience=e) for e in self.base.active],
            author="distill",
            why="where the run begins",
            token=f"{self.id}:seed",
        )
        self.began_at = seed.version if self.base.active else 0  # nothing to seed with answers the version of now

    def gate_calls(self, held_out: Sequence[Sample]) -> Counter[str]:
        """Return the calls that the gate will need."""
        answers = len(held_out) * (1 + self.kit.settings.checkpoints)
        solved = sum(not sample.reference for sample in held_out)
        return Counter(student=answers, teacher=answers * self.judged + solved)

    def _sample_calls(self) -> Counter[str]:
        """Return the calls that a sample takes, with one try on it and on another one."""
        answers = self.kit.settings.rollouts + 2 * self.kit.settings.try_rollouts
        return Counter(student=answers, teacher=2 + answers * self.judged)

    async def learn(self, train: Sequence[Sample], budget: Budget | None, *, at_the_gate: Counter[str]) -> str:
        """Distil every sample that is not done yet, side by side; return why it stopped before the end, or ""."""
        stopped, calls = "", self.kit.calls
        room = Room(calls, self._sample_calls())

        async def one(sample: Sample) -> str:
            nonlocal stopped
            if stopped:
                return ""
            try:
                async with room.for_one():
                    record = await self._pass(sample, train)
            except BudgetExceeded as error:
                stopped = str(error)
                return ""
            if record["status"] == "failed":
                self.records.failed[sample.id] = record
            else:
                await self.records.save(f"sample:{sample.id}", record)
            self._tell(len(train))
            return str(record["note"]) if record["lost"] else ""

        self.common = sorted(common_words([s.text for s in train]))
        self._tell(len(train))
        calls.budget, calls.reserved = budget, at_the_gate
        try:
            todo = [sample for sample in train if sample.id not in self.records.samples]
            await patiently(one, todo, self.kit.settings.concurrency)
        finally:
            calls.budget = None  # what the gate needs was set aside
        await self.staging.commit(
            said_twice((await self.staging.load()).active),
            author="distill",
            why="said twice",
            token=f"{self.id}:said-twice",
        )
        return stopped

    async def _pass(self, sample: Sample, train: Sequence[Sample]) -> dict[str, Any]:
        state = {
            "sample": sample.model_dump(mode="json"),
            "run": f"{self.id}:{_digest(sample.id)[:16]}",  # names tokens, which are short; ids need not be
            "sources": [f"dataset:{self.name}#{sample.id}"],
            "peers": self._peers(sample, train),
            "common": self.common,
        }
        try:
            out = await self.graph.ainvoke(state)  # type: ignore[call-overload]
        except Exception as error:
            if is_final(error):
                raise
            lost = is_transient(error)
            return {"status": "failed", "note": one_line(error), "score": None, "same": False, "lost": lost}
        attempts = read_graded(out)
        # what was set aside for want of an answer is not done: it is tried again
        lost = out["lost"] and out["status"] == "set_aside"
        return {
            "status": "failed" if lost else out["status"],
            "lost": lost,
            "note": out["note"],
            "score": mean_score(attempts),
            "refused": out.get("refused", []),
            "same": len(attempts) > 1 and len({t.text for t in attempts}) == 1,
        }

    def _peers(self, sample: Sample, train: Sequence[Sample]) -> list[dict[str, Any]]:
        """Return other samples to test a lesson on: the most alike, and some with another answer."""
        others = [s for s in train if s.id != sample.id]
        scores = match([s.text for s in others], sample.text)
        ranked = [others[i] for i in sorted(range(len(others)), key=lambda i: -scores[i])]
        near, rest = ranked[:NEAR_PEERS], ranked[NEAR_PEERS:]
        far = [s for s in rest if s.reference != sample.reference][:OTHER_PEERS]
        done = self.records.samples
        return [
            {"sample": s.model_dump(mode="json"), "score": done[s.id]["score"] if s.id in done else None}
            for s in (*near, *far)
        ]

    async def validate(self, held_out: Sequence[Sample]) -> tuple[Gate | None, ExperienceSet]:
        """Return the gate's verdict, None when there is none, and the set that was chosen."""
        staged = await self.staging.load()
        if not held_out or not difference(self.base.active, staged.active):
            return None, staged
        count = min(self.kit.settings.checkpoints, staged.version - self.began_at)
        versions = [staged.version - i * (staged.version - self.began_at) // max(count, 1) for i in range(count)]
        stages = [await self.staging.at(version) for version in reversed(versions)]
        candidates = validation_gate.candidates_of(self.base, stages)
        return await validation_gate.validate(held_out, candidates, self.kit, self.records, self.on_progress)

    async def finish(
        self, train: Sequence[Sample], gate: Gate | None, chosen: ExperienceSet, *, stopped: str, began: float
    ) -> Report:
        """Promote what was chosen if the gate lets it through, and forget the staging."""
        edits = difference(self.base.active, chosen.active)
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
        rejected = self._refused_in_tries(train)
        if gate and not gate.passed:
            rejected += await self._keep_rejected(gate, chosen)
        now = await self.memory.load()
        report = self._report(train, gate, now, promoted=promoted, conflicts=conflicts, began=began)
        await self.staging.store.drop(self.staging.namespace)
        return report.model_copy(update={"stopped": stopped, "rejected": tuple(rejected)})

    async def _keep_rejected(self, gate: Gate, chosen: ExperienceSet) -> list[RejectedLesson]:
        """Keep what the gate refused as proposed lessons, with the reason."""
        reason = f"validation on {gate.samples} samples: {gate.before:.3f} before, {gate.after:.3f} after"
        edits = validation_gate.proposals(chosen.active, await self.memory.load(), reason)
        await self.memory.commit(
            edits, author=f"distill:{self.name}", why=f"refused by {reason}", token=f"{self.id}:rejected"
        )
        return [RejectedLesson(lesson=describe(edit), reason=reason) for edit in edits]

    def _refused_in_tries(self, train: Sequence[Sample]) -> list[RejectedLesson]:
        records = (self.records.samples.get(sample.id, {}) for sample in train)
        return [
            RejectedLesson(lesson=refused["edit"], reason=refused["reason"])
            for record in records
            for refused in record.get("refused", [])
        ]

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
        done = {**self.records.failed, **self.records.samples}
        records = {s.id: done[s.id] for s in train if s.id in done}
        without = [id for id, record in records.items() if record["status"] in {"set_aside", "failed"}]
        tokens = sum(e.tokens for e in now.active)
        return Report(
            namespace=self.memory.namespace,
            version=now.version,
            samples=len(records),
            learned=sum(record["status"] == "learned" for record in records.values()),
            set_aside=len(without),
            experiences=SetSize(active=len(now.active), tokens=tokens + FRAME_TOKENS if tokens else 0),
            spend=self.kit.calls.spent,
            seconds=round(time.monotonic() - began, 3),
            promoted=promoted,
            gate=gate,
            resumed=self.resumed,
            collapsed=sum(bool(record["same"]) for record in records.values()),
            reasons=tuple(SetAside(sample=id, reason=records[id]["note"]) for id in without),
            conflicts=conflicts,
        )

    def _tell(self, total: int) -> None:
        statuses = [record["status"] for record in self.records.samples.values()]
        done = Progress("distil", len(statuses), total, statuses.count("learned"), statuses.count("set_aside"))
        self.on_progress(done)
