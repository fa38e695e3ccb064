"""Looking back and going back in a long history: `at`, `diff` and `rollback`."""

from typing import Any

from bench.figures import Figure, Measured, middle
from bench.measuring import lessons, times
from ted_memory import Rewrite, TedMemory, open_memory

TITLE = "Going back"
SHORT, LONG = 100, 100_000
AT_ONCE = 32
ROOMY: dict[str, Any] = {"history_versions": 2 * LONG}


async def measure(url: str) -> list[Measured]:
    """Measure each of them to the oldest version, of a short history and of a long one."""
    short, long = await _of(url, SHORT), await _of(url, LONG)
    return [
        Figure(
            f"{name} over {LONG:,} versions",
            long[name],
            "us",
            f"over {SHORT}",
            short[name],
            at_most=3,
        )
        for name in short
    ]


async def _of(url: str, versions: int) -> dict[str, float]:
    async with open_memory(url, namespace=f"back-{versions}", **ROOMY) as memory:
        commit = await memory.commit(lessons(50), author="bench")
        ids = [applied.id for applied in commit.applied]
        await _grow(memory, ids, versions)
        last = (await memory.load()).version
        taken = {
            "at": await times(lambda _: memory.at(2), 3),
            "diff": await times(lambda _: memory.diff(2, last), 3),
            "rollback": await times(lambda _: memory.rollback(2, author="bench"), 1),
        }
    return {name: middle(each) for name, each in taken.items()}


async def _grow(memory: TedMemory, ids: list[str], versions: int) -> None:
    import asyncio

    done = 0
    while done < versions:
        await asyncio.gather(
            *(
                memory.commit([Rewrite(id=ids[i], text=f"Says {done}, {i}.")], author="bench")
                for i in range(min(AT_ONCE, versions - done))
            )
        )
        done += AT_ONCE
