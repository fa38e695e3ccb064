"""The one place where what is stored becomes types, and back; `replies` reads scripts' answers.

An item is ``rev|order|state|tokens|body``: scripts look at the head; the body is JSON that they
leave alone. What is stored may have fields that this package does not know, since a newer one works
beside it. They are left out here, and refused where somebody hands them in.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ted_memory.episodes import Archived, DeadLetter, Episode, Feedback
from ted_memory.errors import CorruptData
from ted_memory.experience.evidence import Evidence, Sums
from ted_memory.experience.lineage import blank_edit
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.models import (
    MOST_USAGE,
    Edit,
    Experience,
    LogEntry,
    LoggedChange,
    Usage,
)
from ted_memory.protocols import Change, CommitRequest, Settle, Shown
from ted_memory.storage.redis.sealing import Seal

FORMAT = 4
"""Raised when an older package would misunderstand what is stored.

A field more is no reason: an older package leaves it out.
"""

SPEND_TTL = 8 * 24 * 3600 * 1000  # milliseconds that a day's counters are kept

_HEAD = {"id", "rev", "order", "state", "tokens"}
EDIT: TypeAdapter[Edit] = TypeAdapter(Edit)


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn what goes wrong while ``what`` is read into CorruptData."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptData(
            f"{what} cannot be read ({_short(error)}); nothing was changed. "
            "Was it written by a newer ted-memory, or by something else?"
        ) from None


def encode_body(experience: Experience) -> str:
    """Write the part of an item that scripts do not read."""
    return json.dumps(
        experience.model_dump(mode="json", exclude=_HEAD, exclude_defaults=True),
        ensure_ascii=False,
        sort_keys=True,
    )


def encode_item(experience: Experience) -> str:
    """Write an experience as it is stored."""
    e = experience
    return f"{e.rev}|{e.order}|{e.state}|{e.tokens}|{encode_body(e)}"


def decode_item(id: str, raw: str) -> Experience:
    """Read the experience of a stored item.

    Raises:
        CorruptData: it is not one.
    """
    with reading(f"experience {id!r}"):
        rev, order, state, tokens, body = raw.split("|", 4)
        fields = {
            "id": id,
            "rev": int(rev),
            "order": int(order),
            "state": state,
            "tokens": int(tokens),
        }
        return Experience.model_validate({**json.loads(body), **fields}, extra="ignore")


def decode_items(items: Sequence[tuple[str, str]]) -> list[Experience]:
    """Read many stored items at once, in half the time that it takes one by one.

    Raises:
        CorruptData: one of them is none; the message says which.
    """
    try:
        spliced = ",".join(_spliced(id, raw) for id, raw in items)
        experiences = _many().validate_json(f"[{spliced}]", extra="ignore")
    except ValueError:
        experiences = []
    if [e.id for e in experiences] == [id for id, _ in items]:
        return experiences
    return [decode_item(id, raw) for id, raw in items]  # one by one, to say which is damaged


def _spliced(id: str, raw: str) -> str:
    """Put the head of an item into its body: of two fields with one name the last one counts."""
    rev, order, state, tokens, body = raw.split("|", 4)
    if not (f"{rev}{order}{tokens}".isdecimal() and state.isalpha() and body.endswith("}")):
        raise ValueError("it is damaged")
    head = f'"id":"{id}","rev":{rev},"order":{order},"state":"{state}","tokens":{tokens}'
    return f"{body[:-1]},{head}}}"


def in_order(items: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Sort items with their ids as they stand in their set.

    Raises:
        CorruptData: one of them has no place.
    """
    listed = list(items)
    try:
        placed = [(int(raw.split("|", 2)[1]), id, raw) for id, raw in listed]
    except (ValueError, IndexError):
        for id, raw in listed:
            decode_item(id, raw)  # says which is damaged
        raise
    return [(id, raw) for _, id, raw in sorted(placed)]


@cache  # built at first use, see `Frozen`
def _many() -> TypeAdapter[list[Experience]]:
    return TypeAdapter(list[Experience])


def encode_archived(archived: Archived) -> str:
    """Write an archived episode as it is stored."""
    return archived.model_dump_json(exclude_defaults=True)


def decode_archived(raw: str) -> Archived:
    """Read an archived episode.

    Raises:
        CorruptData: it is none.
    """
    with reading("an archived episode"):
        return Archived.model_validate_json(raw, extra="ignore")


def decode_shown(
    change: str, done: str, done_to: str, floor: str, total: str, *voices: str
) -> Shown:
    """Read what is known of a lesson: the fields of its evidence, as `known.lua` gives them.

    Raises:
        CorruptData: it cannot be read.
    """
    with reading("the evidence on an experience"):
        return Shown(
            change=int(change),
            evidence=Evidence(_decode_sums(total), tuple(map(_decode_sums, voices))),
            done=frozenset(int(seq) for seq in done.split(",") if seq),
            done_to=int(done_to or 0),
            floor=int(floor) if floor else None,
        )


def _decode_sums(raw: str) -> Sums:
    return Sums.of([float(number) for number in raw.split("|")]) if raw else Sums()


def encode_usages(usages: Mapping[str, Usage]) -> list[tuple[str, list[float]]]:
    """Write ids with their counters, in the order of the model's fields."""
    return [(id, list(usage.model_dump().values())) for id, usage in usages.items()]


def decode_usages(stored: Iterable[tuple[str, str]]) -> dict[str, Usage]:
    """Read the counters by id; ones that a newer package added are left out.

    What is out of bounds, or not finite, is brought back: one counter hides no set from anybody.
    """
    with reading("the usage of an experience"):
        return {id: _decode_usage(raw) for id, raw in stored}


def _decode_usage(raw: str) -> Usage:
    counters = zip(Usage.model_fields, raw.split("|"), strict=False)
    return Usage(**{name: _bounded(name, float(text)) for name, text in counters})


def _bounded(counter: str, number: float) -> float:
    if math.isnan(number):
        return 0.0
    may_be_negative = counter.startswith("successes") or counter == "weighted_difference"
    least = -MOST_USAGE if may_be_negative else 0.0
    return min(max(number, least), MOST_USAGE)


def decode_record(key: str, raw: str) -> Mapping[str, Any]:
    """Read the record of a run. Raises CorruptData."""
    with reading(f"the record {key!r} of a run"):
        record: Mapping[str, Any] = dict(json.loads(raw))
        return record


def encode_edit(edit: Edit) -> str:
    """Write an edit as it stands in answers and in the log."""
    return EDIT.dump_json(edit).decode()


def digest(source: str) -> str:
    """Make of a purged source what it is remembered by.

    Who asks to be forgotten should not stand in a list of names.
    """
    return hashlib.sha256(source.encode()).hexdigest()[:32]


def encode_told(request: CommitRequest) -> list[str]:
    """Write a request's edits as its answer will keep them: without what they say."""
    return [encode_edit(blank_edit(change.edit)) for change in request.changes]


def encode_request(request: CommitRequest, told: Sequence[str], stamp: str, seal: Seal) -> str:
    """Write a request as the commit script reads it.

    ``stamp`` is random: it marks the version, and is the epoch of a new set.
    """
    epoch, version, stamp_before = request.base
    fields: dict[str, Any] = {
        "format": FORMAT,
        "frame_tokens": FRAME_TOKENS,
        "epoch": stamp,
        "stamp": stamp,
        "base": {"epoch": epoch, "version": version, "stamp": stamp_before},
        "models": json.dumps(dict(request.models)) if request.models else "",
        "presentation": request.presentation.model_dump_json() if request.presentation else "",
        "token": request.token,
        "author": request.author,
        "why": request.why,
        "atomic": request.atomic,
        "caps": request.caps.model_dump(),
        "stated": request.stated,
        "history": request.history,
        "usage": encode_usages(request.usage),
        "changes": [
            _encode_planned(change, answer)
            for change, answer in zip(request.changes, told, strict=True)
        ],
    }
    if request.expect_version is not None:
        fields["expect_version"] = request.expect_version
    if request.settle is not None:
        fields["settle"] = _encode_settle(request.settle, seal)
    return json.dumps(fields, ensure_ascii=False)


def _encode_planned(change: Change, answer: str) -> dict[str, Any]:
    return {
        "edit": encode_edit(change.edit),
        "told": answer,
        "id": change.id,
        "rejected": change.rejected,
        "expects": change.expects,
        "puts": [_encode_put(experience) for experience in change.puts],
        "deletes": change.deletes,
        "fresh": change.fresh,
    }


def _encode_put(experience: Experience) -> dict[str, Any]:
    return {
        "id": experience.id,
        "order": experience.order,
        "state": experience.state,
        "tokens": experience.tokens,
        "body": encode_body(experience),
        "sources": [digest(source) for source in experience.sources],
    }


def _encode_settle(settle: Settle, seal: Seal) -> dict[str, Any]:
    archived = settle.archive
    return {
        **settle.model_dump(exclude={"archive", "counters"}),
        "counters": list(settle.counters.items()),
        "ttl": SPEND_TTL,
        "archive": seal.close(encode_archived(archived)) if archived else "",
        "sources": [digest(source) for source in archived.sources] if archived else [],
    }


def encode_log_entry(entry: LogEntry, raw: str) -> str:
    """Write an entry of the log again, of which something was blanked.

    ``raw`` is what it takes the place of: its first line, an index for the read script, stays.
    """
    fields = {
        "version": entry.version,
        "author": entry.author,
        "why": entry.why,
        "token": entry.token,
        "at": f"{entry.at.timestamp():.6f}",
        "changes": [
            {"edit": encode_edit(change.edit), "items": _encode_items(change)}
            for change in entry.changes
        ],
    }
    return raw.partition("\n")[0] + "\n" + json.dumps(fields, ensure_ascii=False)


def _encode_items(change: LoggedChange) -> list[tuple[str, str, str]]:
    before = {e.id: encode_item(e) for e in change.before}
    after = {e.id: encode_item(e) for e in change.after}
    return [(id, before.get(id, ""), after.get(id, "")) for id in {**before, **after}]


def decode_log_entry(raw: str) -> LogEntry:
    """Read an entry of the log; its first line is an index for the read script."""
    with reading("an entry of the log"):
        fields = json.loads(raw.partition("\n")[2])
        changes = tuple(_decode_change(change) for change in fields["changes"])
        at = datetime.fromtimestamp(float(fields["at"]), UTC)
        named = {name: fields[name] for name in ("version", "author", "why", "token")}
        return LogEntry(at=at, changes=changes, **named)


def _decode_change(change: Mapping[str, Any]) -> LoggedChange:
    items = change["items"]
    return LoggedChange(
        edit=EDIT.validate_json(change["edit"], extra="ignore"),
        before=tuple(decode_item(id, old) for id, old, _ in items if old),
        after=tuple(decode_item(id, new) for id, _, new in items if new),
    )


def _short(error: Exception) -> str:
    return str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)


def encode_episode(episode: Episode) -> str:
    """Write an episode as it waits."""
    return episode.model_dump_json(exclude_defaults=True)


def decode_episode(raw: str) -> Episode:
    """Read an episode. Raises CorruptData."""
    with reading("an episode"):
        return Episode.model_validate_json(raw, extra="ignore")


def encode_feedback(feedback: Feedback) -> str:
    """Write feedback as it is kept with its run."""
    return feedback.model_dump_json(exclude_defaults=True, exclude={"run_id"})


def decode_feedback(raw: str) -> Feedback:
    """Read feedback on a run. Raises CorruptData."""
    with reading("feedback on a run"):
        return Feedback.model_validate_json(raw, extra="ignore")


def decode_dead_letter(seq: str, raw: str, body: str | None, seal: Seal) -> DeadLetter:
    """Read a dead letter, with its episode where that can be read. Raises CorruptData."""
    episode = None
    with contextlib.suppress(CorruptData):
        episode = decode_episode(seal.open(body.partition("|")[2])) if body else None
    with reading(f"dead letter {seq}"):
        fields = json.loads(raw)
        return DeadLetter(
            seq=int(seq),
            run_id=episode.run_id if episode else "",
            at=datetime.fromtimestamp(float(fields["at"]) / 1000, UTC),
            episode=episode,
            reason=fields["reason"],
            deliveries=int(fields["deliveries"]),
        )
