"""Which archived episodes each lesson may be replayed on next, worked out a few at a time.

An archive holds thousands of episodes and a set hundreds of lessons. Whether a lesson applies to an
episode is for the retriever to say, which takes time. So only as many episodes are looked at as are
needed soon, the newest ones first.
"""

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ted_memory.episodes import Archived
from ted_memory.experience.assignment import is_from
from ted_memory.llm.messages import question, sample_messages
from ted_memory.memory.client import TedMemory
from ted_memory.models import Experience
from ted_memory.protocols import KnownEvidence, Shown

# seconds after which the archive is read anew: what was purged goes, what was settled late comes
RELOAD = 60.0
LOOKUPS = 50  # episodes that are looked at in one round
WINDOW = 32  # episodes that are found for a lesson before they are needed
OF_ONE_SPEAKER = 4  # of these: whoever fills the archive does not fill the window


@dataclass
class _Reach:
    """The episodes of one lesson.

    ``floor``: only later ones count. ``unseen``: not looked at yet, the newest last. ``left``: it
    applies to them and was not replayed on them, by speaker. ``heard``: how often each speaker was.
    """

    lesson: Experience
    floor: int
    unseen: list[int]
    shown: Shown = field(default_factory=lambda: Shown(change=-1))
    left: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    heard: Counter[str] = field(default_factory=Counter)
    found: int = 0

    @property
    def wants_more(self) -> bool:
        return bool(self.unseen) and self.found < WINDOW

    def offer(self, archived: Archived) -> None:
        """Take in an episode that the lesson applies to."""
        if archived.seq not in self.shown.done:
            self.left[archived.speaker].add(archived.seq)
            self._count()

    def withdraw(self, gone: Collection[int]) -> None:
        """Leave episodes out."""
        for speaker in list(self.left):
            self.left[speaker] -= set(gone)
            if not self.left[speaker]:
                del self.left[speaker]
        self._count()

    def rise(self, floor: int) -> None:
        """Leave out this episode and all before it."""
        if floor <= self.floor:
            return
        self.floor = floor
        self.unseen = [seq for seq in self.unseen if seq > floor]
        self.withdraw([seq for seqs in self.left.values() for seq in seqs if seq <= floor])

    def _count(self) -> None:
        self.found = sum(min(len(seqs), OF_ONE_SPEAKER) for seqs in self.left.values())


class Reach:
    """A copy of the archive, and what is left there for each lesson."""

    def __init__(self) -> None:
        self.archive: dict[int, Archived] = {}
        self._reaches: dict[tuple[str, int], _Reach] = {}
        self._broken: set[int] = set()
        self._later: set[int] = set()
        self._latest = 0
        self._loaded_at = float("-inf")
        self._asked: tuple[Experience, ...] = ()

    def forget(self) -> None:
        """Let go of the copy: another learner replays."""
        self.archive.clear()
        self._reaches.clear()
        self.reload()

    def reload(self) -> None:
        """Read the whole archive at the next refresh."""
        self._loaded_at = float("-inf")

    async def refresh(self, memory: TedMemory) -> None:
        """Read what is new in the archive. Raises StoreError."""
        log, now = memory.store.episodes, time.monotonic()
        if now - self._loaded_at > RELOAD:
            whole = {archived.seq: archived for archived in await log.archived(memory.namespace)}
            self._latest = max(whole, default=0)
            self._take_out(self.archive.keys() - whole.keys())
            self._take_in([archived for seq, archived in whole.items() if seq not in self.archive])
            self._loaded_at = now
            self._later.clear()
        else:
            new = await log.archived(memory.namespace, self._latest)
            self._latest = max((archived.seq for archived in new), default=self._latest)
            self._take_in(new)
        too_many = len(self.archive) - memory.settings.max_archived
        self._take_out(sorted(self.archive)[: max(too_many, 0)])

    def follow(self, lessons: Sequence[Experience], known: KnownEvidence) -> None:
        """Keep track of these lessons, and of no others, with what is known of them now."""
        now = {(e.id, e.rev): e for e in lessons}
        for gone in self._reaches.keys() - now.keys():
            del self._reaches[gone]
        for key, lesson in now.items():
            shown = known.get(lesson.id, Shown())
            reach = self._reaches.get(key)
            if reach is None:
                reach = self._reaches[key] = self._begin(lesson, shown)
            if reach.shown.change != shown.change:
                reach.shown = shown
                reach.withdraw(shown.done)
                reach.rise(shown.done_to)
                reach.heard = Counter(
                    self.archive[seq].speaker for seq in shown.done if seq in self.archive
                )

    def _begin(self, lesson: Experience, shown: Shown) -> _Reach:
        """Return the reach of a lesson; an active one is watched on what has come since it became active."""
        floor = 0
        if lesson.state == "active":
            chosen_on = max(shown.done, default=max(self.archive, default=1) - 1)
            floor = chosen_on if shown.floor is None else shown.floor
        return _Reach(lesson, floor, [seq for seq in sorted(self.archive) if seq > floor])

    async def look(self, memory: TedMemory) -> bool:
        """Look at some episodes for the lessons that want more; tell whether there are others to look at."""
        for _ in range(LOOKUPS):
            wanting = [reach for reach in self._reaches.values() if reach.wants_more]
            if not wanting:
                return False
            seq = max(reach.unseen[-1] for reach in wanting)
            wanting = [reach for reach in wanting if reach.unseen[-1] == seq]
            archived = self.archive.get(seq)
            if archived is not None and seq not in self._broken:
                await self._offer(archived, wanting, memory)
            for reach in wanting:
                reach.unseen.pop()
        return any(reach.wants_more for reach in self._reaches.values())

    async def _offer(
        self, archived: Archived, wanting: Sequence[_Reach], memory: TedMemory
    ) -> None:
        """Offer an episode to those lessons that apply to it, have had no part in it, and do not come from it."""
        others = [reach for reach in wanting if _is_evidence(archived, reach.lesson)]
        if not others:
            return
        asked = tuple(reach.lesson for reach in others)
        # retrievers know the same tuple again
        self._asked = self._asked if asked == self._asked else asked
        await asyncio.sleep(0)  # agents in this process go first
        ranking = await memory.rank(self._asked, question(sample_messages(archived.sample)))
        applies = ranking.applying(self._asked)
        for reach in others:
            if reach.lesson.id in applies:
                reach.offer(archived)

    def next_for(
        self, lesson: Experience, taken: Collection[int], most_of_one: float = math.inf
    ) -> Archived | None:
        """Return the episode that a lesson is to be replayed on next, without those that are taken.

        None of a speaker who was heard ``most_of_one`` times. It is one of the speaker who was
        heard least: decisions leave out the loudest ones. Of his the newest one.
        """
        reach = self._reaches[lesson.id, lesson.rev]
        heard = reach.heard + Counter(
            self.archive[seq].speaker for seq in taken if seq in self.archive
        )
        best: tuple[int, int] | None = None
        for speaker, seqs in reach.left.items():
            free = [
                seq
                for seq in seqs
                if seq in self.archive and seq not in taken and seq not in self._later
            ]
            if free and heard[speaker] < most_of_one:
                best = min(best or (heard[speaker], -max(free)), (heard[speaker], -max(free)))
        return None if best is None else self.archive[-best[1]]

    def floor_of(self, lesson: Experience) -> int:
        """Return the episode after which an active lesson is watched."""
        return self._reaches[lesson.id, lesson.rev].floor

    def skip(self, lesson: Experience, seq: int) -> None:
        """Leave an episode out for one lesson: there it has no place in the prompt."""
        self._reaches[lesson.id, lesson.rev].withdraw([seq])

    def put_off(self, seq: int) -> None:
        """Leave an episode that got no answer for later."""
        self._later.add(seq)

    def give_up(self, seq: int) -> None:
        """Never replay an episode again that cannot be answered or graded."""
        self._broken.add(seq)
        self._take_out([seq])

    def drop(self, seq: int) -> None:
        """Take an episode out that is no longer in the archive."""
        self._take_out([seq])

    def _take_in(self, new: Sequence[Archived]) -> None:
        new = [archived for archived in new if archived.seq not in self._broken]
        self.archive.update({archived.seq: archived for archived in new})
        for reach in self._reaches.values():
            reach.unseen += sorted(archived.seq for archived in new if archived.seq > reach.floor)

    def _take_out(self, gone: Collection[int]) -> None:
        if not gone:
            return
        for seq in gone:
            self.archive.pop(seq, None)
        for reach in self._reaches.values():
            reach.withdraw(gone)


def _is_evidence(archived: Archived, lesson: Experience) -> bool:
    """Tell whether an episode may be held against a lesson: not if it comes from this run, or from who spoke there.

    Nor if it was on trial there: its live outcome is counted, and the same question would be
    counted twice.
    """
    if lesson.state == "trial" and archived.version >= lesson.rev:
        return False
    return not _is_its_own(lesson, archived)


def _is_its_own(lesson: Experience, archived: Archived) -> bool:
    """Tell whether a lesson comes from this run, from its principal, or from whoever corrected it."""
    return is_from(lesson, archived.principal, archived.run_id) or is_from(lesson, archived.speaker)
