"""What a live agent did, and what was said of it afterwards: the types of online learning."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from ted_memory.errors import InvalidInput
from ted_memory.fields import Frozen, Id, Text
from ted_memory.models import Experience, Message, Sample
from ted_memory.settings import Placement

__all__ = [
    "Archived",
    "DeadLetter",
    "Episode",
    "Erased",
    "Exposure",
    "Feedback",
    "Standing",
    "Subject",
    "Traffic",
]

ANONYMOUS = "anonymous"
RunId = Annotated[Text, Field(pattern=r"^\S{1,200}$")]
Principal = Annotated[Text, Field(min_length=1, max_length=200)]


class Feedback(Frozen):
    """What somebody says of a run.

    ``score`` is in [0, 1], None where only words are given. A ``correction`` is the answer that
    would have been right. A ``reviewer`` may speak of other principals' runs, too.
    """

    run_id: RunId
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    comment: Text = ""
    correction: Text = ""
    principal: Principal = ANONYMOUS
    reviewer: bool = False
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    def is_heard(self, principal: str) -> bool:
        """Tell whether it counts for a run of this principal.

        It does where it is the principal's own word, a reviewer's, or where one of the two is
        anonymous.
        """
        return (
            self.reviewer
            or principal in {"", ANONYMOUS}
            or self.principal in {principal, ANONYMOUS}
        )

    @classmethod
    def checked(cls, **said: Any) -> "Feedback":
        """Make feedback of fields as a caller gives them.

        Raises:
            InvalidInput: the run id cannot be used, or the score is outside [0, 1].
        """
        try:
            return cls.model_validate(said)
        except ValidationError as error:
            problem = error.errors()[0]
            raise InvalidInput(
                f"feedback, {problem['loc'][0]}: {problem['msg']}; nothing was counted"
            ) from None

    @classmethod
    def from_langsmith(cls, feedback: Mapping[str, Any], principal: str = ANONYMOUS) -> "Feedback":
        """Read feedback as LangSmith has it.

        Args:
            feedback: ``run_id`` with ``score``, or a number as ``value``; also ``comment``, and a
                ``correction``, of a mapping the first value.
            principal: whose word it is.

        Raises:
            InvalidInput: it has no run id, or a score outside [0, 1].
        """
        score, correction = feedback.get("score"), feedback.get("correction")
        if score is None and isinstance(feedback.get("value"), bool | int | float):
            score = feedback["value"]
        if isinstance(correction, Mapping):  # {"desired": ...} or the output's own fields
            correction = next(iter(correction.values()), None)
        try:
            return cls(
                run_id=str(feedback["run_id"]),
                score=None if score is None else float(score),
                comment=str(feedback.get("comment") or ""),
                correction="" if correction is None else str(correction),
                principal=principal,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InvalidInput(
                f"this is no feedback of LangSmith's ({reason}); nothing was counted. "
                "It needs run_id, and a score from 0 to 1"
            ) from None


class Episode(Frozen):
    """One run of a live agent.

    ``input`` are the messages that the run began with, ``output`` the new ones; images stand there
    as hashes, and their bytes are kept beside it. ``tools`` are its tool calls with their results,
    shortened. ``seen`` are the ids of the lessons in its prompt, ``withheld`` those that chance
    left out of it, both of the set at (``epoch``, ``version``). An outcome is credited to the
    latter, and of the former to those that are ``counted``, since they apply to this task (None:
    all of them); ``withhold_share`` is the chance with which an active one was withheld.
    ``latency`` is in seconds. What it was worth comes as `Feedback`.
    """

    run_id: RunId
    thread_id: Text = ""
    principal: Principal = ANONYMOUS
    namespace: Text = ""
    input: tuple[Message, ...] = ()
    output: tuple[Message, ...] = ()
    tools: tuple[Text, ...] = ()
    seen: tuple[Id, ...] = ()
    withheld: tuple[Id, ...] = ()
    counted: tuple[Id, ...] | None = None
    withhold_share: float = Field(default=0.0, ge=0, le=0.5, allow_inf_nan=False)
    epoch: str = ""
    version: int = 0
    model: Text = ""
    started_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    latency: float | None = None
    error: Text = ""
    tags: tuple[Text, ...] = ()
    images: tuple[Text, ...] = ()
    """Hashes of the images in it whose bytes were kept."""

    @property
    def unit(self) -> str:
        """A name for what one coin decided on: the conversation, or the run where there is none."""
        return unit_of(self.thread_id or self.run_id)

    @property
    def question(self) -> str:
        """The text of the last user turn."""
        return next((m.text for m in reversed(self.input) if m.role == "user"), "")

    @property
    def answer(self) -> str:
        """The text that the run ended with."""
        return next((m.text for m in reversed(self.output) if m.role == "assistant"), "")


def unit_of(name: str) -> str:
    """A conversation's name in the records of its runs: 8 hexadecimal digits."""
    return hashlib.sha1(name.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:8]


class Subject(Frozen):
    """Whose words are to be forgotten: those of a principal, of one run, or of one conversation."""

    kind: Literal["principal", "run", "thread"]
    name: Annotated[str, Field(min_length=1)]

    def owns(self, episode: "Episode") -> bool:
        """Tell whether an episode is the subject's."""
        owners = {
            "principal": episode.principal,
            "run": episode.run_id,
            "thread": episode.thread_id,
        }
        return owners[self.kind] == self.name

    def owns_record(self, run_id: str, principal: str, unit: str) -> bool:
        """Tell the same of what is left of a run whose episode is gone.

        A conversation is told there by 8 hexadecimal digits: one record in four billion may be
        another's.
        """
        owners = {"principal": principal, "run": run_id, "thread": unit}
        return owners[self.kind] == (unit_of(self.name) if self.kind == "thread" else self.name)


class Erased(Frozen):
    """What was forgotten of a subject's traffic.

    ``episodes`` waited or were dead letters, ``runs`` are the ids of runs, ``words`` counts pieces
    of feedback.
    """

    episodes: int = 0
    runs: tuple[str, ...] = ()
    words: int = 0


class Retention(Frozen):
    """How long what was recorded is kept, and how much of it.

    ``run_days``: for which feedback on a run may come. ``early_days``: for which feedback waits for
    its run, and for which a run is known that was refused. Of dead letters the latest ``max_dead``
    are kept, ``dead_days``. An episode waits for ``episode_days`` and, once graded, is in the
    archive for ``archive_days``: both are whole days of the server's clock since it was recorded,
    365 at most.
    """

    run_days: float = 30.0
    early_days: float = 2.0
    max_dead: int = 1000
    dead_days: float = 30.0
    episode_days: int = 30
    archive_days: int = 90


class Exposure(Frozen):
    """What one request is shown: the ``block`` for its prompt, and what an Episode must say of it.

    ``placement`` is where the block belongs: at the end of the system message, or of the user turn.
    ``turns`` are solved tasks, each with its answer, that stand before the question as earlier
    turns of the conversation.
    """

    block: str = ""
    placement: Placement = "system"
    turns: tuple[tuple[str, str], ...] = ()
    seen: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    withhold_share: float = 0.0
    epoch: str = ""
    version: int = 0

    def without_credit(self) -> "Exposure":
        """Return a copy in which no lesson counts as seen or withheld; block and turns stay."""
        return self.model_copy(update={"seen": (), "withheld": (), "counted": ()})


class Claim(Frozen):
    """One episode that a learner holds.

    ``fence`` is higher for each claim: an old holder can no longer settle it. ``deliveries`` counts
    the claims so far, this one included.
    """

    seq: int
    fence: int
    deliveries: int
    episode: Episode
    feedback: tuple[Feedback, ...] = ()

    @property
    def score(self) -> float | None:
        """What was last said of it."""
        return next((f.score for f in reversed(self.feedback) if f.score is not None), None)

    @property
    def correction(self) -> str:
        """The answer that somebody said would have been right."""
        return next((f.correction for f in reversed(self.feedback) if f.correction), "")


def word_of(feedback: Sequence[Feedback]) -> str:
    """A name for what feedback on a run comes to: equal for equal last scores and corrections."""
    score = next((f.score for f in reversed(feedback) if f.score is not None), None)
    correction = next((f.correction for f in reversed(feedback) if f.correction), "")
    said = f"{score} {correction}".encode("utf-8", "replace")
    return hashlib.sha1(said, usedforsecurity=False).hexdigest()[:8]


class Claims(Frozen):
    """The answer to a learner that asks for episodes.

    ``suspects`` counts the episodes whose claim ended without an answer. They may have killed their
    learner, so each is to be begun alone.
    """

    claims: tuple[Claim, ...] = ()
    suspects: int = 0


class DeadLetter(Frozen):
    """An episode that could not be learned from, and why."""

    seq: int
    run_id: str
    reason: str
    deliveries: int
    at: datetime
    episode: Episode | None = None


class Recorded(Frozen):
    """The answer to recorded episodes, by count.

    ``repeated`` had come before, ``dropped`` met a cap, ``limited`` were beyond their principal's
    daily share.
    """

    recorded: int = 0
    repeated: int = 0
    dropped: int = 0
    limited: int = 0


Verdict = Literal["credited", "corrected", "unknown", "limited", "repeated", "kept", "foreign"]
"""What became of an outcome:

- ``credited``: it was counted.
- ``corrected``: it was counted in place of an earlier one.
- ``unknown``: its run is not known (yet).
- ``limited``: its principal has said enough today.
- ``repeated``: it was the same as before.
- ``kept``: there was no score to count.
- ``foreign``: the run is another principal's, and whoever spoke is no reviewer.
"""


class Traffic(Frozen):
    """What waits in one namespace, and what became of the rest.

    ``oldest`` is the age in seconds of the oldest episode that waits. ``counts`` are totals since
    the beginning: recorded, learned, nothing, set_aside, dead, dropped, limited, retried. ``today``
    are those of this day (UTC), with the spend of each role; ``hour`` what was settled in this hour
    and the one before. ``archived`` graded episodes are kept for replays.
    """

    waiting: int = 0
    claimed: int = 0
    dead: int = 0
    archived: int = 0
    bytes: int = 0
    oldest: float | None = None
    counts: Mapping[str, int] = {}
    today: Mapping[str, float] = {}
    hour: int = 0
    last_settled: datetime | None = None
    last_error: str = ""
    learners: int = 0


class Archived(Frozen):
    """A graded episode that is kept for replays: its task, with what was right there.

    ``speaker`` is whose word the reference rests on: whoever corrected the run, else its principal.
    ``word`` is what was said of it then, by `word_of`.
    """

    seq: int
    run_id: RunId
    principal: Principal = ANONYMOUS
    speaker: Principal = ANONYMOUS
    sample: Sample
    word: str = ""

    unit: str = ""
    """What stands for its conversation (`Episode.unit`)."""

    version: int = 0
    """Of the set that its agent saw: a lesson that went on trial later had no part in it."""

    @property
    def sources(self) -> frozenset[str]:
        """What it came from, by the names that a purge takes."""
        return frozenset(
            (f"run:{self.run_id}", f"principal:{self.principal}", f"principal:{self.speaker}")
        )


class Standing(Frozen):
    """Where one lesson from traffic stands, in numbers and words.

    ``helps``, ``useless`` are the wealths of its replayed pairs, ``live`` and ``harms`` those of
    its live outcomes, all without the loudest principals; ``turned`` speaks against it since it is
    active. ``needed`` has the wealth by which each of them changes something, ``lift`` is that of
    the pairs. ``waits_for`` says what is missing, ``left`` about how many graded requests more at
    this rate (None: unknown).
    """

    experience: Experience
    waits_for: str
    pairs: int = 0
    outcomes: int = 0
    principals: int = 0
    lift: float = 0.0
    helps: float = 1.0
    useless: float = 1.0
    live: float = 1.0
    harms: float = 1.0
    turned: float = 1.0
    needed: Mapping[str, float] = {}
    left: int | None = None
