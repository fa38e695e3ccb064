"""One run over a data set: its staging set, and the record that lets it be taken up again."""

import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, islice
from typing import Any

from langchain_core.runnables import Runnable

from ted_memory.distill.admission import Admission
from ted_memory.distill.context import DistillContext
from ted_memory.distill.graph import Graph, compile_graph
from ted_memory.distill.index_terms import kindred_words, lesson_for, terms_of
from ted_memory.distill.leaks import recurring_answers
from ted_memory.distill.merging import joinable, replay, said_twice
from ted_memory.distill.nodes.critic import attempts_text
from ted_memory.distill.profiles import Profile
from ted_memory.distill.progress import Records, dump_set, read_set
from ted_memory.distill.report import Carried, Shown, SolvedTasks
from ted_memory.distill.run.asking import SET_RULE
from ted_memory.distill.run.names import digest, name_of, source_of
from ted_memory.distill.scoring import OnProgress, Progress, with_retries
from ted_memory.distill.state import (
    Companion,
    DistillInput,
    Evidence,
    Joined,
    Peer,
    mean_score,
    read_graded,
)
from ted_memory.errors import BudgetExceeded
from ted_memory.grading.graders import Grader
from ted_memory.grading.judge import Judge, bind_grader
from ted_memory.llm.calls import (
    METER,
    Calls,
    Meter,
    is_final,
    is_transient,
    model_name,
    one_line,
    with_temperature,
)
from ted_memory.llm.spend import Budget
from ted_memory.llm.structured import StructuredModel
from ted_memory.llm.work import WORK, Work
from ted_memory.memory.client import TedMemory
from ted_memory.models import ExperienceSet, Restore, Rewrite, Sample
from ted_memory.retrieval.bm25 import Index, index_of
from ted_memory.retrieval.language import detect
from ted_memory.retrieval.selection import common_words, match

NEAR_PEERS, OTHER_PEERS = 8, 4
# student calls for each sample that are set aside for the gate where there is a budget
GATE_CALLS = 4
LIKELY_PAIRS = 15  # of answers that verify an edit
TIDYINGS = 3  # rounds of joining lessons at a run's end, at most
TIDIED = "tidied"  # the record of these
INDEXED = "indexed"  # the record that lessons have the words of their samples


class Job:
    """One run: its staging set, and the record that lets it be taken up again."""

    def __init__(
        self,
        memory: TedMemory,
        staging: TedMemory,
        context: DistillContext,
        graph: Graph,
        name: str,
    ) -> None:
        self.memory = memory
        self.staging = staging
        self.context = context
        self.graph = graph
        self.name = name
        self.id = ""
        self.base: ExperienceSet
        self.records: Records
        self.judged = False
        self.began_at = 0
        self.resumed = 0
        self.common: list[str] = []
        self.labels: dict[str, str] = {}
        self.index_terms: Mapping[str, str] = {}
        self.kindred: Mapping[str, Sequence[str]] = {}
        self._tasks_by_language: dict[str, Index] = {}
        self.shown: tuple[Shown, ...] = ()
        self.carried: tuple[Carried, ...] = ()
        self.solved_tasks: SolvedTasks | None = None
        self.on_progress: OnProgress = lambda _: None

    @classmethod
    async def open(
        cls,
        memory: TedMemory,
        samples: Sequence[Sample],
        *,
        models: tuple[Runnable[Any, Any], Runnable[Any, Any]],
        grader: str | Grader,
        name: str,
        profile: Profile,
    ) -> "Job":
        """Take up the run that was interrupted, or begin one."""
        now = await memory.load()
        # the set's own caps hold in staging too; what an operator chose to learn from is active
        # there at once
        settings = memory.settings.model_copy(update={**now.caps.model_dump(), "trust": "always"})
        student, critic = models
        told = [*(s.model_dump_json() for s in samples), *(model_name(model) for model in models)]
        stated = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
        key = digest(*told, stated, name_of(grader), name, profile.fingerprint)
        staging = memory.staging(key[:12], settings)
        calls = Calls(settings.concurrency)
        author = f"distill:{name}"
        by_source = {source_of(name, sample): sample for sample in samples}

        async def keep_evidence(step: str, found: Sequence[Evidence]) -> None:
            await run.records.save_evidence(step, found)

        context = DistillContext(
            student=with_temperature(student, settings.temperature),
            memory=staging,
            grader=bind_grader(grader, calls),
            calls=calls,
            teacher=critic,
            critic=StructuredModel(critic, calls),
            author=author,
            profile=profile,
            samples=by_source,
            peers={sample.id: sample for sample in samples},
            keep_evidence=keep_evidence,
        )
        run = cls(memory, staging, context, compile_graph(), name)
        run.judged = isinstance(grader, Judge)
        await run._take_up(now)
        return run

    async def _take_up(self, now: ExperienceSet) -> None:
        self.records = await Records.load(self.staging, self.context.calls)
        if "run" not in self.records:
            await self.records.save("run", {"id": secrets.token_hex(8), "snapshot": dump_set(now)})
        self.id = str(self.records["run"]["id"])
        self.base = read_set(self.records["run"]["snapshot"])
        self.resumed = len(self.records.samples)
        seed = await self.staging.commit(
            [Restore(experience=e) for e in self.base.active],
            author="distill",
            why="where the run begins",
            token=f"{self.id}:seed",
            presentation=self.base.presentation,
        )
        seeded = self.base.active or self.base.presentation
        # nothing to seed with answers the version of now
        self.began_at = seed.version if seeded else 0

    @property
    def meets_another_student(self) -> bool:
        """Whether the set was learned with a student of another name."""
        before = self.base.models.get("student", "")
        return bool(self.base.active and before) and before != model_name(self.context.student)

    def gate_calls(
        self, train: Sequence[Sample], held_out: Sequence[Sample], budget: Budget | None
    ) -> Counter[str]:
        """Return the calls that are set aside for the gate.

        Where there is a budget they are a third of it at most.
        """
        settings = self.context.settings
        if not settings.validation:
            return Counter()
        judges = len(train) + len(held_out)
        answers = 2 * self.gate_pairs(judges, budget)
        solved = sum(not sample.reference for sample in held_out)
        return Counter(student=answers, teacher=answers * self.judged + solved)

    @staticmethod
    def gate_pairs(judges: int, budget: Budget | None) -> int:
        """Return the pairs of answers that the gate may ask for where there is a budget."""
        pairs = min(GATE_CALLS * judges // 2, SET_RULE.pairs)
        return pairs if budget is None or budget.calls is None else min(pairs, budget.calls // 6)

    def _sample_calls(self) -> Counter[str]:
        """Return the calls that a sample probably takes, with the verification of one edit."""
        pairs = min(self.context.profile.verification.pairs, LIKELY_PAIRS)
        answers = self.context.settings.rollouts + 2 * pairs
        return Counter(student=answers, teacher=2 + answers * self.judged)

    async def learn(
        self, train: Sequence[Sample], budget: Budget | None, *, at_the_gate: Counter[str]
    ) -> str:
        """Distil every sample that is not done yet, side by side.

        Answers why it stopped before the end, "" where it did not.
        """
        stopped, calls = "", self.context.calls
        admission = Admission(calls, self._sample_calls())

        async def one(sample: Sample) -> str:
            nonlocal stopped
            if stopped:
                return ""
            meter = Meter()
            METER.set(meter)
            try:
                async with admission.for_one():
                    record = await self._pass(sample, train)
            except BudgetExceeded as error:
                stopped = str(error)
                return ""
            admission.saw(meter.spent)
            if record["status"] == "failed":
                self.records.failed[sample.id] = record
            else:
                await self.records.save(f"sample:{sample.id}", record)
            self.tell(len(train))
            return str(record["note"]) if record["lost"] else ""

        self._look_over(train)
        self.tell(len(train))
        calls.budget, calls.reserved = budget, at_the_gate
        try:
            todo = [sample for sample in train if sample.id not in self.records.samples]
            await with_retries(one, todo, self.context.settings.concurrency)
            await self._tidy()
            await self._index(train)
        except BudgetExceeded as error:
            stopped = stopped or str(error)
        finally:
            # what was set aside is the gate's now
            calls.reserved = Counter()
        return stopped

    def _look_over(self, train: Sequence[Sample]) -> None:
        """Note what all samples together say of each one: its words, and answers that recur."""
        language = self.context.settings.language
        self.common = sorted(common_words([s.text for s in train], language=language))
        self._tasks_by_language = {}
        self.labels = recurring_answers(train, of_users=any(s.sources for s in train))
        if not self.context.settings.examples:  # nothing that stands in a sample is kept
            return
        self.index_terms = terms_of(train, self.labels, language=language)
        if self.context.profile.conditions == "key_words":
            self.kindred = kindred_words(train, language=language)

    async def _tidy(self) -> None:
        """Make one lesson of those that say the same."""
        await self.staging.commit(
            said_twice((await self.staging.load()).active),
            author="distill",
            why="said twice",
            token=f"{self.id}:said-twice",
        )
        if (
            self.context.settings.compaction == "none"
            or not self.context.verifies
            or TIDIED in self.records
        ):
            return
        joined = list[Joined]()
        for _ in range(TIDYINGS):
            now = await self.staging.load()
            edits = joinable(now, self.labels, max_text=self.context.settings.max_text)
            done = await replay(edits, now, self.context)
            joined += done.told
            if not done.edits:
                break
            await self.staging.commit(
                done.edits,
                author="distill",
                why="they say the same",
                token=f"{self.id}:tidy:{digest(*map(repr, done.edits))[:16]}",
            )
        await self.records.save(TIDIED, {"joined": joined})

    async def _index(self, train: Sequence[Sample]) -> None:
        """Let the lessons be found by words of those samples, too, that they tell the answer of."""
        if INDEXED in self.records:
            return
        known, language = self.base.by_id, self.context.settings.language
        for sample in train:
            learned = [e for e in (await self.staging.load()).active if e.id not in known]
            has_words = bool(self.index_terms.get(sample.id))
            lesson = (
                lesson_for(sample, learned, self.labels, language=language) if has_words else None
            )
            if lesson is None or source_of(self.name, sample) in lesson.sources:
                continue
            terms = f"{lesson.index_terms} {self.index_terms[sample.id]}"
            # each sample by itself: it judges the set as it is without its own words
            edit = Rewrite(
                id=lesson.id,
                text=lesson.text,
                index_terms=terms,
                sources=tuple(self.sources(sample)),
            )
            token = f"{self.id}:index:{digest(sample.id)[:16]}"
            await self.staging.commit(
                [edit], author="distill", why="words of its samples", token=token
            )
        await self.records.save(INDEXED, {})

    async def _pass(self, sample: Sample, train: Sequence[Sample]) -> dict[str, Any]:
        state: DistillInput = {
            "sample": sample.model_dump(mode="json"),
            # names tokens, which are short; ids need not be
            "run": f"{self.id}:{digest(sample.id)[:16]}",
            "sources": self.sources(sample),
            "peers": self._peers(sample, train),
            "common": self.common,
            "labels": self.labels,
            "index_terms": self.index_terms.get(sample.id, ""),
            "kindred": list(self.kindred.get(sample.id, ())),
            "companions": self._companions(sample),
        }
        work = Work("distill", self.memory.namespace, sample.id, self.context.profile.name)
        WORK.set(work)  # of this sample's task alone
        try:
            out = await self.graph.ainvoke(
                state, work.config(), context=self.context.for_one_pass()
            )
        except Exception as error:
            if is_final(error):
                raise
            lost = is_transient(error)
            return {
                "status": "failed",
                "note": one_line(error),
                "score": None,
                "same": False,
                "lost": lost,
            }
        attempts = read_graded(out)
        # what was set aside for want of an answer is not done: it is tried again
        lost = out["lost"] and out["status"] == "set_aside"
        return {
            "status": "failed" if lost else out["status"],
            "lost": lost,
            "note": out["note"],
            "score": mean_score(attempts),
            "refused": out["refused"],
            "joined": out["joined"],
            "reference": out["reference"],
            "same": len(attempts) > 1 and len({t.text for t in attempts}) == 1,
            **self._as_companion(sample, out),
        }

    def sources(self, sample: Sample) -> list[str]:
        """Return what a lesson from a sample names as its sources.

        They say where the sample stands, and whose words it holds.
        """
        return [source_of(self.name, sample), *sample.sources]

    def _as_companion(self, sample: Sample, out: Mapping[str, Any]) -> dict[str, Companion]:
        """Return what later critics are shown of a sample, where they are shown several.

        They are shown those that the student failed on.
        """
        attempts = read_graded(out)
        if self.context.settings.critique_batch < 2 or (mean_score(attempts) or 0.0) >= 1:
            return {}
        companion = Companion(
            sources=self.sources(sample),
            task=sample.text,
            reference=out["reference"],
            solution=out["solution"],
            attempts=attempts_text(attempts, self.context),
        )
        return {"companion": companion}

    def _companions(self, sample: Sample) -> list[Companion]:
        """Return the failed samples that are most like this one."""
        failed = [
            record["companion"] for record in self.records.samples.values() if "companion" in record
        ]
        if not failed:
            return []
        scores = match([companion["task"] for companion in failed], sample.text)
        ranked = sorted(range(len(failed)), key=lambda i: -scores[i])
        return [
            failed[i] for i in ranked[: self.context.settings.critique_batch - 1] if scores[i] > 0
        ]

    def _peers(self, sample: Sample, train: Sequence[Sample]) -> list[Peer]:
        """Return samples to test a lesson on: the most alike, and some with another answer."""
        alike = self._tasks(train, detect(sample.text)).ranked(sample.text)
        known = frozenset(alike)
        others = (i for i in range(len(train)) if i not in known)
        ranked = (train[i] for i in chain(alike, others) if train[i].id != sample.id)
        near = list(islice(ranked, NEAR_PEERS))
        far = islice((s for s in ranked if s.reference != sample.reference), OTHER_PEERS)
        done = self.records.samples
        return [
            Peer(id=s.id, score=done[s.id]["score"] if s.id in done else None)
            for s in (*near, *far)
        ]

    def _tasks(self, train: Sequence[Sample], language: str) -> Index:
        """Return the index of all tasks, where those that show no language are in this one."""
        if language not in self._tasks_by_language:
            self._tasks_by_language[language] = index_of(
                [s.text for s in train], otherwise=language
            )
        return self._tasks_by_language[language]

    def tell(self, total: int) -> None:
        """Tell how far the run is."""
        statuses = [record["status"] for record in self.records.samples.values()]
        done = Progress(
            "distil", len(statuses), total, statuses.count("learned"), statuses.count("set_aside")
        )
        self.on_progress(done)
