"""The episode queue on Redis and Valkey: two sorted sets, of what waits and of what is claimed.

What waits is sorted by the time from which it may be begun, what is claimed by the time until which
it is.
"""

import contextlib
import json
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

from ted_memory.episodes import (
    ANONYMOUS,
    Archived,
    Claim,
    Claims,
    DeadLetter,
    Episode,
    Erased,
    Feedback,
    Recorded,
    Retention,
    Subject,
    Traffic,
    Verdict,
)
from ted_memory.errors import CorruptData
from ted_memory.fields import repair_text
from ted_memory.protocols import (
    CreditRules,
    KnownEvidence,
    Pair,
    PairVerdict,
    RecordLimits,
)
from ted_memory.storage.redis import codec, erasing, scripts
from ted_memory.storage.redis.clock import ServerClock
from ted_memory.storage.redis.keys import WITH_TRAFFIC, Keys
from ted_memory.storage.redis.overview import SECOND, read_traffic
from ted_memory.storage.redis.retries import WithRetries, field_of_each, fields_of, hashes
from ted_memory.storage.redis.run_record import RunRecord
from ted_memory.storage.redis.sealing import Seal

DAY = 24 * 3600 * 1000  # milliseconds
RATE_TTL = 2 * DAY

T = TypeVar("T")


class RedisEpisodeQueue:
    """An `EpisodeQueue`. Its scripts stand in ``lua/``, each with what it promises in its head."""

    def __init__(
        self, with_retries: WithRetries, kept: Retention | None = None, seal: Seal | None = None
    ) -> None:
        self._with_retries = with_retries
        kept = kept or Retention()
        self._seal = seal or Seal()
        self._run_ttl, self._early_ttl = int(kept.run_days * DAY), int(kept.early_days * DAY)
        self._of_dead = (kept.max_dead, int(kept.dead_days * DAY))
        self._days = (kept.episode_days, kept.archive_days)
        self.clock: ServerClock = ServerClock(with_retries)
        self._listed: set[str] = set()

    def forget(self, namespace: str) -> None:
        """Know nothing of a namespace that was dropped."""
        self._listed.discard(namespace)

    async def record(
        self,
        namespace: str,
        episodes: Sequence[Episode],
        images: Mapping[str, bytes],
        limits: RecordLimits,
    ) -> tuple[Recorded, tuple[str, ...]]:
        keys, runs = Keys(namespace), [episode.run_id for episode in episodes]
        # before the first one: what nobody finds is not learned from
        if namespace not in self._listed:
            await self._list(namespace)
        encoded = {digest: self._seal.close_data(data) for digest, data in images.items()}
        places = {digest: place for place, digest in enumerate(encoded, start=1)}
        request = json.dumps(
            {
                "wait": int(limits.wait * SECOND),
                "ttl": self._run_ttl,
                "early_ttl": self._early_ttl,
                "rate_ttl": RATE_TTL,
                "max_episodes": limits.max_episodes,
                "max_bytes": limits.max_bytes,
                "rate_limit": limits.rate_limit,
                "items": [self._item(episode, images, places) for episode in episodes],
                "hashes": list(encoded),
            },
            ensure_ascii=False,
        )
        today = await self.clock.today(namespace)
        reply = await self._with_retries(
            lambda client: scripts.record(client, keys, today, runs, encoded, request)
        )
        # the namespace may have been dropped since, by another process, and its name with it
        if reply[5]:
            await self._list(namespace)
        counts = dict(zip(("recorded", "repeated", "dropped", "limited"), reply[:4], strict=True))
        return Recorded(**counts), tuple(runs[int(place) - 1] for place in reply[4])

    def _item(
        self, episode: Episode, images: Mapping[str, bytes], places: Mapping[str, int]
    ) -> dict[str, Any]:
        body = self._seal.close(codec.encode_episode(episode))
        size = len(body.encode()) + sum(
            2 * len(images.get(digest, b"")) for digest in episode.images
        )
        return {
            "principal": episode.principal,
            "unit": episode.unit,
            "seen": " ".join(episode.seen if episode.counted is None else episode.counted),
            "withheld": " ".join(episode.withheld),
            "version": episode.version,
            "withhold": episode.withhold_share,
            "size": size,
            "body": body,
            "images": [
                places[digest] for digest in dict.fromkeys(episode.images) if digest in places
            ],
        }

    async def _list(self, namespace: str) -> None:
        await self._with_retries(lambda client: client.sadd(WITH_TRAFFIC, namespace))
        self._listed.add(namespace)

    async def feedback(
        self,
        namespace: str,
        run_id: str,
        feedback: Feedback | None,
        score: float | None,
        rules: CreditRules,
    ) -> Verdict:
        args = [
            "" if feedback is None else self._seal.close(codec.encode_feedback(feedback)),
            "" if score is None else f"{score:.6g}",
            rules.speaker if feedback is None else feedback.principal,
            int(rules.first),
            rules.rate_limit,
            self._run_ttl,
            RATE_TTL,
            rules.kept,
            ANONYMOUS,
            self._early_ttl,
            int(rules.reviewer if feedback is None else feedback.reviewer),
        ]
        today = await self.clock.today(namespace)
        verdict = await self._with_retries(
            lambda client: scripts.feedback(client, Keys(namespace), today, run_id, args)
        )
        return cast(Verdict, verdict)

    async def archived(self, namespace: str, after: int = 0) -> tuple[Archived, ...]:
        keys = Keys(namespace)
        seqs = await self._with_retries(
            lambda client: cast(
                Awaitable[list[str]], client.zrangebyscore(keys.archived, f"({after}", "+inf")
            )
        )
        stored = await self._with_retries(lambda client: fields_of(keys.archive, seqs, client))
        found = []
        for raw in stored:
            # one that a newer package wrote keeps nobody from the others
            with contextlib.suppress(CorruptData):
                found += [codec.decode_archived(self._seal.open(raw))] if raw else []
        return tuple(found)

    async def forget_archived(self, namespace: str, seqs: Sequence[int]) -> int:
        if not seqs:
            return 0
        return await self._with_retries(
            lambda client: scripts.forget_archived(client, Keys(namespace), seqs)
        )

    async def replayed(self, namespace: str, pair: Pair) -> PairVerdict:
        args = [
            pair.id,
            pair.since,
            pair.seq,
            pair.speaker,
            repr(pair.score_with),
            repr(pair.score_without),
            pair.floor,
            int(pair.on_tools),
        ]
        return cast(
            PairVerdict,
            await self._with_retries(
                lambda client: scripts.replayed(client, Keys(namespace), args)
            ),
        )

    async def evidence(
        self, namespace: str, ids: Sequence[str], known: KnownEvidence | None = None
    ) -> KnownEvidence:
        if not ids:
            return {}
        known, keys = known or {}, Keys(namespace)
        held = [(id, known[id].change if id in known else 0) for id in ids]
        reply = await self._with_retries(lambda client: scripts.known(client, keys, held))
        found = {}
        for id, (change, *numbers) in zip(ids, reply, strict=True):
            if numbers:
                found[id] = codec.decode_shown(change, *numbers)
            elif change != "0":
                found[id] = known[id]
        return found

    async def told(
        self, namespace: str, run_ids: Sequence[str]
    ) -> tuple[tuple[Feedback, ...], ...]:
        names = [Keys(namespace).run(run_id) for run_id in run_ids]
        stored = await self._with_retries(lambda client: hashes(names, client))
        return tuple(
            RunRecord(run_id, fields).feedback(self._seal)
            for run_id, fields in zip(run_ids, stored, strict=True)
        )

    async def claim(
        self,
        namespace: str,
        learner: str,
        *,
        lease: float,
        count: int,
        max_deliveries: int,
        alone: bool,
    ) -> Claims:
        args = [learner, _ms(lease), count, max_deliveries, int(alone), *self._of_dead, *self._days]
        while True:
            suspects, *found = await self._with_retries(
                lambda client: scripts.claim(client, Keys(namespace), args)
            )
            claims = await self._readable(Keys(namespace), found)
            # what cannot be read has become a dead letter: others may wait behind it
            if claims or not found:
                return Claims(claims=tuple(claims), suspects=suspects)

    async def _readable(self, keys: Keys, found: Sequence[Sequence[Any]]) -> list[Claim]:
        """Read claims as the script gives them; what is no episode becomes a dead letter."""
        episodes = []
        for seq, fence, deliveries, raw in found:
            try:
                episode = codec.decode_episode(self._seal.open(raw))
            except CorruptData as error:
                await self._dead_letter(keys, seq, fence, error)
            else:
                episodes.append((seq, fence, deliveries, episode))
        names = [keys.run(episode.run_id) for *_, episode in episodes]
        records = await self._with_retries(lambda client: hashes(names, client))
        claims = []
        for (seq, fence, deliveries, episode), record in zip(episodes, records, strict=True):
            try:
                told = RunRecord(episode.run_id, record).feedback(self._seal)
            except CorruptData as error:
                await self._dead_letter(keys, seq, fence, error)
            else:
                claims.append(
                    Claim(
                        seq=seq, fence=fence, deliveries=deliveries, episode=episode, feedback=told
                    )
                )
        return claims

    async def _dead_letter(self, keys: Keys, seq: int, fence: int, error: CorruptData) -> None:
        """Give back at once, as a failure for good, what cannot be read."""
        await self._give_back(keys, "", [seq, fence, "fail", str(error), 0, 1])

    async def extend_lease(
        self, namespace: str, learner: str, claims: Sequence[Claim], *, lease: float
    ) -> frozenset[int]:
        args = [
            learner,
            _ms(lease),
            *(number for claim in claims for number in (claim.seq, claim.fence)),
        ]
        return frozenset(
            await self._with_retries(
                lambda client: scripts.extend_lease(client, Keys(namespace), args)
            )
        )

    async def return_claim(
        self,
        namespace: str,
        claim: Claim,
        *,
        counts: bool,
        reason: str,
        delay: float,
        max_deliveries: int,
    ) -> Literal["released", "failed", "dead", "fenced"]:
        how = "fail" if counts else "release"
        wait = _ms(delay) if delay else 0
        args = [claim.seq, claim.fence, how, repair_text(reason), wait, max_deliveries]
        return cast(
            Literal["released", "failed", "dead", "fenced"],
            await self._give_back(Keys(namespace), claim.episode.run_id, args),
        )

    async def _give_back(self, keys: Keys, run_id: str, args: Sequence[Any]) -> str:
        args = [*args, *self._of_dead]
        return await self._with_retries(
            lambda client: scripts.return_claim(client, keys, run_id, args)
        )

    async def count(self, namespace: str, counters: Mapping[str, int]) -> None:
        name = Keys(namespace).spend(await self.clock.today(namespace))
        await self._with_retries(
            lambda client: scripts.count(client, name, counters, ttl=codec.SPEND_TTL)
        )

    async def images(self, namespace: str, digests: Sequence[str]) -> Mapping[str, bytes]:
        names = [Keys(namespace).image(digest) for digest in digests]
        stored = await self._with_retries(lambda client: field_of_each(names, "data", client))
        found = dict(zip(digests, stored, strict=True))
        return {
            digest: self._seal.open_data(raw) for digest, raw in found.items() if raw is not None
        }

    async def dead_letters(self, namespace: str, limit: int) -> tuple[DeadLetter, ...]:
        keys = Keys(namespace)
        [stored] = await self._with_retries(lambda client: hashes([keys.dead], client))
        newest = sorted(stored, key=int, reverse=True)[:limit]
        bodies = await self._with_retries(lambda client: fields_of(keys.episodes, newest, client))
        return tuple(
            codec.decode_dead_letter(seq, stored[seq], body, self._seal)
            for seq, body in zip(newest, bodies, strict=True)
        )

    async def retry_dead(self, namespace: str, seqs: Sequence[int]) -> int:
        return await self._with_retries(
            lambda client: scripts.dead(client, Keys(namespace), "retry", seqs)
        )

    async def drop_dead(self, namespace: str, seqs: Sequence[int]) -> int:
        return await self._with_retries(
            lambda client: scripts.dead(client, Keys(namespace), "drop", seqs)
        )

    async def runs_of(self, namespace: str, subject: Subject) -> frozenset[str]:
        return await erasing.runs_of(self._with_retries, self._seal, Keys(namespace), subject)

    async def erase(self, namespace: str, subject: Subject) -> Erased:
        return await erasing.erase(self._with_retries, self._seal, Keys(namespace), subject)

    async def traffic(self, namespace: str) -> Traffic:
        return await read_traffic(self._with_retries, self.clock, self._seal, Keys(namespace))

    async def namespaces(self) -> tuple[str, ...]:
        names = await self._with_retries(
            lambda client: cast(Awaitable[set[str]], client.smembers(WITH_TRAFFIC))
        )
        return tuple(sorted(names))


def _ms(seconds: float) -> int:
    return max(1, int(seconds * SECOND))
