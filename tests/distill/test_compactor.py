"""The set stays small, whatever the models say."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage

from ted_memory import Add, Merge, Remove, Rewrite, TedMemory, open_memory
from ted_memory.distill import distill
from ted_memory.distill.merging import coherent, keeps
from ted_memory.distill.nodes.compactor import make_room, trusted
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.models import Experience, Usage
from ted_memory.settings import make_settings
from ted_memory.testing import in_memory
from tests.conftest import Server
from tests.distill.scripts import calls_of, one_pass, sample, samples, student, teacher, texts_of


def boom(_messages: list[BaseMessage]) -> str:
    raise RuntimeError("the model fell over")


def removes_all(messages: list[BaseMessage]) -> str:
    ids = [line.split(" ")[0] for line in str(messages[1].content).splitlines() if "(lift" in line]
    edits: list[Any] = [{"op": "remove", "ids": [id], "when": "", "text": ""} for id in ids]
    return json.dumps({"reason": "less is more", "edits": edits})


COMPACTORS: dict[str, Callable[[list[BaseMessage]], str]] = {
    "fails": boom,
    "talks": lambda _: "I would keep them all!",
    "removes all": removes_all,
    "does nothing": lambda _: '{"reason": "fine", "edits": []}',
}


@pytest.mark.parametrize("says", COMPACTORS.values(), ids=COMPACTORS)
async def test_the_caps_hold_after_every_commit(
    valkey: Server, namespace: str, says: Callable[[list[BaseMessage]], str]
) -> None:
    async with open_memory(
        valkey.url, namespace=namespace, max_experiences=3, validation=0.0
    ) as memory:
        report = await distill(
            samples(12, 1),
            student=student(),
            teacher=teacher(compactor=says),
            memory=memory,
            name="codes",
        )
        assert report.learned == 12
        assert 1 <= len((await memory.load()).active) <= 3
        assert report.experiences.active <= 3


@pytest.mark.parametrize("says", COMPACTORS.values(), ids=COMPACTORS)
async def test_a_lesson_that_a_cap_keeps_out_gets_the_room_of_the_least_useful(
    namespace: str, says: Callable[[list[BaseMessage]], str]
) -> None:
    memory = in_memory(namespace=namespace, trust="always", max_experiences=3, shown_share=1.0)
    await memory.commit([Add(text=f"Lesson {i}.") for i in range(3)], author="me")
    first, second, third = await memory.load()
    lifts = {first.id: 9.0, second.id: -9.0, third.id: 0.0}
    usage = {id: Usage(weight=10.0, weighted_difference=lift) for id, lift in lifts.items()}
    await memory.credit(usage, token="t")
    # usage is read with a commit
    await memory.commit([Rewrite(id=third.id, text="Lesson three.")], author="me")
    out = await one_pass(
        memory, sample("apples"), student=student(), teacher=teacher(compactor=says)
    )
    texts = await texts_of(memory)
    assert out["status"] == "learned"
    assert "say c000" in texts
    assert "Lesson 0." in texts
    assert "Lesson 1." not in texts
    assert len(texts) <= 3


async def test_tokens_are_capped_like_numbers(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", token_budget=FRAME_TOKENS + 40)
    await memory.commit([Add(text=f"Lesson {i} " + "x" * 60) for i in range(2)], author="me")
    await one_pass(memory, sample("apples"), student=student(), teacher=teacher())
    active = (await memory.load()).active
    assert "say c000" in [e.text for e in active]
    assert FRAME_TOKENS + sum(e.tokens for e in active) <= FRAME_TOKENS + 40


async def test_it_also_runs_every_so_many_commits(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", compact_every=3)
    tidies = teacher(compactor=COMPACTORS["does nothing"])
    for i, thing in enumerate(("apples", "bananas", "cherries", "dates"), 1):
        await one_pass(memory, sample(thing), student=student(), teacher=tidies)
        assert calls_of(tidies, "compactor") == i // 3


async def _eight() -> Any:
    memory = in_memory(namespace="eight")
    await memory.commit(
        [Add(text=f"say {i}", when=f"asked about thing {i}") for i in range(8)], author="me"
    )
    return await memory.load()


async def test_at_most_a_quarter_goes_on_a_models_word() -> None:
    snapshot = await _eight()
    ids = [e.id for e in snapshot]
    assert trusted([Remove(id=id) for id in ids], snapshot, words_kept=True) == [
        Remove(id=id) for id in ids[:2]
    ]
    triple = Merge(ids=tuple(ids[:3]), text="say 0, 1, 2", when="asked about a thing")
    assert trusted([triple, Remove(id=ids[5])], snapshot, words_kept=True) == [triple]
    assert (
        trusted([Merge(ids=tuple(ids[:4]), text="say 0, 1, 2, 3")], snapshot, words_kept=True) == []
    )
    assert (
        len(trusted([Rewrite(id=id, text="Better.") for id in ids], snapshot, words_kept=True)) == 8
    )
    assert trusted(
        [Remove(id=ids[0]), Rewrite(id=ids[0], text="No.")], snapshot, words_kept=True
    ) == [Remove(id=ids[0])]


async def test_a_quarter_is_one_of_the_lessons_whatever_solved_tasks_stand_beside_them() -> None:
    memory = in_memory(namespace="beside")
    lessons = [Add(text=f"say {i}", when=f"asked about thing {i}") for i in range(8)]
    tasks = [
        Add(text="So.", when=f"thing {i}", task=f"What is thing {i}?", example=f"{i}")
        for i in range(40)
    ]
    await memory.commit([*lessons, *tasks], author="me")
    snapshot = await memory.load()
    ids = [e.id for e in snapshot if not e.task]
    assert trusted([Remove(id=id) for id in ids], snapshot, words_kept=True) == [
        Remove(id=id) for id in ids[:2]
    ]


async def test_lessons_about_different_things_are_not_merged(scratch: TedMemory) -> None:
    whens = (
        "refunds are asked for",
        "a refund is late",
        "the screen is black",
        "it rains",
        "it snows",
        "a cat mews",
    )
    await scratch.commit([Add(text=f"say {i}", when=w) for i, w in enumerate(whens)], author="me")
    snapshot = await scratch.load()
    late, soon, black = snapshot.experiences[:3]
    assert coherent([late, soon], snapshot.active)
    assert not coherent([late, black], snapshot.active)
    assert not coherent([late, soon, black], snapshot.active)
    assert (
        trusted([Merge(ids=(late.id, black.id), text="say 0 and 2")], snapshot, words_kept=True)
        == []
    )
    assert (
        len(trusted([Merge(ids=(late.id, soon.id), text="say 0 and 1")], snapshot, words_kept=True))
        == 1
    )


async def test_words_that_all_lessons_share_make_no_two_of_them_alike(scratch: TedMemory) -> None:
    things = ("refunds", "bikes", "parcels", "jobs", "theft", "old bikes")
    whens = [f"a customer asks about {thing}" for thing in things]
    await scratch.commit([Add(text="answer team L.", when=when) for when in whens], author="me")
    snapshot = await scratch.load()
    refunds, bikes, *_, old_bikes = snapshot.experiences
    assert not coherent([refunds, bikes], snapshot.active)
    assert coherent([bikes, old_bikes], snapshot.active)
    assert coherent([refunds, bikes], [refunds, bikes]), (
        "the control: of two alone nobody knows what all share"
    )


async def test_a_merge_loses_nothing_that_one_of_its_parents_knew(scratch: TedMemory) -> None:
    said = (
        ("bikes, theft", "L"),
        ("bikes, rental", "X"),
        ("bikes, hire", "X"),
        ("parcel", "Q"),
        ("refund", "K"),
    )
    await scratch.commit(
        [Add(text=f"answer team {team}.", when=w) for w, team in said], author="me"
    )
    snapshot = await scratch.load()
    theft, rental, hire = [e.id for e in snapshot][:3]

    def merged(*ids: str) -> list[Any]:
        return trusted(
            [Merge(ids=ids, when="bikes", text="answer team X.")], snapshot, words_kept=True
        )

    assert merged(theft, rental) == []
    assert len(merged(rental, hire)) == 1


@given(st.text(), st.text())
def test_a_text_keeps_itself_whatever_else_there_is(text: str, other: str) -> None:
    lessons = [
        Experience(id=f"e{i}", text=t or "-", tokens=1)
        for i, t in enumerate((text, other, "x", "y"))
    ]
    assert keeps(text, f"{other} {text}", lessons)


async def test_a_rewrite_about_something_else_is_not_trusted() -> None:
    snapshot = await _eight()
    first = snapshot.experiences[0]
    assert (
        trusted(
            [Rewrite(id=first.id, when="the moon is full", text="Howl.")], snapshot, words_kept=True
        )
        == []
    )
    assert (
        len(
            trusted(
                [Rewrite(id=first.id, when="asked about a thing", text="say so")],
                snapshot,
                words_kept=True,
            )
        )
        == 1
    )


async def test_no_room_is_made_where_there_is_room() -> None:
    snapshot = await _eight()
    assert make_room([], [Add(text="One more.")], snapshot, make_settings()) == []
