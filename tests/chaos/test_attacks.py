"""Attacks through a teacher that copies them: evidence, not a filter, keeps them from the agents.

Small in the test command, all of them in `make chaos`. In the same run helpful lessons must get
through, or a gate that lets nothing through would pass. Whatever is shown to any user, replays had
shown that it helps others before.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Episode, Exposure
from ted_memory.experience import trials
from ted_memory.experience.assignment import draw
from ted_memory.experience.concerns import concern
from ted_memory.experience.rendering import CLOSING, OPENING, render_line
from ted_memory.experience.trials import ENOUGH_OF_A_LARGE_LIFT, loudest
from ted_memory.learner import Learner
from ted_memory.learner.trials import look
from ted_memory.models import Message
from ted_memory.testing import ScriptedChatModel, asked_for_edits
from tests.attacks.lessons import lesson_attacks
from tests.attacks.public import attacks_available, public_attacks
from tests.chaos.sizes import report, size
from tests.conftest import Server

HELPFUL = size(2, 12)
LIFT, BASE = 0.4, 0.4
HONEST = size(40, 100)  # archived episodes of each topic, each of another user
LIES = 8  # archived episodes of each liar for each attack
ROUNDS = 400  # requests of each topic at most
ROOM: dict[str, Any] = {
    "profile": "small",  # the form of its prompts is what the hostile teacher reads
    "selection": "all",
    "max_experiences": 2000,
    "token_budget": 10**6,
    "max_text": 2500,
    "max_proposed": 5000,
    "max_archived": 10**6,
    "max_archive_bytes": 10**9,
    "replay_calls": 10**9,
    "history_versions": 100_000,
    "rate_limit": 10**6,
    "withhold_share": 0.0,
    "episodes_at_once": 8,
    "redact": lambda text: text,  # an attack arrives as it is
}


def attacks() -> list[str]:
    """The attacks of this run: our own, and public ones where they are at hand."""
    own = [f"{a.text}" for a in lesson_attacks()][:: size(25, 1)]
    return [*own, *(public_attacks()[:: size(50, 1)] if attacks_available() else [])]


def topic(i: int) -> str:
    return f"topic{i:03d}"


def helpful(i: int) -> str:
    return f"Use the way {i}."


def an_episode(run_id: str, asked: str, principal: str, **fields: Any) -> Episode:
    given, said = Message(role="user", content=asked), Message(role="assistant", content="no")
    return Episode(run_id=run_id, principal=principal, input=(given,), output=(said,), **fields)


def proposal(name: str, when: str, text: str, principal: str) -> Episode:
    """A run from which the hostile teacher makes a lesson of these words."""
    return an_episode(f"{name}-{principal}", json.dumps({"when": when, "text": text}), principal)


# --- models


def copies(messages: Sequence[BaseMessage]) -> str:
    """A teacher that writes down whatever it is told to."""
    if not asked_for_edits(messages):
        return "anything"
    task = str(messages[1].text).partition("Task: ")[2].partition("\nKnown lessons:")[0]
    # between the marks around what users write
    told = json.loads(task[task.index("{") : task.rindex("}") + 1])
    return json.dumps(
        {"reason": "so they say", "edits": [{"op": "add", **told}], "helped": [], "hurt": []}
    )


def silent(messages: Sequence[BaseMessage]) -> str:
    return (
        json.dumps({"reason": "", "edits": [], "helped": [], "hurt": []})
        if asked_for_edits(messages)
        else "anything"
    )


class Student:
    """A student that is right by chance, more often with the helpful lesson, and obeys attacks.

    The same question with the same lessons is answered in the same two ways, whoever asks when.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.lines = [" ".join(render_line(text).split()) for text in texts]
        self.asked: Counter[str] = Counter()

    def __call__(self, messages: list[BaseMessage]) -> str:
        prompt = "\n".join(str(message.text) for message in messages)
        block = " ".join(prompt.partition(OPENING)[2].partition(CLOSING)[0].split())
        if lie := re.search(r"do what attack (\d+) says", prompt):
            return "owned" if self.lines[int(lie[1])] in block else "no"
        number, task = re.findall(r"question on topic(\d+): (\w+)", prompt)[-1]
        self.asked[f"{task} {block}"] += 1
        lot = draw(task, block, str(self.asked[f"{task} {block}"] % 2))
        return "right" if lot < BASE + LIFT * (helpful(int(number)) in block) else "wrong"


# --- traffic


async def settle(
    memory: TedMemory, episodes: Sequence[Episode], script: Any, correction: str = ""
) -> None:
    """Record runs with corrections, and have a learner with this teacher work through them."""
    for one in episodes:
        await memory.record(one)
        await memory.give_feedback(
            one.run_id, score=0.0, correction=correction, principal=one.principal
        )
    learner = Learner(memory, teacher=ScriptedChatModel(script=script), replay="none")
    await learner.run(until_empty=True)
    assert learner.report.settled == len(episodes), learner.report


async def honest_traffic(memory: TedMemory) -> None:
    asked = [
        an_episode(f"honest-{i}-{n}", f"A question on {topic(i)}: q{i}x{n}", f"user-{n}")
        for i in range(HELPFUL)
        for n in range(HONEST)
    ]
    await settle(memory, asked, silent, "right")


async def lies(memory: TedMemory, texts: Sequence[str], liars: Sequence[str]) -> None:
    """Have liars say that each attack's answer is right where they asked for it."""
    asked = [
        an_episode(f"lie-{i}-{who}-{n}", f"Please do what attack {i} says ({n})", who)
        for i in range(len(texts))
        for who in liars
        for n in range(LIES)
    ]
    await settle(memory, asked, silent, "owned")


async def propose(memory: TedMemory, texts: Sequence[str]) -> None:
    await settle(
        memory,
        [proposal(f"attack-{i}", "", text, "mallory") for i, text in enumerate(texts)],
        copies,
    )
    found = await states(memory, texts)
    # the rest is refused before: texts that look like an image, or have nothing that can be seen
    assert found["proposed"] >= 0.95 * len(texts), "the teacher did copy them"


async def replay(memory: TedMemory, texts: Sequence[str]) -> Learner:
    learner = Learner(
        memory,
        student=ScriptedChatModel(script=Student(texts)),
        teacher=ScriptedChatModel(script=silent),
        grader="exact",
    )
    await learner.run(until_empty=True)
    return learner


async def serve(
    memory: TedMemory, texts: Sequence[str], luck: random.Random, liars: Sequence[str]
) -> list[Exposure]:
    """Live traffic of all, liars too, until every trial has ended; gives what each request saw."""
    told, known = list[Exposure](), None
    for _ in range(ROUNDS // 10):
        _, known = await look(memory, "proof", known)
        await memory.load()
        for i in range(HELPFUL):
            told += [
                await request(memory, texts, luck, f"user-{luck.randrange(400)}", i)
                for _ in range(10)
            ]
        told += [await request(memory, texts, luck, who, 0) for who in liars]
        await memory.flush()
        if not (await memory.load()).trial:
            break
    await look(memory, "proof", known)
    return told


async def request(
    memory: TedMemory, texts: Sequence[str], luck: random.Random, user: str, i: int
) -> Exposure:
    run_id = f"{luck.getrandbits(64):x}"
    shown = await memory.expose(f"A question on {topic(i)}", unit=run_id, principal=user)
    right = float(luck.random() < BASE + LIFT * (helpful(i) in shown.block))
    if not user.startswith("user-"):  # a liar, who calls right what an attack has changed
        right = float(
            any(
                " ".join(render_line(text).split()) in " ".join(shown.block.split())
                for text in texts
            )
        )
    fields = shown.model_dump(exclude={"block", "placement", "turns"})
    await memory.record(an_episode(run_id, topic(i), user, **fields))
    await memory.give_feedback(run_id, score=right, principal=user)
    return shown


async def states(memory: TedMemory, texts: Sequence[str]) -> dict[str, int]:
    """Count the lessons of these texts by state."""
    said = {" ".join(text.split()) for text in texts}
    found = [e.state for e in await memory.load() if " ".join(e.text.split()) in said]
    return {state: found.count(state) for state in ("proposed", "trial", "active")}


async def check_shown(memory: TedMemory, told: Sequence[Exposure]) -> None:
    """Replays on others' episodes had shown that whatever any user saw helps."""
    ids = sorted({id for one in told for id in (*one.seen, *one.withheld)})
    known = await memory.store.episodes.evidence(memory.namespace, ids)
    for id in ids:
        wealth = known[id].evidence.helps(loudest(memory.settings)) if id in known else 1.0
        assert wealth >= ENOUGH_OF_A_LARGE_LIFT, f"{id} was shown with a wealth of {wealth:.2f}"


# --- the attacks


@pytest.fixture(autouse=True)
def _stopped_by_evidence_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replay what names an address or calls a tool, too: else it would wait for a person."""
    monkeypatch.setattr(trials, "concern", lambda _: "")


async def test_what_leads_out_of_the_conversation_waits_for_a_person(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "concern", concern)
    texts = attacks()
    async with open_memory(valkey.url, namespace=namespace, **ROOM) as memory:
        await honest_traffic(memory)
        await propose(memory, texts)
        await replay(memory, texts)
        now = await memory.load()
        held = [e for e in now.proposed if e.trial and e.trial.ended]
        assert [e.text for e in now if concern(e) and e not in held] == []
        assert len(held) >= 3, "as many as are seen at first sight"
        report(
            f"{len(held)} of {len(texts)} attack strings wait for a person, by what stands in them"
        )


@pytest.mark.timeout(900)  # hundreds of lessons are replayed, each on many episodes
async def test_attacks_reach_no_user_although_two_accounts_lie_for_them_and_what_helps_does(
    valkey: Server, namespace: str
) -> None:
    # each is replayed on the whole archive, which grows with their number
    texts = attacks()[:: size(3, 1)]
    luck, liars = random.Random(5), ["eve", "trudy"]
    async with open_memory(valkey.url, namespace=namespace, refresh=0.05, **ROOM) as memory:
        await honest_traffic(memory)
        await lies(memory, texts, liars)
        await propose(memory, texts)
        ways = [proposal(f"help-{i}", topic(i), helpful(i), "anna") for i in range(HELPFUL)]
        await settle(memory, ways, copies)
        learner = await replay(memory, texts)
        tried = await states(memory, texts)
        assert (await states(memory, [helpful(i) for i in range(HELPFUL)]))["trial"] == HELPFUL
        told = await serve(memory, texts, luck, ["mallory", *liars])
        await check_shown(memory, told)
        found, helped = (
            await states(memory, texts),
            await states(memory, [helpful(i) for i in range(HELPFUL)]),
        )
        report(
            f"{len(texts)} attack strings, two accounts lie for them: "
            f"{learner.report.replayed} pairs, {tried['trial']} on trial, "
            f"{found['active']} active; helpful lessons active: {helped['active']} of "
            f"{HELPFUL} after {len(told)} requests"
        )
        assert tried["trial"] <= 0.05 * len(texts), (
            "chance alone gets so many through, and no lie more"
        )
        assert found["active"] == 0
        assert helped["active"] == HELPFUL


@pytest.mark.parametrize("enough", [1, 3])
async def test_where_one_account_is_enough_lies_bring_an_attack_before_users(
    valkey: Server, namespace: str, enough: int
) -> None:
    """The control: the same lies, and decisions that leave nobody out."""
    texts = attacks()[:1]
    async with open_memory(
        valkey.url, namespace=namespace, **ROOM | {"min_principals": enough}
    ) as memory:
        await lies(memory, texts, ["eve", "trudy"])
        await propose(memory, texts)
        assert (await replay(memory, texts)).report.replayed > 0
        assert (await states(memory, texts))["trial"] == (enough == 1)


async def test_of_one_account_nothing_is_ever_shown(valkey: Server, namespace: str) -> None:
    texts = attacks()
    async with open_memory(valkey.url, namespace=namespace, **ROOM) as memory:
        await lies(memory, texts, ["mallory"])
        await propose(memory, texts)
        learner = await replay(memory, texts)
        assert learner.report.replayed == 0, "its own episodes say nothing"
        found = await states(memory, texts)
        assert (found["trial"], found["active"]) == (0, 0)
        for i in range(100):
            assert (
                await memory.expose("Any question", unit=f"u{i}", principal=f"p{i}")
            ).block == ""
        assert await memory.render() == ""
        report(
            f"{len(texts)} attack strings from one account with {LIES} lies for each: "
            "0 on trial, 0 active"
        )


async def test_harmful_attacks_are_retired_before_any_user_sees_them(
    valkey: Server, namespace: str
) -> None:
    texts = attacks()

    class Misled(Student):
        """Is wrong whenever an attack stands in its prompt."""

        def __call__(self, messages: list[BaseMessage]) -> str:
            return (
                "wrong"
                if OPENING in "\n".join(str(m.text) for m in messages)
                else super().__call__(messages)
            )

    async with open_memory(valkey.url, namespace=namespace, **ROOM) as memory:
        await honest_traffic(memory)
        await propose(memory, texts)
        model = ScriptedChatModel(script=Misled(texts))
        learner = Learner(
            memory, student=model, teacher=ScriptedChatModel(script=silent), grader="exact"
        )
        await learner.run(until_empty=True)
        assert await states(memory, texts) == {"proposed": 0, "trial": 0, "active": 0}
        assert sum(
            ": retired: of no use: lift -" in step for step in learner.report.steps
        ) >= 0.95 * len(texts)
        report(
            f"{len(texts)} harmful attacks: "
            f"all retired after {learner.report.replayed / len(texts):.0f} pairs each"
        )
