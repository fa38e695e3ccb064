"""Live traffic in the world of `tests.distill.scripts`: principals ask for codes, and complain."""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Add, TedMemory
from ted_memory.episodes import Archived, Episode
from ted_memory.experience.evidence import Sums
from ted_memory.learner import Learner
from ted_memory.models import Experience, Message, Sample
from ted_memory.protocols import Settle, Shown
from ted_memory.storage.redis.clock import ServerClock
from ted_memory.testing import ScriptedChatModel
from tests.distill.scripts import CODES, critique, student, teacher

WRONG = "no idea"
ROOM: dict[str, Any] = {"max_archived": 10_000, "max_archive_bytes": 10**8}
PEOPLE = tuple(f"user-{i}" for i in range(12))


def episode(
    thing: str, i: int = 0, *, principal: str = "anna", answer: str = WRONG, **fields: Any
) -> Episode:
    """One run in which an agent was asked for the code of a thing."""
    given = {"run_id": f"{thing}-{principal}-{i}", "principal": principal, **fields}
    return Episode(
        input=(Message(role="user", content=f"What is the code of {thing}?"),),
        output=(Message(role="assistant", content=answer),),
        **given,
    )


async def complain(memory: TedMemory, episodes: Iterable[Episode]) -> None:
    """Record runs, and say of each what would have been right."""
    for one in episodes:
        await memory.record(one)
    await memory.flush()
    for one in episodes:
        thing = next(thing for thing in CODES if thing in one.question)
        await memory.give_feedback(
            one.run_id, score=0.0, correction=CODES[thing], principal=one.principal
        )


def says_nothing() -> ScriptedChatModel:
    """Return a teacher that knows the answers and proposes no lesson."""
    return teacher(lambda _: critique())


async def settle(memory: TedMemory) -> None:
    """Have a learner settle what waits, without a proposal and without a replay."""
    await Learner(memory, teacher=says_nothing(), replay="none").run(until_empty=True)


async def archive(
    memory: TedMemory, thing: str, principals: Sequence[str] = PEOPLE, **fields: Any
) -> None:
    """Have users complain, each once, and a learner settle what they said."""
    start = len(await memory.store.episodes.archived(memory.namespace))
    await complain(
        memory, [episode(thing, start + i, principal=p, **fields) for i, p in enumerate(principals)]
    )
    await settle(memory)


async def fill_archive(
    memory: TedMemory, speakers: Sequence[str], thing: str = "apples", *, version: int = 0
) -> list[int]:
    """Archive episodes of these speakers, whose agent saw this version; return their seqs."""
    log, seqs = memory.store.episodes, list[int]()
    for speaker in speakers:
        one = episode(thing, len(seqs), principal=speaker, run_id=secrets.token_hex(8))
        await memory.record(one)
        await memory.flush()
        [claim] = (
            await log.claim(memory.namespace, "x", lease=60, count=1, max_deliveries=3, alone=False)
        ).claims
        sample = Sample(
            id=one.run_id, input=f"{one.question} ({len(seqs)})", reference=CODES[thing]
        )
        names = {"run_id": one.run_id, "principal": speaker, "speaker": speaker}
        kept = Archived(seq=claim.seq, sample=sample, version=version, **names)
        settle = Settle(seq=claim.seq, fence=claim.fence, outcome="nothing", archive=kept, **ROOM)
        await memory.commit([], author="x", settle=settle)
        seqs.append(claim.seq)
    return seqs


async def archived(memory: TedMemory) -> tuple[Archived, ...]:
    return await memory.store.episodes.archived(memory.namespace)


async def propose(
    memory: TedMemory, *things: str, says: str = "", source: str = "principal:zoe", run: str = ""
) -> list[str]:
    """Propose a lesson on each of these things, as a learner does; return the ids.

    It is the right one, unless another one is given.
    """
    edits = [
        Add(
            text=says or f"say {CODES[thing]}",
            when=f"asked about {thing}",
            state="proposed",
            sources=(f"run:{run or f'of-{thing}'}", source),
        )
        for thing in things
    ]
    return [made.id for made in (await memory.commit(edits, author="learner")).applied]


async def replayed(
    memory: TedMemory, model: ScriptedChatModel | None = None, **options: Any
) -> Learner:
    """Have a learner replay all that may be replayed, and return it. Its episodes are none."""
    learner = Learner(memory, student=model or student(), teacher=says_nothing(), **options)
    await learner.run(until_empty=True)
    return learner


async def shown(memory: TedMemory, id: str) -> Shown:
    """Return what is known of a lesson."""
    return (await memory.store.episodes.evidence(memory.namespace, [id])).get(id, Shown())


async def sums(memory: TedMemory, id: str) -> Sums:
    return (await shown(memory, id)).evidence.total


async def runs_of(memory: TedMemory, id: str) -> set[str]:
    """Return the runs that a lesson was replayed on."""
    done = (await shown(memory, id)).done
    return {one.run_id for one in await archived(memory) if one.seq in done}


async def lesson(memory: TedMemory, id: str) -> Experience | None:
    return (await memory.load()).by_id.get(id)


def blocks(asked: Iterable[Sequence[BaseMessage]]) -> list[bool]:
    """Tell of each prompt whether a lesson stands in it."""
    return ["say c0" in "\n".join(str(message.text) for message in prompt) for prompt in asked]


def on_another_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the server's clock tell another day."""

    async def today(*_: Any) -> str:
        return "2099-01-01"

    monkeypatch.setattr(ServerClock, "today", today)
