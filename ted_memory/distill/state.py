"""What travels through the graph: its input, what the nodes work on, and its output.

All of it is JSON-able, so that any checkpointer can keep it, and each thing is there once: what can
be large (samples with pictures, the set) is named by id or version, and the nodes get it from their
`ted_memory.distill.context.DistillContext`. Only the sample of the pass itself is in the state.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import TypeAdapter

# pydantic, which makes Studio's form of it, refuses typing's before 3.12
from typing_extensions import TypedDict

from ted_memory.errors import InvalidInput
from ted_memory.llm.spend import Spend, add_spend
from ted_memory.models import Edit, Sample, Trajectory

Json = dict[str, Any]

_EDIT: TypeAdapter[Edit] = TypeAdapter(Edit)


class Attempt(TypedDict):
    """What one attempt is shown.

    ``exposure`` is a `ted_memory.episodes.Exposure`; ``eligible`` are the ids that it would have
    been shown had no lesson been left out at random.
    """

    exposure: Json
    eligible: list[str]


class Peer(TypedDict):
    """Another sample to test a lesson on, by its id in `DistillContext.peers`.

    ``score``: the student's mean score on it, None when unknown.
    """

    id: str
    score: float | None


class SetVersion(TypedDict):
    """Which version of the set a pass speaks of (see `DistillContext.recalled_set`)."""

    version: int
    stamp: str


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


class DistillInput(TypedDict, total=False):
    """What a pass begins with. Only ``sample`` must be there.

    Attributes:
        sample: a `ted_memory.models.Sample` as JSON.
        run: names the pass in tokens, so that a pass that runs twice has one effect.
        sources: what its lessons name as their sources.
        peers: other samples to test a lesson on.
        common: stems of the words that stand in every sample.
        labels: answers that recur, in plain form and as written: lessons may name them.
        index_terms: words by which its lessons are found besides their condition.
        kindred: those of its words that go with answers like its own.
        companions: other samples of a batch, which the critic sees too.
        recorded: from a learner: what the live agent did, as an attempt.
        settle: from a learner: the claim that the commit settles, and what is kept of its episode.
    """

    sample: Json
    run: str
    sources: list[str]
    peers: list[Peer]
    common: list[str]
    labels: dict[str, str]
    index_terms: str
    kindred: list[str]
    companions: list[Companion]
    recorded: list[Json]
    settle: Json


class DistillOutput(TypedDict, total=False):
    """What comes out of a pass.

    Attributes:
        status: ``learned``, ``nothing`` or ``set_aside``.
        lost: a provider that did not answer had a part in it: it may go otherwise another time.
        note: why, in words.
        reference: what the attempts were measured against.
        solution: the teacher's, "" where it gave none or a wrong one.
        graded: the attempts with their scores, as `ted_memory.models.Trajectory`.
        refused: edits that were not kept, each with the reason.
        joined: what became of the edits of a compaction.
        commits: the versions that were made.
        spend: what it has cost, as `ted_memory.llm.spend.Spend`.
    """

    status: str
    lost: bool
    note: str
    reference: str
    solution: str
    graded: list[Json]
    refused: Annotated[list[Json], operator.add]
    joined: Annotated[list[Joined], operator.add]
    commits: Annotated[list[Json], operator.add]
    spend: Annotated[Json, add_spend]


class DistillState(DistillInput, DistillOutput, total=False):
    """One pass over one sample: its input, its output, and what the nodes hand on to each other.

    Attributes:
        set_version: which version of the set the pass speaks of.
        attempts: what each attempt is shown.
        trajectories: what the attempts came to, without scores.
        round: how often the critic was asked.
        proposal: the edits that the critic asks for.
        reason: the critic's.
        helped: ids of lessons that helped, as the critic says; ``hurt`` likewise.
        feedback: the critic's answers, each with what it was told about it.
        accepted: the edits that are to be committed.
        pending: edits that a cap refused; they wait for the compactor.
        compacting: whether the compactor was here.
        holder: in whose name the compactor holds its lease.
    """

    set_version: SetVersion
    attempts: list[Attempt]
    trajectories: list[Json]

    round: int
    proposal: list[Json]
    reason: str
    helped: list[str]
    hurt: list[str]
    feedback: list[Json]
    accepted: list[Json]

    pending: list[Json]
    compacting: bool
    holder: str


def left_out(given: Mapping[str, Any]) -> Json:
    """Return what stands for those parts of the input that are not given."""
    nothing = DistillInput(
        run="",
        sources=[],
        peers=[],
        common=[],
        labels={},
        index_terms="",
        kindred=[],
        companions=[],
        recorded=[],
        settle={},
    )
    return {name: value for name, value in nothing.items() if name not in given}


def holds_words_of_users(state: DistillState) -> bool:
    """Tell whether the sample comes from traffic.

    Then somebody else wrote it, who may want to write more than a task.
    """
    return bool(state["settle"] or read_sample(state).sources)


def read_sample(state: Mapping[str, Any]) -> Sample:
    """Return the state's sample.

    Raises:
        InvalidInput: there is none.
    """
    if "sample" not in state:
        told = ", ".join(map(str, state)) or "(nothing)"
        raise InvalidInput(
            "the graph learns from one sample: send "
            '{"sample": {"id": "1", "input": "...", "reference": "..."}}; '
            f"it was sent {told}"
        )
    return Sample.model_validate(state["sample"])


def read_graded(state: Mapping[str, Any]) -> list[Trajectory]:
    """Return the attempts with their scores; none before they are graded."""
    return [Trajectory.model_validate(t) for t in state["graded"]]


def read_edits(edits: Sequence[Json]) -> list[Edit]:
    """Parse edits of the state."""
    return [_EDIT.validate_python(edit) for edit in edits]


def dump_edits(edits: Sequence[Edit]) -> list[Json]:
    """Turn edits into what the state holds; `read_edits` is the way back."""
    return [_EDIT.dump_python(edit, mode="json") for edit in edits]


def dump_spend(spend: Spend) -> Json:
    """Turn a cost into what the state holds."""
    return spend.model_dump()


def mean_score(trajectories: Sequence[Trajectory]) -> float | None:
    """Return the mean of the scores there are, None when there is none."""
    scores = [t.score for t in trajectories if t.score is not None]
    return sum(scores) / len(scores) if scores else None
