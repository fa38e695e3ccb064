"""A lesson that waits for replays says what there is to replay it on, or why there is nothing."""

import pytest

from ted_memory import TedMemory
from ted_memory.learner import explain
from ted_memory.testing import in_memory
from tests.learner.worlds import PEOPLE, archive, propose, replayed


@pytest.fixture
def memory(namespace: str) -> TedMemory:
    return in_memory(namespace=namespace)


async def waits_for(memory: TedMemory, id: str) -> str:
    return (await explain(memory, id)).waits_for


async def test_where_nothing_is_archived_it_says_what_would_be(memory: TedMemory) -> None:
    [id] = await propose(memory, "apples")
    said = await waits_for(memory, id)
    assert said.startswith("replays on others' graded episodes: wealth 1 of 20")
    assert (
        "; nothing is archived to replay it on: "
        "episodes are when they are graded and have a reference" in said
    )


async def test_where_it_applies_to_nothing_it_says_so(memory: TedMemory) -> None:
    [id] = await propose(memory, "figs")
    await archive(memory, "apples", PEOPLE[:4])
    assert (await waits_for(memory, id)).endswith(
        "; it applies to none of the 4 archived episodes of others"
    )


async def test_where_no_learner_replays_it_says_so(memory: TedMemory) -> None:
    [id] = await propose(memory, "apples")
    await archive(memory, "apples", PEOPLE[:4])
    said = await waits_for(memory, id)
    assert (
        "; archived episodes are left for it, and nothing was replayed today: a learner does"
        in said
    )
    await replayed(memory)
    assert (await waits_for(memory, id)).endswith(
        "; it was replayed on all archived episodes that it applies to; "
        "new graded ones go on with it"
    )


async def test_what_waits_for_a_person_says_nothing_of_replays(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always")
    [id] = await propose(memory, "apples")
    assert await waits_for(memory, id) == (
        "a person's approval: nothing is replayed here (replay_calls=0, or trust=always)"
    )
