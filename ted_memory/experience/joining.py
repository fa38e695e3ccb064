"""Proposals from traffic that tell to do the same in different situations: one more lesson, for all of these at once.

Two users who stumble over the same thing lead to two proposals, each with a condition of its own. Few requests meet
either of them, and what replays show is split. So a lesson that is about all of their situations is proposed beside
them. It has to show what it is worth like any other, on episodes of others than all who stand behind it. Those that it
was made of stay: where one of them was about something else, the others do better without it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ted_memory.experience.assignment import principals
from ted_memory.models import Add, Experience, ExperienceSet, SetState

JOINED = "ted_memory_joined"
"""Among a lesson's metadata: the ids of the proposals that it was made of, separated by blanks."""


def joined_proposals(snapshot: ExperienceSet, *, max_text: int) -> list[Add]:
    """Return a proposal for each text that several have which wait for their replays, about all of their situations.

    None where there is one already, nor while a lesson of this text is on trial.
    """
    on_trial = {says(e) for e in snapshot.trial}
    made = []
    for text, same in _by_text(snapshot).items():
        parents = sorted((e for e in same if is_open(e) and JOINED not in e.metadata), key=lambda e: e.order)
        when = strung([e.when for e in parents])
        known = {phrases(e.when) for e in same}
        fits = len(when) + len(parents[0].text) <= max_text if parents else False
        if len(parents) > 1 and fits and text not in on_trial and phrases(when) not in known:
            sources = dict.fromkeys(source for e in parents for source in e.sources)
            made.append(
                Add(
                    text=parents[0].text,
                    when=when,
                    state="proposed",
                    sources=tuple(sources),
                    metadata={JOINED: " ".join(e.id for e in parents)},
                )
            )
    return made


def behind(snapshot: ExperienceSet) -> dict[str, str]:
    """Return the proposals that wait while a lesson of the same text is on trial: their ids, with its id."""
    tried = {says(e): e.id for e in snapshot.trial}
    return {e.id: tried[says(e)] for e in snapshot.proposed if is_open(e) and says(e) in tried}


def contained(snapshot: ExperienceSet) -> list[SetState]:
    """Return what retires proposals whose situations an active lesson of the same text is about already."""
    active = _by_text(snapshot.active)
    return [
        SetState(id=e.id, state="retired", rev=e.rev)
        for e in snapshot.proposed
        if is_open(e) and not e.applies_always
        if any(phrases(e.when) <= phrases(known.when) for known in active.get(says(e), ()))
    ]


def is_open(e: Experience) -> bool:
    """Tell whether a proposal from traffic waits for its replays."""
    return e.state == "proposed" and bool(principals(e)) and not (e.trial and e.trial.ended)


def says(e: Experience) -> str:
    """Return what a lesson tells to do, however it is spelled."""
    return " ".join(e.text.casefold().split()).rstrip(".!")


def phrases(when: str) -> frozenset[str]:
    """Return the situations that a condition names, however they are spelled."""
    return frozenset(part.strip().casefold() for part in when.replace(";", ",").split(",") if part.strip())


def strung(conditions: Sequence[str]) -> str:
    """Return one condition that holds where any of these does; each phrase once."""
    semantic = any(";" in when for when in conditions) or not all("," in when or " " not in when for when in conditions)
    parts = [part.strip() for when in conditions for part in (when.split(";") if semantic else when.split(","))]
    unique = {part.casefold(): part for part in reversed(parts) if part}
    return ("; " if semantic else ", ").join(reversed(unique.values()))


def _by_text(lessons: Iterable[Experience]) -> dict[str, list[Experience]]:
    """Return lessons with a condition and without an example, by what they tell to do."""
    alike: dict[str, list[Experience]] = defaultdict(list)
    for e in lessons:
        if not e.applies_always and not e.example and not e.task:
            alike[says(e)].append(e)
    return alike
