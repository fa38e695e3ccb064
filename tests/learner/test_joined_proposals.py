"""What several users stumbled over in words of their own is proposed once more, for all of their situations."""

import re
import secrets
from collections.abc import Sequence

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Add, TedMemory
from ted_memory.episodes import Archived, Episode
from ted_memory.experience.joining import JOINED
from ted_memory.learner import Learner, explain, trials
from ted_memory.models import Message, Sample
from ted_memory.protocols import Settle
from ted_memory.testing import ScriptedChatModel
from tests.distill.scripts import prompt_of
from tests.learner.worlds import ROOM, says_nothing, sums

RIGHT, WRONG = "say c001", "say c999"


def follows(messages: list[BaseMessage]) -> str:
    found = re.search(r"say (c\d+)", prompt_of(messages))
    return found.group(1) if found else "no idea"


async def ask(memory: TedMemory, thing: str, people: Sequence[str]) -> None:
    """Archive one episode of each of these people, who asked about a thing; c001 was right."""
    log = memory.store.episodes
    for who in people:
        run_id, asked = secrets.token_hex(8), f"What goes with {thing}?"
        await memory.record(Episode(run_id=run_id, principal=who, input=(Message(role="user", content=asked),)))
        await memory.flush()
        [claim] = (await log.claim(memory.namespace, "x", lease=60, count=1, max_deliveries=3, alone=False)).claims
        sample = Sample(id=run_id, input=asked, reference="c001")
        kept = Archived(seq=claim.seq, run_id=run_id, principal=who, speaker=who, sample=sample)
        settle = Settle(seq=claim.seq, fence=claim.fence, outcome="nothing", archive=kept, **ROOM)
        await memory.commit([], author="x", settle=settle)


async def propose(memory: TedMemory, text: str, *situations: str) -> list[str]:
    edits = [Add(text=text, when=when, state="proposed", sources=(f"principal:of-{when}",)) for when in situations]
    return [made.id for made in (await memory.commit(edits, author="learner")).applied]


async def learn(memory: TedMemory) -> list[str]:
    """Have a new learner replay all that may be; return the steps that it took."""
    learner = Learner(memory, student=ScriptedChatModel(script=follows), teacher=says_nothing(), grader="exact")
    return (await learner.run(until_empty=True)).steps


def people(name: str, count: int) -> list[str]:
    return [f"{name}-{i}" for i in range(count)]


async def test_what_neither_shows_by_itself_the_two_show_together(memory: TedMemory) -> None:
    await ask(memory, "apples", people("a", 8))
    await ask(memory, "pears", people("p", 8))
    singly = await propose(memory, RIGHT, "apples", "pears")
    [step] = await learn(memory)
    [tried] = (await memory.load()).trial
    assert step.startswith(f"{tried.id}: trial: replays show it: lift +1.00")
    assert (tried.text, tried.when) == (RIGHT, "apples, pears")
    assert tried.sources == ("principal:of-apples", "principal:of-pears")
    assert tried.metadata == {JOINED: " ".join(singly)}
    for id in singly:
        assert (await explain(memory, id)).waits_for == f"the trial of {tried.id}, which tells to do the same"
    pairs = [(await sums(memory, id)).pairs for id in singly]
    await ask(memory, "apples", people("later", 3))
    await learn(memory)
    assert [(await sums(memory, id)).pairs for id in singly] == pairs, "nothing is paid for those that wait"


async def test_without_that_they_would_wait_for_more_users(memory: TedMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(trials, "joined_proposals", lambda *_, **__: [])
    await ask(memory, "apples", people("a", 8))
    await ask(memory, "pears", people("p", 8))
    await propose(memory, RIGHT, "apples", "pears")
    assert await learn(memory) == []
    assert (await memory.load()).trial == ()


async def test_one_that_was_refuted_is_not_made_again_by_any_learner(memory: TedMemory) -> None:
    await ask(memory, "apples", people("a", 40))
    await ask(memory, "pears", people("p", 40))
    await propose(memory, WRONG, "apples", "pears")
    steps = await learn(memory)
    steps += await learn(memory)
    made = [entry for entry in await memory.log() if entry.why == "they say the same"]
    assert len(made) == 1
    assert len([step for step in steps if "retired: of no use" in step]) == 1, "the two alone are open still"
    assert [e.when for e in (await memory.load()).proposed] == ["apples", "pears"]


async def test_an_active_lesson_makes_those_of_the_same_text_within_it_go(memory: TedMemory) -> None:
    await propose(memory, RIGHT, "apples", "pears", "figs")
    await memory.commit([Add(text=RIGHT, when="pears, apples")], author="me")
    await learn(memory)
    now = await memory.load()
    assert [e.when for e in now.proposed] == ["figs"]
