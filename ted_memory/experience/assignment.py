"""Which lessons one request is shown: the active ones, and by a coin those on trial.

A lesson on trial is measured on the requests that it applies to, as the retriever finds it there:
over all of them, what it does for a few would be lost in the noise of the others. Each conversation
has a coin of its own for each lesson, so that trials do not disturb each other; it falls the same
way through one conversation. The coin is a hash salted with the set's epoch, which no client knows:
who chooses the id of a conversation does not choose the side.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from ted_memory.episodes import ANONYMOUS, Exposure
from ted_memory.experience.ranking import Ranking
from ted_memory.experience.rendering import earlier_turns, render_block
from ted_memory.models import Experience, ExperienceSet, Usage

Selector = Callable[[Sequence[Experience], Mapping[str, Usage], Ranking], tuple[Experience, ...]]
"""From the experiences that may be shown, their usage and their ranking for the question to those that are shown."""

COIN = 0.5  # chance that a request is shown a lesson on trial
TRIAL_SHARE = 0.5  # of the token budget, for lessons on trial beside the active ones
LONGEST_TRIAL = timedelta(days=30)  # then a learner ends it
LONGEST_SHOWN = LONGEST_TRIAL + timedelta(days=1)  # where none does; clocks differ


def draw(*parts: str) -> float:
    """Return a number in [0, 1) that these parts always give, and that tells nothing of what other parts give."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).digest()
    # a float holds 53 bits: more would be rounded up to 1
    return int.from_bytes(digest[:6], "big") / 2**48


def principals(experience: Experience) -> frozenset[str]:
    """Return who stands behind a lesson."""
    return frozenset(
        s.removeprefix("principal:") for s in experience.sources if s.startswith("principal:")
    )


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
    now: datetime,
) -> Exposure:
    """Return what one request is shown: the active lessons but perhaps one, and those on trial that fall to it.

    Of the active ones one is watched, drawn for each unit: it alone may be withheld, and counts
    where it was not. Were all counted, who stands alone would be withheld more often than who
    stands among many, and easy tasks would be taken for harm. For the same reason nothing counts
    that only came into the place of what is missing, and what is missing counts only if it would
    have had a place beside the others that this request is shown.

    Args:
        snapshot: the set.
        choose: which lessons stand in a prompt for a question.
        ranking: which of the set's candidates the question is about.
        unit: conversation or run; the same one is always assigned in the same way.
        principal: who asks; lessons that come from it are not tried on it.
        withhold_share: share of the units that miss one active lesson.
        now: by the caller's clock; a trial that no learner ended in time is neither shown nor
            counted.
    """

    def chosen(among: Sequence[Experience]) -> tuple[Experience, ...]:
        return choose(among, snapshot.usage, ranking)

    on_trial, applies = _trials_that_apply(snapshot, ranking, principal, now)
    eligible = chosen([*snapshot.active, *on_trial])
    tried = {e.id for e in eligible if e.state == "trial"}
    watched = _watched(eligible, applies, principal, draw(snapshot.epoch, unit, "which"))
    missing = _missing(snapshot.epoch, unit, tried, watched, withhold_share)
    # trials that had no place stay out: if they took that of a missing one, more than half would
    # see them
    candidates = [*snapshot.active, *(e for e in on_trial if e.id in tried)]
    shown = [e for e in candidates if e.id not in missing]
    seen = sorted(chosen(shown) if missing or tried else eligible, key=lambda e: e.state == "trial")
    return Exposure(
        block=render_block(seen),
        turns=earlier_turns(seen),
        seen=_ids(seen),
        withheld=_ids(e for e in eligible if e.id in missing and e.id in _ids(chosen([*shown, e]))),
        counted=_ids(e for e in seen if e.id in {watched, *tried}),
        epoch=snapshot.epoch,
        version=snapshot.version,
        withhold_share=withhold_share,
    )


def _trials_that_apply(
    snapshot: ExperienceSet, ranking: Ranking, principal: str, now: datetime
) -> tuple[list[Experience], Collection[str]]:
    """Return the lessons on trial that this request may be shown, and the ids of all lessons that apply to it."""
    others = [e for e in snapshot.trial if _is_tried(e, now) and not is_from(e, principal)]
    applies = ranking.applying([*snapshot.active, *others])
    return _in_size(snapshot, [e for e in others if e.id in applies]), applies


def _watched(
    eligible: Sequence[Experience], applies: Collection[str], principal: str, drawn: float
) -> str | None:
    """Return the active lesson that is watched on this request: the one at ``drawn`` (in [0, 1)) of what applies."""
    watchable = [
        e for e in eligible if e.state == "active" and e.id in applies and not is_from(e, principal)
    ]
    return watchable[int(drawn * len(watchable))].id if watchable else None


def _missing(
    epoch: str, unit: str, tried: Collection[str], watched: str | None, withhold_share: float
) -> set[str]:
    """Return the ids that this conversation does not see: by a coin each of those on trial, seldom the watched one."""
    missing = {id for id in tried if draw(epoch, unit, id) >= COIN}
    if watched and draw(epoch, unit, "withhold") < withhold_share:
        missing.add(watched)
    return missing


def _ids(experiences: Iterable[Experience]) -> tuple[str, ...]:
    return tuple(e.id for e in experiences)


def _is_tried(experience: Experience, now: datetime) -> bool:
    """Tell whether its trial has begun, and not so long ago that it should have ended: learners may be away."""
    if experience.trial is None or not experience.trial.bet:
        return False
    return experience.trial.began_at is None or now - _began_at(experience) <= LONGEST_SHOWN


def _began_at(experience: Experience) -> datetime:
    """Return when a trial began, in UTC where no zone is stated; one of which that is not known comes first."""
    began_at = experience.trial.began_at if experience.trial else None
    began_at = began_at or datetime.min
    return began_at if began_at.tzinfo else began_at.replace(tzinfo=UTC)


def _in_size(snapshot: ExperienceSet, on_trial: Sequence[Experience]) -> list[Experience]:
    """Return the trials that began first, as far as a share of the block goes; the others wait for their turn."""
    room, admitted = TRIAL_SHARE * snapshot.caps.token_budget, list[Experience]()
    for experience in sorted(on_trial, key=_began_at):
        room -= experience.tokens
        if room < 0:
            break
        admitted.append(experience)
    return admitted
