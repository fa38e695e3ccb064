"""What is known of a lesson, as pages show it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ted_memory.episodes import Standing
from ted_memory.experience.assignment import principals
from ted_memory.experience.concerns import concern
from ted_memory.experience.lift import Utility, observed
from ted_memory.models import Experience, ExperienceSet, Usage
from ted_memory.web.pictures import Bet, Stage


@dataclass(frozen=True)
class Known:
    """One lesson with what pairs, outcomes and comparisons have shown of it.

    Attributes:
        standing: where it stands; None where the server does not let its user see that.
        live: its lift by randomised requests and attempts, with 90 % bounds; None: never compared.
    """

    lesson: Experience
    standing: Standing | None = None
    live: Utility | None = None

    @property
    def concerns(self) -> tuple[str, ...]:
        """Why a person must decide on it for its words."""
        return tuple(reason for reason in concern(self.lesson).split("; ") if reason)

    @property
    def replayed(self) -> Utility | None:
        """Its lift in replayed pairs, with 90 % bounds on the safe side."""
        standing = self.standing
        if standing is None or not standing.pairs:
            return None
        # each side of n pairs has n answers, so the weight of the difference is n n / (n + n)
        weight = standing.pairs / 2
        return observed(Usage(weight=weight, weighted_difference=weight * standing.lift))

    @property
    def lift(self) -> Utility | None:
        """What is known best: live comparisons, else replays."""
        return self.live or self.replayed

    @property
    def waits_for_a_person(self) -> bool:
        """Whether nothing but a person's word moves it on."""
        return self.is_over or not principals(self.lesson) or bool(self.concerns)

    @property
    def is_over(self) -> bool:
        """Whether its trial has ended, so that evidence is there, or will not come."""
        trial = self.lesson.trial
        return trial is not None and bool(trial.ended or trial.passed)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The bets on it, for a picture each."""
        s = self.standing
        if s is None:
            return ()
        needed, found = s.needed, []
        on_trial = self.lesson.state == "trial"
        if s.pairs:
            bets = (
                Bet("it helps", "for", s.helps, needed["helps"]),
                Bet("it is of no use", "against", s.useless, needed["useless"]),
            )
            found.append(Stage("replayed pairs", s.pairs, bets, None if on_trial else s.left))
        if s.outcomes:
            bets = (
                Bet("it helps live", "for", s.live, needed["live"]),
                Bet("it hurts", "against", s.harms, needed["harms"]),
            )
            found.append(Stage("live outcomes", s.outcomes, bets, s.left if on_trial else None))
        return tuple(found)


def known_of(lesson: Experience, standing: Standing | None, usage: Mapping[str, Usage]) -> Known:
    """Put together what is known of one lesson."""
    counted = usage.get(lesson.id)
    return Known(lesson, standing, observed(counted) if counted else None)


def to_decide(
    snapshot: ExperienceSet, standings: Sequence[Standing], *, oldest_first: bool = False
) -> list[Known]:
    """List what a reviewer may decide: proposals, and trials that are passed and wait for a word.

    Those come first whose trial has ended, then those with most evidence, then the oldest.
    """
    by_id = {standing.experience.id: standing for standing in standings}
    passed = [e for e in snapshot.trial if e.trial and e.trial.passed]
    found = [known_of(e, by_id.get(e.id), snapshot.usage) for e in (*snapshot.proposed, *passed)]
    return sorted(found, key=_age if oldest_first else _urgency)


def _age(known: Known) -> int:
    return known.lesson.order


def _urgency(known: Known) -> tuple[bool, float, int]:
    wealth = known.standing.helps if known.standing else 1.0
    return not known.is_over, -wealth, known.lesson.order
