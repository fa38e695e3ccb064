"""What travels through the graph. JSON-able throughout, so that any checkpointer can keep it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import TypeAdapter

# pydantic, which makes Studio's form of it, refuses typing's before 3.12
from typing_extensions import TypedDict

from ted_memory.errors import InvalidInput
from ted_memory.llm.spend import Spend, add_spend
from ted_memory.models import Edit, ExperienceSet, Sample, Trajectory

Json = dict[str, Any]

_SET: TypeAdapter[ExperienceSet] = TypeAdapter(ExperienceSet)
_EDIT: TypeAdapter[Edit] = TypeAdapter(Edit)


def _extend(left: list[Any] | None, right: list[Any] | None) -> list[Any]:
    """Collect; None begins anew, which matters when one thread runs several samples."""
    return [] if right is None else [*(left or []), *right]


def _add_spend(left: Json | None, right: Json | None) -> Json:
    return {} if right is None else add_spend(left or {}, right)


class Attempt(TypedDict):
    """What one student is sent: the sample, and the lessons it may look at (`ted_memory.episodes.Exposure`)."""

    sample: Json
    exposure: Json
    eligible: list[str]


class Evidence(TypedDict):
    """What a test on the student said of one lesson (see `ted_memory.experience.betting`).

    ``verified``: it was shown to help where it could not have told the answer.
    """

    lesson: str
    wealth: float
    mean: float
    pairs: int
    verified: bool


class Joined(TypedDict):
    """What became of one edit of a compaction, in words."""

    edit: str
    kept: bool
    reason: str


class Companion(TypedDict):
    """A sample that the student failed on earlier, as a critic sees it beside a later one."""

    sources: list[str]
    task: str
    reference: str
    solution: str
    attempts: str


class DistillState(TypedDict, total=False):
    """One pass over one sample.

    In: ``sample``, and from `distill` also ``run`` (names the pass in tokens), ``sources``,
    ``peers`` (other samples to test a lesson on, each ``{"sample", "score"}``, the score None when
    unknown), ``common`` (stems of the words that stand in every sample), ``labels`` (answers that
    recur, in plain form and as written: lessons may name them), ``index_terms`` (words by which its
    lessons are found besides their condition), ``kindred`` (those of its words that go with answers
    like its own) and ``companions`` (other samples of a batch, which the critic sees too). From a
    learner also ``recorded`` (what the live agent did, as an attempt) and ``settle`` (the claim
    that the commit settles, and what is kept of its episode). Out: ``status`` (``learned``,
    ``nothing``, ``set_aside``), ``lost`` (a provider that did not answer had a part in it: it may
    go otherwise another time), ``note``, ``commits``, ``spend``.
    """

    sample: Json
    run: str
    sources: list[str]
    peers: list[Json]
    common: list[str]
    labels: dict[str, str]
    index_terms: str
    kindred: list[str]
    companions: list[Companion]
    recorded: list[Json]
    settle: Json

    snapshot: Json
    attempts: list[Attempt]
    trajectories: Annotated[list[Json], _extend]
    solution: str
    reference: str
    graded: list[Json]

    round: int
    proposal: list[Json]
    reason: str
    helped: list[str]
    hurt: list[str]
    feedback: list[Json]
    accepted: list[Json]
    refused: Annotated[list[Json], _extend]

    joined: Annotated[list[Joined], _extend]
    pending: list[Json]
    compacting: bool
    holder: str
    commits: Annotated[list[Json], _extend]

    status: str
    lost: bool
    note: str
    spend: Annotated[Json, _add_spend]


def holds_words_of_users(state: DistillState) -> bool:
    """Tell whether the sample comes from traffic: somebody else wrote it, who may want to write more than a task."""
    return bool(state.get("settle") or read_sample(state).sources)


def read_sample(state: Mapping[str, Any]) -> Sample:
    """Return the state's sample. Raises InvalidInput: there is none."""
    if "sample" not in state:
        told = ", ".join(map(str, state)) or "(nothing)"
        raise InvalidInput(
            'the graph learns from one sample: send {"sample": {"id": "1", "input": "...", "reference": "..."}}; '
            f"it was sent {told}"
        )
    return Sample.model_validate(state["sample"])


def read_set(state: Mapping[str, Any]) -> ExperienceSet:
    """Return the set that this pass speaks of."""
    return _SET.validate_python(state["snapshot"])


def dump_set(snapshot: ExperienceSet) -> Json:
    """Return a set as JSON-able data."""
    dumped: Json = _SET.dump_python(snapshot, mode="json")
    return dumped


def read_graded(state: Mapping[str, Any]) -> list[Trajectory]:
    """Return the attempts with their scores."""
    return [Trajectory.model_validate(t) for t in state.get("graded", [])]


def read_edits(edits: Sequence[Json]) -> list[Edit]:
    """Return edits from their JSON form."""
    return [_EDIT.validate_python(edit) for edit in edits]


def dump_edits(edits: Sequence[Edit]) -> list[Json]:
    """Return edits in their JSON form."""
    return [_EDIT.dump_python(edit, mode="json") for edit in edits]


def dump_spend(spend: Spend) -> Json:
    """Return a cost in its JSON form."""
    return spend.model_dump()


def mean_score(trajectories: Sequence[Trajectory]) -> float | None:
    """Return the mean of the scores there are, None when there is none."""
    scores = [t.score for t in trajectories if t.score is not None]
    return sum(scores) / len(scores) if scores else None
