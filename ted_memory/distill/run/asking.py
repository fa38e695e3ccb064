"""What the gate asks the student: pairs of answers and scores, each kept in the run's record.

A run that is taken up again asks for none of them twice.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from ted_memory.distill.comparison import AHEAD, MOST_LOST, STEADY, Comparison, Judge, Pair
from ted_memory.distill.context import DistillContext
from ted_memory.distill.progress import Records
from ted_memory.distill.run.material import Material
from ted_memory.distill.scoring import OnProgress, Progress, answer_with, gather_all
from ted_memory.errors import BudgetExceeded, ModelError
from ted_memory.experience.betting import PairedTest, Rule, sign
from ted_memory.grading import graders
from ted_memory.llm.calls import is_final, is_transient, one_line
from ted_memory.models import Experience, ExperienceSet, Sample

SET_RULE = Rule(level=0.05, worth=0.1, missed=0.05, pairs=100, bets=(0.2, 0.5, 0.9))

_Turn = tuple[Judge, int]
"""A judge, and which of its pairs is asked for, counted from 0."""


@dataclass
class Judging:
    """One gate under way. `pairs_left` bounds what it may still ask for; None is no bound."""

    material: Material
    context: DistillContext
    records: Records
    on_progress: OnProgress
    pairs_left: int | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    _asked: int = 0
    _lost: int = 0

    async def test(
        self, test: PairedTest, judges: Sequence[Judge], name: str, turns: int | None = None
    ) -> list[Pair]:
        """Add pairs to a test until it is over.

        Judges take turns, in a random order that every start repeats.

        Args:
            test: what the pairs are added to.
            judges: who is asked.
            name: what the pairs are kept under; also the seed of the order.
            turns: pairs of one judge at most; None: as many as the test may have.
        """
        placement = self.context.memory.presentation(self.material.staged).placement
        comparison = Comparison(self.context, placement)
        waiting = self._turns(judges, name, turns or test.rule.pairs)
        pairs = list[Pair]()
        while not test.is_over and self.pairs_left != 0:
            most = min(AHEAD, test.rule.pairs - len(pairs), self.pairs_left or AHEAD)
            asked = list(islice(waiting, most))
            if not asked:
                break
            answered = await gather_all(*(self._pair(comparison, turn, name) for turn in asked))
            got = [pair for pair in answered if pair is not None]
            for pair in got:
                test.add(sign(pair.after - pair.before))
            pairs += got
        return pairs

    def _turns(self, judges: Sequence[Judge], name: str, most: int) -> Iterator[_Turn]:
        """Yield whose turn it is, without those that were found to be unable to answer."""
        order = [*judges]
        random.Random(name).shuffle(order)
        for number in range(most):
            for judge in order:
                if judge.sample.id not in self.left_out:
                    yield judge, number

    async def score(
        self, sample: Sample, snapshot: ExperienceSet, experiences: Sequence[Experience]
    ) -> float:
        """Have the student answer with these experiences, shown as the snapshot says; score it."""
        given = await answer_with(self.context, sample, snapshot, experiences)
        score, _ = await graders.grade(
            self.context.grader, sample, given.text, self.material.reference_of[sample.id]
        )
        return score

    async def _pair(self, comparison: Comparison, turn: _Turn, name: str) -> Pair | None:
        """Return a pair, None where it cannot be had: for want of budget, or of an answer."""
        judge, number = turn
        key = f"gate:{name}:{judge.sample.id}:{number}"
        if key in self.records:
            known = self.records[key]
            return Pair(judge, known["before"], known["after"], "")
        try:
            pair = await comparison.pair(judge, number)
        except BudgetExceeded:
            self.pairs_left = 0
            return None
        except Exception as error:
            if is_final(error):
                raise
            self._leave_out(judge, error)
            return None
        await self.records.save(key, {"before": pair.before, "after": pair.after})
        if self.pairs_left:
            self.pairs_left -= 1
        self._asked += 1
        self.on_progress(Progress("validate", self._asked, max(self._asked, SET_RULE.pairs)))
        return pair

    def _leave_out(self, judge: Judge, error: Exception) -> None:
        """Leave out a sample that cannot be asked.

        One that the provider did not answer for has its turn again.

        Raises:
            ModelError: the provider answered for too few.
        """
        if not is_transient(error):
            self.left_out[judge.sample.id] = one_line(error)
            return
        self._lost += 1
        if self._lost > MOST_LOST + STEADY * self._asked:
            raise ModelError(
                f"the provider did not answer for {self._lost} pairs of the gate "
                f"({one_line(error)})."
            )
