"""Taking what came from certain sources out of a set, its log and its archive, for good."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from ted_memory.errors import CommitRefused
from ted_memory.experience import lineage
from ted_memory.memory.commits import CommitTerms
from ted_memory.memory.repository import SetRepository
from ted_memory.models import (
    Commit,
    Edit,
    Experience,
    ExperienceSet,
    PurgeReport,
    Remove,
    Restore,
)
from ted_memory.retrieval.ranker import Ranker

PURGE_TRIES = 50


async def purge(
    lessons: SetRepository, ranker: Ranker, sources: Collection[str], *, author: str
) -> PurgeReport:
    """Take out all that came from sources that the store refuses already; see `TedMemory.purge`.

    Raises:
        CommitRefused: the set went on changing, or a rule stands against it; what is there stays.
        StoreError: the store cannot be reached or read. It may be called again.
    """
    report = await _take_out(lessons, sources, author)
    await forget_vectors(lessons, ranker)
    return report


async def forget_vectors(lessons: SetRepository, ranker: Ranker) -> None:
    """Forget the vectors of a set, here and in the store; they are made anew when needed."""
    ranker.forget()
    await lessons.store.vectors(lessons.namespace).drop()


async def _take_out(lessons: SetRepository, sources: Collection[str], author: str) -> PurgeReport:
    archived = await _purge_archive(lessons, sources)
    purge = _Purge()
    for _ in range(PURGE_TRIES):
        now = await lessons.read()
        log = await lessons.history(now)
        # not only these sources: another purge may be under way, or have died on its way
        forbidden = {*sources} | await lessons.tombstoned(lineage.sources_in(now, log))
        planned, lost = lineage.purging(now.experiences, log, forbidden)
        if not planned:
            break
        edits = purge.possible(planned, now)
        done = await lessons.send(edits, now, _terms(edits, author))
        if done.rejected:
            purge.learn_from(done)
        else:
            purge.count(edits, lost)
    else:
        reasons = ", ".join(sorted({rejected.reason for rejected in done.rejected}))
        raise CommitRefused(
            f"what came from the source could not be taken out of {lessons.namespace!r} "
            f"({reasons}). Nothing of it can come in any more, what is there stays; purge again"
        )
    blanked = [entry.version for entry in log if lineage.blanked(entry, forbidden) != entry]
    await lessons.store.blank(
        lessons.namespace, blanked, lambda entry: lineage.blanked(entry, forbidden)
    )
    return PurgeReport(
        version=now.version,
        removed=tuple(sorted(purge.gone)),
        restored=tuple(sorted(purge.back)),
        waiting=tuple(sorted(purge.waiting & purge.back)),
        unknown=tuple(sorted(purge.unknown)),
        blanked=tuple(sorted(blanked)),
        archived=archived,
    )


async def _purge_archive(lessons: SetRepository, sources: Collection[str]) -> int:
    """Take out of the archive what came from these sources; counts the episodes."""
    queue = lessons.store.episodes
    archive = await queue.archived(lessons.namespace)
    named = {source for episode in archive for source in episode.sources}
    forbidden = {*sources} | await lessons.tombstoned(named)
    gone = [episode.seq for episode in archive if episode.sources & forbidden]
    return await queue.forget_archived(lessons.namespace, gone)


def _terms(edits: Sequence[Edit], author: str) -> CommitTerms:
    # what was longer than today's limit may come back: it is not this source's fault
    longest = max(map(_length_of, edits), default=0)
    return CommitTerms(author=author, why="purge", atomic=True, max_text=longest)


def _length_of(edit: Edit) -> int:
    if not isinstance(edit, Restore):
        return 0
    when, text, example, task = edit.experience.lesson
    return max(len(when) + len(text), len(example), len(task))


ANOTHER_LOOK = {"cap", "conflict", "aborted", "purged"}
"""Reasons after which a restoration may succeed. With ``purged`` another source has been forbidden
meanwhile, and the next plan goes back to before that one, too."""


@dataclass
class _Purge:
    """What became of lessons so far, by id.

    Attributes:
        gone: taken out.
        back: restored, as they were before the source came in.
        waiting: for them there is no room; they come back as proposed.
        unknown: they cannot come back: a rule stands against it, or the log does not reach so far.
    """

    gone: set[str] = field(default_factory=set)
    back: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def possible(self, planned: Sequence[Edit], now: ExperienceSet) -> list[Edit]:
        """Put the edits so that what was refused before is not asked for again."""
        edits: list[Edit] = []
        for edit in planned:
            if not isinstance(edit, Restore):
                edits.append(edit)
                continue
            experience = edit.experience
            if experience.id not in self.unknown:
                edits.append(self._restoring(experience))
            elif experience.id in now.by_id:  # it cannot be put right, and must not stay
                edits.append(Remove(id=experience.id))
        return edits

    def _restoring(self, experience: Experience) -> Restore:
        if experience.id in self.waiting:
            experience = experience.model_copy(update={"state": "proposed"})
        return Restore(experience=experience)

    def learn_from(self, refused: Commit) -> None:
        """Note which lessons have no room, and which cannot come back at all."""
        self.waiting |= _restores(refused, lambda reason: reason == "cap")
        self.unknown |= _restores(refused, lambda reason: reason not in ANOTHER_LOOK)

    def count(self, edits: Sequence[Edit], lost: Sequence[str]) -> None:
        """Note what has been done; the origins of those that are ``lost`` are not in the log."""
        self.gone |= {edit.id for edit in edits if isinstance(edit, Remove)}
        self.back |= {edit.experience.id for edit in edits if isinstance(edit, Restore)}
        self.unknown |= set(lost)


def _restores(refused: Commit, is_for: Callable[[str], bool]) -> set[str]:
    return {
        r.edit.experience.id
        for r in refused.rejected
        if isinstance(r.edit, Restore) and is_for(r.reason)
    }
