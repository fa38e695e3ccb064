"""A proxy in front of a real server that can swallow one reply: the command took effect, its sender can't know."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """Forwards bytes. Once told to `swallow`, it cuts the connection in place of the next reply to that command."""

    port: int
    to_port: int
    lost: int = 0
    _victim: bytes = b""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def swallow(self, command: str) -> None:
        """Lose the next reply to a request that holds this word."""
        self._victim = command.encode()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while request := await reader.read(1 << 20):
                loses = bool(self._victim) and self._victim in request
                to_writer.write(request)
                reply = await to_reader.read(1 << 20)
                if loses:
                    self._victim = b""
                    self.lost += 1
                    break
                writer.write(reply)
        writer.close()
        to_writer.close()
        self._tasks.discard(task)

    async def aclose(self) -> None:
        """Cut all connections."""
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks)


@contextlib.asynccontextmanager
async def proxy(to_port: int) -> AsyncIterator[Proxy]:
    """Run a proxy on a free port."""
    made = Proxy(port=0, to_port=to_port)
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.aclose()
