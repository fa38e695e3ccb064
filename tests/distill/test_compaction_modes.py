"""What goes first when a cap presses, in each mode of compaction.

One process at a time asks its model, and merges can be undone.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Add, TedMemory
from ted_memory.distill import distill
from ted_memory.distill.nodes.compactor import LEASE
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.models import Usage
from ted_memory.settings import Compaction
from ted_memory.testing import Script, in_memory
from tests.distill.scripts import (
    SlowChatModel,
    calls_of,
    one_pass,
    role,
    sample,
    samples,
    student,
    teacher,
    texts_of,
)

MODES: tuple[Compaction, ...] = ("utility", "count", "age", "none")


def ids_in(messages: Sequence[BaseMessage]) -> list[str]:
    return [line.split(" ")[0] for line in str(messages[1].content).splitlines() if "(lift" in line]


def answer(*edits: dict[str, Any]) -> str:
    return json.dumps({"reason": "tidy", "edits": edits})


def boom(_messages: list[BaseMessage]) -> str:
    raise RuntimeError("the model fell over")


def removes_all(messages: list[BaseMessage]) -> str:
    return answer(*({"op": "remove", "ids": [id]} for id in ids_in(messages)))


def merges_all(messages: list[BaseMessage]) -> str:
    return answer(
        {"op": "merge", "ids": ids_in(messages)[:8], "when": "anything", "text": "Do it all."}
    )


def says_fine(_messages: list[BaseMessage]) -> str:
    return answer()


SAYS: dict[str, Script] = {
    "fails": boom,
    "talks": lambda _: "I would keep them all!",
    "removes all": removes_all,
    "merges all": merges_all,
    "nothing": says_fine,
}

# name -> estimated lift (times weight), how often the critic said that it helped; the oldest first
FOUR = {"Old.": (9.0, 1), "Harmful.": (-9.0, 5), "Uncited.": (4.0, 0), "New.": (0.0, 2)}


async def full(mode: Compaction, **settings: Any) -> TedMemory:
    """Return a memory that has no room left."""
    memory = in_memory(
        trust="always", max_experiences=4, shown_share=1.0, compaction=mode, **settings
    )
    await memory.commit([Add(text=text) for text in FOUR], author="me")
    usage = {
        e.id: Usage(weight=10, weighted_difference=FOUR[e.text][0], helped=FOUR[e.text][1])
        for e in await memory.load()
    }
    # usage is read with a commit; a proposed lesson takes no room
    await memory.commit([Add(text="Waiting.", state="proposed")], author="me", usage=usage)
    return memory


async def learns(memory: TedMemory, says: Script = says_fine) -> tuple[dict[str, Any], int]:
    """Learn one lesson more; return what came of it, and how often the compactor was asked."""
    asked = teacher(compactor=says)
    out = await one_pass(memory, sample("apples"), student=student(), teacher=asked)
    return out, calls_of(asked, "compactor")


async def removed(memory: TedMemory) -> list[str]:
    """Return the texts that the last version took out, in that order."""
    [entry] = await memory.log(1)
    gone = [change for change in entry.changes if change.edit.op == "remove"]
    return [change.before[0].text for change in gone]


@pytest.mark.parametrize(
    ("mode", "gone"),
    [
        ("utility", ["Harmful.", "New."]),
        ("count", ["Uncited.", "Old."]),
        ("age", ["Old.", "Harmful."]),
    ],
)
async def test_each_mode_lets_another_lesson_go_first(mode: Compaction, gone: list[str]) -> None:
    memory = await full(mode)
    out, asked = await learns(memory)
    assert out["status"] == "learned"
    assert asked == 1
    assert await removed(memory) == gone
    assert set(await texts_of(memory)) == {*FOUR, "say c000"} - set(gone)


async def test_without_compaction_a_full_set_refuses_what_is_new() -> None:
    memory = await full("none", compact_every=1)
    out, asked = await learns(memory, removes_all)
    assert asked == 0
    assert out["refused"] == [{"edit": "add", "reason": "cap"}]
    assert out["status"] != "learned"
    assert await texts_of(memory) == list(FOUR)
    # negative control: the same with compaction asks, and learns
    memory = await full("utility", compact_every=1)
    out, asked = await learns(memory)
    assert (out["status"], asked) == ("learned", 1)


async def test_without_compaction_none_comes_every_so_many_commits_either() -> None:
    asked = {}
    for mode in ("none", "utility"):
        memory, model = (
            in_memory(trust="always", compaction=mode, compact_every=1),
            teacher(compactor=says_fine),
        )
        await one_pass(memory, sample("apples"), student=student(), teacher=model)
        assert await texts_of(memory) == ["say c000"]
        await one_pass(memory, sample("bananas"), student=student(), teacher=model)
        asked[mode] = calls_of(model, "compactor")
    assert asked == {"none": 0, "utility": 1}, "one lesson alone is not worth a question"


@pytest.mark.parametrize("says", SAYS.values(), ids=SAYS)
@pytest.mark.parametrize("mode", MODES)
async def test_the_caps_hold_in_every_mode_whatever_the_model_says(
    mode: Compaction, says: Script
) -> None:
    for caps in ({"max_experiences": 3}, {"token_budget": FRAME_TOKENS + 40}):
        memory = in_memory(validation=0.0, compaction=mode, compact_every=2, **caps)
        asked = teacher(compactor=says)
        report = await distill(samples(8, 1), student=student(), teacher=asked, memory=memory)
        now = await memory.load()
        assert 1 <= len(now.active) <= now.caps.max_experiences
        assert FRAME_TOKENS + sum(e.tokens for e in now.active) <= now.caps.token_budget
        if mode == "none":
            assert calls_of(asked, "compactor") == 0
            assert report.learned == len(now.active), "the first that came, and no other"
        else:
            assert calls_of(asked, "compactor") > 0
            assert report.learned == 8


# --- the lease


async def is_free(memory: TedMemory) -> bool:
    return await memory.store.hold(memory.namespace, LEASE, "somebody", 0)


async def test_while_another_one_compacts_no_model_is_asked_but_room_is_made() -> None:
    memory = await full("utility")
    assert await memory.store.hold(memory.namespace, LEASE, "other", 60)
    out, asked = await learns(memory)
    assert asked == 0
    assert out["status"] == "learned"
    assert await removed(memory) == ["Harmful.", "New."]
    assert not await is_free(memory), "it is still the other's"
    # negative control: once let go, the next one asks
    await memory.store.hold(memory.namespace, LEASE, "other", 0)
    assert (await learns(await full("utility")))[1] == 1


@pytest.mark.parametrize("run", ["", "run:1"])
@pytest.mark.parametrize("says", SAYS.values(), ids=SAYS)
async def test_after_a_compaction_the_lease_is_free_again(says: Script, run: str) -> None:
    memory = await full("utility")
    held: list[bool] = []

    def looks(messages: list[BaseMessage]) -> str:
        held.append(True)
        return says(messages)

    asked = teacher(compactor=looks)
    state = {"run": run} if run else {}
    await one_pass(memory, sample("apples"), student=student(), teacher=asked, **state)
    assert held, "the model was not asked: this shows nothing"
    assert await is_free(memory)


async def at_once(memory: TedMemory) -> int:
    """Let two passes press on the cap together; return how often a compactor was asked."""
    model = SlowChatModel(
        script=teacher(compactor=says_fine).script,
        pause=lambda m: 0.2 if role(m) == "compactor" else 0.0,
    )
    passes = (
        one_pass(memory, sample(t), student=student(), teacher=model) for t in ("apples", "bananas")
    )
    outs = await asyncio.gather(*passes)
    assert [out["status"] for out in outs] == ["learned", "learned"]
    assert len(await texts_of(memory)) <= 4
    assert await is_free(memory)
    return calls_of(model, "compactor")


async def test_two_passes_at_once_ask_one_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await at_once(await full("utility")) == 1
    # negative control: without a lease both ask
    memory = await full("utility")

    async def always(*_: object) -> bool:
        return True

    monkeypatch.setattr(memory.store, "hold", always)
    assert await at_once(memory) == 2


# --- merges


TWINS = ("refunds, late", "refunds, slow")


def merges_the_refunds(messages: list[BaseMessage]) -> str:
    lines = str(messages[1].content).splitlines()
    ids = [line.split(" ")[0] for line in lines if "(lift" in line and "refunds" in line]
    return answer(
        {"op": "merge", "ids": ids, "when": "refunds, late, slow", "text": "answer team R."}
    )


async def with_twins() -> TedMemory:
    memory = in_memory(trust="always", max_experiences=8, shown_share=1.0)
    others = [Add(text=f"answer team {i}.", when=f"thing{i}") for i in range(6)]
    twins = [
        Add(text="answer team R.", when=when, sources=(f"from:{when}", "from:both"))
        for when in TWINS
    ]
    await memory.commit([*twins, *others], author="me")
    return memory


async def test_a_merge_names_its_parents_and_all_their_sources() -> None:
    memory = await with_twins()
    parents = [e.id for e in await memory.load() if e.when in TWINS]
    out, asked = await learns(memory, merges_the_refunds)
    assert (out["status"], asked) == ("learned", 1)
    [merged] = [e for e in await memory.load() if e.when == "refunds, late, slow"]
    assert merged.id not in parents
    assert merged.parents == tuple(parents)
    assert merged.sources == ("from:refunds, late", "from:both", "from:refunds, slow")
    assert not {e.id for e in await memory.load()} & set(parents)
    assert len(await texts_of(memory)) == 8, "the merge made all the room that was needed"


async def test_a_merge_can_be_undone_and_done_again() -> None:
    memory = await with_twins()
    before = {e.id: (e.when, e.text, e.sources, e.parents, e.order) for e in await memory.load()}
    old = (await memory.load()).version
    await learns(memory, merges_the_refunds)
    merged = {e.id: (e.when, e.text, e.sources, e.parents) for e in await memory.load()}
    compacted = (await memory.load()).version
    await memory.rollback(old)
    assert {
        e.id: (e.when, e.text, e.sources, e.parents, e.order) for e in await memory.load()
    } == before
    await memory.rollback(compacted)
    assert {e.id: (e.when, e.text, e.sources, e.parents) for e in await memory.load()} == merged
