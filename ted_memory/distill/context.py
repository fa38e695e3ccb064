"""What the graph's nodes work with: the context that LangGraph hands to each node of a run.

It holds what no state should: models, the memory, and what is large and known by a name.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from langchain_core.runnables import Runnable

from ted_memory.distill.profiles import DEFAULT, Profile
from ted_memory.distill.state import DistillState, Evidence, Peer, SetVersion
from ted_memory.errors import InvalidInput
from ted_memory.grading.graders import Grader
from ted_memory.llm.calls import Calls
from ted_memory.llm.structured import StructuredModel
from ted_memory.memory.client import TedMemory
from ted_memory.models import ExperienceSet, Sample
from ted_memory.settings import Settings

_MOST_SETS = 256  # passes that one built graph has under way, each with a version of its own

KeepEvidence = Callable[[str, Sequence[Evidence]], Awaitable[None]]
"""From the name of a pass and its round, and what was found."""


@dataclass(frozen=True)
class AnswerContext:
    """What it takes to let a student answer and to score it."""

    student: Runnable[Any, Any]
    memory: TedMemory
    grader: Grader
    calls: Calls

    @property
    def settings(self) -> Settings:
        """The memory's settings."""
        return self.memory.settings


class RecalledSets:
    """The versions of one set that passes under way speak of, each parsed once.

    The latest `_MOST_SETS` are kept; an older one is read from the log again.
    """

    def __init__(self) -> None:
        self._sets: dict[tuple[int, str], ExperienceSet] = {}

    def keep(self, snapshot: ExperienceSet) -> SetVersion:
        """Keep a set; what is answered stands for it in a pass's state."""
        self._keep_last((snapshot.version, snapshot.stamp), snapshot)
        return SetVersion(version=snapshot.version, stamp=snapshot.stamp)

    def find(self, named: SetVersion) -> ExperienceSet | None:
        """Return a set that was kept; None where it was not, or too many came after it."""
        key = named["version"], named["stamp"]
        found = self._sets.get(key)
        if found is not None:  # what is asked for is needed longest
            self._keep_last(key, found)
        return found

    def _keep_last(self, key: tuple[int, str], snapshot: ExperienceSet) -> None:
        self._sets.pop(key, None)
        self._sets[key] = snapshot
        if len(self._sets) > _MOST_SETS:
            del self._sets[next(iter(self._sets))]


@dataclass(frozen=True)
class DistillContext(AnswerContext):
    """Models, memory and rules of one run of the graph.

    Attributes:
        judged: whether a model grades the answers: then the teacher's solution may stand for a
            missing reference.
        fresh: whether the student attempts the sample anew; else only what was recorded of it is
            learned from.
        samples: by source, such as ``dataset:name#id``: what lessons came from, for verifying what
            becomes of them.
        peers: by id: other samples to test lessons on; a pass names those that are its own.
        lossy: joins and other changes to a set that this process tested and refused, with the
            prompts that it asked for.
        keep_evidence: called with what a verification found, before anything is committed because
            of it.
        sets: the versions of the set that passes speak of.
    """

    teacher: Runnable[Any, Any]
    critic: StructuredModel
    author: str
    profile: Profile = DEFAULT
    judged: bool = False
    fresh: bool = True
    samples: Mapping[str, Sample] = field(default_factory=dict)
    peers: Mapping[str, Sample] = field(default_factory=dict)
    lossy: set[object] = field(default_factory=set)
    keep_evidence: KeepEvidence | None = None
    sets: RecalledSets = field(default_factory=RecalledSets)

    def for_one_pass(self, peers: Mapping[str, Sample] | None = None) -> "DistillContext":
        """Return the context of one pass: its set is kept until it ends, however many others begin.

        ``peers`` take the place of this context's.
        """
        own = self.peers if peers is None else peers
        return replace(self, peers=own, sets=RecalledSets())

    async def recalled_set(self, state: DistillState) -> ExperienceSet:
        """Return the set that a pass speaks of, as it was when the pass began.

        Raises:
            HistoryTrimmed: the pass was taken up in another process, and the log no longer reaches
                back to its version.
        """
        named = state["set_version"]
        found = self.sets.find(named)
        if found is None:
            read = await self.memory.at(named["version"])
            # of this pass's line of history: a commit on a line that was lost is to be refused
            found = replace(read, stamp=named["stamp"])
            self.sets.keep(found)
        return found

    def peers_of(self, state: DistillState) -> list[tuple[Sample, float | None]]:
        """Return the other samples of a pass, each with the student's score where that is known.

        Raises:
            InvalidInput: the pass names one that this context does not have.
        """
        return [self._peer(peer) for peer in state.get("peers", [])]

    def _peer(self, named: Peer) -> tuple[Sample, float | None]:
        try:
            return self.peers[named["id"]], named["score"]
        except KeyError as unknown:
            raise InvalidInput(
                f"a peer is not known ({unknown}): build the graph with `peers`, and send "
                '{"id": "...", "score": null} for those that lessons are to be tested on'
            ) from None

    @property
    def verifies(self) -> bool:
        """Whether edits are tested on the student: it answers anew, the profile has pairs."""
        return self.fresh and self.profile.verification.pairs > 0

    @property
    def examples(self) -> Literal["none", "written", "own"]:
        """What a lesson may carry as its example.

        Where lessons come from traffic it is not their own sample: other people's words are no
        example for everybody.
        """
        if not self.settings.examples:
            return "none"
        if self.evidence and self.profile.examples == "own":
            return "written"
        return self.profile.examples

    @property
    def revisions(self) -> int:
        """How often the critic is asked again after an edit did not pass."""
        return self.settings.max_revisions if self.verifies else 0

    @property
    def evidence(self) -> bool:
        """Whether a lesson needs evidence and several principals before anybody is shown it."""
        return self.settings.trust != "always"

    @property
    def new_state(self) -> Literal["active", "proposed"]:
        """Where a new lesson begins.

        Only what an operator chose to learn from is active at once.
        """
        return "active" if self.settings.trust == "always" else "proposed"
