"""How a commit reaches the store: checked, under the caps that hold, and again where that is safe."""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from ted_memory.errors import CommitRefused, InvalidInput
from ted_memory.experience.capacity import over_caps
from ted_memory.experience.edits import difference, plan
from ted_memory.fields import check_text
from ted_memory.models import (
    Caps,
    Commit,
    Edit,
    Experience,
    ExperienceSet,
    Presentation,
    Restore,
    SetState,
    Usage,
)
from ted_memory.protocols import CommitRequest, ExperienceStore, Settle
from ted_memory.settings import Settings

TOKEN_LIMIT = 200
ROLLBACK_TRIES = 5
REASONS = {
    "unknown": "there is no such id (see `ted-memory show`)",
    "cap": "the set is full; remove something, or raise max_experiences or token_budget",
    "unchanged": "it is so already",
    "conflict": "somebody changed it at this moment; look at it again",
    "too long": "the lesson is longer than max_text",
    "empty": "the lesson is empty",
    "too many sources": (
        "it comes from as many sources as one lesson may, all of which `forget` must find; drop it and add it anew"
    ),
    "purged": "one of its sources was purged",
}
"""Why an edit was refused, for a person (see `models.Rejected`)."""


class Commits:
    """The commits of one memory. `load` reads the set; `written` is told each version that was made."""

    def __init__(
        self,
        store: ExperienceStore,
        settings: Settings,
        namespace: str,
        load: Callable[[], Awaitable[ExperienceSet]],
        written: Callable[[int], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._namespace = namespace
        self._load = load
        self._written = written

    async def rollback(
        self,
        version: int,
        at: Callable[[ExperienceSet, int], Awaitable[Sequence[Experience]]],
        *,
        author: str,
    ) -> Commit:
        """Make a new version that restores an older one; see `TedMemory.rollback`."""
        for _ in range(ROLLBACK_TRIES):
            now = await self._load()
            edits = difference(now, await at(now, version))
            if not edits:
                return Commit(epoch=now.epoch, version=now.version)
            why = f"back to version {version}"
            commit = await self.send(
                edits, now, author=author, why=why, atomic=True, expect_version=now.version
            )
            if not commit.rejected:
                return commit
            reasons = {rejected.reason for rejected in commit.rejected} - {"aborted"}
            if reasons != {"conflict"}:
                raise CommitRefused(
                    f"version {version} cannot be restored ({', '.join(sorted(reasons))}); the set stays at version "
                    f"{now.version}. A cap was lowered since? Raise max_experiences or token_budget"
                )
        raise CommitRefused(
            f"the set changed {ROLLBACK_TRIES} times during the rollback; it is as others left it"
        )

    async def retire_over_caps(self, base: ExperienceSet) -> bool:
        """Make a cap that this memory's settings lower hold, before anything else is committed under it."""
        caps = self._caps(base)
        if caps == base.caps or not over_caps(base, caps):
            return False
        now = await self._load()
        going = [SetState(id=e.id, state="retired") for e in over_caps(now, caps)]
        if going:
            why = f"caps lowered to {caps.max_experiences} experiences, {caps.token_budget} tokens"
            await self.send(going, now, author="caps", why=why)
        return bool(going)

    def _caps(self, base: ExperienceSet) -> Caps:
        """Return the caps that hold with the next commit: those of the set, and what this memory's settings state."""
        return base.caps.model_copy(
            update={name: getattr(self._settings, name) for name in self._stated()}
        )

    def _stated(self) -> tuple[Literal["max_experiences", "token_budget"], ...]:
        names: tuple[Literal["max_experiences", "token_budget"], ...] = (
            "max_experiences",
            "token_budget",
        )
        return tuple(name for name in names if name in self._settings.model_fields_set)

    async def send(
        self,
        edits: Sequence[Edit],
        base: ExperienceSet,
        *,
        author: str,
        why: str = "",
        token: str | None = None,
        atomic: bool = False,
        expect_version: int | None = None,
        max_text: int = 0,
        usage: Mapping[str, Usage] | None = None,
        models: Mapping[str, str] | None = None,
        presentation: Presentation | None = None,
        settle: Settle | None = None,
    ) -> Commit:
        """Commit edits that were made on this base. ``max_text``: of a lesson, where the settings allow less."""
        s = self._settings
        token = checked_token(token if token is not None else secrets.token_hex(16))
        caps = self._caps(base)
        line = (base.epoch, base.version, base.stamp)
        if caps != base.caps:
            base = replace(base, caps=caps)
        request = CommitRequest(
            changes=plan(
                edits, base, author=checked("author", author), max_text=max(s.max_text, max_text)
            ),
            author=author,
            why=checked("why", why, may_be_empty=True),
            token=token,
            atomic=atomic,
            expect_version=expect_version,
            caps=caps,
            stated=self._stated(),
            history=s.history,
            base=line,
            usage=checked_usage(usage),
            models=models or {},
            presentation=presentation,
            settle=settle,
        )
        commit = await self._store.commit(self._namespace, request)
        self._written(commit.version)  # who commits and then renders sees what was committed
        return commit

    async def take_out(self, edits: Sequence[Edit], now: ExperienceSet, *, author: str) -> Commit:
        """Commit what a purge takes out and puts back, all or nothing."""
        # what was longer than today's limit may come back: it is not this source's fault
        longest = max(map(_length_of, edits))
        return await self.send(
            edits, now, author=author, why="purge", atomic=True, max_text=longest
        )


def refuse_unless_whole(commit: Commit) -> Commit:
    """Return a commit that took effect as a whole, or raise CommitRefused with what stood against it."""
    refused = [(r.edit, r.reason) for r in commit.rejected if r.reason != "aborted"]
    if refused:
        told = "; ".join(
            f"{getattr(edit, 'id', '')}: {REASONS.get(reason, reason)}" for edit, reason in refused
        )
        raise CommitRefused(f"nothing was changed: {told}")
    return commit


def _length_of(edit: Edit) -> int:
    """Return the characters of a lesson that comes back."""
    if not isinstance(edit, Restore):
        return 0
    when, text, example, task = edit.experience.lesson
    return max(len(when) + len(text), len(example), len(task))


def checked_token(token: str) -> str:
    """Return the token, or raise InvalidInput."""
    if len(checked("token", token)) > TOKEN_LIMIT:
        raise InvalidInput(f"the token has {len(token)} characters; use at most {TOKEN_LIMIT}")
    return token


def checked_usage(usage: Mapping[str, Usage] | None) -> dict[str, Usage]:
    """Return the usage, or raise InvalidInput for an id that cannot be stored."""
    return {checked("an id of the usage", id): counters for id, counters in (usage or {}).items()}


def checked(name: str, value: str, *, may_be_empty: bool = False) -> str:
    """Return a text that says something and can be stored, or raise InvalidInput."""
    if not value and not may_be_empty:
        raise InvalidInput(f"{name} is empty; say who or what this commit comes from")
    try:
        return check_text(value)
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}") from None
