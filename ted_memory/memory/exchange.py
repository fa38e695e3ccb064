"""Experience sets as JSON Lines: what `export` writes and another installation's `import` reads.

The first line is the head: ``{"ted_memory": "experience set", "format": 3, "namespace", "epoch",
"version", "caps", "models", "presentation", "experiences": <count>, "sha256": <of all bytes after
the first line>}``. Then one line for each experience, ``{"experience": {...}, "usage": {...}}``, in
the set's order.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from ted_memory.errors import CommitRefused, InvalidInput
from ted_memory.fields import Frozen, Text, check_text
from ted_memory.models import Commit, Experience, ExperienceSet, Presentation, Restore, Usage

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
    """What an import did, by experience id. What is not in ``added`` left the set as it was.

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
    """Write a set as JSON Lines, ending in a line break."""
    body = "".join(_experience_line(e, snapshot.usage.get(e.id)) for e in snapshot)
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


def _experience_line(experience: Experience, usage: Usage | None) -> str:
    fields = {"experience": experience.model_dump(mode="json", exclude_defaults=True)}
    if usage is not None:
        fields["usage"] = usage.model_dump(exclude_defaults=True)
    return _line(fields)


def parse(text: str, name: str = "the export") -> Exported:
    """Read an export; ``name`` is what the messages call it.

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
            f"{name} is cut off or was changed: its checksum is not that of its first line; "
            "nothing was imported. Export again, or take another copy"
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
            f"{name} is no export of an experience set (its first line says so); nothing was "
            "imported"
        )
    stored_format = fields.get("format")
    if type(stored_format) is not int or stored_format > FORMAT:
        raise InvalidInput(
            f"{name} is in format {stored_format}, this ted-memory reads up to {FORMAT}; nothing "
            "was imported. Upgrade the package: pip install -U ted-memory"
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


@dataclass(frozen=True)
class Incoming:
    """What an import would do to a set: the edits that add what it lacks, and the rest, by id."""

    namespace: str
    edits: tuple[Restore, ...]
    usage: dict[str, Usage]
    unchanged: tuple[str, ...]
    duplicates: tuple[str, ...]
    conflicts: tuple[str, ...]


def refuse_unless_empty(now: ExperienceSet) -> None:
    """Raise CommitRefused where an import would have to be merged into what is there."""
    if len(now):
        raise CommitRefused(
            f"namespace {now.namespace!r} has {len(now)} experiences; nothing was imported. Merge "
            "into it (merge=True, --merge), or import into another namespace"
        )


def sort_in(exported: Exported, now: ExperienceSet) -> Incoming:
    """Tell what a set lacks of an export, and what it has already (see `ImportReport`)."""
    lessons_here = {e.lesson for e in now}
    edits: list[Restore] = []
    unchanged: list[str] = []
    duplicates: list[str] = []
    conflicts: list[str] = []
    for e in exported.experiences:
        here = now.by_id.get(e.id)
        if here is not None and here.lesson == e.lesson:
            unchanged.append(e.id)
        elif here is not None:
            conflicts.append(e.id)
        elif e.lesson in lessons_here:
            duplicates.append(e.id)
        else:
            edits.append(Restore(experience=e.model_copy(update={"order": 0})))
    ids = [edit.experience.id for edit in edits]
    return Incoming(
        namespace=now.namespace,
        edits=tuple(edits),
        usage={id: exported.usage[id] for id in ids if id in exported.usage},
        unchanged=tuple(unchanged),
        duplicates=tuple(duplicates),
        conflicts=tuple(conflicts),
    )


def report(coming: Incoming, commit: Commit, *, merge: bool) -> ImportReport:
    """Tell what became of an import.

    Raises:
        CommitRefused: without ``merge``: not all of it fits, and so nothing was imported.
    """
    refused = tuple(
        (r.edit.experience.id, r.reason) for r in commit.rejected if isinstance(r.edit, Restore)
    )
    if refused and not merge:
        reasons = ", ".join(sorted({reason for _, reason in refused} - {"aborted"}))
        raise CommitRefused(
            f"{len(coming.edits)} experiences do not fit into {coming.namespace!r} ({reasons}); "
            "nothing was imported. cap: raise max_experiences or token_budget; too long: raise "
            "max_text; or import what fits with --merge"
        )
    return ImportReport(
        version=commit.version,
        added=tuple(applied.id for applied in commit.applied),
        refused=refused,
        unchanged=coming.unchanged,
        duplicates=coming.duplicates,
        conflicts=coming.conflicts,
    )


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
