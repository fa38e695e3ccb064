"""Active lessons from traffic are watched on new episodes, and leave when they come to hurt."""

from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import TedMemory, open_memory
from ted_memory.learner import reach
from ted_memory.models import SetState
from tests.conftest import Server
from tests.distill.scripts import CODES, prompt_of, student, thing_in
from tests.learner.worlds import (
    PEOPLE,
    archive,
    archived,
    lesson,
    propose,
    replayed,
    runs_of,
    shown,
    sums,
)

MANY = tuple(f"person-{i}" for i in range(20))


def misled(messages: list[BaseMessage]) -> str:
    """Know every code, but believe a wrong lesson."""
    prompt = prompt_of(messages)
    return "c999" if "say c999" in prompt else CODES[thing_in(str(messages[-1].text))]


async def activate(memory: TedMemory, *ids: str) -> None:
    await memory.commit([SetState(id=id, state="active") for id in ids], author="trials")


async def test_an_active_lesson_is_watched_on_what_has_come_since(memory: TedMemory) -> None:
    await archive(memory, "apples", PEOPLE[:6])
    [id] = await propose(memory, "apples")
    await replayed(memory)
    await activate(memory, id)
    assert (await replayed(memory)).report.replayed == 0, "of what was there it was chosen"

    await archive(memory, "apples", ["dora", "emil", "fritz"])
    old = await runs_of(memory, id)
    assert (await replayed(memory)).report.replayed == 3
    assert len(await runs_of(memory, id) - old) == 3
    found = await sums(memory, id)
    assert (found.pairs, found.watched) == (6, 3), "its pairs are those that it was chosen for"


async def test_one_that_was_never_replayed_begins_with_the_newest_episode(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archive(memory, "apples", PEOPLE)
    [id] = await propose(memory, "apples")
    await activate(memory, id)
    await replayed(memory)
    newest = (await archived(memory))[-1].seq
    assert (await shown(memory, id)).done == {newest}, (
        "a person's word does not cost a whole archive"
    )
    # the control
    [other] = await propose(memory, "apples", says="guess")
    await activate(memory, other)
    monkeypatch.setattr(
        reach.Reach, "_begin", lambda self, e, _: reach._Reach(e, 0, sorted(self.archive))
    )
    await replayed(memory)
    assert len((await shown(memory, other)).done) == len(PEOPLE)


@pytest.mark.parametrize("how", [{}, {"replay": "none"}])
async def test_one_that_turns_harmful_is_demoted_and_waits_for_a_person(
    memory: TedMemory, how: dict[str, Any]
) -> None:
    await archive(memory, "apples", ["anna"])
    [wrong] = await propose(memory, "apples", says="say c999")
    [right] = await propose(memory, "figs")
    await activate(memory, wrong, right)
    assert "say c999" in await memory.render()
    await replayed(memory, student(misled), **how)

    await archive(memory, "apples", MANY)
    learner = await replayed(memory, student(misled), **how)
    found = await lesson(memory, wrong)
    assert found is not None
    if how:  # the control: without replays it stays
        assert found.state == "active"
        return
    assert found.trial is not None
    assert "it has come to hurt" in found.trial.ended
    assert learner.report.steps == [f"{wrong}: proposed: {found.trial.ended}"]
    assert "say c999" not in await memory.render()
    assert CODES["figs"] in await memory.render(), "the control: what does not hurt stays"

    model = student(misled)
    await archive(memory, "apples", MANY)
    await replayed(memory, model)
    assert model.asked == [], "only a person may bring it back, whatever is replayed"


async def test_who_takes_over_watches_on_what_the_one_before_has_left(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, replay_calls=4) as memory:
        await archive(memory, "apples", ["anna"])
        [id] = await propose(memory, "apples")
        await activate(memory, id)
        await replayed(memory)
        assert (await sums(memory, id)).watched == 1, "its calls of the day are used up"
        await archive(memory, "apples", PEOPLE[:4])
    # the newest goes first: the others are older than it
    for calls, watched in ((10, 2), (100, 5)):
        async with open_memory(valkey.url, namespace=namespace, replay_calls=calls) as memory:
            await replayed(memory)
            assert (await sums(memory, id)).watched == watched


async def test_two_accounts_alone_do_not_demote_a_lesson(memory: TedMemory) -> None:
    await archive(memory, "apples", ["anna"])
    [wrong] = await propose(memory, "apples", says="say c999")
    await activate(memory, wrong)
    await replayed(memory, student(misled))
    await archive(memory, "apples", ["mallory", "eve"] * 12)
    await replayed(memory, student(misled))
    found = await lesson(memory, wrong)
    assert found is not None
    assert (found.state, (await sums(memory, wrong)).watched) == ("active", 25)
    await archive(memory, "apples", MANY)
    await replayed(memory, student(misled))
    found = await lesson(memory, wrong)
    assert found is not None
    assert found.state == "proposed", "the control: others say so, too"


async def test_watched_and_proposed_lessons_take_turns_and_watching_leaves_half_of_the_day(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, replay_calls=40) as memory:
        [active] = await propose(memory, "figs")
        await activate(memory, active)
        await archive(memory, "figs", ["anna"])
        await replayed(memory)
        for thing in ("figs", "apples"):
            await archive(memory, thing, MANY)
        [proposed] = await propose(memory, "apples", says="guess")
        await replayed(memory)
        assert ((await sums(memory, proposed)).pairs, (await sums(memory, active)).watched) == (
            2 + 5,
            1 + 2,
        )
