"""The namespaces that a learner works for, and what it keeps of each."""

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.runnables import Runnable

from ted_memory.distill.context import DistillContext
from ted_memory.distill.graph import Graph, build_live_graph
from ted_memory.distill.nodes.commit import counters
from ted_memory.distill.profiles import Profile
from ted_memory.errors import (
    BudgetExceeded,
    CorruptData,
    InvalidInput,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from ted_memory.fields import NAMESPACE
from ted_memory.grading.graders import Grader
from ted_memory.grading.judge import Judge, bind_grader
from ted_memory.learner.replay import Replayer
from ted_memory.llm.calls import Calls, one_line, with_temperature
from ted_memory.llm.spend import Budget, Spend, counted_spend
from ted_memory.llm.structured import StructuredModel
from ted_memory.memory.client import TedMemory
from ted_memory.models import Sample
from ted_memory.protocols import KnownEvidence

ASK_AGAIN = 5.0  # seconds after which a refused namespace, or a used up budget, is looked at again
RECENT = 64  # samples of a namespace that a lesson may be tried on
SETTLED = ("learned", "nothing", "set_aside")


@dataclass
class Space:
    """What a learner keeps of one namespace.

    Attributes:
        memory: its set.
        graph: learns from one episode.
        replayer: replays its lessons.
        known: the evidence that was read for its trials.
        unpaid: what was spent, and could not be counted yet.
        recent: the latest samples, each with its mean score: other lessons are tried on them.
    """

    memory: TedMemory
    graph: Graph
    replayer: Replayer
    known: KnownEvidence = field(default_factory=dict)
    unpaid: Counter[str] = field(default_factory=Counter)
    recent: deque[tuple[Sample, float | None]] = field(default_factory=lambda: deque(maxlen=RECENT))

    async def forget_purged(self, sources: Collection[str]) -> bool:
        """Tell whether one of these sources was purged. Also forgets recent samples that were."""
        held = {source for sample, _ in self.recent for source in sample.sources}
        purged = await self.memory.repository.tombstoned({*sources, *held})
        if purged & held:
            kept = [one for one in self.recent if purged.isdisjoint(one[0].sources)]
            self.recent.clear()
            self.recent.extend(kept)
        return not purged.isdisjoint(sources)

    async def count(self, spent: Spend, outcome: str) -> None:
        """Count what an episode has cost that was not settled.

        While the store is away the sum is kept, and counted with the next one.
        """
        if spent != Spend():
            self.unpaid.update(counters(spent, outcome))
        owed, self.unpaid = self.unpaid, Counter()
        if owed:
            try:
                await self.memory.repository.count(owed)
            except StoreError:
                self.unpaid.update(owed)


@dataclass
class SpaceMaker:
    """Makes the space of a namespace: its graph and its replayer, with one learner's models.

    Attributes:
        teacher, student: chat models, or the agent that is to get better.
        grader: of the student's answers.
        calls: the bounds that all of the learner's calls share.
        profile: how these models are taught.
        holder: the learner's name on leases.
        attempts: the student attempts an episode's task again.
        replays: lessons are replayed. Only a model by itself answers again without doing anything
            twice in the world; an agent does not.
    """

    teacher: Runnable[Any, Any]
    student: Runnable[Any, Any]
    grader: str | Grader
    calls: Calls
    profile: Profile
    holder: str
    attempts: bool
    replays: bool

    def __post_init__(self) -> None:
        """Make the critic that all spaces share."""
        self._critic = StructuredModel(self.teacher, self.calls)

    def __call__(self, memory: TedMemory) -> Space:
        """Return the space of this memory's namespace."""
        context = DistillContext(
            student=with_temperature(self.student, memory.settings.temperature),
            memory=memory,
            grader=bind_grader(self.grader, self.calls),
            calls=self.calls,
            teacher=self.teacher,
            critic=self._critic,
            author="learner",
            profile=self.profile,
            fresh=self.attempts,
            judged=isinstance(self.grader, Judge),
        )
        replayer = Replayer(context, self.holder, is_off=not self.replays)
        return Space(memory, build_live_graph(), replayer)


class Spaces:
    """The namespaces that one learner works for, and a space for each, made when it is needed.

    Args:
        memory: of one namespace; the others use its connections.
        namespaces: ``own``: the memory's; ``all``: those that have traffic; or their names.
        make: makes the space of a memory.
        budget: of each namespace and day.
        note: is told when one of them is used up.
    """

    def __init__(
        self,
        memory: TedMemory,
        namespaces: str | Sequence[str],
        make: Callable[[TedMemory], Space],
        *,
        budget: Budget | None,
        note: Callable[[BaseException], None],
    ) -> None:
        self._memory = memory
        self._names = _names(memory, namespaces)
        self._make = make
        self._budget = budget
        self._note = note
        self._spaces: dict[str, Space] = {}
        self._over_budget: dict[str, float] = {}
        self._proved: set[str] = set()
        self._refused: dict[str, tuple[float, StoreRefused]] = {}

    async def names(self) -> Sequence[str]:
        """Return the names to work on now: where the server lets a learner do all of its work.

        Raises:
            StoreRefused: it does not, in a namespace that was named, or in all that were found.
            StoreError: it cannot give what the settings ask for, or cannot be reached.
        """
        if self._names is not None:
            for name in self._names:
                await self._prove(name)
            return self._names
        found = await self._memory.store.episodes.namespaces()
        return await self._allowed([name for name in found if self._is_a_name(name)])

    def _is_a_name(self, name: str) -> bool:
        if NAMESPACE.fullmatch(name):
            return True
        self._note(
            CorruptData(
                f"{name[:40]!r} is listed as a namespace with traffic and is none; it is left out"
            )
        )
        return False

    async def _allowed(self, names: Sequence[str]) -> list[str]:
        """Return those of these namespaces that a learner may work on; raise where none is."""
        allowed: list[str] = []
        refusals: list[StoreRefused] = []
        for name in names:
            refusal = await self._refusal(name)
            if refusal is None:
                allowed.append(name)
            else:
                refusals.append(refusal)
        if refusals and not allowed:
            raise refusals[0]
        return allowed

    async def _prove(self, name: str) -> None:
        """See, once in a process, that what is learned can be kept, before anything is paid for."""
        if name not in self._proved:
            await self._memory.store.prove(name, to_learn=True)
            self._proved.add(name)

    async def _refusal(self, name: str) -> StoreRefused | None:
        """Return why nothing may be learned in a namespace that was found; None where it may.

        A server that refused is asked again after `ASK_AGAIN` seconds.
        """
        until, refusal = self._refused.get(name, (0.0, None))
        if refusal is None or time.monotonic() >= until:
            try:
                await self._prove(name)
                self._refused.pop(name, None)
                return None
            except StoreRefused as error:
                self._note(StoreRefused(f"nothing is learned in namespace {name!r}: {error}"))
                self._refused[name] = time.monotonic() + ASK_AGAIN, error
                return error
        return refusal

    def doubt(self, name: str) -> None:
        """Have it proved again before the next episode: the server has refused something since."""
        self._proved.discard(name)

    def of(self, name: str) -> Space:
        """Return the space of a namespace; make it where there is none yet."""
        if name not in self._spaces:
            memory = (
                self._memory if name == self._memory.namespace else self._memory.for_namespace(name)
            )
            self._spaces[name] = self._make(memory)
        return self._spaces[name]

    @contextlib.contextmanager
    def by_itself(self, name: str) -> Iterator[None]:
        """Note what is wrong with one namespace instead of raising it: the others have their turn.

        Raises:
            StoreUnavailable: nothing can be done for any of them.
        """
        try:
            yield
        except StoreUnavailable:
            raise
        except StoreRefused as error:
            self.doubt(name)
            self._note(error)
        except Exception as error:  # noqa: BLE001 - whatever is stored there
            self._note(
                CorruptData(f"nothing is done for namespace {name!r} now: {one_line(error)}")
            )

    def made(self) -> list[Space]:
        """Return the spaces that were made so far."""
        return list(self._spaces.values())

    async def is_over_budget(self, space: Space) -> bool:
        """Tell whether today's budget has no room for one more episode like those before.

        Raises:
            StoreError: what was spent today cannot be read.
        """
        if self._budget is None:
            return False
        name = space.memory.namespace
        if time.monotonic() < self._over_budget.get(name, 0.0):
            return True
        today = (await space.memory.traffic()).today
        limit = self._budget.passed_by(counted_spend(today) + _spend_of_one(today))
        if limit:
            # the day may be another one then
            self._over_budget[name] = time.monotonic() + ASK_AGAIN
            self._note(
                BudgetExceeded(
                    f"{name!r} has used up its budget of {limit} for today; its episodes wait"
                )
            )
        return bool(limit)


def _spend_of_one(today: Mapping[str, float]) -> Spend:
    """Return the mean spend on an episode that was settled today; nothing where none was."""
    settled = sum(today.get(outcome, 0) for outcome in SETTLED)
    if not settled:
        return Spend()
    return counted_spend({name: count / settled for name, count in today.items()})


def _names(memory: TedMemory, namespaces: str | Sequence[str]) -> Sequence[str] | None:
    """Return the names of these namespaces; None for all."""
    if not isinstance(namespaces, str):
        return namespaces
    if namespaces not in {"own", "all"}:
        raise InvalidInput(
            f"namespaces={namespaces!r}: give 'own', 'all', or a list of names, [{namespaces!r}]"
        )
    return (memory.namespace,) if namespaces == "own" else None
