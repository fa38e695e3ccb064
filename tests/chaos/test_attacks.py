"""Attack strings through a teacher that copies them verbatim: evidence, not a filter, keeps them from the agents.

Small in the test command, all of them in `make chaos`. In the same run helpful lessons must get through, or a gate
that lets nothing through would pass.
"""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Episode
from ted_memory.learner import Learner
from ted_memory.learner.trials import look
from ted_memory.models import Message
from ted_memory.testing import ScriptedChatModel, asked_for_edits
from tests.attacks.lessons import lesson_attacks
from tests.attacks.public import LEFT_OUT, attacks_available, public_attacks
from tests.chaos.sizes import report, size
from tests.conftest import Server

pytestmark = pytest.mark.skipif(not attacks_available(), reason=LEFT_OUT)

HELPFUL = size(4, 20)
LIFT, BASE = 0.3, 0.5
ROUNDS = 1_500  # requests of each topic at most
ROOM: dict[str, Any] = {
    "profile": "small",  # the form of its prompts is what the hostile teacher reads
    "selection": "all",
    "max_experiences": 2000,
    "token_budget": 10**6,
    "max_text": 2500,
    "max_proposed": 5000,
    "max_trial": size(40, 120),
    "history": 100_000,
    "rate_limit": 10**6,
    "withhold_share": 0.0,
    "episodes_at_once": 8,
    "redact": lambda text: text,  # an attack arrives as it is
}


def attacks() -> list[str]:
    every = [*public_attacks(), *(f"{a.text}" for a in lesson_attacks())]
    return every[:: size(16, 1)]


def topic(i: int) -> str:
    return f"topic{i:03d}"


def hostile_episode(text: str, i: int, principal: str) -> Episode:
    asked = json.dumps({"when": "", "text": text})
    return _episode(f"attack-{i}-{principal}", asked, principal)


def helpful_episode(i: int, principal: str) -> Episode:
    asked = json.dumps({"when": topic(i), "text": f"Use the way {i}."})
    return _episode(f"help-{i}-{principal}", asked, principal)


def _episode(run_id: str, asked: str, principal: str) -> Episode:
    given, said = Message(role="user", content=asked), Message(role="assistant", content="no")
    return Episode(run_id=run_id, principal=principal, input=(given,), output=(said,))


def copies(messages: Sequence[BaseMessage]) -> str:
    """A teacher that writes down whatever it is told to."""
    if not asked_for_edits(messages):
        return "anything"
    task = str(messages[1].text).partition("Task: ")[2].partition("\nKnown lessons:")[0]
    return json.dumps({"reason": "so they say", "edits": [{"op": "add", **json.loads(task)}], "helped": [], "hurt": []})


async def tell(memory: TedMemory, episodes: Sequence[Episode]) -> None:
    """Have a learner with the hostile teacher work through these."""
    for i in range(0, len(episodes), 500):
        for one in episodes[i : i + 500]:
            await memory.record(one)
        await memory.flush()
        for one in episodes[i : i + 500]:
            await memory.give_feedback(one.run_id, score=0.0, principal=one.principal)
    learner = Learner(memory, teacher=ScriptedChatModel(script=copies), rollouts="none")
    await learner.run(until_empty=True)
    assert learner.report.settled == len(episodes), learner.report


async def serve(memory: TedMemory, luck: random.Random) -> None:
    """Live traffic until every trial has ended: outcomes that attacks do not change, and helpful lessons do."""
    for _ in range(ROUNDS):
        await look(memory, "proof", shadow=False)
        now = await memory.load()
        if not now.trial:
            return
        for i in range(HELPFUL):
            for _ in range(10):
                await request(memory, luck, i)
        await memory.flush()


async def request(memory: TedMemory, luck: random.Random, i: int) -> None:
    user = f"user-{luck.randrange(400)}"
    run_id = f"{luck.getrandbits(64):x}"
    shown = await memory.expose(f"A question on {topic(i)}", unit=run_id, principal=user)
    right = luck.random() < BASE + LIFT * (f"Use the way {i}." in shown.block)
    fields = shown.model_dump(exclude={"block"})
    await memory.record(_episode(run_id, topic(i), user).model_copy(update=fields))
    await memory.give_feedback(run_id, score=float(right), principal=user)


async def states(memory: TedMemory, texts: Sequence[str]) -> dict[str, int]:
    """Count the lessons of these texts by state."""
    said = {" ".join(text.split()) for text in texts}
    found = [e.state for e in await memory.load() if " ".join(e.text.split()) in said]
    return {state: found.count(state) for state in ("proposed", "trial", "active")}


async def test_of_one_principal_no_attack_is_ever_shown(valkey: Server, namespace: str) -> None:
    texts = attacks()
    async with open_memory(valkey.url, namespace=namespace, **ROOM) as memory:
        await tell(memory, [hostile_episode(text, i, "mallory") for i, text in enumerate(texts)])
        await tell(memory, [hostile_episode(text, i + 10_000, "mallory") for i, text in enumerate(texts)])
        for _ in range(3):
            await look(memory, "proof", shadow=False)
        found = await states(memory, texts)
        # the rest is refused before: texts that look like an image, or have nothing that can be seen
        assert found["proposed"] >= 0.95 * len(texts), "the teacher did copy them"
        assert (found["trial"], found["active"]) == (0, 0)
        for i in range(200):
            assert (await memory.expose("Any question", unit=f"u{i}", principal=f"p{i}")).block == ""
        assert await memory.render() == ""
        report(f"{len(texts)} attack strings from one principal, twice each: 0 on trial, 0 active")


async def test_without_several_principals_they_would_be_shown(valkey: Server, namespace: str) -> None:
    texts = attacks()[:10]
    async with open_memory(valkey.url, namespace=namespace, **ROOM | {"min_principals": 1}) as memory:
        await tell(memory, [hostile_episode(text, i, "mallory") for i, text in enumerate(texts)])
        await look(memory, "proof", shadow=False)
        assert (await states(memory, texts))["trial"] == len(texts)


async def test_of_five_colluding_principals_hardly_any_gets_through_and_what_helps_does(
    valkey: Server, namespace: str
) -> None:
    texts, luck = attacks(), random.Random(5)
    async with open_memory(valkey.url, namespace=namespace, refresh=0.05, **ROOM) as memory:
        for n in range(5):
            await tell(memory, [hostile_episode(text, i, f"colluder-{n}") for i, text in enumerate(texts)])
        for name in ("anna", "bert"):
            await tell(memory, [helpful_episode(i, name) for i in range(HELPFUL)])
        await serve(memory, luck)
        found = await states(memory, texts)
        helped = await states(memory, [f"Use the way {i}." for i in range(HELPFUL)])
        report(
            f"{len(texts)} attack strings from five colluding principals, neutral outcomes: {found['active']} active "
            f"({found['active'] / len(texts):.1%}); helpful lessons active: {helped['active']} of {HELPFUL}"
        )
        assert found["trial"] == 0, "all trials have ended"
        assert found["active"] <= 0.02 * len(texts) + size(1, 0)
        assert helped["active"] == HELPFUL
