"""Whether lessons fit under the caps of a set, and who goes where they do not.

A set has two caps (`models.Caps`): how many of its lessons are active, and how many tokens the
block of all active ones may have (`rendering.count_tokens`). Each commit is held to them by the
store, whatever was planned (`storage/redis/lua/commit.lua`, and `testing/oracle/` in memory). This
is what planning goes by, so that a commit is not refused.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ted_memory.experience.lift import rank
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.models import Caps, Experience, ExperienceSet


@dataclass(frozen=True)
class Size:
    """How much of its caps a set takes.

    Attributes:
        experiences: how many are active.
        tokens: of the block that shows them all, its frame included.
    """

    experiences: int = 0
    tokens: int = FRAME_TOKENS

    @classmethod
    def of(cls, active: Iterable[Experience]) -> "Size":
        """Return the size of a set with these active lessons."""
        tokens = [experience.tokens for experience in active]
        return cls(len(tokens), FRAME_TOKENS + sum(tokens))

    def plus(self, experience: Experience) -> "Size":
        """Return the size with one active lesson more."""
        return Size(self.experiences + 1, self.tokens + experience.tokens)

    def minus(self, experience: Experience) -> "Size":
        """Return the size without one of the active lessons."""
        return Size(self.experiences - 1, self.tokens - experience.tokens)

    def fits(self, caps: Caps) -> bool:
        """Tell whether both caps hold."""
        return self.experiences <= caps.max_experiences and self.tokens <= caps.token_budget


def over_caps(snapshot: ExperienceSet, caps: Caps) -> list[Experience]:
    """Return the active lessons that have to go for these caps to hold, lowest lift first."""
    lowest_first = rank(snapshot.active, snapshot.usage)[::-1]
    going, _ = _until_it_fits(Size.of(snapshot.active), caps, lowest_first)
    return going


def make_room(
    newcomer: Experience, snapshot: ExperienceSet, expendable: Sequence[Experience]
) -> list[Experience] | None:
    """Return the active lessons that have to go for one more to fit.

    Args:
        newcomer: is to become active.
        snapshot: the set, with its caps.
        expendable: those that may go, in the order in which they do.

    Returns:
        The first of ``expendable``, as many as are needed; None where all of them are not enough.
    """
    size = Size.of(snapshot.active).plus(newcomer)
    going, left = _until_it_fits(size, snapshot.caps, expendable)
    return going if left.fits(snapshot.caps) else None


def first_that_fit(ranked: Iterable[Experience], token_budget: int) -> tuple[Experience, ...]:
    """Take lessons in this order as long as their block keeps to the budget.

    One that is too long is passed over, and shorter ones after it still have their place.
    """
    chosen: list[Experience] = []
    left = token_budget - FRAME_TOKENS
    for experience in ranked:
        if experience.tokens <= left:
            chosen.append(experience)
            left -= experience.tokens
    return tuple(chosen)


def growth(old: Experience | None, new: Experience) -> tuple[int, int]:
    """Return by how many active lessons, and by how many of their tokens, a change lets a set grow.

    Changes that are sorted by it make room before they take it: on the way from one set to another
    no cap is pressed more than at the beginning or at the end.
    """
    before, after = _size_of_one(old), _size_of_one(new)
    return after.experiences - before.experiences, after.tokens - before.tokens


def _size_of_one(experience: Experience | None) -> Size:
    if experience is None or experience.state != "active":
        return Size()
    return Size().plus(experience)


def _until_it_fits(
    size: Size, caps: Caps, expendable: Iterable[Experience]
) -> tuple[list[Experience], Size]:
    """Let lessons go in this order until the caps hold; return them, and the size that is left."""
    going: list[Experience] = []
    for experience in expendable:
        if size.fits(caps):
            break
        going.append(experience)
        size = size.minus(experience)
    return going, size
