"""When a lesson from traffic goes on trial, becomes active, or goes: the steps that are due.

For `learner.trials`, which takes them. The way of a lesson:

- ``proposed``: it is replayed on recorded episodes of others. No user sees a lesson of which such
  pairs of answers have not shown that it helps.
- ``trial``: half of the conversations that it applies to see it (`experience.assignment`). The less
  its pairs have shown, the more its live outcomes have to (`live_needed`).
- ``active``: everybody sees it, and it is watched. One that comes to hurt waits for a person.
- ``retired``: it was of no use, did harm, or had to make room.

All decisions are by wealths of `experience.evidence`. They are valid however often one looks, so a
step is taken as soon as it is due; and each leaves out the principals who argue most for it. Where
the numbers come from: docs/method.md, docs/decisions/002-evidence-from-traffic.md.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ted_memory.experience.assignment import LONGEST_TRIAL, principals
from ted_memory.experience.capacity import make_room
from ted_memory.experience.concerns import concern
from ted_memory.experience.evidence import Evidence, live_bet
from ted_memory.experience.identity import tell_the_same
from ted_memory.models import Experience, ExperienceSet, SetState, Trial
from ted_memory.settings import TrialRule, TrialSettings

# Wealth by which something is shown: at most one of twenty lessons without it ever reaches that.
ENOUGH = 20.0
# Wealth of pairs that puts a lesson of a large lift on trial. Some users see it sooner then, and
# its outcomes have to show more. With a smaller lift the outcomes that are missing take longer than
# the pairs that are saved.
ENOUGH_OF_A_LARGE_LIFT = 10.0
LARGE_LIFT = 0.4
# Of live outcomes. At most one in a hundred of those lessons whose lift is no more than what the
# rule refutes reach this and `ENOUGH`.
ENOUGH_OUTCOMES = 5.0
REFUTED: Mapping[TrialRule, float] = {"strict": 0.0, "quick": -0.1}
"""The live lift that a trial refutes: a lesson that is passed is shown to have more."""
TURNED = 1000.0  # wealth against an active lesson: larger, since it is looked at for ever
FIRST_PAIRS = 4  # of every lesson, before the best one goes on
# What ends something by numbers does not count the busiest principals, so none does it alone.
MOST_PAIRS = 400  # before a trial
MOST_SILENT = 40  # pairs that say nothing (`evidence.Sums.silent`)
MOST_OUTCOMES = 600  # of one trial
LEAST_WEALTH = 1e-6  # of pairs, that outcomes can make up for
NOTHING = Evidence()


@dataclass(frozen=True)
class Step:
    """One step of a lesson on its way, and the reason for the log."""

    edit: SetState
    why: str


def loudest(settings: TrialSettings) -> int:
    """Return how many principals each decision leaves out: of those that argue for it the most."""
    return settings.min_principals - 1


def next_steps(
    snapshot: ExperienceSet,
    evidence: Mapping[str, Evidence],
    settings: TrialSettings,
    now: datetime,
) -> list[Step]:
    """Return the steps that are due in a set now, most urgent first.

    Active lessons that hurt go, trials end, lessons go on trial, and of too many that wait some go.
    """

    def of(e: Experience) -> Evidence:
        return evidence.get(e.id, NOTHING)

    ends = _taken(
        *(_watched(e, of(e), settings) for e in snapshot.active),
        *(_tried(e, of(e), settings, now) for e in snapshot.trial),
    )
    # A trial that is passed is in nobody's way, even where the set has no room for its lesson.
    over = {step.edit.id for step in ends}
    going_on = [e for e in snapshot.trial if e.id not in over]
    due: list[tuple[Experience, Step]] = []
    waiting: list[Experience] = []
    for e in snapshot.proposed:
        step = _replayed(e, of(e), settings, now)
        if step is None:
            waiting.append(e)
        else:
            due.append((e, step))
    return [*ends, *_one_trial_at_a_time(due, going_on), *_excess(waiting, settings)]


def _taken(*steps: Step | None) -> list[Step]:
    return [step for step in steps if step is not None]


def _one_trial_at_a_time(
    due: Sequence[tuple[Experience, Step]], trial: Sequence[Experience]
) -> list[Step]:
    """Return these steps, without those that would put two lessons on trial that tell the same.

    Two that tell to do the same in the same situation, each shown by a coin of its own, would each
    hide half of what the other one is worth: where one is withheld, the other is seen half of the
    time. The second waits until the first one's trial has ended.
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
    """Tell whether replays of recorded episodes are to show what a lesson is worth.

    Not of lessons that no principal is behind, and not of those that wait for a person.
    """
    if not principals(e) or e.state == "retired":
        return False
    trial = e.trial or Trial()
    return e.state == "active" or not (trial.ended or trial.passed)


def wants_pairs(e: Experience, evidence: Evidence, settings: TrialSettings) -> bool:
    """Tell whether more replays can say something new of a lesson.

    An active one is watched without end; of others they have said enough when they have shown that
    it helps.
    """
    return is_replayed(e) and (e.state == "active" or evidence.helps(loudest(settings)) < ENOUGH)


def turn(evidence: Evidence, settings: TrialSettings) -> tuple[float, float, float]:
    """Return a key by which lessons that are not active are replayed, the lowest first.

    Each has its `FIRST_PAIRS`, then the one with the most wealth. Pairs that say nothing are among
    the first ones, or lessons of which replays can show nothing would hold up all others. Wealth
    is without the loudest principals first, or one account could draw all replays to its lesson.
    """
    first = min(evidence.total.pairs + evidence.total.silent, FIRST_PAIRS)
    return first, -evidence.helps(loudest(settings)), -evidence.helps(0)


def pairs_needed(evidence: Evidence, k: int) -> float:
    """Return the wealth of pairs that puts a lesson on trial; the ``k`` loudest are left out."""
    return ENOUGH_OF_A_LARGE_LIFT if evidence.lift_of_most(k) >= LARGE_LIFT else ENOUGH


def live_needed(helps: float) -> float:
    """Return the wealth of live outcomes at which a trial is passed.

    ``helps`` is the wealth of the pairs. Pairs and outcomes are of different questions, so the two
    multiply, and the product has to reach what it would after `ENOUGH` by pairs. So a lesson whose
    lift is no more than what the rule refutes is as seldom active, whenever its trial begins. More
    than `ENOUGH` by pairs does not make up for outcomes, since whoever fools the grader fools all
    pairs.
    """
    return ENOUGH_OUTCOMES * ENOUGH / min(max(helps, LEAST_WEALTH), ENOUGH)


def excess_first(proposed: Sequence[Experience]) -> list[Experience]:
    """Return proposed lessons in the order in which they go when there are too many.

    The latest ones of whoever proposed most go first: a flood pushes out itself. What waits for a
    person (no principal behind it) goes last.
    """
    counts: Counter[str] = Counter()
    place = {}  # how many lessons its busiest principal had proposed, this one included
    for e in sorted(proposed, key=lambda e: e.order):
        counts.update(principals(e))
        place[e.id] = max((counts[p] for p in principals(e)), default=0)
    return sorted(proposed, key=lambda e: (not principals(e), -place[e.id], e.order))


def room_for(
    lesson: Experience,
    snapshot: ExperienceSet,
    evidence: Mapping[str, Evidence],
    settings: TrialSettings,
) -> list[SetState] | None:
    """Return the steps that make room for a lesson that has passed its trial; None without room.

    Active lessons go that helped less in replays, and of them only those that became active by a
    trial of their own: what a person wrote or approved stays. The loudest on both sides are left
    out of the comparison, so that no few principals choose who goes.
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
    """Return the step for a lesson whose trial is passed, and for which the set has no room.

    When `LONGEST_TRIAL` is over, it waits for a person; None until then.
    """
    began_at = lesson.trial.began_at if lesson.trial else None
    if now - (began_at or now) < LONGEST_TRIAL:
        return None
    return _wait_for_a_person(
        lesson,
        "its trial is passed, and the set has no room for it: "
        "raise the caps, or retire another lesson",
    )


def _wait_for_a_person(e: Experience, why: str) -> Step:
    """Return the step by which a lesson is shown to nobody until a person has decided."""
    return Step(SetState(id=e.id, state="proposed", trial=Trial(ended=why), rev=e.rev), why)


def _retire(e: Experience, why: str) -> Step:
    return Step(SetState(id=e.id, state="retired", rev=e.rev), why)


def _excess(waiting: Sequence[Experience], settings: TrialSettings) -> list[Step]:
    too_many = max(len(waiting) - settings.max_proposed, 0)
    why = f"more than {settings.max_proposed} lessons wait"
    return [_retire(e, why) for e in excess_first(waiting)[:too_many]]


def _watched(e: Experience, evidence: Evidence, settings: TrialSettings) -> Step | None:
    """Take an active lesson back that has come to hurt. Only a person may make it active again."""
    wealth = evidence.turned(loudest(settings))
    if not wealth >= TURNED:
        return None
    seen = f"{evidence.total.watched:g} comparisons"
    return _wait_for_a_person(
        e, f"it has come to hurt (wealth {wealth:.3g} against it after {seen})"
    )


def _replayed(
    e: Experience, evidence: Evidence, settings: TrialSettings, now: datetime
) -> Step | None:
    """Return the step of a proposed lesson: on trial, out of the set, or to a person.

    One that sends users somewhere, or holds a secret, is for a person before anything is paid for
    it.
    """
    if not principals(e) or (e.trial and e.trial.ended):
        return None
    if why := concern(e):
        step = _wait_for_a_person(e, why)
        return replace(step, why=f"a person decides: {why}")
    k = loudest(settings)
    if evidence.helps(k) >= pairs_needed(evidence, k):
        return _on_trial(e, evidence, settings, now)
    return (
        _of_no_use(e, evidence, k)
        or _cannot_be_replayed(e, evidence, k)
        or _no_result(e, evidence, k)
    )


def _on_trial(e: Experience, evidence: Evidence, settings: TrialSettings, now: datetime) -> Step:
    """Put a lesson on trial that replays have shown to help."""
    wealth, rule = evidence.helps(loudest(settings)), settings.trial_rule
    trial = Trial(rule=rule, bet=live_bet(evidence.total, REFUTED[rule]), began_at=now)
    return Step(
        SetState(id=e.id, state="trial", trial=trial, rev=e.rev),
        f"replays show it: {_lift_in_words(evidence)} ({wealth:.3g})",
    )


def _cannot_be_replayed(e: Experience, evidence: Evidence, k: int) -> Step | None:
    """Leave a lesson to a person if most of its pairs say nothing.

    It may be about what is done before tools answer, which no replay can show.
    """
    if evidence.silent(k) < MOST_SILENT or evidence.silent(k) <= evidence.pairs(k):
        return None
    return _wait_for_a_person(
        e,
        f"replays cannot show what it does: {evidence.total.silent:g} answers rest on recorded "
        "results of tools and were scored alike with it and without it",
    )


def _of_no_use(e: Experience, evidence: Evidence, k: int) -> Step | None:
    """Retire a lesson that replays have shown to be of no use. Its trial may be under way."""
    wealth = evidence.useless(k)
    if wealth < ENOUGH:
        return None
    return _retire(e, f"of no use: {_lift_in_words(evidence)} ({wealth:.3g} against it)")


def _no_result(e: Experience, evidence: Evidence, k: int) -> Step | None:
    if evidence.pairs(k) < MOST_PAIRS:
        return None
    return _retire(e, f"no result: {_lift_in_words(evidence)}")


def _lift_in_words(evidence: Evidence) -> str:
    return f"lift {evidence.lift:+.2f} in {evidence.total.pairs:g} pairs of answers"


def _tried(
    e: Experience, evidence: Evidence, settings: TrialSettings, now: datetime
) -> Step | None:
    """End a trial that has shown something, or that has lasted long enough."""
    trial, outcomes, k = e.trial, evidence.total.outcomes, loudest(settings)
    if trial is None or not trial.bet:
        return _begin_anew(e)
    harm = evidence.harms(k)
    if harm >= ENOUGH:
        return _retire(e, f"it hurts (wealth {harm:.3g} against it in {outcomes:g} outcomes)")
    if trial.passed and settings.trust == "review":
        return None
    wealth = evidence.live(k)
    if trial.passed or wealth >= live_needed(evidence.helps(k)):
        why = f"its trial is passed (wealth {wealth:.3g} in {outcomes:g} outcomes)"
        return _passed(e, trial, why, settings)
    return _of_no_use(e, evidence, k) or _lasted_long_enough(e, trial, evidence, settings, now)


def _lasted_long_enough(
    e: Experience, trial: Trial, evidence: Evidence, settings: TrialSettings, now: datetime
) -> Step | None:
    k = loudest(settings)
    wealth, lasted = evidence.live(k), now - (trial.began_at or now)
    if evidence.outcomes(k) < MOST_OUTCOMES and lasted < LONGEST_TRIAL:
        return None
    seen = f"{evidence.total.outcomes:g} outcomes and {lasted.days} days"
    return _wait_for_a_person(e, f"no result in {seen} (wealth {wealth:.3g})")


def _passed(e: Experience, trial: Trial, why: str, settings: TrialSettings) -> Step:
    """Make a lesson active, or with trust ``review`` ask a person to approve it."""
    if settings.trust == "review":
        passed = trial.model_copy(update={"passed": True})
        return Step(SetState(id=e.id, state="trial", trial=passed, rev=e.rev), why)
    # with it `room_for` knows that no person put it there
    passed = Trial(rule=trial.rule, passed=True)
    return Step(SetState(id=e.id, state="active", trial=passed, rev=e.rev), why)


def _begin_anew(e: Experience) -> Step:
    """Send a lesson back to its replays: nobody knows yet whether it may be shown to users."""
    return Step(
        SetState(id=e.id, state="proposed", rev=e.rev),
        "its trial begins anew with replays: it was begun under other rules, or for another text",
    )
