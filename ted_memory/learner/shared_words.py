"""Lessons that wait for evidence are found by words that several people use, besides conditions.

A condition is written after one person's words, and misses most of what others ask about the same
thing: then few recorded questions are evidence on the lesson, and few users are helped by it. The
archive knows what was right for whom. Where several people use a word and the same answer is right,
and hardly anybody else uses it, a lesson that tells this answer applies there, too.

What is known of a lesson stays: a pair is about a question that it applied to at that time, and the
words are chosen before the pair. A lesson on trial, or active, keeps the words that it has.
"""

import asyncio
from collections.abc import Mapping, Sequence

from ted_memory.distill.index_terms import shared_words
from ted_memory.distill.merging import label_in
from ted_memory.episodes import Archived
from ted_memory.memory.client import TedMemory
from ted_memory.models import Experience, ExperienceSet, Rewrite

LEAST = 3  # people who must use a word, or more where a decision takes more of them
GROWN = 0.1  # share of the archive that is new since the words were read last


class SharedWords:
    """Keeps, for one namespace, the words by which its waiting lessons are found."""

    def __init__(self) -> None:
        self._by_answer: Mapping[str, str] = {}
        self._read: frozenset[int] = frozenset()
        self._looked_at: set[tuple[str, int]] = set()

    def forget(self) -> None:
        """Drop what is held: it is made of people's words."""
        self._by_answer, self._read = {}, frozenset()
        self._looked_at.clear()

    async def give(
        self,
        lessons: Sequence[Experience],
        base: ExperienceSet,
        archive: Mapping[int, Archived],
        memory: TedMemory,
    ) -> bool:
        """Let the proposed ones of these lessons be found by such words; tell whether any changed.

        Args:
            lessons: those that wait for evidence.
            base: the set that they are from.
            archive: the graded episodes by their numbers.
            memory: theirs.

        Raises:
            StoreError: the store cannot be reached.
        """
        waiting = [e for e in lessons if _may_be_given(e)]
        if not waiting or not memory.settings.examples:
            return False
        await self._look(archive, memory)
        new = [e for e in waiting if (e.id, e.rev) not in self._looked_at]
        edits = [
            Rewrite(id=e.id, text=e.text, index_terms=words, sources=e.sources, rev=e.rev)
            for e in new
            if (words := self._words_for(e)) != e.index_terms
        ]
        changed = False
        if edits:
            why = "found by words that several people use"
            commit = await memory.commit(edits, author="learner", why=why, base=base)
            changed = bool(commit.applied)
        self._looked_at.update((e.id, e.rev) for e in new)
        return changed

    def _words_for(self, lesson: Experience) -> str:
        return self._by_answer.get(label_in(lesson.text, self._by_answer.keys()), "")

    async def _look(self, archive: Mapping[int, Archived], memory: TedMemory) -> None:
        """Read the words anew where enough of the archive has come or gone since."""
        now = frozenset(archive)
        if len(now ^ self._read) <= GROWN * len(self._read):
            return
        self._read = now
        self._looked_at.clear()
        asked = [(one.principal, one.sample) for one in archive.values()]
        least = max(LEAST, memory.settings.min_principals)
        # in a thread: agents may be in this process, and it reads the whole archive
        self._by_answer = await asyncio.to_thread(
            shared_words, asked, least, language=memory.settings.language
        )


def _may_be_given(lesson: Experience) -> bool:
    """Tell whether a lesson waits for evidence, has a condition, and no person has edited it."""
    by_hand = any(source.startswith("author:") for source in lesson.sources)
    return lesson.state == "proposed" and not lesson.applies_always and not by_hand
