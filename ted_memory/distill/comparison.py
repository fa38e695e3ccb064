"""Pairs of answers to one question: with a changed set of lessons, and with the set as it is."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from ted_memory.distill.context import AnswerContext
from ted_memory.distill.scoring import answer, gather_all
from ted_memory.experience.betting import PairedTest, sign
from ted_memory.experience.rendering import earlier_turns, render_block
from ted_memory.grading import graders
from ted_memory.llm.calls import is_final, is_transient
from ted_memory.llm.spend import Spend
from ted_memory.memory.presentation import exposure_of
from ted_memory.models import Experience, Sample
from ted_memory.settings import Placement

Prompt = tuple[str, tuple[tuple[str, str], ...]]
"""What of a student's prompt depends on its lessons: the block, and the earlier turns."""

AHEAD = 4  # pairs that are asked for side by side; a verdict may come up to so many pairs late
# pairs that may get no answer: so many, and so many for each one that got one
MOST_LOST, STEADY = 20, 3
NO_ROOM = 2  # pairs that were right on both sides show that a sample has nothing more to tell


@dataclass(frozen=True)
class Judge:
    """A sample that a change is judged on, and the lessons that the student sees on either side."""

    sample: Sample
    reference: str
    before: tuple[Experience, ...]
    after: tuple[Experience, ...]

    @property
    def prompts(self) -> tuple[Prompt, Prompt]:
        """What the student sees without the change and with it."""
        return _prompt(self.before), _prompt(self.after)

    @property
    def differs(self) -> bool:
        """Whether the change shows in this sample's prompt at all."""
        without, with_it = self.prompts
        return without != with_it


@dataclass(frozen=True)
class Pair:
    """The scores of one pair of answers."""

    judge: Judge
    before: float
    after: float
    text: str

    @property
    def is_full(self) -> bool:
        """Whether both answers were wholly right."""
        return self.before == self.after == 1


@dataclass
class Comparison:
    """Asks a student for pairs of answers.

    The answers without a change are shared by all changes that are compared. `spend` is what all
    pairs cost so far.
    """

    context: AnswerContext
    placement: Placement
    spend: Spend = field(default_factory=Spend)
    _lost: int = 0
    _answered: int = 0
    _plain: dict[tuple[str, Prompt], list[tuple[float, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _asking: dict[tuple[str, Prompt], asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    async def pair(self, judge: Judge, number: int) -> Pair:
        """Return the `number`-th pair of this judge, counted from 0."""
        before, (after, text) = await gather_all(
            self._without(judge, number), self._score(judge, judge.after)
        )
        self._answered += 1
        return Pair(judge, before[0], after, text)

    async def test(self, test: PairedTest, judges: Sequence[Judge]) -> list[Pair]:
        """Add pairs to a test until it is over; return them. Judges take turns.

        One that is right on both sides again and again has nothing to tell, and is left out: that
        depends on earlier pairs alone, so the test stays valid.
        """
        turns, pairs = deque((judge, 0) for judge in judges), list[Pair]()
        full: dict[str, int] = defaultdict(int)
        while turns and not test.is_over:
            count = min(AHEAD, len(turns), test.rule.pairs - len(test.differences))
            asked = [turns.popleft() for _ in range(count)]
            got = await gather_all(*(self._pair_or_none(judge, number) for judge, number in asked))
            for (judge, number), pair in zip(asked, got, strict=True):
                if pair is None:
                    turns.append((judge, number))
                    continue
                test.add(sign(pair.after - pair.before))
                pairs.append(pair)
                full[judge.sample.id] += pair.is_full
                if full[judge.sample.id] < NO_ROOM or len(judges) == 1:
                    turns.append((judge, number + 1))
        return pairs

    async def test_loss(self, test: PairedTest, judges: Sequence[Judge]) -> list[Pair]:
        """Add pairs to a test of whether the change loses something, until it is over.

        Judges take turns.
        """
        pairs = list[Pair]()
        turns = ((judge, number) for number in range(test.rule.pairs) for judge in judges)
        while not test.is_over and (
            asked := list(islice(turns, min(AHEAD, test.rule.pairs - len(pairs))))
        ):
            for pair in await gather_all(
                *(self._pair_or_none(judge, number) for judge, number in asked)
            ):
                if pair is not None:
                    test.add(sign(pair.before - pair.after))
                    pairs.append(pair)
        return pairs

    async def _pair_or_none(self, judge: Judge, number: int) -> Pair | None:
        """Return a pair; None where the provider did not answer.

        What was paid for before is not lost for that, unless it goes on so.
        """
        try:
            return await self.pair(judge, number)
        except Exception as error:
            self._lost += 1
            if not is_transient(error) or self._lost > MOST_LOST + STEADY * self._answered:
                raise
            return None

    async def answers_without(self, judge: Judge) -> bool:
        """Tell whether the student answers this judge's sample without the change."""
        try:
            await self._without(judge, 0)
        except Exception as error:
            if is_final(error):
                raise
            return False
        return True

    async def _without(self, judge: Judge, number: int) -> tuple[float, str]:
        key = judge.sample.id, _prompt(judge.before)
        known = self._plain[key]
        async with self._asking[key]:  # another change may be asking for the same answer just now
            while len(known) <= number:
                known.append(await self._score(judge, judge.before))
        return known[number]

    async def _score(self, judge: Judge, shown: Sequence[Experience]) -> tuple[float, str]:
        given = await answer(self.context, judge.sample, exposure_of(shown, self.placement))
        self.spend = self.spend + given.spend
        score, _ = await graders.grade(
            self.context.grader, judge.sample, given.text, judge.reference
        )
        return score, given.text


def _prompt(lessons: Sequence[Experience]) -> Prompt:
    return render_block(lessons), earlier_turns(lessons)


def means(pairs: Sequence[Pair]) -> tuple[float, float]:
    """Return the mean score before and after; 0, 0 without pairs."""
    count = len(pairs) or 1
    return sum(p.before for p in pairs) / count, sum(p.after for p in pairs) / count
