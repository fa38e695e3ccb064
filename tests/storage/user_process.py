"""Another process with an embedded memory: commits a lesson, says so, stays until input ends.

Usage: python user_process.py HOME TEXT
"""

import asyncio
import sys

from ted_memory import Add, open_memory


async def main(home: str, text: str) -> None:
    async with open_memory(home=home, namespace="shared") as memory:
        commit = await memory.commit([Add(text=text)], author="another process")
        print(commit.version, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
