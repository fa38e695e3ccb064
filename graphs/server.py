"""``http.app`` of langgraph.json: the one memory of all graphs is closed when the server ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette

from graphs.deployed import close_memory
from ted_memory.memory import flush_recorded


@contextlib.asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncIterator[None]:
    yield
    # the signal that ends the server leaves it no other moment
    await asyncio.to_thread(flush_recorded)
    await close_memory()


app = Starlette(lifespan=_lifespan)
