"""What the scripts that read and commit a set answer, as types."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ted_memory.errors import CorruptData
from ted_memory.models import (
    Applied,
    Caps,
    Commit,
    Edit,
    Experience,
    ExperienceSet,
    Presentation,
    Rejected,
    Usage,
)
from ted_memory.storage.redis.codec import (
    EDIT,
    FORMAT,
    decode_items,
    decode_usages,
    in_order,
    reading,
)

AT_ONCE = 200  # experiences that are read before others have their turn: about a millisecond


def decode_answer(
    answer: str, asked: Sequence[Edit], told: Sequence[str], *, repeated: bool
) -> Commit:
    """Read the commit that an answer tells of.

    An answer keeps edits without what they said (``told``, by `codec.encode_told`). Where they are
    those of this call, the commit has them whole, as they were ``asked`` for; others come back
    empty.
    """
    with reading("the answer that this token had"):
        fields = json.loads(answer)
        kept = [item["edit"] for item in fields["items"]]
        edits = list(asked)
        if kept != list(told):
            edits = [EDIT.validate_json(edit, extra="ignore") for edit in kept]
        applied, rejected = [], []
        for edit, item in zip(edits, fields["items"], strict=True):
            if item["reason"]:
                rejected.append(Rejected(edit=edit, reason=item["reason"]))
            else:
                applied.append(Applied(edit=edit, id=item["id"]))
        return Commit(
            epoch=fields["epoch"],
            version=fields["version"],
            applied=tuple(applied),
            rejected=tuple(rejected),
            repeated=repeated,
        )


async def decode_set(
    namespace: str, known: ExperienceSet | None, reply: Sequence[Any]
) -> ExperienceSet | None:
    """Work out the set that a reply of the read script means for one who holds ``known``.

    Of a large set the event loop is free again after each `AT_ONCE` experiences.

    Raises:
        CorruptData: it cannot be read, or a newer package wrote it.
    """
    kind = reply[0]
    if kind == "absent":
        return None
    if kind == "same":
        return known
    _, head, items, counters = reply
    bare = _decode_head(namespace, head)  # first: it says whether we may read the rest
    held = known if kind == "changes" else None
    experiences = await _with_changes(held, _pairs(items))
    made = replace(
        bare,
        experiences=tuple(experiences.values()),
        usage=_with_counters(held, _pairs(counters)),
    )
    made.__dict__["by_id"] = experiences  # what the cached property would build once more
    return made


def _decode_head(namespace: str, head: Sequence[Any]) -> ExperienceSet:
    """Read all of a set but its experiences and their usage."""
    epoch, version, stamp, *numbers, models, presentation = head
    with reading(f"the head of namespace {namespace!r}"):
        max_experiences, token_budget, stored_format, oldest = map(int, numbers)
        made = ExperienceSet(
            namespace=namespace,
            epoch=epoch,
            version=int(version),
            stamp=stamp or "",
            oldest=oldest,
            models=dict(json.loads(models)) if models else {},
            presentation=_decode_presentation(presentation),
            caps=Caps(max_experiences=max_experiences, token_budget=token_budget),
        )
    if stored_format > FORMAT:
        raise newer_format(namespace, stored_format)
    return made


def _decode_presentation(raw: str | None) -> Presentation | None:
    return Presentation.model_validate_json(raw, extra="ignore") if raw else None


async def _with_changes(
    held: ExperienceSet | None, items: Sequence[tuple[str, str]]
) -> dict[str, Experience]:
    """Put what changed in its place; an item without text is one that is gone."""
    told = in_order(item for item in items if item[1])
    new = {e.id: e async for e in _decoded(told)}
    if held is None:
        return new
    return _merged(held, new, gone={id for id, raw in items if not raw})


def _merged(
    held: ExperienceSet, new: Mapping[str, Experience], *, gone: Collection[str]
) -> dict[str, Experience]:
    experiences = {id: e for id, e in held.by_id.items() if id not in gone}
    experiences.update(new)
    last = held.experiences[-1].order if held.experiences else 0
    if all(_keeps_the_order(e, held.by_id.get(id), last) for id, e in new.items()):
        return experiences
    return {e.id: e for e in sorted(experiences.values(), key=lambda e: (e.order, e.id))}


def _keeps_the_order(new: Experience, old: Experience | None, last: int) -> bool:
    """Tell whether it stays where it was, or comes after the last one of a set."""
    return new.order > last if old is None else new.order == old.order


async def _decoded(items: Sequence[tuple[str, str]]) -> AsyncIterator[Experience]:
    for start in range(0, len(items), AT_ONCE):
        if start:
            await asyncio.sleep(0)
        for experience in decode_items(items[start : start + AT_ONCE]):
            yield experience


def _with_counters(
    held: ExperienceSet | None, counters: Sequence[tuple[str, str]]
) -> dict[str, Usage]:
    """Put counters that changed in their place; one without text is one that is gone."""
    usage = dict(held.usage) if held is not None else {}
    usage.update(decode_usages((id, raw) for id, raw in counters if raw))
    for id, raw in counters:
        if not raw:
            usage.pop(id, None)
    return usage


def newer_format(namespace: str, stored: object) -> CorruptData:
    """Say that a newer package wrote what is there."""
    return CorruptData(
        f"namespace {namespace!r} is stored in format {stored}, this ted-memory reads up to "
        f"{FORMAT}; nothing was changed. Upgrade the package: pip install -U ted-memory"
    )


def _pairs(flat: Sequence[str] | Mapping[str, str]) -> list[tuple[str, str]]:
    # Lua has one kind of table: an empty list comes as an empty object
    if isinstance(flat, Mapping):
        return list(flat.items())
    return list(zip(flat[::2], flat[1::2], strict=True))
