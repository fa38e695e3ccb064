"""Recording through memories that share connections: it does not matter which is closed first."""

from ted_memory import open_memory
from ted_memory.episodes import Episode
from tests.conftest import Server


async def test_closing_one_memory_sends_what_was_recorded_through_the_others(
    valkey: Server, namespace: str
) -> None:
    memory = open_memory(valkey.url, namespace=namespace)
    for i in range(3):  # nobody holds these
        await memory.for_namespace(f"{namespace}-other").record(Episode(run_id=f"run-{i}"))
    assert memory.for_namespace(f"{namespace}-other").health().buffered == 3
    assert memory.health().buffered == 0
    await memory.aclose()
    async with open_memory(valkey.url, namespace=f"{namespace}-other") as other:
        assert (await other.store.episodes.traffic(other.namespace)).waiting == 3
