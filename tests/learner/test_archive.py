"""Graded episodes as a data set: what they are worth as samples, and whose words they hold."""

from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import TedMemory
from ted_memory.distill import distill
from ted_memory.errors import InvalidInput
from ted_memory.learner import Learner, archived_samples
from ted_memory.testing import in_memory
from tests.distill.scripts import (
    CODES,
    critique,
    one_pass,
    prompt_of,
    right_lesson,
    sample,
    samples,
    student,
    teacher,
    thing_in,
)
from tests.learner.worlds import episode


async def archive(memory: TedMemory, *runs: tuple[str, str, dict[str, Any]]) -> None:
    """Let principals ask for things and speak about the answers, and a learner settle that."""
    made = [
        episode(thing, principal=who, run_id=f"{thing}-{who}", answer="c001")
        for thing, who, _ in runs
    ]
    for one in made:
        await memory.record(one)
        await memory.flush()
    for one, (_, who, said) in zip(made, runs, strict=True):
        await memory.give_feedback(one.run_id, **{"principal": who, "reviewer": True, **said})
    await Learner(memory, teacher=teacher(), replay="none").run(until_empty=True)


async def test_an_archived_episode_is_a_sample_with_what_was_right_there(namespace: str) -> None:
    memory = in_memory(namespace=namespace)
    await archive(
        memory,
        ("apples", "anna", {"score": 0.0, "correction": "c000"}),
        ("bananas", "bert", {"score": 1.0}),
        ("cherries", "carl", {"score": 0.0}),
        ("dates", "dora", {"correction": "c003", "principal": "boss"}),
    )
    found = {one.id: one for one in await archived_samples(memory)}
    assert list(found) == ["apples-anna", "bananas-bert", "dates-dora"], (
        "nobody knows what is right elsewhere"
    )
    assert {one.reference for one in found.values()} == {"c000", "c001", "c003"}
    assert "the code of apples?" in found["apples-anna"].text
    assert found["apples-anna"].sources == ("run:apples-anna", "principal:anna")
    assert found["dates-dora"].sources == ("run:dates-dora", "principal:dora", "principal:boss")


async def test_the_newest_samples_or_those_up_to_a_run_can_be_taken(namespace: str) -> None:
    memory = in_memory(namespace=namespace)
    with pytest.raises(InvalidInput, match="no graded episode of"):
        await archived_samples(memory)
    await archive(
        memory, *((thing, "anna", {"correction": CODES[thing]}) for thing in list(CODES)[:4])
    )

    async def taken(**how: Any) -> list[str]:
        return [one.id.removesuffix("-anna") for one in await archived_samples(memory, **how)]

    assert await taken() == ["apples", "bananas", "cherries", "dates"]
    assert await taken(limit=2) == ["cherries", "dates"]
    assert await taken(up_to="cherries-anna") == ["apples", "bananas", "cherries"]
    assert await taken(up_to="cherries-anna", limit=1) == ["cherries"]
    with pytest.raises(InvalidInput, match="run 'figs-anna' is not in the archive"):
        await archived_samples(memory, up_to="figs-anna")


def imitates(messages: list[BaseMessage]) -> str:
    """Follow no rule; see what an example does, and do the same."""
    thing = thing_in(str(messages[-1].text))
    return (
        CODES[thing] if f"code of {thing}? => {CODES[thing]}" in prompt_of(messages) else "no idea"
    )


@pytest.mark.parametrize("sources", [(), ("principal:anna",)])
async def test_what_a_user_wrote_becomes_no_example_for_everybody(
    namespace: str,
    sources: tuple[str, ...],
) -> None:
    memory = in_memory(namespace=namespace, trust="always", profile="small", selection="all")
    given = sample("apples", sources=sources)
    await one_pass(memory, given, student=student(imitates), teacher=teacher())
    examples = [e.example for e in await memory.load() if e.example]
    assert bool(examples) is not bool(sources)


async def test_a_lesson_from_several_samples_carries_the_sources_of_all(namespace: str) -> None:
    memory = in_memory(
        namespace=namespace, trust="always", critique_batch=3, concurrency=1, validation=0
    )
    given = [one.model_copy(update={"sources": (f"principal:{one.id}",)}) for one in samples(1, 3)]
    late = iter([False, False, True])
    teaching = teacher(lambda m: right_lesson([m[0], m[-1]]) if next(late, True) else critique())
    await distill(given, student=student(), teacher=teaching, memory=memory)
    [lesson] = await memory.load()
    assert {source for source in lesson.sources if source.startswith("principal:")} == {
        f"principal:apples-{i}" for i in range(3)
    }
