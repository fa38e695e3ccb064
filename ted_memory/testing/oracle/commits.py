"""What commit.lua does: all checks of a commit come before its first write."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ted_memory.experience.lineage import blank_edit
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.models import (
    MOST_USAGE,
    Applied,
    Caps,
    Commit,
    Edit,
    Experience,
    LogEntry,
    LoggedChange,
    Presentation,
    Rejected,
    Usage,
)
from ted_memory.protocols import ABSENT, Change, CommitRequest
from ted_memory.testing.oracle.evidence import InMemoryEvidence

STUDENTS = 8
"""Students before the present one whose usage is kept."""


@dataclass
class Answer:
    """What is kept under a commit's token: edits without what they said, ids and reasons."""

    epoch: str
    version: int
    items: list[tuple[Edit, str, str]]

    @property
    def refused_any(self) -> bool:
        """Whether an edit was refused."""
        return any(reason for _, _, reason in self.items)

    def commit(self, asked: Sequence[Edit], *, repeated: bool) -> Commit:
        """The answer to a request: with its edits, if they are those of the first one."""
        kept = [edit for edit, _, _ in self.items]
        edits = asked if [blank_edit(edit) for edit in asked] == kept else kept
        applied, rejected = [], []
        for edit, (_, id, reason) in zip(edits, self.items, strict=True):
            if reason:
                rejected.append(Rejected(edit=edit, reason=reason))
            else:
                applied.append(Applied(edit=edit, id=id))
        return Commit(
            epoch=self.epoch,
            version=self.version,
            applied=tuple(applied),
            rejected=tuple(rejected),
            repeated=repeated,
        )


@dataclass
class Space:
    """What one namespace holds."""

    epoch: str = field(default_factory=lambda: secrets.token_hex(8))
    version: int = 0
    caps: Caps | None = None
    last_order: int = 0
    experiences: dict[str, Experience] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)
    usage_snapshot: dict[str, Usage] = field(default_factory=dict)
    """The usage at the last commit."""
    usage_before: dict[str, list[tuple[str, Usage]]] = field(default_factory=dict)
    """By id, the usage with students before the present one, the latest first."""
    log: dict[int, LogEntry] = field(default_factory=dict)
    applied: dict[str, Answer] = field(default_factory=dict)
    credited: set[str] = field(default_factory=set)
    progress: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    stamp: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    presentation: Presentation | None = None
    stamps: dict[int, str] = field(default_factory=dict)
    purged: set[str] = field(default_factory=set)
    leases: dict[str, tuple[str, float]] = field(default_factory=dict)
    """By name, the holder and when the lease ends (monotonic seconds)."""

    def add_usage(self, usage: Mapping[str, Usage], kept: float = 1.0) -> None:
        """Add to the share ``kept`` of the usage of experiences that are still there."""
        for id, added in usage.items():
            if id not in self.experiences:
                continue
            known = self.usage.get(id, Usage()).model_dump()
            sums = {name: known[name] * kept + more for name, more in added.model_dump().items()}
            bounded = {name: min(max(s, -MOST_USAGE), MOST_USAGE) for name, s in sums.items()}
            self.usage[id] = Usage(**bounded)

    @property
    def active(self) -> list[Experience]:
        """What every agent sees."""
        return [e for e in self.experiences.values() if e.state == "active"]


def apply(space: Space, request: CommitRequest, evidence: InMemoryEvidence) -> Answer:
    """Apply what can be applied; with ``atomic`` all or nothing."""
    caps = request.caps
    if space.caps is not None:
        stated = request.caps.model_dump(include=set[str](request.stated))
        caps = space.caps.model_copy(update=stated)
    checks = _Checks(space, request, caps)
    reasons = checks.refusals(request)
    judged = list(zip(request.changes, reasons, strict=True))
    accepted = [change for change, reason in judged if not reason]
    if accepted or _restates(space, request, stale=checks.stale):
        _write(space, request, accepted, caps, evidence)
    elif settles(request, any(reasons)):
        space.add_usage(request.usage)
    return Answer(
        epoch=space.epoch if space.version else "",
        version=space.version,
        items=[(blank_edit(change.edit), change.id, reason) for change, reason in judged],
    )


def settles(request: CommitRequest, refused_any: bool) -> bool:
    """Tell whether the commit takes its episode out of the queue."""
    return request.settle is not None and not (request.atomic and refused_any)


class _Checks:
    """The checks of one commit: what it may still add, and what it has touched."""

    def __init__(self, space: Space, request: CommitRequest, caps: Caps) -> None:
        self.stale = request.expect_version not in (None, space.version)
        self._space = space
        self._caps = caps
        self._diverged = _has_diverged(space, request.base)
        self._count = len(space.active)
        self._tokens = FRAME_TOKENS + _tokens(space.active)
        self._touched: set[str] = set()

    def refusals(self, request: CommitRequest) -> list[str]:
        """For each change the reason why it cannot be applied, "" where it can."""
        reasons = [self._refuse(change) for change in request.changes]
        if request.atomic and any(reasons):
            return [reason or "aborted" for reason in reasons]
        return reasons

    def _refuse(self, change: Change) -> str:
        """The reason why a change cannot be applied; one that can is counted in."""
        if change.rejected:
            return change.rejected
        if self.stale or any(self._conflicts(id, rev) for id, rev in change.expects):
            return "conflict"
        if self._is_purged(change):
            return "purged"
        if self._changes_nothing(change):
            return "unchanged"
        before = [*self._held(change.deletes), *self._held(put.id for put in change.puts)]
        count = len(_active(change.puts)) - len(_active(before))
        tokens = _tokens(_active(change.puts)) - _tokens(_active(before))
        if self._exceeds_a_cap(count, tokens):
            return "cap"
        self._count, self._tokens = self._count + count, self._tokens + tokens
        self._touched.update(id for id, _ in change.expects)
        return ""

    def _conflicts(self, id: str, rev: int) -> bool:
        """Tell whether an experience is not as the caller knows it."""
        if id in self._touched:
            return True
        held = self._space.experiences.get(id)
        if held is None:
            return rev != ABSENT
        return self._diverged or held.rev != rev

    def _exceeds_a_cap(self, count: int, tokens: int) -> bool:
        """Tell whether so many more are too many. What makes the set smaller never is."""
        if count > 0 and self._count + count > self._caps.max_experiences:
            return True
        return tokens > 0 and self._tokens + tokens > self._caps.token_budget

    def _is_purged(self, change: Change) -> bool:
        return any(not self._space.purged.isdisjoint(put.sources) for put in change.puts)

    def _changes_nothing(self, change: Change) -> bool:
        return not change.deletes and all(map(self._stands_already, change.puts))

    def _stands_already(self, put: Experience) -> bool:
        held = self._space.experiences.get(put.id)
        return held is not None and held.model_copy(update={"rev": put.rev}) == put

    def _held(self, ids: Iterable[str]) -> list[Experience]:
        held = self._space.experiences
        return [held[id] for id in ids if id in held]


def _has_diverged(space: Space, base: tuple[str, int, str]) -> bool:
    """Tell whether the caller looked at another line of history than this one."""
    epoch, version, stamp = base
    if not version:
        return False
    if epoch != space.epoch or version > space.version:
        return True
    return bool(stamp) and space.stamps.get(version, stamp) != stamp


def _active(experiences: Iterable[Experience]) -> list[Experience]:
    return [e for e in experiences if e.state == "active"]


def _tokens(experiences: Iterable[Experience]) -> int:
    return sum(e.tokens for e in experiences)


def _restates(space: Space, request: CommitRequest, *, stale: bool) -> bool:
    """Tell whether a request without edits changes how the set is shown, or who learned it."""
    if request.changes or stale:
        return False
    reshown = request.presentation is not None and request.presentation != space.presentation
    return reshown or (bool(request.models) and request.models != space.models)


def _write(
    space: Space,
    request: CommitRequest,
    accepted: Sequence[Change],
    caps: Caps,
    evidence: InMemoryEvidence,
) -> None:
    """Make one version of these changes."""
    space.version += 1
    space.stamp = space.stamps[space.version] = secrets.token_hex(8)
    student_before = space.models.get("student", "")
    space.models = request.models or space.models
    space.presentation = request.presentation or space.presentation
    changes = tuple([_write_change(space, change, evidence) for change in accepted])
    space.caps = _caps_that_hold(space, caps)
    _change_student(space, student_before)
    space.add_usage(request.usage)
    space.usage_snapshot = dict(space.usage)
    space.log[space.version] = LogEntry(
        version=space.version,
        at=datetime.now(UTC),
        author=request.author,
        why=request.why,
        token=request.token,
        changes=changes,
    )
    _trim_log(space, request.history)


def _write_change(space: Space, change: Change, evidence: InMemoryEvidence) -> LoggedChange:
    ids = (*change.deletes, *(put.id for put in change.puts))
    before = {id: space.experiences[id] for id in ids if id in space.experiences}
    for id in change.deletes:
        del space.experiences[id]
    for id in (*change.deletes, *change.fresh):
        space.usage.pop(id, None)
        space.usage_before.pop(id, None)
        evidence.forget(id)
    for put in change.puts:
        _begin_evidence(evidence, before.get(put.id), put)
    after = tuple([_place(space, put) for put in change.puts])
    return LoggedChange(edit=change.edit, before=tuple(before.values()), after=after)


def _begin_evidence(evidence: InMemoryEvidence, old: Experience | None, new: Experience) -> None:
    """Begin the evidence anew that belongs to a state, where an experience comes into it."""
    if old is None or old.state == new.state:
        return
    if new.state == "active":
        evidence.activated(new.id)
    elif new.state == "trial":
        evidence.put_on_trial(new.id)


def _place(space: Space, put: Experience) -> Experience:
    """Put an experience in its place, a new one at the end."""
    order = put.order or space.last_order + 1
    space.last_order = max(space.last_order, order)
    placed = put.model_copy(update={"rev": space.version, "order": order})
    space.experiences[put.id] = placed
    return placed


def _caps_that_hold(space: Space, caps: Caps) -> Caps:
    """The caps; a lowered one holds from the first commit on that leaves the set within it."""
    before = space.caps or caps
    experiences, tokens = caps.max_experiences, caps.token_budget
    if len(space.active) > experiences:
        experiences = max(before.max_experiences, experiences)
    if FRAME_TOKENS + _tokens(space.active) > tokens:
        tokens = max(before.token_budget, tokens)
    return Caps(max_experiences=experiences, token_budget=tokens)


def _change_student(space: Space, before: str) -> None:
    """Lay the usage with the student before aside; bring back what was laid aside for this one.

    What a lesson was worth to one student says nothing of another.
    """
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


def _trim_log(space: Space, history: int) -> None:
    """Keep this many versions."""
    for version in [v for v in space.log if v <= space.version - history]:
        del space.log[version]
        del space.stamps[version]
