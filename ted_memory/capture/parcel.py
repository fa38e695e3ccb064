"""Runs that have ended become episodes, as many as go to the store together."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ted_memory.capture.cleaning import Cleaner
from ted_memory.capture.texts import one_line, size_of
from ted_memory.episodes import Episode

BATCH_BYTES = 250_000
"""A parcel of so many bytes is full: neither server nor event loop does anything else meanwhile."""

Images = Mapping[str, bytes]
Make = Callable[[], tuple[Episode, Images]]
"""Builds an episode: called in a thread when it is sent, not on the agent's path."""
Ended = tuple[Make, bool]
"""(make, is_final). One that is not final may be replaced by a later outcome of the same run."""


@dataclass
class Parcel:
    """Episodes that go together, with the runs that they were made of."""

    episodes: list[Episode] = field(default_factory=list)
    images: dict[str, bytes] = field(default_factory=dict)
    packed: list[tuple[str, Ended]] = field(default_factory=list)
    broken: list[tuple[str, Ended]] = field(default_factory=list)
    """Runs of which no episode could be made."""
    trouble: str = ""
    """Why the last of these could not."""
    size: int = 0


def pack(waiting: Iterable[tuple[str, Ended]], cleaner: Cleaner) -> Parcel:
    """Build the episodes of the first of these runs, until the parcel is full.

    Takes a while where texts are long: call it in a thread.
    """
    parcel = Parcel()
    for run_id, ended in waiting:
        make, _ = ended
        try:
            made, images = make()
            episode = cleaner.episode(made)
            size = size_of(episode)
        except Exception as error:  # noqa: BLE001 - of what an agent did, or of a user's hook
            parcel.trouble = f"a run could not be recorded: {one_line(error)}"
            parcel.broken.append((run_id, ended))
            continue
        kept = {digest: images[digest] for digest in episode.images if digest in images}
        parcel.episodes.append(episode)
        parcel.packed.append((run_id, ended))
        parcel.images.update(kept)
        parcel.size += size + sum(map(len, kept.values()))
        if parcel.size >= BATCH_BYTES:
            break
    return parcel
