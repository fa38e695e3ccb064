"""``python -m bench evidence``: bytes of each kind of key, and our own work for a replayed pair.

Texts have the lengths that a small helpdesk would have: lessons of 100 characters, episodes of 1
kB. A pair is four answers of scripted models that answer at once, over a task of 1 kB. What bare
calls of these models take stands beside it.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from rich.console import Console
from rich.table import Table

from bench.measuring import server
from ted_memory import Add, TedMemory, open_memory
from ted_memory.episodes import Archived, Episode
from ted_memory.experience.evidence import voice_of
from ted_memory.learner import Learner
from ted_memory.models import Message, Sample, SetState, Trial, Usage
from ted_memory.protocols import Pair, Settle, VectorHead
from ted_memory.storage.redis.keys import Keys
from ted_memory.testing import ScriptedChatModel, in_memory

RUNS = 20_000  # of which the growth is measured
MANY = 200  # of each thing
ROUNDS = 3
TASK = (
    "Which code does this ticket get? "
    + "Our order came late and one of the parts is broken. " * 20
)[:1000]
LESSON = (
    "Look up what the ticket is about first, and only then in which list its code stands; "
    "answer with it alone."
)
BOUNDS: dict[str, Any] = {"max_archived": 10**6, "max_archive_bytes": 10**9}
ROOMY: dict[str, Any] = {
    "max_experiences": 10**5,
    "token_budget": 10**7,
    "max_proposed": 10**5,
    "replay_calls": 10**6,
}
ANSWER = "c001"


async def size_of(client: "redis.asyncio.Redis", key: str, count: int) -> float:
    """Return the bytes that one of so many things takes in a key."""
    return float(await client.memory_usage(key, samples=0) or 0) / count


@dataclass
class Filled:
    """A namespace in which there is so much of everything, and whoever looks at its keys."""

    memory: TedMemory
    client: "redis.asyncio.Redis"
    uncommitted: float = 0.0
    usage_before: float = 0.0

    async def size(self, key: str, count: int = 1) -> float:
        """Return the bytes that one of so many things takes in a key."""
        return await size_of(self.client, key, count)

    async def fill(self) -> str:
        """Fill all but evidence and archive; return the id of a lesson."""
        memory, name = self.memory, self.memory.namespace
        for i in range(MANY):
            await memory.commit(
                [Add(text=f"{i}: {LESSON}", when=f"topic {i}")],
                author="bench",
                token=f"token-{i:012}",
            )
        ids = [e.id for e in await memory.load()]
        for i, id in enumerate(ids):
            usage = {
                id: Usage(
                    n_with=5, successes_with=3.5, n_without=1, successes_without=0.25, helped=1
                )
            }
            await memory.credit(usage, token=f"token-{i:012}")
            await memory.store.tombstone(name, f"principal:{i}")
            await memory.store.save_progress(
                name, f"sample-{i}", {"attempts": [{"text": LESSON, "score": 1.0}] * 4}
            )
        self.uncommitted = await self.size(Keys(name).uncommitted, MANY)
        await memory.commit(
            [Add(text="The last one.")], author="bench", models={"student": "gpt-5-nano"}
        )
        await memory.commit([], author="bench", models={"student": "another"})
        self.usage_before = await self.size(Keys(name).usage_before, MANY)
        await memory.commit([], author="bench", models={"student": "gpt-5-nano"})
        await memory.store.hold(name, "trials", "0123456789ab", 60)
        vectors = {f"{i:032x}": bytes([i]) * 4 * 256 for i in range(MANY)}
        await memory.store.vectors(name).save(
            VectorHead(model="words", dimension=256), vectors, keep=list(vectors)
        )
        await self.record("waits", MANY, seen=(ids[0],))
        await self.record("claimed", MANY, seen=(ids[0],))
        await self.record("dead", MANY, seen=(ids[0],))
        return ids[0]

    async def record(self, kind: str, count: int, **fields: object) -> None:
        """Record runs of about 1 kB, with an image of 1 kB in the first."""
        for i in range(count):
            asked, said = (
                Message(role="user", content=TASK[:600]),
                Message(role="assistant", content=TASK[:100]),
            )
            images = {f"{i:064}": b"x" * 1000} if kind == "waits" and i == 0 else {}
            given = {
                "principal": f"p{i}",
                "input": (asked,),
                "output": (said,),
                "version": MANY,
                **fields,
            }
            one = Episode(run_id=f"{kind}-{i:032}", images=tuple(images), **given)
            self.memory.recorder.put(one.run_id, lambda one=one, images=images: (one, images))  # type: ignore[misc]
            if i % 100 == 99:
                await self.memory.flush()
        await self.memory.flush()

    async def keys(self) -> list[tuple[str, float, str]]:
        """Return what is measured of each kind of key: its name, the bytes, and of what."""
        memory, keys, log = self.memory, Keys(self.memory.namespace), self.memory.store.episodes
        await self.fill()
        waiting = await self.size(keys.waiting, 3 * MANY)
        for i in range(2 * MANY):
            found = await log.claim(
                keys.namespace, "learner", lease=999, count=1, max_deliveries=1, alone=False
            )
            if i % 2:
                [claim] = found.claims
                await log.return_claim(
                    keys.namespace, claim, counts=True, reason="no", delay=0, max_deliveries=1
                )
        for i in range(MANY):
            await memory.give_feedback(
                f"waits-{i:032}", score=1.0, comment="Thank you.", principal=f"p{i}"
            )
        await log.count(
            keys.namespace, {f"{role}_{n}": 9999 for role in ("student", "teacher") for n in "abcd"}
        )
        return [
            ("meta", await self.size(keys.meta), "in all"),
            ("experiences", await self.size(keys.experiences, MANY), "a lesson"),
            ("usage", await self.size(keys.usage, MANY), "a lesson"),
            ("ranking", await self.size(keys.ranking, MANY), "a lesson"),
            ("usage_before", self.usage_before, "a lesson and student"),
            ("uncommitted", self.uncommitted, "a lesson"),
            ("log", await self.size(keys.log, MANY), "a version with one edit"),
            ("vectors", await self.size(keys.vectors, MANY), "a vector of 256 numbers"),
            ("purged", await self.size(keys.purged, MANY), "a source"),
            ("progress", await self.size(keys.progress, MANY), "a record of four attempts"),
            ("lease:<name>", await self.size(keys.lease("trials")), "a lease"),
            (
                "applied:<token>",
                await self.size(keys.applied(f"token-{1:012}")),
                "a commit of one edit",
            ),
            ("credited:<token>", await self.size(keys.credited(f"token-{1:012}")), "a credit"),
            ("traffic", await self.size(keys.traffic), "in all"),
            ("episodes", await self.size(keys.episodes, 3 * MANY), "an episode of 1 kB"),
            ("waiting", waiting, "an episode"),
            ("claimed", await self.size(keys.claimed, MANY), "an episode"),
            ("holders", await self.size(keys.holders, MANY), "an episode"),
            ("dead", await self.size(keys.dead, MANY), "an episode"),
            ("learners", await self.size(keys.learners), "a learner"),
            (
                "run:<run id>",
                await self.size(keys.run(f"dead-{1:032}")),
                "a run that nobody spoke of",
            ),
            (
                "run:<run id>",
                await self.size(keys.run(f"waits-{1:032}")),
                "a run with one feedback",
            ),
            ("image:<sha256>", await self.size(keys.image(f"{0:064}")), "an image of 1 kB"),
            ("rate:<day>", await self.size(keys.rate(today()), MANY), "a principal"),
            ("spend:<day>", await self.size(keys.spend(today())), "in all"),
        ]


def today() -> str:
    """Return the day that the server's counters have."""
    return time.strftime("%Y-%m-%d", time.gmtime())


async def archive(memory: TedMemory, count: int, principals: int) -> list[int]:
    """Archive graded episodes of 1 kB; return their seqs."""
    log, name, seqs = memory.store.episodes, memory.namespace, []
    for i in range(count):
        await memory.record(Episode(run_id=f"kept-{i}", principal=f"p{i % principals}"))
    await memory.flush()
    for i in range(count):
        [claim] = (
            await log.claim(name, "me", lease=99, count=1, max_deliveries=9, alone=False)
        ).claims
        sample = Sample(
            id=f"kept-{i}", input=(Message(role="user", content=TASK[:850]),), reference=ANSWER
        )
        who = f"p{i % principals}"
        kept = Archived(
            seq=claim.seq, run_id=f"kept-{i}", principal=who, speaker=who, sample=sample
        )
        settle = Settle(seq=claim.seq, fence=claim.fence, outcome="nothing", archive=kept, **BOUNDS)
        await memory.commit([], author="bench", settle=settle)
        seqs.append(claim.seq)
    return seqs


async def evidence_of(url: str, voices: int) -> tuple[float, int]:
    """Measure the evidence on one lesson with so many voices, on trial and then active.

    Returns:
        Its bytes and its number of fields.
    """
    lessons, name = 20, f"evidence-{voices}"
    async with (
        open_memory(url, namespace=name, **ROOMY) as memory,
        redis.asyncio.Redis.from_url(url) as client,
    ):
        log, speakers = memory.store.episodes, distinct(voices)
        seqs = await archive(memory, voices, voices)
        commit = await memory.commit(
            [Add(text=f"{i}: {LESSON}", state="proposed") for i in range(lessons)], author="b"
        )
        ids = [applied.id for applied in commit.applied]

        async def pairs(version: int, share: Sequence[int]) -> None:
            for id in ids:
                for seq in share:
                    pair = {
                        "id": id,
                        "seq": seq,
                        "since": version,
                        "speaker": speakers[seqs.index(seq)],
                    }
                    await log.replayed(name, Pair(score_with=1, score_without=1 / 3, **pair))

        await pairs(commit.version, seqs)
        steps = [SetState(id=id, state="trial", trial=Trial(bet=0.3)) for id in ids]
        version = (await memory.commit(steps, author="bench")).version
        for i, who in enumerate(speakers):
            await memory.record(
                Episode(run_id=f"r{i}", principal=who, seen=tuple(ids), version=version)
            )
            await memory.flush()
            await memory.give_feedback(f"r{i}", score=0.7, principal=who)
        size, fields = (
            await size_of(client, Keys(name).evidence, lessons),
            await client.hlen(Keys(name).evidence),
        )
    return size, fields // lessons


def distinct(voices: int) -> list[str]:
    """Return principals that speak with so many voices."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < voices:
        found.setdefault(voice_of(f"user-{number}"), f"user-{number}")
        number += 1
    return list(found.values())


async def archived_bytes(url: str) -> tuple[float, float]:
    """Return the bytes of one archived episode of 1 kB, and of its place in the list."""
    async with (
        open_memory(url, namespace="archive", **ROOMY) as memory,
        redis.asyncio.Redis.from_url(url) as client,
    ):
        await archive(memory, 1000, 50)
        keys = Keys("archive")
        return await size_of(client, keys.archive, 1000), await size_of(client, keys.archived, 1000)


async def replays(
    memory: TedMemory, lessons: int = 20, episodes: int = 100
) -> tuple[int, float, float]:
    """Let a learner replay what is archived.

    Returns:
        The pairs; CPU milliseconds of a pair, and of its bare calls.
    """
    await archive(memory, episodes, 10)
    adds = [
        Add(
            text=f"{i}: {LESSON}",
            when="a ticket gets a code",
            state="proposed",
            sources=(f"principal:a{i}",),
        )
        for i in range(lessons)
    ]
    await memory.commit(adds, author="bench")
    model = ScriptedChatModel(script=lambda _: ANSWER)
    learner = Learner(memory, teacher=model, student=model, grader="exact")
    began = time.process_time()
    report = await learner.run(until_empty=True)
    took = time.process_time() - began
    calls = list(model.asked)
    began = time.process_time()
    for messages in calls:
        await model.ainvoke(messages)
    bare = time.process_time() - began
    return report.replayed, 1e3 * took / report.replayed, 1e3 * bare / report.replayed


async def cpu(url: str) -> Table:
    """Return our own work for a replayed pair, in memory and on a server."""
    table = Table(
        "store",
        "pairs",
        "CPU of a pair",
        "of its bare calls",
        "ours",
        title="milliseconds, the least of three",
    )
    given = {**ROOMY, "trust": "evidence"}
    rows: dict[str, list[tuple[float, float, int]]] = {"in memory": [], "on the server": []}
    for i in range(ROUNDS):
        async with open_memory(url, namespace=f"replays-{i}", **given) as served:
            for name, memory in (("in memory", in_memory(**given)), ("on the server", served)):
                pairs, took, bare = await replays(memory)
                rows[name].append((took - bare, took, pairs))
    for name, measured in rows.items():
        ours, took, pairs = min(measured)
        table.add_row(name, f"{pairs:,}", f"{took:.2f}", f"{took - ours:.2f}", f"{ours:.2f}")
    return table


async def bytes_of_a_run(url: str) -> float:
    """Return the bytes that a recorded run leaves in the server once its episode is gone."""
    async with (
        open_memory(url, namespace="growth", rate_limit=10**9, max_episodes=1) as memory,
        redis.asyncio.Redis.from_url(url) as client,
    ):
        before = (await client.info("memory"))["used_memory"]
        for i in range(RUNS):
            one = Episode(
                run_id=f"{i:08}-89ab-cdef-0123-456789abcdef",
                thread_id="t",
                principal="p",
                seen=("abc123",) * 3,
            )
            await memory.record(one)
            if i % 500 == 499:
                await memory.flush()
        await memory.flush()
        return float((await client.info("memory"))["used_memory"] - before) / RUNS


def months(size: float) -> Table:
    """Return what a month holds, by runs a second and the days for which runs are known."""
    table = Table("runs a second", "30 days", "7 days", "1 day", title=f"of {size:.0f} bytes a run")
    for rate in (1, 10, 100):
        table.add_row(
            str(rate), *(f"{rate * days * 86_400 * size / 1e9:.3g} GB" for days in (30, 7, 1))
        )
    return table


async def main() -> None:
    """Measure bytes and CPU, and print them."""
    console = Console(width=120)
    async with server() as url:
        async with (
            open_memory(url, namespace="keys", **ROOMY, trust="always", rate_limit=10**6) as memory,
            redis.asyncio.Redis.from_url(url) as client,
        ):
            table = Table(
                "key", "bytes", "of", title=f"on {(await client.info('server'))['redis_version']}"
            )
            for name, size, of in await Filled(memory, client).keys():
                table.add_row(name, f"{size:,.0f}", of)
        for voices in (8, 128):
            size, fields = await evidence_of(url, voices)
            table.add_row(
                "evidence",
                f"{size:,.0f}",
                f"a lesson of which {voices} principals spoke ({fields} fields)",
            )
        kept, listed = await archived_bytes(url)
        table.add_row("archive", f"{kept:,.0f}", "an episode of 1 kB")
        table.add_row("archived", f"{listed:,.0f}", "an episode")
        console.print(table)
        console.print(months(await bytes_of_a_run(url)))
        console.print(await cpu(url))


if __name__ == "__main__":
    asyncio.run(main())
