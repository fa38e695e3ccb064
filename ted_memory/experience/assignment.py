"""Which lessons one request is shown: the active ones, and by a coin those on trial.

For whoever answers a request (`memory.client`). This is the randomised experiment that live
evidence comes from, so three things hold:

- A lesson on trial is tried, and counted, only on requests that it applies to, as the retriever
  says. Over all requests its lift would be lost in the noise of those that it is not about.
- Each lesson on trial has a coin of its own, so that several trials do not disturb each other. The
  coin falls the same way through one conversation.
- The coin is a hash that is salted with the set's epoch, which no client knows. Who chooses the id
  of a conversation does not choose the side.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ted_memory.episodes import ANONYMOUS, Exposure
from ted_memory.experience.ranking import Ranking
from ted_memory.experience.rendering import earlier_turns, render_block
from ted_memory.models import Experience, ExperienceSet, Usage
from ted_memory.settings import Placement

Selector = Callable[[Sequence[Experience], Mapping[str, Usage], Ranking], tuple[Experience, ...]]
"""Chooses what stands in a prompt: from what may be shown, its usage, and its ranking."""

COIN = 0.5  # chance that a request is shown a lesson on trial
TRIAL_SHARE = 0.5  # of the token budget, for lessons on trial beside the active ones
LONGEST_TRIAL = timedelta(days=30)  # then a learner ends it
LONGEST_SHOWN = LONGEST_TRIAL + timedelta(days=1)  # where none does; clocks differ


def draw(*parts: str) -> float:
    """Return a number in [0, 1): always the same for these parts, as good as random for others."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).digest()
    # a float holds 53 bits: more would be rounded up to 1
    return int.from_bytes(digest[:6], "big") / 2**48


def principals(experience: Experience) -> frozenset[str]:
    """Return who stands behind a lesson: nobody where it came from an operator or a data set."""
    return frozenset(
        s.removeprefix("principal:") for s in experience.sources if s.startswith("principal:")
    )


def is_from(experience: Experience, principal: str, run_id: str = "") -> bool:
    """Tell whether a lesson comes from this principal or from this run.

    Such a request is no evidence on the lesson: nobody is a witness of his own words. Who
    `ANONYMOUS` is nobody knows, so of those only the run itself counts.
    """
    is_own = principal != ANONYMOUS and f"principal:{principal}" in experience.sources
    return is_own or f"run:{run_id}" in experience.sources


def expose(
    snapshot: ExperienceSet,
    choose: Selector,
    ranking: Ranking,
    *,
    unit: str,
    principal: str,
    withhold_share: float,
    now: datetime,
    placement: Placement = "system",
) -> Exposure:
    """Return what one request is shown, what chance kept from it, and which outcomes count.

    It sees the active lessons, perhaps without one, and those lessons on trial that its coins say.

    Each unit watches exactly one active lesson that applies, drawn evenly. Only that one may be
    withheld, and only its outcome counts. If all in the block counted, those in short blocks would
    be withheld more often than those in long ones, and since easy tasks go with short blocks the
    lift would be biased.

    For the same reason nothing counts that only came into the place of what is missing, and what
    is missing counts only if it would have had a place beside the others that are shown.

    Args:
        snapshot: the set.
        choose: which lessons stand in a prompt for a question.
        ranking: which of the set's candidates the question is about.
        unit: conversation or run; the same one is always assigned in the same way.
        principal: who asks; lessons that come from it are not tried on it.
        withhold_share: share of the units that miss one active lesson.
        now: by the caller's clock; a trial that no learner ended in time is neither shown nor
            counted.
        placement: where its block belongs in a prompt.
    """

    def chosen(among: Sequence[Experience]) -> tuple[Experience, ...]:
        return choose(among, snapshot.usage, ranking)

    on_trial, applies = _trials_that_apply(snapshot, ranking, principal, now)
    eligible = chosen([*snapshot.active, *on_trial])
    watchable = [e for e in _among(eligible, applies) if not is_from(e, principal)]
    lots = _cast(eligible, watchable, snapshot.epoch, unit, withhold_share)
    # Trials that had no place stay out. If they took the place of one that is missing, more than
    # half of the requests would see them.
    candidates = [*snapshot.active, *_among(on_trial, lots.tried)]
    shown = [e for e in candidates if e.id not in lots.missing]
    seen = chosen(shown) if lots.change_the_block else eligible
    block = sorted(seen, key=lambda e: e.state == "trial")
    missed = [e for e in _among(eligible, lots.missing) if e.id in _ids(chosen([*shown, e]))]
    return Exposure(
        block=render_block(block),
        turns=earlier_turns(block),
        placement=placement,
        seen=_ids(block),
        withheld=_ids(missed),
        counted=_ids(_among(block, lots.counting)),
        epoch=snapshot.epoch,
        version=snapshot.version,
        withhold_share=withhold_share,
    )


@dataclass(frozen=True)
class _Lots:
    """What chance has decided for one unit, by ids.

    Attributes:
        tried: lessons on trial that have a place in its prompt.
        watched: the active lesson whose outcome counts, if any.
        missing: those of all these that it does not see.
    """

    tried: frozenset[str]
    watched: str | None
    missing: frozenset[str]

    @property
    def counting(self) -> frozenset[str]:
        """Those whose outcome counts where they are seen."""
        return self.tried | ({self.watched} if self.watched else set())

    @property
    def change_the_block(self) -> bool:
        """Whether this unit may see something else than without any chance."""
        return bool(self.missing or self.tried)


def _cast(
    eligible: Sequence[Experience],
    watchable: Sequence[Experience],
    epoch: str,
    unit: str,
    withhold_share: float,
) -> _Lots:
    """Draw for one unit: the active lesson that it watches, and the ids that it does not see.

    A lesson on trial is missing by its coin, the watched one by ``withhold_share``.
    """
    tried = frozenset(e.id for e in eligible if e.state == "trial")
    missing = {id for id in tried if draw(epoch, unit, id) >= COIN}
    active = [e.id for e in watchable if e.state == "active"]
    watched = active[int(draw(epoch, unit, "which") * len(active))] if active else None
    if watched and draw(epoch, unit, "withhold") < withhold_share:
        missing.add(watched)
    return _Lots(tried, watched, frozenset(missing))


def _trials_that_apply(
    snapshot: ExperienceSet, ranking: Ranking, principal: str, now: datetime
) -> tuple[list[Experience], Collection[str]]:
    """Return the lessons on trial that a request may see, and the ids of all that apply to it."""
    others = [e for e in snapshot.trial if _is_tried(e, now) and not is_from(e, principal)]
    applies = ranking.applying([*snapshot.active, *others])
    return _in_size(snapshot, _among(others, applies)), applies


def _among(experiences: Iterable[Experience], ids: Collection[str]) -> list[Experience]:
    return [e for e in experiences if e.id in ids]


def _ids(experiences: Iterable[Experience]) -> tuple[str, ...]:
    return tuple(e.id for e in experiences)


def _is_tried(experience: Experience, now: datetime) -> bool:
    """Tell whether a lesson's trial goes on.

    It has begun, and not so long ago that a learner should have ended it: none may be running.
    """
    if experience.trial is None or not experience.trial.bet:
        return False
    return experience.trial.began_at is None or now - _began_at(experience) <= LONGEST_SHOWN


def _began_at(experience: Experience) -> datetime:
    """Return when a trial began (UTC where no zone is given), the earliest time where unknown."""
    began_at = experience.trial.began_at if experience.trial else None
    began_at = began_at or datetime.min
    return began_at if began_at.tzinfo else began_at.replace(tzinfo=UTC)


def _in_size(snapshot: ExperienceSet, on_trial: Sequence[Experience]) -> list[Experience]:
    """Return the trials that began first, as many as `TRIAL_SHARE` of the token budget holds.

    The others wait until one of these has ended.
    """
    room = TRIAL_SHARE * snapshot.caps.token_budget
    admitted: list[Experience] = []
    for experience in sorted(on_trial, key=_began_at):
        room -= experience.tokens
        if room < 0:
            break
        admitted.append(experience)
    return admitted
