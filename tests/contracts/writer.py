"""Commits to a store as `TedMemory` does, with every option of the request in reach."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ted_memory.experience.edits import new_id, plan
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.models import Add, Caps, Commit, Edit, Experience, ExperienceSet
from ted_memory.protocols import CommitRequest, ExperienceStore

ROOMY = Caps(max_experiences=50, token_budget=2000)


@dataclass
class Writer:
    """One namespace of one store."""

    store: ExperienceStore
    namespace: str
    caps: Caps = ROOMY
    make_id: Callable[[], str] = field(default=new_id)

    async def now(self) -> ExperienceSet:
        """Return the set as it is; empty at version 0 when there is none."""
        stored = await self.store.read(self.namespace)
        return ExperienceSet(self.namespace, "", 0, self.caps) if stored is None else stored

    async def commit(
        self,
        *edits: Edit,
        base: ExperienceSet | None = None,
        token: str | None = None,
        **options: Any,
    ) -> Commit:
        """Commit edits that were thought of in sight of `base` (default: now)."""
        request = self.request(
            *edits, base=await self.now() if base is None else base, token=token, **options
        )
        return await self.store.commit(self.namespace, request)

    def request(
        self,
        *edits: Edit,
        base: ExperienceSet,
        token: str | None = None,
        author: str = "me",
        **options: Any,
    ) -> CommitRequest:
        """Return the request for these edits; `options` are its other fields."""
        if "base_line" in options:
            options["base"] = options.pop("base_line")
        fields = {"caps": self.caps, "history": 100, **options}
        changes = plan(edits, base, author=author, max_text=400, make_id=self.make_id)
        return CommitRequest(
            changes=changes, author=author, token=token or uuid.uuid4().hex, **fields
        )

    async def add(self, *texts: str, **options: Any) -> tuple[Experience, ...]:
        """Add active lessons; return them as they are stored."""
        commit = await self.commit(*(Add(text=text) for text in texts), **options)
        assert not commit.rejected
        by_id = (await self.now()).by_id
        return tuple(by_id[applied.id] for applied in commit.applied)

    async def texts(self) -> list[str]:
        """Return the texts in the set's order."""
        return [e.text for e in await self.now()]


def reasons(commit: Commit) -> list[str]:
    """Return why edits were refused, in their order."""
    return [rejected.reason for rejected in commit.rejected]


def active_tokens(snapshot: ExperienceSet) -> int:
    """Return what the block of all active experiences counts for."""
    return FRAME_TOKENS + sum(e.tokens for e in snapshot.active)
