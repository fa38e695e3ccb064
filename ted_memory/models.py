"""The frozen types that cross borders. Bytes and dicts become these once, then nobody guesses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from ted_memory.fields import MOST, Frozen, Id, Metadata, Text
from ted_memory.samples import Message, Sample, Trajectory
from ted_memory.settings import Placement, Selection, TrialRule

__all__ = [
    "Add",
    "Applied",
    "Caps",
    "Commit",
    "Difference",
    "Edit",
    "Experience",
    "ExperienceSet",
    "LogEntry",
    "LoggedChange",
    "Merge",
    "Message",
    "Presentation",
    "PurgeReport",
    "Rejected",
    "Remove",
    "Restore",
    "Rewrite",
    "Sample",
    "SetState",
    "State",
    "Trajectory",
    "Trial",
    "Usage",
]

State = Literal["proposed", "trial", "active", "retired"]
MOST_USAGE = 1e12  # of each counter; the script that adds to them knows it, too
Count = Annotated[float, Field(ge=0, le=MOST_USAGE)]
Sum = Annotated[float, Field(ge=-MOST_USAGE, le=MOST_USAGE)]


class Trial(Frozen):
    """Where a lesson from traffic stands on its way to the agents (see `experience.trials`).

    ``bet`` is the share of the largest bet that its live test stakes (0: it has not begun),
    ``rule`` what that test asks for, ``began_at`` when it began, by the learner's clock.
    ``passed``: the evidence is there. An active lesson has it where it became active by that, and
    not by a person; one on trial where a person's approval is wanted besides (trust ``review``).
    ``ended``: why it waits for a person, "" where it does not.
    """

    rule: TrialRule = "strict"
    bet: float = Field(0.0, ge=0, lt=1)
    began_at: datetime | None = None
    passed: bool = False
    ended: Text = ""


class Experience(Frozen):
    """One lesson.

    ``rev`` is the version of its last change and is never reused; ``order`` is its place in the
    set; ``tokens`` is what it counts for in a prompt (see `experience.rendering.count_tokens`).
    ``text`` and ``example`` may have several lines; ``example`` is one worked example, rendered
    under the text. With a ``task`` it is the answer to that task, and both are shown as an earlier
    turn of the conversation instead. ``everywhere``: it is shown and measured on every request,
    since its ``when`` is for the reader only: no retrieval finds it by that. ``index_terms`` are
    words, with blanks between, by which word retrieval finds it besides its ``when``; no model is
    shown them. ``metadata`` is JSON-able and the user's own: nothing of it is rendered.
    ``created_at`` and ``updated_at`` are by the writer's clock.
    """

    id: Id
    text: Text
    when: Text = ""
    example: Text = ""
    task: Text = ""
    everywhere: bool = False
    index_terms: Text = ""
    state: State = "active"
    sources: tuple[Text, ...] = ()
    parents: tuple[Text, ...] = ()
    trial: Trial | None = None
    metadata: Metadata = Field(default_factory=dict)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    rev: int = Field(0, ge=0, le=MOST)
    order: int = Field(0, ge=0, le=MOST)
    tokens: int = Field(0, ge=0, le=MOST)

    @property
    def applies_always(self) -> bool:
        """Whether it is about every request: no condition, or none that a retrieval could find."""
        return self.everywhere or not self.when

    @property
    def lesson(self) -> tuple[str, str, str, str]:
        """All that it says: condition, text, example, and the task that the example solves."""
        return self.when, self.text, self.example, self.task


class Usage(Frozen):
    """What is known of one experience from randomised comparisons and from the critic.

    Attempts with and without it (live trials) are counted in the first four fields. ``weight`` and
    ``weighted_difference`` add up the differences within groups of attempts at one sample (see
    `experience.lift`); ``helped`` and ``hurt`` count the critic's citations. All are finite, and at
    most 1e12 either way. Only sums of scores and of differences may be below 0: a correction takes
    away what was added before.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False)

    n_with: Count = 0.0
    successes_with: Sum = 0.0
    n_without: Count = 0.0
    successes_without: Sum = 0.0
    weight: Count = 0.0
    weighted_difference: Sum = 0.0
    helped: Count = 0.0
    hurt: Count = 0.0


class Caps(Frozen):
    """Limits that every commit keeps: active experiences, tokens of the rendered block."""

    max_experiences: int
    token_budget: int


class Presentation(Frozen):
    """How a set is shown to a student; each field is the setting of the same name."""

    selection: Selection = "all"
    top_k: int = Field(3, ge=1)
    placement: Placement = "system"
    examples: bool = True  # are lessons' examples rendered, and solved tasks shown at all?


class Lessons(tuple[Experience, ...]):
    """Experiences of one snapshot, with what each request needs of them worked out once."""

    @cached_property
    def by_id(self) -> Mapping[str, Experience]:
        """These experiences by their ids."""
        return {e.id: e for e in self}

    @cached_property
    def always(self) -> tuple[Experience, ...]:
        """Those that are about every request."""
        return tuple(e for e in self if e.applies_always)


@dataclass(frozen=True)
class ExperienceSet:
    """An immutable snapshot. Iterates over all its experiences, in their stable order."""

    namespace: str
    epoch: str
    version: int
    caps: Caps
    experiences: tuple[Experience, ...] = ()
    usage: Mapping[str, Usage] = field(default_factory=dict)
    """Usage as stored at the commit that made this version."""
    stamp: str = ""
    """Random for each commit: of two versions of one number, after a restore, the stamps differ."""
    oldest: int = 0
    """The oldest version that the history still reaches."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Names of the ``student`` and the ``teacher`` of the last distillation, as far as known."""
    presentation: Presentation | None = None
    """How it is best shown, as a run measured it. Not part of a version: a rollback leaves it."""

    def __iter__(self) -> Iterator[Experience]:
        return iter(self.experiences)

    def __len__(self) -> int:
        return len(self.experiences)

    @cached_property
    def by_id(self) -> Mapping[str, Experience]:
        """The experiences by id."""
        return {experience.id: experience for experience in self.experiences}

    @cached_property
    def active(self) -> Lessons:
        """Those that every agent sees."""
        return Lessons(e for e in self.experiences if e.state == "active")

    @cached_property
    def trial(self) -> tuple[Experience, ...]:
        """Those on trial."""
        return tuple(e for e in self.experiences if e.state == "trial")

    @cached_property
    def candidates(self) -> Lessons:
        """Those that a prompt may show: the active ones, then those on trial."""
        return Lessons((*self.active, *self.trial))

    @cached_property
    def proposed(self) -> tuple[Experience, ...]:
        """Those that wait for support."""
        return tuple(e for e in self.experiences if e.state == "proposed")


class Add(Frozen):
    """Propose a new experience. Without ``sources`` the commit's author becomes the source."""

    op: Literal["add"] = "add"
    text: Text
    when: Text = ""
    example: Text = ""
    task: Text = ""
    everywhere: bool = False
    index_terms: Text = ""
    state: Literal["proposed", "trial", "active"] = "active"
    sources: tuple[Text, ...] = ()
    metadata: Metadata = Field(default_factory=dict)


class Rewrite(Frozen):
    """Give an experience a new text; what is None stays as it was.

    With ``rev`` it is refused if the experience changed since. A new ``example`` without a ``task``
    is no longer the answer to the old one; a new ``when`` takes the old ``index_terms`` away.
    """

    op: Literal["rewrite"] = "rewrite"
    id: Text
    text: Text
    when: Text | None = None
    example: Text | None = None
    task: Text | None = None
    everywhere: bool | None = None
    index_terms: Text | None = None
    rev: int | None = None
    sources: tuple[Text, ...] = ()


class Merge(Frozen):
    """Replace two or more experiences by one, with all their sources and index terms."""

    op: Literal["merge"] = "merge"
    ids: Annotated[tuple[Text, ...], Field(min_length=2)]
    text: Text
    when: Text = ""
    example: Text = ""
    task: Text = ""
    everywhere: bool = False
    sources: tuple[Text, ...] = ()


class Remove(Frozen):
    """Take an experience out of the set; the log keeps it."""

    op: Literal["remove"] = "remove"
    id: Text
    rev: int | None = None


class SetState(Frozen):
    """Move an experience along ``proposed -> trial -> active -> retired`` (only in the log)."""

    op: Literal["set_state"] = "set_state"
    id: Text
    state: State
    trial: Trial | None = None
    rev: int | None = None


class Restore(Frozen):
    """Put an experience in as it stands, under its own id: for rollback and promotion."""

    op: Literal["restore"] = "restore"
    experience: Experience


Edit = Annotated[Add | Rewrite | Merge | Remove | SetState | Restore, Field(discriminator="op")]


class Applied(Frozen):
    """One edit that took effect, and the id of the experience that it made, changed or took out."""

    edit: Edit
    id: str


class Rejected(Frozen):
    """One edit that did not take effect.

    Reasons: ``conflict`` (the experience changed meanwhile), ``unknown`` (no such id), ``cap`` (a
    limit of the set), ``unchanged``, ``too long``, ``empty``, ``purged`` (one of its sources was
    purged), ``aborted`` (another edit of an all-or-nothing commit failed).
    """

    edit: Edit
    reason: str


class Commit(Frozen):
    """The answer to a commit; ``repeated``: the one that its token was given before."""

    epoch: str
    version: int
    applied: tuple[Applied, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    repeated: bool = False


class LoggedChange(Frozen):
    """One edit of the log with the experiences that it touched, as they were before and after."""

    edit: Edit
    before: tuple[Experience, ...] = ()
    after: tuple[Experience, ...] = ()


class LogEntry(Frozen):
    """One version of the log."""

    version: int
    at: datetime
    author: str
    why: str
    token: str
    changes: tuple[LoggedChange, ...]


class Difference(Frozen):
    """One experience as it stands in an older and in a newer version; None: not there."""

    id: str
    before: Experience | None
    after: Experience | None


class PurgeReport(Frozen):
    """What a purge did, by experience id.

    ``restored`` are what purged ones had been made from, free of the source; ``waiting`` those of
    them that are ``proposed`` since a cap left no room. Of ``unknown`` the history no longer holds
    the origins, or they no longer fit into the token budget at all: they are gone. ``blanked`` are
    the versions of the log that no longer tell what came from the source, ``archived`` is how many
    episodes were taken out of the archive.
    """

    version: int
    removed: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    blanked: tuple[int, ...] = ()
    archived: int = 0
