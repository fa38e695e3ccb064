"""One memory in several event loops, several memories over one store."""

import asyncio
import gc

import pytest

from ted_memory import Add, TedMemory, open_memory
from ted_memory.testing import wait_until
from tests.conftest import Server


async def add(memory: TedMemory, text: str) -> None:
    assert (await memory.commit([Add(text=text)], author="me")).applied


async def texts(memory: TedMemory) -> list[str]:
    return [e.text for e in await memory.load()]


# nobody can close a connection whose loop has ended: it goes with a ResourceWarning
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_one_memory_serves_two_event_loops_one_after_the_other(
    valkey: Server, namespace: str
) -> None:
    memory = open_memory(valkey.url, namespace=namespace)

    async def use(text: str) -> str:
        await add(memory, text)
        return await memory.render()

    assert "- One.\n" in asyncio.run(use("One."))
    assert "- One.\n- Two.\n" in asyncio.run(use("Two."))
    asyncio.run(memory.aclose())
    gc.collect()


async def test_one_memory_serves_two_event_loops_at_the_same_time(memory: TedMemory) -> None:
    async def use(number: int) -> str:
        for i in range(5):
            await add(memory, f"Lesson {number}.{i}.")
        return await memory.render()

    def use_elsewhere() -> str:
        async def use_and_close() -> str:
            block = await use(2)
            await memory.store._clients.get().aclose()  # this loop ends here
            return block

        return asyncio.run(use_and_close())

    here, elsewhere = await asyncio.gather(use(1), asyncio.to_thread(use_elsewhere))
    assert "- Lesson 1.4.\n" in here
    assert "- Lesson 2.4.\n" in elsewhere
    assert len(await memory.load()) == 10


async def test_what_another_process_commits_is_seen_within_the_refresh(
    valkey: Server, namespace: str
) -> None:
    async with (
        open_memory(valkey.url, namespace=namespace) as writer,
        open_memory(valkey.url, namespace=namespace, refresh=0.01) as reader,
    ):
        await add(writer, "One.")

        async def seen() -> bool:
            return "One." in await reader.render()

        await wait_until(seen, timeout=2)
        assert reader.health().failed_reads == 0


async def test_memories_of_two_namespaces_share_their_connections_and_nothing_else(
    memory: TedMemory,
) -> None:
    other = memory.for_namespace(f"{memory.namespace}.billing")
    assert other.store is memory.store
    await add(memory, "One.")
    await add(other, "Two.")
    assert (await texts(memory), await texts(other)) == (["One."], ["Two."])
    assert "One." not in await other.render()
