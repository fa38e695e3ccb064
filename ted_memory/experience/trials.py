"""How a lesson from live traffic becomes active, or does not: rules without I/O.

``proposed`` (replays) ``-> trial`` (a coin for each conversation) ``-> active`` (watched), or
``retired``. A lesson is first replayed on recorded episodes of others: no user sees one of which
these pairs of answers have not shown that it helps. Then half of the conversations that it applies
to see it. The less its replays have shown, the more its outcomes have to. All tests are valid
however often one looks (see `experience.evidence`), so each step is taken as soon as it is due; all
of them leave out the loudest principals.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ted_memory.experience.assignment import LONGEST_TRIAL, principals
from ted_memory.experience.capacity import make_room
from ted_memory.experience.concerns import concern
from ted_memory.experience.evidence import Evidence, live_bet
from ted_memory.experience.identity import tell_the_same
from ted_memory.models import Experience, ExperienceSet, SetState, Trial
from ted_memory.settings import Settings, TrialRule

# wealth by which something is shown: at most one in twenty without it ever reaches that
ENOUGH = 20.0
# of pairs: then some users see a lesson sooner, and its outcomes have to show more
ENOUGH_OF_A_LARGE_LIFT = 10.0
# of a smaller one the outcomes that are missing take longer than the pairs that are saved
LARGE_LIFT = 0.4
RULES: Mapping[TrialRule, tuple[float, float]] = {"strict": (0.0, 5.0), "quick": (-0.1, 10.0)}
"""The live lift that a trial refutes, and the wealth that it takes where replays have shown enough: `live_needed`."""
TURNED = 1000.0  # wealth against an active lesson: it is looked at for ever
FIRST_PAIRS = 4  # of every lesson, before the best one goes on
# before a trial, without the busiest principals: none alone ends anything by numbers
MOST_PAIRS = 400
MOST_SILENT = 40  # pairs on recorded results of tools that say nothing, counted in the same way
MOST_OUTCOMES = 600  # of one trial, counted in the same way
LEAST_WEALTH = 1e-6  # of pairs, that outcomes can make up for
NOTHING = Evidence()


@dataclass(frozen=True)
class Step:
    """One step of a lesson, and why."""

    edit: SetState
    why: str


def loudest(settings: Settings) -> int:
    """Return how many principals every decision leaves out: those that argue most for it."""
    return settings.min_principals - 1


def next_steps(
    snapshot: ExperienceSet, evidence: Mapping[str, Evidence], settings: Settings, now: datetime
) -> list[Step]:
    """Return what is due now, most urgent first: what hurts goes, trials end, lessons go on trial, room is made."""

    def of(e: Experience) -> Evidence:
        return evidence.get(e.id, NOTHING)

    steps = [step for e in snapshot.active if (step := _watched(e, of(e), settings))]
    steps += [step for e in snapshot.trial if (step := _tried(e, of(e), settings, now))]
    waiting = [(e, _replayed(e, of(e), settings, now)) for e in snapshot.proposed]
    # passed, perhaps without room in the set: they are in nobody's way
    over = {step.edit.id for step in steps}
    going_on = [e for e in snapshot.trial if e.id not in over]
    steps += _one_trial_at_a_time([(e, step) for e, step in waiting if step], going_on)
    return steps + _excess([e for e, step in waiting if step is None], settings)


def _one_trial_at_a_time(
    due: Sequence[tuple[Experience, Step]], trial: Sequence[Experience]
) -> list[Step]:
    """Return these steps, but those of lessons in whose way one is that is on trial, or goes there before them.

    Two that tell to do the same in the same situation, each shown by a coin of its own, would each
    hide half of what the other one is worth: where one is withheld, the other is seen half of the
    time.
    """
    under_way = [e for e in trial if e.trial and not e.trial.passed]
    steps = []
    for e, step in due:
        if step.edit.state == "trial":
            if any(tell_the_same(e, other) for other in under_way):
                continue
            under_way.append(e)
        steps.append(step)
    return steps


def is_replayed(e: Experience) -> bool:
    """Tell whether replays of recorded episodes are to show what a lesson is worth."""
    if not principals(e) or e.state == "retired":
        return False
    trial = e.trial or Trial()
    return e.state == "active" or not (trial.ended or trial.passed)


def wants_pairs(e: Experience, evidence: Evidence, settings: Settings) -> bool:
    """Tell whether more replays can say something new of a lesson: not where they have shown that it helps."""
    return is_replayed(e) and (e.state == "active" or evidence.helps(loudest(settings)) < ENOUGH)


def turn(evidence: Evidence, settings: Settings) -> tuple[float, float, float]:
    """Return how late a lesson is replayed that is not active: each has its first pairs, then the most wealth leads.

    Pairs that say nothing are among the first ones, or lessons of which replays can show nothing
    would hold up all others. Wealth counts as decisions see it, or one account had all replays.
    """
    first = min(evidence.total.pairs + evidence.total.silent, FIRST_PAIRS)
    return first, -evidence.helps(loudest(settings)), -evidence.helps(0)


def pairs_needed(evidence: Evidence, k: int) -> float:
    """Return the wealth of its pairs that puts a lesson on trial, where the `k` loudest are left out."""
    return ENOUGH_OF_A_LARGE_LIFT if evidence.lift_of_most(k) >= LARGE_LIFT else ENOUGH


def waits_for(e: Experience, evidence: Evidence, settings: Settings) -> str:
    """Return what a lesson from traffic waits for, in words."""
    trial = e.trial or Trial()
    if e.state == "active":
        return f"nothing: it is active (wealth against it {evidence.turned(loudest(settings)):.3g} of {TURNED:g})"
    if trial.ended:
        return f"a person's word: {trial.ended}"
    if trial.passed and settings.trust == "review":
        return "a person's approval: its trial is passed"
    if e.state == "trial":
        return _outcomes_wanted(trial, evidence, settings)
    return _replays_wanted(evidence, settings) if principals(e) else "a person's approval"


def _replays_wanted(evidence: Evidence, settings: Settings) -> str:
    if settings.trust == "operator" or not settings.replay_calls:
        return "a person's approval: nothing is replayed here (replay_calls=0, or trust=operator)"
    k, pairs = loudest(settings), evidence.total.pairs
    without, needed = f" without the {k} loudest principals" if k else "", pairs_needed(evidence, k)
    if evidence.helps(k) >= needed:
        return (
            "a learner's next look; while another one is on trial that tells the same there, "
            "for the end of that trial"
        )
    wealth = f"wealth {evidence.helps(k):.3g} of {needed:g}{without}"
    silent = (
        f"; {evidence.total.silent:g} more on results of tools say nothing"
        if evidence.total.silent
        else ""
    )
    return f"replays on others' graded episodes: {wealth} after {pairs:g} pairs{silent}"


def _outcomes_wanted(trial: Trial, evidence: Evidence, settings: Settings) -> str:
    k = loudest(settings)
    wealth, needed = evidence.live(k), live_needed(trial.rule, evidence.helps(k))
    if wealth >= needed or trial.passed:
        return "a learner's next look: its trial is passed. A full set has room only where another helps less"
    told = f"live outcomes: wealth {wealth:.3g} of {needed:.3g} after {evidence.total.outcomes:g}"
    return (
        f"{told}, {evidence.outcomes(k):g} of {MOST_OUTCOMES} of them not the busiest principals'"
    )


def wealths_needed(e: Experience, evidence: Evidence, settings: Settings) -> Mapping[str, float]:
    """Return the wealth by which each kind of evidence changes something, by the names of `episodes.Standing`."""
    k = loudest(settings)
    return {
        "helps": pairs_needed(evidence, k) if e.state == "proposed" else ENOUGH,
        "useless": ENOUGH,
        "live": live_needed((e.trial or Trial()).rule, evidence.helps(k)),
        "harms": ENOUGH,
        "turned": TURNED,
    }


def live_needed(rule: TrialRule, helps: float) -> float:
    """Return the wealth that live outcomes need to end a trial well; ``helps`` is the wealth of the pairs.

    Pairs and outcomes are of different questions, so their wealths multiply. The product has to
    reach what it would with pairs that have shown enough: a lesson without effect is as seldom
    active, whenever its trial begins. More pairs than enough do not make up for outcomes, since
    whoever fools the grader fools all pairs.
    """
    return RULES[rule][1] * ENOUGH / min(max(helps, LEAST_WEALTH), ENOUGH)


def outcomes_left(e: Experience, evidence: Evidence, settings: Settings) -> int | None:
    """Return about how many graded requests more a trial needs if it goes on like this; None if it gets nowhere."""
    k = loudest(settings)
    needed = live_needed((e.trial or Trial()).rule, evidence.helps(k))
    return _left(evidence.live(k), needed, evidence.total.outcomes)


def _left(wealth: float, needed: float, seen: float) -> int | None:
    """Return how many outcomes more it takes, if wealth grows on as it did in those ``seen``."""
    if not seen or wealth <= 1:
        return None
    gained = math.log(wealth) / seen
    return max(1, math.ceil(math.log(needed / wealth) / gained)) if wealth < needed else 0


def excess_first(proposed: Sequence[Experience]) -> list[Experience]:
    """Return proposed lessons in the order in which they go when there are too many.

    The latest ones of whoever proposed most go first: a flood pushes out itself. What waits for a
    person (no principal behind it) goes last.
    """
    counts: Counter[str] = Counter()
    place = {}
    for e in sorted(proposed, key=lambda e: e.order):
        counts.update(principals(e))
        place[e.id] = max((counts[p] for p in principals(e)), default=0)
    return sorted(proposed, key=lambda e: (not principals(e), -place[e.id], e.order))


def room_for(
    lesson: Experience,
    snapshot: ExperienceSet,
    evidence: Mapping[str, Evidence],
    settings: Settings,
) -> list[SetState] | None:
    """Return what makes room for a lesson that has passed its trial: active ones go that helped less in replays.

    None where there is no room. Only those go that became active by a trial of their own, so
    lessons that a person wrote or approved stay; and no few principals choose who goes.
    """

    def worth(e: Experience) -> float:
        return evidence.get(e.id, NOTHING).lift_of_most(loudest(settings))

    by_trial = [e for e in snapshot.active if e.trial and e.trial.passed]
    worse = [e for e in by_trial if worth(e) < worth(lesson)]
    going = make_room(lesson, snapshot, sorted(worse, key=worth))
    if going is None:
        return None
    return [SetState(id=e.id, state="retired", rev=e.rev) for e in going]


def without_room(lesson: Experience, now: datetime) -> Step | None:
    """Return the end of a trial that is passed, where the set has had no room for its lesson for too long."""
    began_at = lesson.trial.began_at if lesson.trial else None
    if now - (began_at or now) < LONGEST_TRIAL:
        return None
    why = "its trial is passed, and the set has no room for it: raise the caps, or retire another lesson"
    return Step(
        SetState(id=lesson.id, state="proposed", trial=Trial(ended=why), rev=lesson.rev), why
    )


def _excess(waiting: Sequence[Experience], settings: Settings) -> list[Step]:
    too_many = len(waiting) - settings.max_proposed
    if too_many <= 0:
        return []
    why = f"more than {settings.max_proposed} lessons wait"
    return [
        Step(SetState(id=e.id, state="retired", rev=e.rev), why)
        for e in excess_first(waiting)[:too_many]
    ]


def _watched(e: Experience, evidence: Evidence, settings: Settings) -> Step | None:
    """Demote an active lesson that has come to hurt; once it hurt, only a person may bring it back."""
    wealth = evidence.turned(loudest(settings))
    if not wealth >= TURNED:
        return None
    why = f"it has come to hurt (wealth {wealth:.3g} against it after {evidence.total.watched:g} comparisons)"
    return Step(SetState(id=e.id, state="proposed", trial=Trial(ended=why), rev=e.rev), why)


def _replayed(e: Experience, evidence: Evidence, settings: Settings, now: datetime) -> Step | None:
    """Put a lesson on trial that replays have shown to help; retire one that they have shown to be of no use.

    One that sends users somewhere, or holds a secret, is for a person before anything is paid for
    it.
    """
    if not principals(e) or (e.trial and e.trial.ended):
        return None
    if why := concern(e):
        return Step(
            SetState(id=e.id, state="proposed", trial=Trial(ended=why), rev=e.rev),
            f"a person decides: {why}",
        )
    total, k = evidence.total, loudest(settings)
    told = f"lift {evidence.lift:+.2f} in {total.pairs:g} pairs of answers"
    if (wealth := evidence.helps(k)) >= pairs_needed(evidence, k):
        refuted = RULES[settings.trial_rule][0]
        trial = Trial(rule=settings.trial_rule, bet=live_bet(total, refuted), began_at=now)
        return Step(
            SetState(id=e.id, state="trial", trial=trial, rev=e.rev),
            f"replays show it: {told} ({wealth:.3g})",
        )
    if step := _of_no_use(e, evidence, k) or _cannot_be_replayed(e, evidence, k):
        return step
    retired = SetState(id=e.id, state="retired", rev=e.rev)
    return Step(retired, f"no result: {told}") if evidence.pairs(k) >= MOST_PAIRS else None


def _cannot_be_replayed(e: Experience, evidence: Evidence, k: int) -> Step | None:
    """Leave a lesson to a person of which replays say nothing: it may be about what is done before tools answer."""
    if evidence.silent(k) < MOST_SILENT or evidence.silent(k) <= evidence.pairs(k):
        return None
    why = (
        f"replays cannot show what it does: {evidence.total.silent:g} answers rest on recorded results of tools and "
        "were scored alike with it and without it"
    )
    return Step(SetState(id=e.id, state="proposed", trial=Trial(ended=why), rev=e.rev), why)


def _of_no_use(e: Experience, evidence: Evidence, k: int) -> Step | None:
    """Retire a lesson that replays have shown to be of no use: on trial, too."""
    if (wealth := evidence.useless(k)) < ENOUGH:
        return None
    why = f"of no use: lift {evidence.lift:+.2f} in {evidence.total.pairs:g} pairs of answers ({wealth:.3g} against it)"
    return Step(SetState(id=e.id, state="retired", rev=e.rev), why)


def _tried(e: Experience, evidence: Evidence, settings: Settings, now: datetime) -> Step | None:
    """End a trial that has shown something, or that has lasted long enough."""
    trial, total, k = e.trial, evidence.total, loudest(settings)
    if trial is None or not trial.bet:
        return _begun(e)
    if (wealth := evidence.harms(k)) >= ENOUGH:
        why = f"it hurts (wealth {wealth:.3g} against it in {total.outcomes:g} outcomes)"
        return Step(SetState(id=e.id, state="retired", rev=e.rev), why)
    if trial.passed and settings.trust == "review":
        return None
    if trial.passed or evidence.live(k) >= live_needed(trial.rule, evidence.helps(k)):
        why = f"its trial is passed (wealth {evidence.live(k):.3g} in {total.outcomes:g} outcomes)"
        return _passed(e, trial, why, settings)
    return _of_no_use(e, evidence, k) or _lasted_long_enough(e, trial, evidence, settings, now)


def _lasted_long_enough(
    e: Experience, trial: Trial, evidence: Evidence, settings: Settings, now: datetime
) -> Step | None:
    total, k = evidence.total, loudest(settings)
    wealth, lasted = evidence.live(k), now - (trial.began_at or now)
    if evidence.outcomes(k) < MOST_OUTCOMES and lasted < LONGEST_TRIAL:
        return None
    why = f"no result in {total.outcomes:g} outcomes and {lasted.days} days (wealth {wealth:.3g})"
    return Step(SetState(id=e.id, state="proposed", trial=Trial(ended=why), rev=e.rev), why)


def _passed(e: Experience, trial: Trial, why: str, settings: Settings) -> Step:
    if settings.trust == "review":
        passed = trial.model_copy(update={"passed": True})
        return Step(SetState(id=e.id, state="trial", trial=passed, rev=e.rev), why)
    # with it `room_for` knows that no person put it there
    passed = Trial(rule=trial.rule, passed=True)
    return Step(SetState(id=e.id, state="active", trial=passed, rev=e.rev), why)


def _begun(e: Experience) -> Step:
    """Send a lesson back to its replays: nobody knows yet whether it may be shown to users."""
    return Step(
        SetState(id=e.id, state="proposed", rev=e.rev),
        "its trial begins anew with replays: it was begun under other rules, or for another text",
    )
