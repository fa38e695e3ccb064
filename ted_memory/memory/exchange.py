"""Experience sets as JSON Lines: what `export` writes and another installation's `import` reads.

The first line is the head: ``{"ted_memory": "experience set", "format": 2, "namespace", "epoch",
"version", "caps", "models", "presentation", "experiences": <count>, "sha256": <of all bytes after
the first line>}``. Then one line for each experience, ``{"experience": {...}, "usage": {...}}``, in
the set's order.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from ted_memory.errors import CommitRefused, InvalidInput
from ted_memory.fields import Frozen, Text, check_text
from ted_memory.models import Commit, Edit, Experience, ExperienceSet, Presentation, Restore, Usage

FORMAT = 3
KIND = "experience set"


class Exported(Frozen):
    """A set as it was exported."""

    namespace: str
    version: int
    models: dict[str, str]
    presentation: Presentation | None
    experiences: tuple[Experience, ...]
    usage: dict[str, Usage]


class ImportReport(Frozen):
    """What an import did, by experience id. Everything that is not in ``added`` left the set as it was.

    ``unchanged`` were there already; ``duplicates`` are there under another id; ``conflicts`` have
    an id that says something else here; ``refused`` come with the reason of `models.Rejected`.
    """

    version: int
    added: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


class _Head(BaseModel):
    namespace: Text
    version: int
    models: dict[Text, Text] = {}
    presentation: Presentation | None = None
    experiences: int
    sha256: str


def dump(snapshot: ExperienceSet) -> str:
    """Return a set as JSON Lines, ending in a line break."""
    lines = []
    for e in snapshot:
        usage = snapshot.usage.get(e.id)
        fields = {"experience": e.model_dump(mode="json", exclude_defaults=True)}
        lines.append(
            _line(
                {**fields, **({"usage": usage.model_dump(exclude_defaults=True)} if usage else {})}
            )
        )
    body = "".join(lines)
    head = {
        "ted_memory": KIND,
        "format": FORMAT,
        "namespace": snapshot.namespace,
        "epoch": snapshot.epoch,
        "version": snapshot.version,
        "caps": snapshot.caps.model_dump(),
        "models": dict(snapshot.models),
        "presentation": snapshot.presentation.model_dump() if snapshot.presentation else None,
        "experiences": len(snapshot),
        "sha256": _digest(body),
    }
    return _line(head) + body


def parse(text: str, name: str = "the export") -> Exported:
    """Return the set of an export.

    Raises:
        InvalidInput: it is no export, of a newer format, cut off or changed; names the line.
    """
    try:
        first, _, body = check_text(text).partition("\n")
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}; nothing was imported") from None
    head = _head(first, name)
    if head.sha256 != _digest(body):
        raise InvalidInput(
            f"{name} is cut off or was changed: its checksum is not that of its first line; nothing was imported. "
            "Export again, or take another copy"
        )
    lines = [_lesson(line, name, number) for number, line in enumerate(body.splitlines(), start=2)]
    if len({experience.id for experience, _ in lines}) != head.experiences:
        raise InvalidInput(
            f"{name} does not hold the {head.experiences} experiences that it should"
        )
    return Exported(
        namespace=head.namespace,
        version=head.version,
        models=head.models,
        presentation=head.presentation,
        experiences=tuple(experience for experience, _ in lines),
        usage={experience.id: usage for experience, usage in lines if usage is not None},
    )


def _head(line: str, name: str) -> _Head:
    fields = _object(line, name, 1)
    if fields.get("ted_memory") != KIND:
        raise InvalidInput(
            f"{name} is no export of an experience set (its first line says so); nothing was imported"
        )
    if type(fields.get("format")) is not int or fields["format"] > FORMAT:
        raise InvalidInput(
            f"{name} is in format {fields.get('format')}, this ted-memory reads up to {FORMAT}; nothing was imported. "
            "Upgrade the package: pip install -U ted-memory"
        )
    try:
        return _Head.model_validate(fields)
    except ValidationError as error:
        raise InvalidInput(f"{name}, line 1: {_said(error)}; nothing was imported") from None


def _lesson(line: str, name: str, number: int) -> tuple[Experience, Usage | None]:
    fields = _object(line, name, number)
    try:
        experience = Experience.model_validate(fields.get("experience"))
        usage = Usage.model_validate(fields["usage"]) if "usage" in fields else None
    except ValidationError as error:
        raise InvalidInput(f"{name}, line {number}: {_said(error)}; nothing was imported") from None
    if experience.state == "retired":
        raise InvalidInput(
            f"{name}, line {number}: a retired experience is in no set; nothing was imported"
        )
    return experience, usage


def _said(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def sort_in(
    exported: Sequence[Experience], now: ExperienceSet
) -> tuple[list[Edit], dict[str, list[str]]]:
    """Return the edits that add what a set lacks, and the ids of the rest by what they are (see `ImportReport`)."""
    said = {e.lesson: e.id for e in now}
    edits: list[Edit] = []
    rest: dict[str, list[str]] = {"unchanged": [], "duplicates": [], "conflicts": []}
    for e in exported:
        here = now.by_id.get(e.id)
        if here is not None:
            same = here.lesson == e.lesson
            rest["unchanged" if same else "conflicts"].append(e.id)
        elif e.lesson in said:
            rest["duplicates"].append(e.id)
        else:
            edits.append(Restore(experience=e.model_copy(update={"order": 0})))
    return edits, rest


async def take_in(
    exported: Exported, now: ExperienceSet, commit: Callable[..., Awaitable[Commit]], *, merge: bool
) -> ImportReport:
    """Add what a set lacks; `commit` is the memory's. See `TedMemory.import_set`."""
    if len(now) and not merge:
        raise CommitRefused(
            f"namespace {now.namespace!r} has {len(now)} experiences; nothing was imported. Merge into it "
            "(merge=True, --merge), or import into another namespace"
        )
    edits, rest = sort_in(exported.experiences, now)
    ids = tuple(edit.experience.id for edit in edits if isinstance(edit, Restore))
    done = await commit(
        edits,
        why=f"{exported.namespace} at version {exported.version}",
        base=now,
        atomic=not merge,
        usage={id: exported.usage[id] for id in ids if id in exported.usage},
        models=exported.models if not now.version else None,
        presentation=exported.presentation if not now.version else None,
    )
    refused = tuple(
        (r.edit.experience.id, r.reason) for r in done.rejected if isinstance(r.edit, Restore)
    )
    if refused and not merge:
        reasons = ", ".join(sorted({reason for _, reason in refused} - {"aborted"}))
        raise CommitRefused(
            f"{len(edits)} experiences do not fit into {now.namespace!r} ({reasons}); nothing was imported. "
            "cap: raise max_experiences or token_budget; too long: raise max_text; or import what fits with --merge"
        )
    added = tuple(applied.id for applied in done.applied)
    return ImportReport(version=done.version, added=added, refused=refused, **rest)


def _line(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=True, sort_keys=False) + "\n"


def _object(line: str, name: str, number: int) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise InvalidInput(f"{name}, line {number}: not a JSON object; nothing was imported")
    return fields


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
