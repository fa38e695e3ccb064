"""The namespaces that a learner works for, and what it keeps of each."""

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from ted_memory.distill.graph import Graph
from ted_memory.distill.nodes.commit import counters
from ted_memory.errors import (
    BudgetExceeded,
    CorruptData,
    InvalidInput,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from ted_memory.fields import NAMESPACE
from ted_memory.learner.replay import Replayer
from ted_memory.llm.calls import one_line
from ted_memory.llm.spend import Budget, Spend, counted_spend
from ted_memory.memory.client import TedMemory
from ted_memory.models import Sample
from ted_memory.protocols import KnownEvidence

ASK_AGAIN = 5.0  # seconds after which a server that refused a namespace is asked again
RECENT = 64  # samples of a namespace that a lesson may be tried on
SETTLED = ("learned", "nothing", "set_aside")


@dataclass
class Space:
    """What a learner keeps of one namespace.

    ``known``: the evidence that was read for its trials. ``unpaid``: what was spent and could not
    be counted yet.
    """

    memory: TedMemory
    graph: Graph
    replayer: Replayer
    known: KnownEvidence = field(default_factory=dict)
    unpaid: Counter[str] = field(default_factory=Counter)
    recent: deque[tuple[Sample, float | None]] = field(default_factory=lambda: deque(maxlen=RECENT))

    async def forget_purged(self, sources: Collection[str]) -> bool:
        """Tell whether one of these sources was purged; let go of samples that come from one that was."""
        held = {source for sample, _ in self.recent for source in sample.sources}
        purged = await self.memory.repository.tombstoned({*sources, *held})
        if purged & held:
            kept = [one for one in self.recent if purged.isdisjoint(one[0].sources)]
            self.recent.clear()
            self.recent.extend(kept)
        return not purged.isdisjoint(sources)

    async def count(self, spent: Spend, outcome: str) -> None:
        """Count what an episode has cost without a result. While the store is away it is kept for the next time."""
        if spent != Spend():
            self.unpaid.update(counters(spent, outcome))
        owed, self.unpaid = self.unpaid, Counter()
        if owed:
            try:
                await self.memory.repository.count(owed)
            except StoreError:
                self.unpaid.update(owed)


class Spaces:
    """The spaces of one learner; each is made when it is asked for.

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
        """Return the names as they are now: of namespaces whose server was seen to let a learner do its work.

        Raises:
            StoreRefused: it does not, for one that was named, or for none of those that were found.
            StoreError: it cannot give what the settings ask for, or cannot be reached.
        """
        if self._names is not None:
            for name in self._names:
                await self._prove(name)
            return self._names
        found = await self._memory.store.episodes.namespaces()
        for name in found:
            if not NAMESPACE.fullmatch(name):
                self._note(
                    CorruptData(
                        f"{name[:40]!r} is listed as a namespace with traffic and is none; it is left out"
                    )
                )
        named = [name for name in found if NAMESPACE.fullmatch(name)]
        refusals = [await self._refusal(name) for name in named]
        if refusals and None not in refusals and refusals[0]:
            raise refusals[0]
        return [name for name, refusal in zip(named, refusals, strict=True) if refusal is None]

    async def _prove(self, name: str) -> None:
        """See once that what is learned can be kept, before anything is paid for."""
        if name not in self._proved:
            await self._memory.store.prove(name, to_learn=True)
            self._proved.add(name)

    async def _refusal(self, name: str) -> StoreRefused | None:
        """Return why nothing may be learned in a namespace that was found."""
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
        """Have it proved again: the server has refused something since."""
        self._proved.discard(name)

    def of(self, name: str) -> Space:
        """Return the space of a namespace."""
        if name not in self._spaces:
            memory = (
                self._memory if name == self._memory.namespace else self._memory.for_namespace(name)
            )
            self._spaces[name] = self._make(memory)
        return self._spaces[name]

    @contextlib.contextmanager
    def by_itself(self, name: str) -> Iterator[None]:
        """Note what is wrong with one namespace, so that the others have their turn. Raises StoreUnavailable."""
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
        """Return the spaces so far."""
        return list(self._spaces.values())

    async def is_over_budget(self, space: Space) -> bool:
        """Tell whether today's budget has no room for one more episode like those before. Raises StoreError."""
        if self._budget is None:
            return False
        name = space.memory.namespace
        if time.monotonic() < self._over_budget.get(name, 0.0):
            return True
        today = (await space.memory.traffic()).today
        spent, done = counted_spend(today), sum(today.get(outcome, 0) for outcome in SETTLED)
        one = counted_spend({k: v / done for k, v in today.items()}) if done else Spend()
        limit = self._budget.passed_by(spent + one)
        if limit:
            self._over_budget[name] = time.monotonic() + 5.0  # then the day may be another one
            self._note(
                BudgetExceeded(
                    f"{name!r} has used up its budget of {limit} for today; its episodes wait"
                )
            )
        return bool(limit)


def _names(memory: TedMemory, namespaces: str | Sequence[str]) -> Sequence[str] | None:
    """Return the names of these namespaces; None for all."""
    if not isinstance(namespaces, str):
        return namespaces
    if namespaces not in {"own", "all"}:
        raise InvalidInput(
            f"namespaces={namespaces!r}: give 'own', 'all', or a list of names, [{namespaces!r}]"
        )
    return (memory.namespace,) if namespaces == "own" else None
