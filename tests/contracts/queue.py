"""The traffic of one namespace, as agents and learners make it, with every option in reach."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from ted_memory.episodes import (
    Claim,
    Claims,
    DeadLetter,
    Episode,
    Feedback,
    Recorded,
    Traffic,
    Verdict,
)
from ted_memory.models import Add, Commit, Edit, Message, Usage
from ted_memory.protocols import CreditRules, EpisodeQueue, ExperienceStore, RecordLimits, Settle
from ted_memory.testing import wait_until
from tests.conftest import SERVERS
from tests.contracts.writer import Writer

ROOM = RecordLimits(max_episodes=1000, max_bytes=10**7, rate_limit=1000)
RULES = CreditRules(rate_limit=1000)
LONG = 60.0
BEGUN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

on_a_server = pytest.mark.parametrize(
    "backend_url", [name for name, binary in SERVERS.items() if binary], indirect=True
)
"""For what a process's own memory has no part in: keys that end, what other packages stored."""


def an_episode(run_id: str, **fields: Any) -> Episode:
    """One run, of the same size and time for each run id of the same length."""
    given: dict[str, Any] = {
        "started_at": BEGUN,
        "input": (Message(role="user", content="What is the code?"),),
        "output": (Message(role="assistant", content="no idea"),),
        **fields,
    }
    return Episode(run_id=run_id, **given)


def runs(claims: Claims) -> list[str]:
    """Return the runs of claims, in their order."""
    return [claim.episode.run_id for claim in claims.claims]


async def emptied(url: str | None) -> None:
    """Leave nothing of earlier tests on a server: each test looks through all that is there."""
    if url is not None:
        async with Redis.from_url(url) as client:
            await client.flushdb()


@dataclass
class Queue:
    """What waits in one namespace of a store, who works on it, and the lessons it counts for."""

    store: ExperienceStore
    writer: Writer
    early: tuple[str, ...] = ()
    """What the last `record` told besides its counts."""

    @property
    def namespace(self) -> str:
        return self.writer.namespace

    @property
    def log(self) -> EpisodeQueue:
        return self.store.episodes

    def beside(self) -> "Queue":
        """Return the queue of another namespace of the same store."""
        return Queue(self.store, Writer(self.store, f"{self.namespace}-beside"))

    async def record(
        self, *episodes: Episode | str, images: Mapping[str, bytes] | None = None, **limits: Any
    ) -> Recorded:
        """Record runs, named or made by `an_episode`; `limits` replace those of `ROOM`."""
        made = [an_episode(one) if isinstance(one, str) else one for one in episodes]
        done, self.early = await self.log.record(
            self.namespace, made, images or {}, ROOM.model_copy(update=dict(limits))
        )
        return done

    async def say(
        self,
        run_id: str,
        score: float | None = None,
        *,
        comment: str = "",
        correction: str = "",
        **rules: Any,
    ) -> Verdict:
        """Give feedback on a run; `principal` is who says it, `reviewer` whether of anybody's."""
        told = {"comment": comment, "correction": correction, "at": BEGUN}
        told.update({name: rules.pop(name) for name in ("principal", "reviewer") if name in rules})
        feedback = Feedback.model_validate({"run_id": run_id, "score": score, **told})
        return await self.log.feedback(
            self.namespace, run_id, feedback, score, RULES.model_copy(update=dict(rules))
        )

    async def latest_score(self, run_id: str) -> float | None:
        """Return what was said last of a run."""
        [told] = await self.log.told(self.namespace, [run_id])
        return next((f.score for f in reversed(told) if f.score is not None), None)

    async def count(self, run_id: str, score: float | None, **rules: Any) -> Verdict:
        """Count a score of which nobody said anything."""
        return await self.log.feedback(
            self.namespace, run_id, None, score, RULES.model_copy(update=dict(rules))
        )

    async def claim(
        self,
        count: int = 1,
        *,
        learner: str = "anna",
        lease: float = LONG,
        max_deliveries: int = 3,
        alone: bool = False,
    ) -> Claims:
        return await self.log.claim(
            self.namespace,
            learner,
            lease=lease,
            count=count,
            max_deliveries=max_deliveries,
            alone=alone,
        )

    async def claim_one(self, **options: Any) -> Claim:
        [claim] = (await self.claim(**options)).claims
        return claim

    async def suspects(self) -> int:
        return (await self.claim(count=0)).suspects

    async def freeze(
        self, count: int = 1, *, alone: bool = False, learner: str = "frozen"
    ) -> tuple[Claim, ...]:
        """Claim for a moment, and return when that claim has ended without an answer."""
        claims = await self.claim(count, learner=learner, lease=0.001, alone=alone)
        expected = claims.suspects + len(claims.claims)

        async def ended() -> bool:
            return await self.suspects() >= expected

        await wait_until(ended, what="the end of a lease")
        return claims.claims

    async def return_claim(self, claim: Claim, *, counts: bool = True, **options: Any) -> str:
        given = {"reason": "", "delay": 0.0, "max_deliveries": 3, **options}
        return await self.log.return_claim(self.namespace, claim, counts=counts, **given)

    async def kill(self, *run_ids: str) -> list[int]:
        """Record these runs and make dead letters of them; return their seqs."""
        seqs = []
        for run_id in run_ids:
            await self.record(run_id)
            claim = await self.claim_one()
            assert claim.episode.run_id == run_id
            assert (
                await self.return_claim(claim, reason=f"{run_id} broke", max_deliveries=1) == "dead"
            )
            seqs.append(claim.seq)
        return seqs

    async def settle(
        self,
        claim: Claim,
        *edits: Edit,
        outcome: str = "learned",
        counters: Mapping[str, int] | None = None,
        **options: Any,
    ) -> Commit:
        """Commit these edits and settle the episode; `options` are those of `Writer.request`."""
        told = Settle.model_validate(
            {"seq": claim.seq, "fence": claim.fence, "outcome": outcome, "counters": counters or {}}
        )
        return await self.writer.commit(*edits, settle=told, **options)

    async def extend_lease(
        self, *claims: Claim, learner: str = "anna", lease: float = LONG
    ) -> frozenset[int]:
        return await self.log.extend_lease(self.namespace, learner, claims, lease=lease)

    async def traffic(self) -> Traffic:
        return await self.log.traffic(self.namespace)

    async def places(self) -> tuple[int, int, int]:
        """Return how many wait, are claimed, are dead."""
        traffic = await self.traffic()
        return traffic.waiting, traffic.claimed, traffic.dead

    async def dead_letters(self, limit: int = 100) -> tuple[DeadLetter, ...]:
        return await self.log.dead_letters(self.namespace, limit)

    async def usage(self, id: str) -> Usage:
        return (await self.store.usage(self.namespace)).get(id, Usage())

    async def lesson(self, text: str = "A lesson.", state: str = "active") -> str:
        """Add a lesson; return its id."""
        commit = await self.writer.commit(Add.model_validate({"text": text, "state": state}))
        return commit.applied[0].id

    async def everything(self) -> tuple[Any, ...]:
        """Return all that a reader can see, but for what changes with time alone."""
        held = await self.writer.now()
        log = await self.store.log(self.namespace, range(1, held.version + 2))
        traffic = (await self.traffic()).model_copy(update={"oldest": None, "learners": 0})
        usage = dict(await self.store.usage(self.namespace))
        return held, dict(held.usage), usage, log, traffic, await self.dead_letters()
