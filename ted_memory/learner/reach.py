"""Which archived episode a lesson is replayed on next: evidence of others, fairly spread.

For `learner.replay`. An archive holds thousands of episodes and a set hundreds of lessons. Whether
a lesson applies to an episode is for the retriever to say, which takes time. So only as many
episodes are looked at as are needed soon, the newest ones first.

Episodes are known by their ``seq``, which grows. A *speaker* is whose word an episode's reference
rests on.
"""

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from ted_memory.episodes import Archived
from ted_memory.experience.assignment import is_from
from ted_memory.llm.messages import question, sample_messages
from ted_memory.memory.client import TedMemory
from ted_memory.models import Experience
from ted_memory.protocols import KnownEvidence, Shown

# Seconds after which the archive is read anew: what was purged goes, what was settled late comes.
RELOAD = 60.0
LOOKUPS = 50  # episodes that are looked at in one round
WINDOW = 32  # episodes that are found for a lesson before they are needed
OF_ONE_SPEAKER = 4  # episodes that count of these: who fills the archive does not fill the window


@dataclass
class _Reach:
    """The episodes of one lesson.

    Attributes:
        lesson: the lesson.
        floor: only episodes after this one count.
        unseen: not looked at yet, the newest last.
        shown: what is known of the lesson, and on which episodes it was replayed.
        left: it applies to them and was not replayed on them, by speaker.
        heard: how often it was replayed on episodes of each speaker.
        found: how many are left, of each speaker `OF_ONE_SPEAKER` at most.
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
        """Take in an episode that the lesson applies to, unless it was replayed there before."""
        if archived.seq not in self.shown.done:
            self.left[archived.speaker].add(archived.seq)
            self._count()

    def withdraw(self, gone: Collection[int]) -> None:
        """Leave these episodes out."""
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
    """A copy of the archive, and for each lesson the episodes that are left for it there.

    In each round of replays: `refresh`, `follow`, `look`, then `next_for` for each pair.
    """

    def __init__(self) -> None:
        self.archive: dict[int, Archived] = {}
        self._reaches: dict[tuple[str, int], _Reach] = {}
        self._broken: set[int] = set()
        self._later: set[int] = set()
        self._latest = 0
        self._loaded_at = float("-inf")
        self._asked: tuple[Experience, ...] = ()

    def forget(self) -> None:
        """Drop the copy, since nothing is replayed here now: it holds people's words."""
        self.archive.clear()
        self._reaches.clear()
        self.reload()

    def reload(self) -> None:
        """Read the whole archive at the next refresh."""
        self._loaded_at = float("-inf")

    async def refresh(self, memory: TedMemory) -> None:
        """Read what is new in the archive, or all of it when `RELOAD` seconds are over.

        Episodes that were put off are left for another time until then.

        Raises:
            StoreError: it cannot be read.
        """
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
        """Work for these lessons, in these revisions, and for no others.

        ``known`` is what is known of them now: episodes that they were replayed on since are left
        out.
        """
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
                reach.heard = self._speakers_of(shown.done)

    def _begin(self, lesson: Experience, shown: Shown) -> _Reach:
        """Return the reach of a lesson that is new here.

        An active one is watched on episodes that have come since it became active: those before
        are what it was chosen by.
        """
        floor = 0
        if lesson.state == "active":
            chosen_on = max(shown.done, default=max(self.archive, default=1) - 1)
            floor = chosen_on if shown.floor is None else shown.floor
        return _Reach(lesson, floor, [seq for seq in sorted(self.archive) if seq > floor])

    async def look(self, memory: TedMemory) -> bool:
        """Look at `LOOKUPS` episodes for the lessons that want more, the newest ones first.

        Returns:
            Whether there are more to look at.
        """
        for _ in range(LOOKUPS):
            wanting = self._wanting()
            if not wanting:
                return False
            newest = max(reach.unseen[-1] for reach in wanting)
            looking = [reach for reach in wanting if reach.unseen[-1] == newest]
            archived = self.archive.get(newest)
            if archived is not None and newest not in self._broken:
                await self._offer(archived, looking, memory)
            for reach in looking:
                reach.unseen.pop()
        return bool(self._wanting())

    def _wanting(self) -> list[_Reach]:
        return [reach for reach in self._reaches.values() if reach.wants_more]

    async def _offer(
        self, archived: Archived, wanting: Sequence[_Reach], memory: TedMemory
    ) -> None:
        """Offer an episode to the lessons that apply to it, and on which it is evidence."""
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
        """Return the episode that a lesson is to be replayed on next; None where none is left.

        It is the newest one of the speaker who was heard least: decisions leave out the loudest.

        Args:
            lesson: one that `follow` was told of.
            taken: episodes that it is about to be replayed on already.
            most_of_one: no more than so many episodes of one speaker.
        """
        reach = self._reaches[lesson.id, lesson.rev]
        heard = reach.heard + self._speakers_of(taken)
        best: tuple[int, int] | None = None  # how often heard, and the newest episode, negative
        for speaker, seqs in reach.left.items():
            free = [seq for seq in seqs if self._is_free(seq, taken)]
            if free and heard[speaker] < most_of_one:
                candidate = heard[speaker], -max(free)
                best = candidate if best is None else min(best, candidate)
        return None if best is None else self.archive[-best[1]]

    def _speakers_of(self, seqs: Iterable[int]) -> Counter[str]:
        """Return how often each speaker stands behind these episodes, as far as they are kept."""
        return Counter(self.archive[seq].speaker for seq in seqs if seq in self.archive)

    def _is_free(self, seq: int, taken: Collection[int]) -> bool:
        return seq in self.archive and seq not in taken and seq not in self._later

    def floor_of(self, lesson: Experience) -> int:
        """Return the episode up to which nothing counts for an active lesson."""
        return self._reaches[lesson.id, lesson.rev].floor

    def skip(self, lesson: Experience, seq: int) -> None:
        """Leave an episode out for one lesson, such as where it has no place in the prompt."""
        self._reaches[lesson.id, lesson.rev].withdraw([seq])

    def put_off(self, seq: int) -> None:
        """Leave an episode that got no answer until the whole archive is read again (`RELOAD`)."""
        self._later.add(seq)

    def give_up(self, seq: int) -> None:
        """Leave an episode out for all lessons, for good: it cannot be answered or graded."""
        self._broken.add(seq)
        self._take_out([seq])

    def drop(self, seq: int) -> None:
        """Take an episode out that is no longer in the archive of the store."""
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
    """Tell whether an episode is evidence on a lesson: none on one that it has led to.

    Nor on a lesson that was on trial in it. There its live outcome counts, and the same question
    would count twice.
    """
    if lesson.state == "trial" and archived.version >= lesson.rev:
        return False
    return not _is_its_own(lesson, archived)


def _is_its_own(lesson: Experience, archived: Archived) -> bool:
    """Tell whether a lesson comes from this run, from its principal, or from who corrected it."""
    return is_from(lesson, archived.principal, archived.run_id) or is_from(lesson, archived.speaker)
