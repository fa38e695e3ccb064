"""Traffic of every kind that leaves keys behind, those who learn from it, and what the keys weigh.

``python -m tests.chaos.soak WHO URL NAMESPACE SECONDS AHEAD`` learns on a clock that is so many
seconds ahead, and its scripts so many ahead of the server's, until it is told to stop; then it
prints what it did. WHO is `real`, a learner with scripted models, or `two`, two stand-ins.
"""

import asyncio
import hashlib
import json
import re
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from langchain_core.messages import BaseMessage
from redis.asyncio import Redis

from ted_memory import Add, Episode, TedMemory, open_memory
from ted_memory.distill.nodes.commit import counters
from ted_memory.episodes import Archived, Claim
from ted_memory.learner import Learner
from ted_memory.learner.samples import sources_of, to_archive
from ted_memory.llm.spend import Spend
from ted_memory.models import Message, Usage
from ted_memory.protocols import Settle, VectorHead
from ted_memory.storage.redis import scripts
from ted_memory.testing import ScriptedChatModel, asked_for_edits
from tests.chaos import moved_clock
from tests.chaos.writer_process import with_retries

SETTINGS: dict[str, Any] = {
    "trust": "evidence",
    "history_versions": 40,
    "max_archived": 40,
    "max_dead": 6,
    "max_proposed": 8,
    "replay_calls": 20,
    "rollouts": 1,
    "verify_calls": 0,
    "lease_seconds": 30.0,
    "read_timeout": 5.0,
}
PEOPLE = 40
PICTURE = 2000  # bytes
SEEDS = ("Say only the code.", "Name no price.")
AHEAD = 5  # runs that feedback may come before
BEHIND = 30
# one episode in so many ...
LOUD, SHOWS, TELLS, CORRECTS, EARLY, UNKNOWN, DIES, TEACHES, CREDITS, DISTILS = (
    10,
    14,
    3,
    2,
    60,
    33,
    28,
    13,
    50,
    150,
)


# --- agents


def run_id(number: int) -> str:
    return f"{number:08}-89ab-cdef-0123-456789abcdef"


def number_of(run_id: str) -> int:
    return int(run_id[:8])


def who(number: int) -> str:
    return "loud" if number % LOUD == 0 else f"user-{number % PEOPLE}"


@dataclass
class Agents:
    """Records runs, and all that comes with them.

    ``rate``: episodes a second; 0: as fast as it goes. ``counts``: what was handed in, by kind.
    """

    memory: TedMemory
    rate: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)

    async def serve(self, first: int, count: int) -> None:
        began = time.monotonic()
        for number in range(first, first + count):
            if self.rate:
                await asyncio.sleep(
                    max(0.0, began + (number - first) / self.rate - time.monotonic())
                )
            elif number % 100 == 0:
                await with_retries(self.memory.flush)
            await self._one(number)
        await with_retries(self.memory.flush)

    async def _one(self, number: int) -> None:
        memory, principal, thread = self.memory, who(number), f"thread-{number // 3}"
        question = f"What is the code of item {number}? " + "It is a long story. " * 10
        shown = await memory.expose(question, unit=thread, principal=principal)
        pictures = {}
        if number % SHOWS == 0:
            data = f"picture {number if number % (2 * SHOWS) else 0} ".encode() * PICTURE
            pictures = {hashlib.sha256(data[:PICTURE]).hexdigest(): data[:PICTURE]}
        one = Episode(
            run_id=run_id(number),
            thread_id=thread,
            principal=principal,
            input=(Message(role="user", content=question),),
            output=(Message(role="assistant", content="no idea"),),
            seen=shown.seen,
            withheld=shown.withheld,
            withhold_share=shown.withhold_share,
            epoch=shown.epoch,
            version=shown.version,
            images=tuple(pictures),
        )
        memory.recorder.put(one.run_id, lambda: (one, pictures))
        self.counts["runs"] += 1
        await self._beside(number)

    async def _beside(self, number: int) -> None:
        memory = self.memory
        if number % TELLS == 0:
            about = number + AHEAD if number % EARLY == 0 else max(number - BEHIND, 0)
            fix = f"code-{about}" if number % (TELLS * CORRECTS) == 0 else ""
            await self._say(run_id(about), fix, who(about))
        if number % UNKNOWN == 0:
            await self._say(f"never-{number}", "", f"user-{number % PEOPLE}")
        if number % CREDITS == 0:
            ids = [e.id for e in (await memory.snapshot()).active]
            usage = {id: Usage(n_with=1, successes_with=0.5) for id in ids}
            await with_retries(lambda: memory.credit(usage, token=f"credit-{number}"))
            self.counts["credits"] += 1
        if number % DISTILS == 0:
            await with_retries(lambda: self._distil(f"{number:08}"))

    async def _say(self, about: str, fix: str, principal: str) -> None:
        words: dict[str, Any] = {"score": 0.5, "comment": "Well.", "correction": fix}
        give = partial(self.memory.give_feedback, about, principal=principal, **words)
        await with_retries(give)
        self.counts["feedback"] += 1

    async def _distil(self, run: str) -> None:
        """A run of `distill` that is killed, and never taken up again."""
        staging, store = self.memory.staging(run), self.memory.store
        await store.save_progress(staging.namespace, "run", {"of": run})
        await staging.commit(
            [Add(text="As good as it goes.")],
            author="distill",
            models={"student": "one"},
            token=f"draft-{run}",
        )
        await staging.credit(
            {(await staging.load()).active[0].id: Usage(n_with=1)}, token=f"credit-{run}"
        )
        vectors = {e.id: b"0123" * 16 for e in await self.memory.load()}
        await store.vectors(self.memory.namespace).save(
            VectorHead(model="m", dimension=16), vectors, keep=list(vectors)
        )
        self.counts["drafts"] += 1


# --- learners


class StandIn:
    """Claims and settles as a learner does, as a rule says, without the graph in between."""

    def __init__(self, memory: TedMemory, name: str, stopped: asyncio.Event) -> None:
        self.memory = memory
        self.name = name
        self.stopped = stopped
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Learn until it is to stop, and nothing waits any more."""
        memory, s = self.memory, self.memory.settings
        while True:
            stops = self.stopped.is_set()
            claim = partial(
                memory.store.episodes.claim,
                memory.namespace,
                self.name,
                lease=s.lease_seconds,
                count=20,
                max_deliveries=s.max_deliveries,
            )
            found = await with_retries(lambda claim=claim: claim(alone=False))
            for claim in found.claims:
                await self._one(claim)
            if not found.claims:
                if stops:
                    return
                await asyncio.sleep(0.02)  # there is nothing to wait for: a queue is looked at

    async def _one(self, claim: Claim) -> None:
        memory, s, number = self.memory, self.memory.settings, number_of(claim.episode.run_id)
        if number % DIES == 0:
            give_back = partial(memory.store.episodes.return_claim, memory.namespace, claim)
            why: dict[str, Any] = {"counts": True, "reason": "no answer", "delay": 0}
            told = await with_retries(partial(give_back, max_deliveries=1, **why))
            self.counts[told] += 1
            return
        lesson = Add(
            text=f"say code-{number}",
            when=f"item {number}",
            state="proposed",
            sources=sources_of(claim),
        )
        kept, outcome = (
            to_archive(claim, judged=False),
            "learned" if number % TEACHES == 0 else "nothing",
        )
        archived = (
            Archived.model_validate(kept) if kept and kept["sample"].get("reference") else None
        )
        settled = Settle.model_validate(
            {
                "seq": claim.seq,
                "fence": claim.fence,
                "outcome": outcome,
                "counters": counters(Spend(), outcome),
                "archive": archived,
                "max_archived": s.max_archived,
                "max_archive_bytes": s.max_archive_bytes,
            }
        )
        token = f"episode:{claim.seq}:settle:{claim.fence}:0"
        edits = [lesson] if outcome == "learned" else []
        commit = partial(memory.commit, edits, author=self.name, token=token, settle=settled)
        await with_retries(commit)
        self.counts[outcome] += 1
        self.counts["archived"] += archived is not None


def teaches(messages: list[BaseMessage]) -> str:
    asked = re.findall(r"code of item (\d+)\?", "\n".join(str(m.text) for m in messages[:2]))
    number = int(asked[-1]) if asked else 1
    if not asked_for_edits(messages):
        return f"code-{number}"
    edit = {"op": "add", "ids": [], "when": f"item {number}", "text": f"say code-{number}"}
    return json.dumps(
        {"reason": "x", "edits": [edit] if number % TEACHES == 0 else [], "helped": [], "hurt": []}
    )


def real_learner(memory: TedMemory) -> Learner:
    student = ScriptedChatModel(script=lambda _: "no idea")
    return Learner(memory, student=student, teacher=ScriptedChatModel(script=teaches))


async def upkeep(url: str, namespace: str) -> None:
    """Have a learner do what it does beside episodes."""
    async with open_memory(url, namespace=namespace, **SETTINGS) as memory:
        await real_learner(memory).run(until_empty=True)


async def learn_as_one(memory: TedMemory, stopped: asyncio.Event) -> Counter[str]:
    """Be a real learner until it is over."""
    learner = real_learner(memory)
    learning = asyncio.create_task(learner.run())
    await stopped.wait()
    learner.stop()
    return (await learning).outcomes


async def learn_as_two(memory: TedMemory, stopped: asyncio.Event) -> Counter[str]:
    """Be two stand-ins until it is over and nothing waits."""
    both = [StandIn(memory, name, stopped) for name in ("one", "two")]
    await asyncio.gather(*(one.run() for one in both))
    return both[0].counts + both[1].counts


async def main(who: str, url: str, namespace: str, seconds: int, ahead: int) -> None:
    told = {
        name: source
        for name, source in vars(scripts).items()
        if name.isupper() and isinstance(source, str)
    }
    moved_clock.have_scripts_tell(told, ahead)
    moved_clock.have_learners_look(seconds)
    async with open_memory(url, namespace=namespace, **SETTINGS) as memory:
        stopped, began = asyncio.Event(), time.monotonic()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        counts = await (learn_as_one if who == "real" else learn_as_two)(memory, stopped)
        print(json.dumps({"seconds": time.monotonic() - began, "counts": counts}))


# --- what it weighs


@dataclass(frozen=True)
class Weights:
    """Keys and their bytes (`MEMORY USAGE`), by kind as in `storage.keys`.

    Kinds of a staging set begin with "~".
    """

    keys: Counter[str]
    bytes: Counter[str]
    used: int
    """The server's `used_memory`."""

    def each(self, kind: str) -> float:
        return self.bytes[kind] / max(self.keys[kind], 1)


def kind_of(key: str) -> str:
    head, _, name = key.partition("}:")
    return ("~" if "~" in head else "") + name.partition(":")[0] if name else key


async def weigh(client: "Redis") -> Weights:
    """Weigh all keys. What has expired goes on the way, and the scripts that a server holds."""
    await client.script_flush()
    names: dict[str, list[str]] = defaultdict(list)
    async for name in client.scan_iter(count=1000):
        names[kind_of(name)].append(name)
    sizes = Counter({kind: sum(await _sizes(client, some)) for kind, some in names.items()})
    await client.execute_command("MEMORY PURGE")
    used = (await client.info("memory"))["used_memory"]
    return Weights(Counter({kind: len(some) for kind, some in names.items()}), sizes, used)


async def _sizes(client: "Redis", names: Sequence[str]) -> list[int]:
    found: list[int] = []
    for first in range(0, len(names), 1000):
        pipeline = client.pipeline(transaction=False)
        for name in names[first : first + 1000]:
            pipeline.memory_usage(name, samples=0)
        found += [size or 0 for size in await pipeline.execute()]
    return found


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], *map(int, sys.argv[4:])))
