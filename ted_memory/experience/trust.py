"""How a lesson from live traffic becomes active, or does not: rules without I/O.

``proposed -> trial -> active``. With `min_principals` distinct principals behind it a lesson goes on trial. First only
the learner's own attempts see it (shadow), then a share of the requests, doubled after each look without harm. Whether
it becomes active is decided once, at a fixed number of outcomes with it and without it: who looks after each outcome
and stops at the first good moment lets one harmless lesson in five through. Harm is looked at after every outcome.

A lesson is measured on the requests that it applies to, as the retriever finds it there: over all of them, what it does
for a few would be lost in the noise of the others. Requests are assigned by a hash of (conversation, lesson):
repeatable, and the same through one conversation. Each exposure is a stratum of its own: its outcomes with and without
the lesson come from the same time, so that a change of the traffic is not taken for an effect. When one ends, its arms
``a`` and ``b`` are folded into ``weight += a b / (a + b)`` and ``weighted_difference`` (see `experience.utility`).
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ted_memory.episodes import ANONYMOUS, Exposure
from ted_memory.experience.ranking import Ranking
from ted_memory.experience.rendering import render_block
from ted_memory.experience.utility import SCORE_VARIANCE, Utility, observed
from ted_memory.models import Experience, ExperienceSet, SetState, Trial, Usage
from ted_memory.settings import Settings

Selector = Callable[[Sequence[Experience], Mapping[str, Usage], Ranking], tuple[Experience, ...]]
"""From the experiences that may be shown, their usage and their ranking for the question to those that are shown."""

LOOK = 10  # outcomes with the lesson between two looks that may double its exposure
MOST_EXPOSURE = 0.5
MAX_ROUNDS = 2  # trials without a result; after the last one the lesson is retired
DECIDING = 1.959963984540054
"""Standard deviations of the deciding bound: 97.5 % on one side, so that two rounds let 5 % through at most."""
SHADOW_WEIGHT = 8.0  # of group comparisons before users may see it: about eight episodes
SHADOW_SHARE = 0.5  # of the learner's attempts that see a lesson on trial
LEAST_WEIGHT = 5.0  # of all outcomes before an active lesson may be found to hurt


@dataclass(frozen=True)
class Step:
    """One step of a lesson, why, and what its usage changes by at the same time."""

    edit: SetState
    why: str
    usage: Usage = field(default_factory=Usage)


def draw(*parts: str) -> float:
    """Return a number in [0, 1) that these parts always give, and that tells nothing of what other parts give."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48  # a float holds 53 bits: more would be rounded up to 1


def principals(experience: Experience) -> frozenset[str]:
    """Return who stands behind a lesson."""
    return frozenset(s.removeprefix("principal:") for s in experience.sources if s.startswith("principal:"))


def adds_support(experience: Experience | None, sources: Sequence[str]) -> bool:
    """Tell whether these sources put somebody new behind a lesson that waits; more than it takes would only grow."""
    new = {s for s in sources if s.startswith("principal:")} - {*(experience.sources if experience else ())}
    return experience is not None and experience.state == "proposed" and bool(new)


def is_from(experience: Experience, principal: str, run_id: str = "") -> bool:
    """Tell whether a principal, or this run, is among a lesson's sources: it is no witness of what it said itself.

    Who `anonymous` is nobody knows: of those only the run itself counts.
    """
    known = principal != ANONYMOUS and f"principal:{principal}" in experience.sources
    return known or f"run:{run_id}" in experience.sources


def expose(
    snapshot: ExperienceSet,
    choose: Selector,
    ranking: Ranking,
    *,
    unit: str,
    principal: str,
    withhold_share: float,
) -> Exposure:
    """Return what one request is shown: the active lessons but perhaps one, and those on trial that fall to it.

    Of the active ones one is watched, drawn for each unit: it alone may be withheld, and counts where it was not. Were
    all counted, who stands alone would be withheld more often than who stands among many, and easy tasks would be taken
    for harm. For the same reason nothing counts that only came into the place of what is missing.

    Args:
        snapshot: the set.
        choose: which lessons stand in a prompt for a question.
        ranking: which of the set's candidates the question is about.
        unit: conversation or run; the same one is always assigned in the same way.
        principal: who asks; lessons that come from it are not tried on it.
        withhold_share: share of the units that miss one active lesson.
    """
    on_trial = [e for e in snapshot.trial if e.trial and e.trial.exposure and not is_from(e, principal)]
    applies = ranking.applying([*snapshot.active, *on_trial])
    on_trial = [e for e in on_trial if e.id in applies]
    eligible = choose([*snapshot.active, *on_trial], snapshot.usage, ranking)
    missing = {e.id for e in eligible if e.trial and e.state == "trial" and draw(unit, e.id) >= e.trial.exposure}
    active = [e.id for e in eligible if e.state == "active" and e.id in applies]
    watched = active[int(draw(unit, "which") * len(active))] if active else None
    if watched and draw(unit, "withhold") < withhold_share:
        missing.add(watched)
    counting = {watched, *(e.id for e in eligible if e.state == "trial")}
    on_trial = [e for e in on_trial if e.id in counting]  # in a missing one's place more than its share would see it
    shown = [e for e in (*snapshot.active, *on_trial) if e.id not in missing]
    if missing or on_trial:
        chosen = choose(shown, snapshot.usage, ranking)
        seen = [*(e for e in chosen if e.state == "active"), *(e for e in chosen if e.state == "trial")]
    else:
        seen = list(eligible)
    return Exposure(
        block=render_block(seen),
        seen=tuple(e.id for e in seen),
        withheld=tuple(e.id for e in eligible if e.id in missing),
        counted=tuple(e.id for e in seen if e.id in counting),
        epoch=snapshot.epoch,
        version=snapshot.version,
    )


def next_steps(snapshot: ExperienceSet, usage: Mapping[str, Usage], settings: Settings, *, shadow: bool) -> list[Step]:
    """Return what is due now, most urgent first: what hurts goes, trials go on, room is made, trials begin.

    ``shadow``: whether attempts of the learner's own come before users see a lesson.
    """

    def known(e: Experience) -> Usage:
        return usage.get(e.id, Usage())

    steps = [step for e in snapshot.active if (step := _watched(e, known(e)))]
    steps += [step for e in snapshot.trial if (step := _tried(e, known(e), settings, shadow=shadow))]
    ended = sum(step.edit.state != "trial" for step in steps if step.edit.id in {e.id for e in snapshot.trial})
    free = settings.max_trial - len(snapshot.trial) + ended
    ready = [e for e in snapshot.proposed if _may_be_tried(e, settings)]
    ready.sort(key=lambda e: (-len(principals(e)), e.order))
    begun = ready[: max(free, 0)]
    steps += _excess(snapshot, begun, settings)
    return steps + [_begin(e, known(e), settings, shadow=shadow) for e in begun]


def waits_for(e: Experience, usage: Usage, settings: Settings) -> str:
    """Return what a lesson that is not active waits for, in words."""
    if e.state == "proposed":
        behind, needed = len(principals(e)), settings.min_principals
        if e.trial and e.trial.rounds >= MAX_ROUNDS:
            return "a person's word: it was demoted"
        if not behind:
            return "a person's approval"
        return f"principals: {behind} of {needed}" if behind < needed else "a free place on trial"
    trial = e.trial or Trial()
    if trial.passed:
        return "a person's approval: its trial is passed"
    if not trial.exposure:
        return f"shadow outcomes of others than its sources: weight {usage.weight:.1f} of {SHADOW_WEIGHT:g}"
    n_with, n_without = trial.n_with + usage.n_with, trial.n_without + usage.n_without
    return (
        f"outcomes: {n_with:g} with it and {n_without:g} without it of {settings.trial_outcomes} "
        f"(exposure {trial.exposure:g})"
    )


def excess_first(proposed: Sequence[Experience]) -> list[Experience]:
    """Return proposed lessons in the order in which they go when there are too many.

    Those with few principals behind them go first, and of these the latest ones of whoever proposed most: a flood
    pushes out itself. What waits for a person (no principal behind it) goes last.
    """
    counts: Counter[str] = Counter()
    place = {}
    for e in sorted(proposed, key=lambda e: e.order):
        counts.update(principals(e))
        place[e.id] = max((counts[p] for p in principals(e)), default=0)
    return sorted(proposed, key=lambda e: (not principals(e), len(principals(e)), -place[e.id], e.order))


def _may_be_tried(e: Experience, settings: Settings) -> bool:
    rounds = e.trial.rounds if e.trial else 0
    return len(principals(e)) >= settings.min_principals and rounds < MAX_ROUNDS


def _begin(e: Experience, usage: Usage, settings: Settings, *, shadow: bool) -> Step:
    exposure = 0.0 if shadow else settings.canary_share
    trial = Trial(exposure=exposure, rounds=e.trial.rounds if e.trial else 0)
    why = f"{len(principals(e))} principals stand behind it"
    return Step(SetState(id=e.id, state="trial", trial=trial, rev=e.rev), why, _emptied(usage))


def _excess(snapshot: ExperienceSet, begun: Sequence[Experience], settings: Settings) -> list[Step]:
    waiting = [e for e in snapshot.proposed if e not in begun]
    too_many = len(waiting) - settings.max_proposed
    why = f"more than {settings.max_proposed} lessons wait"
    return [Step(SetState(id=e.id, state="retired", rev=e.rev), why) for e in excess_first(waiting)[: max(too_many, 0)]]


def _watched(e: Experience, usage: Usage) -> Step | None:
    """Demote an active lesson that has come to hurt."""
    lift = observed(usage)
    if lift is None or _weight(usage) < LEAST_WEIGHT or lift.high >= 0:
        return None
    trial = Trial(rounds=MAX_ROUNDS)  # once it hurt, only a person may bring it back
    return Step(SetState(id=e.id, state="proposed", trial=trial, rev=e.rev), f"it hurts: lift {_told(lift)}")


def _tried(e: Experience, usage: Usage, settings: Settings, *, shadow: bool) -> Step | None:
    if e.trial is None:  # somebody put it on trial, or its text is new
        return _begin(e, usage, settings, shadow=shadow)
    trial, lift = e.trial, observed(usage)
    weight = _weight(usage)
    enough_to_judge = weight >= LEAST_WEIGHT if trial.exposure else weight >= SHADOW_WEIGHT
    if lift is not None and enough_to_judge and lift.high < 0:
        return Step(SetState(id=e.id, state="retired", rev=e.rev), f"it hurts: lift {_told(lift)}")
    if trial.passed or not trial.exposure:
        seen_enough = not trial.passed and (weight >= SHADOW_WEIGHT or not shadow)
        return _to_canary(e, usage, trial, settings) if seen_enough else None
    n_with, n_without = trial.n_with + usage.n_with, trial.n_without + usage.n_without
    if lift is not None and min(n_with, n_without) >= settings.trial_outcomes:
        return _decided(e, usage, trial, settings)
    if usage.n_with < LOOK or usage.n_without < 1 or trial.exposure >= MOST_EXPOSURE:
        return None
    more = trial.model_copy(
        update={"exposure": min(MOST_EXPOSURE, 2 * trial.exposure), "n_with": n_with, "n_without": n_without}
    )
    edit = SetState(id=e.id, state="trial", trial=more, rev=e.rev)
    return Step(edit, f"no harm in {n_with:g} outcomes: exposure {more.exposure:g}", _folded(usage))


def _to_canary(e: Experience, usage: Usage, trial: Trial, settings: Settings) -> Step:
    begun = trial.model_copy(update={"exposure": settings.canary_share})
    seen = "no harm in" if _weight(usage) >= SHADOW_WEIGHT else "the learner makes no"
    why = f"{seen} attempts of the learner's own: exposure {begun.exposure:g}"
    # the decision is of live outcomes alone
    return Step(SetState(id=e.id, state="trial", trial=begun, rev=e.rev), why, _emptied(usage))


def _decided(e: Experience, usage: Usage, trial: Trial, settings: Settings) -> Step:
    weight = _weight(usage)
    mean = (observed(usage) or Utility(0, 0, 0)).mean
    low = mean - DECIDING * math.sqrt(SCORE_VARIANCE / weight)
    told = f"lift {mean:+.3f}, lower bound {low:+.3f}"
    if low > settings.min_lift:
        if settings.trust == "review":
            passed = trial.model_copy(update={"passed": True})
            return Step(SetState(id=e.id, state="trial", trial=passed, rev=e.rev), f"its trial is passed: {told}")
        return Step(SetState(id=e.id, state="active", rev=e.rev), f"its trial is passed: {told}", _folded(usage))
    rounds = trial.rounds + 1
    if rounds >= MAX_ROUNDS:
        return Step(SetState(id=e.id, state="retired", rev=e.rev), f"{rounds} trials without a result: {told}")
    back = SetState(id=e.id, state="proposed", trial=Trial(rounds=rounds), rev=e.rev)
    return Step(back, f"a trial without a result: {told}", _emptied(usage))


def _weight(usage: Usage) -> float:
    arms = usage.n_with + usage.n_without
    return usage.weight + (usage.n_with * usage.n_without / arms if arms else 0.0)


def _folded(usage: Usage) -> Usage:
    """Return what turns the open arms into a closed stratum."""
    emptied = _arms_away(usage)
    if not (usage.n_with and usage.n_without):
        return emptied
    weight = usage.n_with * usage.n_without / (usage.n_with + usage.n_without)
    difference = usage.successes_with / usage.n_with - usage.successes_without / usage.n_without
    return emptied.model_copy(update={"weight": weight, "weighted_difference": weight * difference})


def _emptied(usage: Usage) -> Usage:
    """Return what takes all outcomes away: a new trial begins without them."""
    gone = {"weight": -usage.weight, "weighted_difference": -usage.weighted_difference}
    return _arms_away(usage).model_copy(update=gone)


def _arms_away(usage: Usage) -> Usage:
    return Usage(
        n_with=-usage.n_with,
        successes_with=-usage.successes_with,
        n_without=-usage.n_without,
        successes_without=-usage.successes_without,
    )


def _told(lift: Utility) -> str:
    return f"{lift.mean:+.3f} ({lift.low:+.3f} to {lift.high:+.3f})"
