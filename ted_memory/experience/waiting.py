"""What a lesson from traffic waits for, in words and in numbers, for people who ask.

For `learner.standing` (`ted-memory status`, `ted-memory explain`). Nothing is decided here: the
rules are those of `experience.trials`, put in words.
"""

import math
from collections.abc import Mapping

from ted_memory.experience.assignment import principals
from ted_memory.experience.concerns import concern
from ted_memory.experience.evidence import Evidence
from ted_memory.experience.trials import (
    ENOUGH,
    MOST_OUTCOMES,
    TURNED,
    live_needed,
    loudest,
    pairs_needed,
)
from ted_memory.models import Experience, Trial
from ted_memory.settings import TrialSettings

_APPROVAL = "a person's approval"


def waits_for(e: Experience, evidence: Evidence, settings: TrialSettings) -> str:
    """Return what a lesson from traffic waits for, in words."""
    trial = e.trial or Trial()
    if e.state == "active":
        wealth = f"{evidence.turned(loudest(settings)):.3g} of {TURNED:g}"
        return f"nothing: it is active (wealth against it {wealth})"
    if trial.ended:
        return f"a person's word: {trial.ended}"
    if trial.passed and settings.trust == "review":
        return f"{_APPROVAL}: its trial is passed"
    if e.state == "trial":
        return _outcomes_wanted(trial, evidence, settings)
    if why := concern(e):
        return f"a person's word: {why}"
    return _replays_wanted(evidence, settings) if principals(e) else _APPROVAL


def _replays_wanted(evidence: Evidence, settings: TrialSettings) -> str:
    if settings.trust == "always" or not settings.replay_calls:
        return f"{_APPROVAL}: nothing is replayed here (replay_calls=0, or trust=always)"
    k, total = loudest(settings), evidence.total
    needed = pairs_needed(evidence, k)
    if evidence.helps(k) >= needed:
        return (
            "a learner's next look; while another one is on trial that tells the same there, "
            "for the end of that trial"
        )
    wealth = f"wealth {evidence.helps(k):.3g} of {needed:g}"
    if k:
        wealth += f" without the {k} loudest principals"
    said = f"replays on others' graded episodes: {wealth} after {total.pairs:g} pairs"
    if total.silent:
        said += f"; {total.silent:g} more on results of tools say nothing"
    return said


def _outcomes_wanted(trial: Trial, evidence: Evidence, settings: TrialSettings) -> str:
    k = loudest(settings)
    wealth, needed = evidence.live(k), live_needed(evidence.helps(k))
    if wealth >= needed or trial.passed:
        return (
            "a learner's next look: its trial is passed. "
            "A full set has room only where another helps less"
        )
    total, counting = evidence.total.outcomes, evidence.outcomes(k)
    return (
        f"live outcomes: wealth {wealth:.3g} of {needed:.3g} after {total:g}, "
        f"{counting:g} of {MOST_OUTCOMES} of them not the busiest principals'"
    )


def wealths_needed(
    e: Experience, evidence: Evidence, settings: TrialSettings
) -> Mapping[str, float]:
    """Return the wealth at which each kind of evidence changes something.

    The names are those of the wealths in `episodes.Standing`.
    """
    k = loudest(settings)
    return {
        "helps": pairs_needed(evidence, k) if e.state == "proposed" else ENOUGH,
        "useless": ENOUGH,
        "live": live_needed(evidence.helps(k)),
        "harms": ENOUGH,
        "turned": TURNED,
    }


def outcomes_left(evidence: Evidence, settings: TrialSettings) -> int | None:
    """Return about how many graded requests more a trial needs, if its wealth grows on like this.

    None where it does not grow.
    """
    k = loudest(settings)
    wealth, seen = evidence.live(k), evidence.total.outcomes
    needed = live_needed(evidence.helps(k))
    if not seen or wealth <= 1:
        return None
    if wealth >= needed:
        return 0
    gained_by_each = math.log(wealth) / seen
    return max(1, math.ceil(math.log(needed / wealth) / gained_by_each))
