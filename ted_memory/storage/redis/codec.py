"""The one place where stored bytes become types, and back.

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
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ted_memory.episodes import Archived, DeadLetter, Episode, Feedback
from ted_memory.errors import CorruptData
from ted_memory.experience.evidence import Evidence, Sums
from ted_memory.experience.lineage import blank_edit
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.models import (
    MOST_USAGE,
    Applied,
    Caps,
    Commit,
    Edit,
    Experience,
    ExperienceSet,
    LogEntry,
    LoggedChange,
    Presentation,
    Rejected,
    Usage,
)
from ted_memory.protocols import Change, CommitRequest, Shown
from ted_memory.storage.redis.sealing import Seal

FORMAT = 4
"""Raised when an older package would misunderstand what is stored. A field more is no reason: it is left out."""

SPEND_TTL = 8 * 24 * 3600 * 1000  # milliseconds that a day's counters are kept

_HEAD = {"id", "rev", "order", "state", "tokens"}
_EDIT: TypeAdapter[Edit] = TypeAdapter(Edit)


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptData(
            f"{what} cannot be read ({_short(error)}); nothing was changed. "
            "Was it written by a newer ted-memory, or by something else?"
        ) from None


def encode_body(experience: Experience) -> str:
    """Return the part of an item that scripts do not read."""
    return json.dumps(
        experience.model_dump(mode="json", exclude=_HEAD, exclude_defaults=True),
        ensure_ascii=False,
        sort_keys=True,
    )


def encode_item(experience: Experience) -> str:
    """Return an experience as it is stored."""
    e = experience
    return f"{e.rev}|{e.order}|{e.state}|{e.tokens}|{encode_body(e)}"


def decode_item(id: str, raw: str) -> Experience:
    """Return the experience of a stored item.

    Raises:
        CorruptData: it is not one.
    """
    with _reading(f"experience {id!r}"):
        rev, order, state, tokens, body = raw.split("|", 4)
        fields = {
            "id": id,
            "rev": int(rev),
            "order": int(order),
            "state": state,
            "tokens": int(tokens),
        }
        return Experience.model_validate({**json.loads(body), **fields}, extra="ignore")


def encode_archived(archived: Archived) -> str:
    """Return an archived episode as it is stored."""
    return archived.model_dump_json(exclude_defaults=True)


def decode_archived(raw: str) -> Archived:
    """Return the archived episode of a stored one.

    Raises:
        CorruptData: it is none.
    """
    with _reading("an archived episode"):
        return Archived.model_validate_json(raw, extra="ignore")


def decode_shown(
    change: str, done: str, done_to: str, floor: str, total: str, *voices: str
) -> Shown:
    """Return what is known of a lesson from the fields of its evidence, as `known.lua` reads them.

    Raises:
        CorruptData: it cannot be read.
    """
    with _reading("the evidence on an experience"):
        sums = [
            Sums.of([float(number) for number in raw.split("|")]) if raw else Sums()
            for raw in (total, *voices)
        ]
        seqs = frozenset(int(seq) for seq in done.split(",") if seq)
        evidence = Evidence(sums[0], tuple(sums[1:]))
        return Shown(int(change), evidence, seqs, int(done_to or 0), int(floor) if floor else None)


def encode_usages(usages: Mapping[str, Usage]) -> list[tuple[str, list[float]]]:
    """Return ids with their counters, in the order of the model's fields."""
    return [
        (id, [getattr(usage, name) for name in Usage.model_fields]) for id, usage in usages.items()
    ]


def decode_usages(stored: Iterable[tuple[str, str]]) -> dict[str, Usage]:
    """Return the counters by id; ones that a newer package added are left out.

    What is out of bounds, or not finite, is brought back: one counter hides no set from anybody.
    """
    with _reading("the usage of an experience"):
        return {
            id: Usage(
                **{
                    n: _bounded(n, float(text))
                    for n, text in zip(Usage.model_fields, raw.split("|"), strict=False)
                }
            )
            for id, raw in stored
        }


def _bounded(counter: str, number: float) -> float:
    if math.isnan(number):
        return 0.0
    may_be_negative = counter.startswith("successes") or counter == "weighted_difference"
    return min(max(number, -MOST_USAGE if may_be_negative else 0.0), MOST_USAGE)


def decode_record(key: str, raw: str) -> Mapping[str, Any]:
    """Return the record of a run."""
    with _reading(f"the record {key!r} of a run"):
        record: Mapping[str, Any] = dict(json.loads(raw))
        return record


def encode_edit(edit: Edit) -> str:
    """Return an edit as it stands in answers and in the log."""
    return _EDIT.dump_json(edit).decode()


def digest(source: str) -> str:
    """Return what a purged source is remembered by: who asks to be forgotten should not stand in a list of names."""
    return hashlib.sha256(source.encode()).hexdigest()[:32]


def encode_told(request: CommitRequest) -> list[str]:
    """Return the request's edits as its answer will keep them: without what they say."""
    return [encode_edit(blank_edit(change.edit)) for change in request.changes]


def encode_request(request: CommitRequest, told: Sequence[str], stamp: str, seal: Seal) -> str:
    """Return the request as the commit script reads it; `stamp` is random, and the epoch of a new set."""

    def change(c: Change, answer: str) -> dict[str, Any]:
        return {
            "edit": encode_edit(c.edit),
            "told": answer,
            "id": c.id,
            "rejected": c.rejected,
            "expects": c.expects,
            "puts": [
                {
                    **{
                        "id": e.id,
                        "order": e.order,
                        "state": e.state,
                        "tokens": e.tokens,
                        "body": encode_body(e),
                    },
                    "sources": [digest(source) for source in e.sources],
                }
                for e in c.puts
            ],
            "deletes": c.deletes,
            "fresh": c.fresh,
        }

    fields: dict[str, Any] = {
        "format": FORMAT,
        "frame_tokens": FRAME_TOKENS,
        "epoch": stamp,
        "stamp": stamp,
        "base": dict(zip(("epoch", "version", "stamp"), request.base, strict=True)),
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
        "changes": [change(c, answer) for c, answer in zip(request.changes, told, strict=True)],
    }
    if request.expect_version is not None:
        fields["expect_version"] = request.expect_version
    if request.settle is not None:
        settle, archived = request.settle.model_dump(exclude={"archive"}), request.settle.archive
        fields["settle"] = {
            **settle,
            "counters": list(settle["counters"].items()),
            "ttl": SPEND_TTL,
            "archive": seal.close(encode_archived(archived)) if archived else "",
            "sources": [digest(source) for source in archived.sources] if archived else [],
        }
    return json.dumps(fields, ensure_ascii=False)


def decode_answer(
    answer: str, asked: Sequence[Edit], told: Sequence[str], *, repeated: bool
) -> Commit:
    """Return the commit that an answer tells of.

    What its edits said comes from those that are `asked` for, if these are the ones of the answer;
    `told` is how an answer keeps them (`encode_told`). Other edits come back empty.
    """
    with _reading("the answer that this token had"):
        fields = json.loads(answer)
        kept = [item["edit"] for item in fields["items"]]
        edits = (
            asked
            if kept == list(told)
            else [_EDIT.validate_json(edit, extra="ignore") for edit in kept]
        )
        items = [
            (edit, item["id"], item["reason"])
            for edit, item in zip(edits, fields["items"], strict=True)
        ]
        return Commit(
            epoch=fields["epoch"],
            version=fields["version"],
            applied=tuple(Applied(edit=edit, id=id) for edit, id, reason in items if not reason),
            rejected=tuple(
                Rejected(edit=edit, reason=reason) for edit, _, reason in items if reason
            ),
            repeated=repeated,
        )


def decode_set(
    namespace: str, known: ExperienceSet | None, reply: Sequence[Any]
) -> ExperienceSet | None:
    """Return the set that a reply of the read script means for one who holds `known`."""
    if reply[0] == "absent":
        return None
    if reply[0] == "same":
        return known
    epoch, version, stamp, *numbers, models, presentation = reply[1]
    with _reading(f"the head of namespace {namespace!r}"):
        version = int(version)
        max_experiences, token_budget, stored_format, oldest = map(int, numbers)
        named = dict(json.loads(models)) if models else {}
        shown = (
            Presentation.model_validate_json(presentation, extra="ignore") if presentation else None
        )
    if stored_format > FORMAT:
        raise newer_format(namespace, stored_format)
    partly = known is not None and reply[0] == "changes"
    experiences = dict(known.by_id) if known is not None and partly else {}
    usage = dict(known.usage) if known is not None and partly else {}
    sorted_still = _change(
        experiences, _pairs(reply[2]), last=known.experiences[-1].order if known and partly else 0
    )
    counted = _pairs(reply[3])
    usage.update(decode_usages((id, raw) for id, raw in counted if raw))
    for id, raw in counted:
        if not raw:
            usage.pop(id, None)
    if not sorted_still:
        experiences = {e.id: e for e in sorted(experiences.values(), key=lambda e: (e.order, e.id))}
    made = ExperienceSet(
        namespace=namespace,
        epoch=epoch,
        version=version,
        stamp=stamp or "",
        oldest=oldest,
        models=named,
        presentation=shown,
        caps=Caps(max_experiences=max_experiences, token_budget=token_budget),
        experiences=tuple(experiences.values()),
        usage=usage,
    )
    made.__dict__["by_id"] = experiences  # what the cached property would build once more
    return made


def _change(
    experiences: dict[str, Experience], items: Iterable[tuple[str, str]], *, last: int
) -> bool:
    """Put what changed in its place; tell whether all still stand in their order."""
    in_order = True
    for id, raw in items:
        if not raw:
            experiences.pop(id, None)
            continue
        new, old = decode_item(id, raw), experiences.get(id)
        experiences[id] = new
        if old is None:
            in_order, last = in_order and new.order > last, new.order
        else:
            in_order = in_order and new.order == old.order
    return in_order


def newer_format(namespace: str, stored: object) -> CorruptData:
    """Return the error for data that a newer package wrote."""
    return CorruptData(
        f"namespace {namespace!r} is stored in format {stored}, this ted-memory reads up to {FORMAT}; "
        "nothing was changed. Upgrade the package: pip install -U ted-memory"
    )


def encode_log_entry(entry: LogEntry, raw: str) -> str:
    """Return an entry that takes the place of `raw`, which holds the same version before something was blanked."""
    fields = {
        **{name: getattr(entry, name) for name in ("version", "author", "why", "token")},
        "at": f"{entry.at.timestamp():.6f}",
        "changes": [
            {"edit": encode_edit(change.edit), "items": _encode_items(change)}
            for change in entry.changes
        ],
    }
    return raw.partition("\n")[0] + "\n" + json.dumps(fields, ensure_ascii=False)


def _encode_items(change: LoggedChange) -> list[tuple[str, str, str]]:
    before, after = (
        {e.id: encode_item(e) for e in experiences} for experiences in (change.before, change.after)
    )
    return [(id, before.get(id, ""), after.get(id, "")) for id in dict.fromkeys([*before, *after])]


def decode_log_entry(raw: str) -> LogEntry:
    """Return an entry of the log; its first line is an index for the read script."""
    with _reading("an entry of the log"):
        fields = json.loads(raw.partition("\n")[2])
        changes = tuple(_decode_change(change) for change in fields["changes"])
        at = datetime.fromtimestamp(float(fields["at"]), UTC)
        named = {name: fields[name] for name in ("version", "author", "why", "token")}
        return LogEntry(at=at, changes=changes, **named)


def _decode_change(change: Mapping[str, Any]) -> LoggedChange:
    items = change["items"]
    return LoggedChange(
        edit=_EDIT.validate_json(change["edit"], extra="ignore"),
        before=tuple(decode_item(id, old) for id, old, _ in items if old),
        after=tuple(decode_item(id, new) for id, _, new in items if new),
    )


def _pairs(flat: Sequence[str] | Mapping[str, str]) -> list[tuple[str, str]]:
    # Lua has one kind of table: an empty list comes as an empty object
    if isinstance(flat, Mapping):
        return list(flat.items())
    return list(zip(flat[::2], flat[1::2], strict=True))


def _short(error: Exception) -> str:
    return str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)


def encode_episode(episode: Episode) -> str:
    """Return an episode as it waits."""
    return episode.model_dump_json(exclude_defaults=True)


def decode_episode(raw: str) -> Episode:
    """Return the episode of a stored one."""
    with _reading("an episode"):
        return Episode.model_validate_json(raw, extra="ignore")


def encode_feedback(feedback: Feedback) -> str:
    """Return feedback as it is kept with its run."""
    return feedback.model_dump_json(exclude_defaults=True, exclude={"run_id"})


def decode_feedback(raw: str) -> Feedback:
    """Return the feedback of a stored one."""
    with _reading("feedback on a run"):
        return Feedback.model_validate_json(raw, extra="ignore")


def decode_dead_letter(seq: str, raw: str, body: str | None, seal: Seal) -> DeadLetter:
    """Return a dead letter, with its episode where that can be read."""
    with _reading(f"dead letter {seq}"):
        fields = json.loads(raw)
        at = datetime.fromtimestamp(float(fields["at"]) / 1000, UTC)
        try:
            episode = decode_episode(seal.open(body.partition("|")[2])) if body else None
        except CorruptData:
            episode = None
        run_id = episode.run_id if episode else ""
        told = {"reason": fields["reason"], "deliveries": int(fields["deliveries"])}
        return DeadLetter(seq=int(seq), run_id=run_id, at=at, episode=episode, **told)
