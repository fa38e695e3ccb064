"""How many tasks a second docket's worker does that write one key each. Prints JSON."""

import asyncio
import datetime
import json
import time
import uuid

import redis.asyncio
from docket import Docket, Worker
from server import server

TASKS = 2000


async def main() -> None:
    """Add the tasks, and let a worker do them."""
    with server() as url:
        client = redis.asyncio.Redis.from_url(url)

        async def write(i: int) -> None:
            await client.set(f"done:{i}", "1")

        async with Docket(name=f"bench-{uuid.uuid4()}", url=url) as docket:
            docket.register(write)
            for i in range(TASKS):
                await docket.add(write)(i)
            # its pauses between looks at the queue are its default for another kind of work
            pause = datetime.timedelta(milliseconds=5)
            async with Worker(
                docket, minimum_check_interval=pause, scheduling_resolution=pause
            ) as worker:
                began = time.perf_counter()
                await worker.run_until_finished()
                seconds = time.perf_counter() - began
        await client.aclose()
    print(json.dumps({"docket": TASKS / seconds}))


if __name__ == "__main__":
    asyncio.run(main())
