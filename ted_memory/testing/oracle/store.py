"""The experience store in a process's own memory: for tests, and the executable statement of what the scripts do."""

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ted_memory.episodes import Retention
from ted_memory.experience.lineage import blank_edit
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.findings import Finding
from ted_memory.models import (
    MOST_USAGE,
    Applied,
    Caps,
    Commit,
    Edit,
    Experience,
    ExperienceSet,
    LogEntry,
    LoggedChange,
    Presentation,
    Rejected,
    Usage,
)
from ted_memory.protocols import ABSENT, Change, CommitRequest, VectorHead, VectorStore
from ted_memory.testing.oracle.episodes import InMemoryEpisodeQueue
from ted_memory.testing.oracle.evidence import InMemoryEvidence
from ted_memory.testing.oracle.vectors import InMemoryVectors

STUDENTS = 8  # before the present one, whose usage is kept


@dataclass
class _Answer:
    """What a token answers: edits without what they said, ids and reasons."""

    epoch: str
    version: int
    items: list[tuple[Edit, str, str]]

    def commit(self, asked: Sequence[Edit], *, repeated: bool) -> Commit:
        told = [edit for edit, _, _ in self.items]
        edits = asked if [blank_edit(edit) for edit in asked] == told else told
        judged = [
            (edit, id, reason) for edit, (_, id, reason) in zip(edits, self.items, strict=True)
        ]
        return Commit(
            epoch=self.epoch,
            version=self.version,
            applied=tuple(Applied(edit=edit, id=id) for edit, id, reason in judged if not reason),
            rejected=tuple(
                Rejected(edit=edit, reason=reason) for edit, _, reason in judged if reason
            ),
            repeated=repeated,
        )


@dataclass
class _Space:
    """What one namespace holds."""

    epoch: str = field(default_factory=lambda: secrets.token_hex(8))
    version: int = 0
    caps: Caps | None = None
    last_order: int = 0
    experiences: dict[str, Experience] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)
    ranking: dict[str, Usage] = field(default_factory=dict)
    usage_before: dict[str, list[tuple[str, Usage]]] = field(default_factory=dict)
    log: dict[int, LogEntry] = field(default_factory=dict)
    applied: dict[str, "_Answer"] = field(default_factory=dict)
    credited: set[str] = field(default_factory=set)
    progress: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    stamp: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    presentation: Presentation | None = None
    stamps: dict[int, str] = field(default_factory=dict)
    purged: set[str] = field(default_factory=set)
    leases: dict[str, tuple[str, float]] = field(default_factory=dict)


class InMemoryStore:
    """An `ExperienceStore` that ends with the process."""

    def __init__(self, kept: Retention | None = None) -> None:
        self._spaces: dict[str, _Space] = {}
        self._vectors: dict[str, tuple[VectorHead, dict[str, bytes]]] = {}
        self.episodes = InMemoryEpisodeQueue(self._held, self._count, kept)

    def _held(self, namespace: str) -> Mapping[str, Experience]:
        return self._spaces[namespace].experiences if namespace in self._spaces else {}

    def _count(self, namespace: str, usage: Mapping[str, Usage], kept: float) -> None:
        if namespace in self._spaces:
            _add_usage(self._spaces[namespace], usage, kept)

    async def read(
        self, namespace: str, known: ExperienceSet | None = None
    ) -> ExperienceSet | None:
        space = self._spaces.get(namespace)
        if space is None or space.version == 0 or space.caps is None:
            return None
        if known is not None and (known.epoch, known.version, known.stamp) == (
            space.epoch,
            space.version,
            space.stamp,
        ):
            return known
        return ExperienceSet(
            namespace=namespace,
            epoch=space.epoch,
            version=space.version,
            caps=space.caps,
            experiences=tuple(sorted(space.experiences.values(), key=lambda e: (e.order, e.id))),
            usage=dict(space.ranking),
            stamp=space.stamp,
            oldest=min(space.log),
            models=space.models,
            presentation=space.presentation,
        )

    read_fast = read

    def vectors(self, namespace: str) -> VectorStore:
        return InMemoryVectors(self._vectors, namespace)

    async def prove(self, namespace: str, *, to_learn: bool = False) -> None:
        pass  # nothing is asked of it

    async def commit(self, namespace: str, request: CommitRequest) -> Commit:
        space = self._spaces.setdefault(namespace, _Space())
        asked = [change.edit for change in request.changes]
        before = space.applied.get(request.token)
        if before is not None:
            return before.commit(asked, repeated=True)
        if request.settle:
            self.episodes.check(namespace, request.settle)
        answer = _apply(space, request, self.episodes.evidence_of(namespace))
        if request.settle and not (request.atomic and any(reason for _, _, reason in answer.items)):
            self.episodes.settle(namespace, request.settle, space.purged)
        space.applied[request.token] = answer
        return answer.commit(asked, repeated=False)

    async def credit(
        self, namespace: str, usage: Mapping[str, Usage], token: str, *, kept: float = 1.0
    ) -> bool:
        space = self._spaces.setdefault(namespace, _Space())
        if token in space.credited:
            return False
        space.credited.add(token)
        _add_usage(space, usage, kept)
        return True

    async def usage(self, namespace: str) -> Mapping[str, Usage]:
        space = self._spaces.get(namespace)
        return dict(space.usage) if space else {}

    async def log(self, namespace: str, versions: Sequence[int]) -> tuple[LogEntry, ...]:
        kept = self._spaces[namespace].log if namespace in self._spaces else {}
        return tuple(kept[version] for version in versions if version in kept)

    async def load_progress(self, namespace: str) -> Mapping[str, Mapping[str, Any]]:
        space = self._spaces.get(namespace)
        return dict(space.progress) if space else {}

    async def save_progress(self, namespace: str, key: str, record: Mapping[str, Any]) -> None:
        self._spaces.setdefault(namespace, _Space()).progress[key] = dict(record)

    async def tombstone(self, namespace: str, *sources: str) -> None:
        self._spaces.setdefault(namespace, _Space()).purged.update(sources)

    async def tombstoned(self, namespace: str, sources: Iterable[str]) -> frozenset[str]:
        purged = self._spaces[namespace].purged if namespace in self._spaces else set[str]()
        return frozenset(sources) & purged

    async def blank(
        self, namespace: str, versions: Sequence[int], change: Callable[[LogEntry], LogEntry]
    ) -> None:
        space = self._spaces.setdefault(namespace, _Space())
        for version in versions:
            entry = space.log.get(version)
            if entry is None or (blanked := change(entry)) == entry:
                continue
            space.log[version] = blanked

    async def hold(self, namespace: str, name: str, holder: str, seconds: float) -> bool:
        leases, now = self._spaces.setdefault(namespace, _Space()).leases, time.monotonic()
        held, until = leases.get(name, ("", 0.0))
        if held != holder and now < until:
            return False
        leases[name] = (holder, now + seconds)
        return True

    async def namespaces(self) -> tuple[str, ...]:
        return tuple(
            sorted(
                name for name, space in self._spaces.items() if space.version and "~" not in name
            )
        )

    async def drop(self, namespace: str) -> None:
        self._spaces.pop(namespace, None)
        self._vectors.pop(namespace, None)
        self.episodes.forget(namespace)

    async def drop_runs(
        self, namespace: str, sources: Collection[str], runs: Collection[str]
    ) -> int:
        named = [repr(name) for name in (*sources, *runs, *(f"sample:{run}" for run in runs))]
        found = [
            name
            for name, space in self._spaces.items()
            if name.startswith(f"{namespace}~") and any(one in repr(space) for one in named)
        ]
        for name in found:
            await self.drop(name)
        return len(found)

    async def examine(self, namespace: str) -> Sequence[Finding]:  # noqa: ARG002
        return [
            Finding(
                of="server", state="warning", told="there is none: all of it ends with this process"
            )
        ]

    async def compact(self) -> bool:
        return True  # there is no disk

    async def aclose(self) -> None:
        """Keep everything: the next one who holds this object finds it."""


class _Tally:
    """The checks of one commit: what it may still add, and what it has touched."""

    def __init__(self, space: _Space, request: CommitRequest, caps: Caps) -> None:
        self.space = space
        self.caps = caps
        self.stale = request.expect_version not in (None, space.version)
        active = [e for e in space.experiences.values() if e.state == "active"]
        self.active = len(active)
        self.tokens = FRAME_TOKENS + sum(e.tokens for e in active)
        self.touched: set[str] = set()
        self.elsewhere = _went_elsewhere(space, request.base)

    def _conflicts(self, id: str, rev: int) -> bool:
        held = self.space.experiences[id].rev if id in self.space.experiences else ABSENT
        return (
            self.stale or id in self.touched or held != rev or (self.elsewhere and held != ABSENT)
        )

    def refuse(self, change: Change) -> str:
        """Return why the change cannot be applied, or "" after counting it in."""
        current = self.space.experiences
        if change.rejected or any(self._conflicts(id, rev) for id, rev in change.expects):
            return change.rejected or "conflict"
        if any(source in self.space.purged for put in change.puts for source in put.sources):
            return "purged"
        if not change.deletes and all(_same(current.get(put.id), put) for put in change.puts):
            return "unchanged"
        gone = [
            current[id] for id in (*change.deletes, *(p.id for p in change.puts)) if id in current
        ]
        count = _active_count(change.puts) - _active_count(gone)
        cost = _active_tokens(change.puts) - _active_tokens(gone)
        if count > 0 and self.active + count > self.caps.max_experiences:
            return "cap"
        if cost > 0 and self.tokens + cost > self.caps.token_budget:
            return "cap"
        self.active, self.tokens = self.active + count, self.tokens + cost
        self.touched.update(id for id, _ in change.expects)
        return ""


def _went_elsewhere(space: _Space, base: tuple[str, int, str]) -> bool:
    """Tell whether the history is another one than that which the caller looked at."""
    epoch, version, stamp = base
    if not version:
        return False
    if epoch != space.epoch or version > space.version:
        return True
    return bool(stamp) and space.stamps.get(version, stamp) != stamp


def _active_count(experiences: Sequence[Experience]) -> int:
    return sum(e.state == "active" for e in experiences)


def _active_tokens(experiences: Sequence[Experience]) -> int:
    return sum(e.tokens for e in experiences if e.state == "active")


def _same(old: Experience | None, new: Experience) -> bool:
    return old is not None and old.model_copy(update={"rev": new.rev}) == new


def _apply(space: _Space, request: CommitRequest, evidence: InMemoryEvidence) -> "_Answer":
    stated: dict[str, int] = {name: getattr(request.caps, name) for name in request.stated}
    caps = request.caps if space.caps is None else space.caps.model_copy(update=stated)
    tally = _Tally(space, request, caps)
    reasons = [tally.refuse(change) for change in request.changes]
    if request.atomic and any(reasons):
        reasons = [reason or "aborted" for reason in reasons]
    accepted = [
        change for change, reason in zip(request.changes, reasons, strict=True) if not reason
    ]
    if accepted or _restated(space, request, stale=tally.stale):
        _write(space, request, accepted, caps, evidence)
    elif request.settle and not (request.atomic and any(reasons)):
        _add_usage(space, request.usage)
    return _Answer(
        epoch=space.epoch if space.version else "",
        version=space.version,
        items=[
            (blank_edit(c.edit), c.id, reason)
            for c, reason in zip(request.changes, reasons, strict=True)
        ],
    )


def _restated(space: _Space, request: CommitRequest, *, stale: bool) -> bool:
    """Tell whether a request without edits changes how the set is shown, or who learned it."""
    if request.changes or stale:
        return False
    reshown = request.presentation is not None and request.presentation != space.presentation
    return reshown or (bool(request.models) and request.models != space.models)


def _write(
    space: _Space,
    request: CommitRequest,
    accepted: Sequence[Change],
    caps: Caps,
    evidence: InMemoryEvidence,
) -> None:
    space.version += 1
    space.stamp = space.stamps[space.version] = secrets.token_hex(8)
    student_before = space.models.get("student", "")
    space.models = request.models or space.models
    space.presentation = request.presentation or space.presentation
    changes = []
    for change in accepted:
        ids = (*change.deletes, *(put.id for put in change.puts))
        before = tuple(space.experiences[id] for id in ids if id in space.experiences)
        for id in change.deletes:
            del space.experiences[id]
        for id in (*change.deletes, *change.fresh):
            space.usage.pop(id, None)
            space.usage_before.pop(id, None)
            evidence.forget(id)
        states = {e.id: e.state for e in before}
        for put in change.puts:
            if put.state == "active" and states.get(put.id, "active") != "active":
                evidence.activated(put.id)
            if put.state == "trial" and states.get(put.id, "trial") != "trial":
                evidence.put_on_trial(put.id)
        after = tuple(_place(space, put) for put in change.puts)
        changes.append(LoggedChange(edit=change.edit, before=before, after=after))
    space.caps = _caps_that_hold(space, caps)
    _change_student(space, student_before)
    _add_usage(space, request.usage)
    space.ranking = dict(space.usage)
    space.log[space.version] = LogEntry(
        version=space.version,
        at=datetime.now(UTC),
        author=request.author,
        why=request.why,
        token=request.token,
        changes=tuple(changes),
    )
    for old in [version for version in space.log if version <= space.version - request.history]:
        del space.log[old]
        del space.stamps[old]


def _caps_that_hold(space: _Space, caps: Caps) -> Caps:
    """Return the caps; a lowered one begins to hold with the first commit that leaves the set within it."""
    active = [e for e in space.experiences.values() if e.state == "active"]
    count, tokens, before = (
        len(active),
        FRAME_TOKENS + sum(e.tokens for e in active),
        space.caps or caps,
    )
    return Caps(
        max_experiences=caps.max_experiences
        if count <= caps.max_experiences
        else max(before.max_experiences, caps.max_experiences),
        token_budget=caps.token_budget
        if tokens <= caps.token_budget
        else max(before.token_budget, caps.token_budget),
    )


def _add_usage(space: _Space, usage: Mapping[str, Usage], kept: float = 1.0) -> None:
    for id, added in usage.items():
        if id in space.experiences:
            known = space.usage.get(id, Usage())
            sums = {n: getattr(known, n) * kept + getattr(added, n) for n in Usage.model_fields}
            space.usage[id] = Usage(
                **{n: min(max(one, -MOST_USAGE), MOST_USAGE) for n, one in sums.items()}
            )


def _change_student(space: _Space, before: str) -> None:
    """Lay the usage with the student from before aside, and bring back what was laid aside for the present one."""
    now = space.models.get("student", "")
    if not before or not now or before == now:
        return
    for id in space.experiences:
        aside = [(before, space.usage.pop(id))] if id in space.usage else []
        for student, usage in space.usage_before.pop(id, []):
            if student == now:
                space.usage[id] = usage
            elif student != before and len(aside) < STUDENTS:
                aside.append((student, usage))
        space.usage_before[id] = aside


def _place(space: _Space, put: Experience) -> Experience:
    order = put.order or space.last_order + 1
    space.last_order = max(space.last_order, order)
    placed = put.model_copy(update={"rev": space.version, "order": order})
    space.experiences[put.id] = placed
    return placed
