"""A proxy before a real server that spoils replies: the command took effect, unknown to its sender.

Faults:

``cut``     the reply is thrown away and the connection closed
``silent``  the reply is thrown away and the connection stays open; nothing more comes over it
``reset``   as ``cut``, with a RST in place of a FIN
``delay``   the reply comes `pause` seconds late
``drip``    the reply comes one byte at a time
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal

Fault = Literal["cut", "silent", "reset", "delay", "drip"]
Matches = Callable[[list[bytes]], bool]

CHUNK = 1 << 16
_LOSES = ("cut", "silent", "reset")


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Return one whole request or reply, RESP2 or RESP3, as it came.

    Raises:
        asyncio.IncompleteReadError: the other side is gone.
    """
    line = await reader.readuntil(b"\n")
    kind, rest = line[:1], line[1:-2]
    if kind in b"$=!" and int(rest) >= 0:
        return line + await reader.readexactly(int(rest) + 2)
    inside = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}.get(kind, 0) * max(
        0, int(rest) if kind in b"*~>%|" else 0
    )
    frames = [line]
    for _ in range(inside + (kind == b"|")):  # an attribute belongs to the value that follows it
        frames.append(await read_frame(reader))
    return b"".join(frames)


def words(request: bytes) -> list[bytes]:
    """Return the arguments of a request: an array of bulk strings."""
    found, at = [], request.index(b"\n") + 1
    while at < len(request):
        end = request.index(b"\r\n", at)
        size = int(request[at + 1 : end])
        found.append(request[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return found


@dataclass
class Plan:
    """Spoil `times` replies to matching commands: the first, and then each `every`-th."""

    fault: Fault
    matches: Matches
    times: int
    every: int
    seen: int = 0
    pause: float = 0.02

    def strikes(self, request: list[bytes]) -> bool:
        """Count a request; tell whether its reply is to be spoilt."""
        if self.times == 0 or not self.matches(request):
            return False
        self.seen += 1
        if (self.seen - 1) % self.every:
            return False
        self.times -= 1
        return True


@dataclass
class FaultProxy:
    """Forwards requests and replies, and counts both by the command's name."""

    to_port: int
    port: int = 0
    round_trip: float = 0.0
    """Seconds that each reply is on its way."""
    spoilt: int = 0
    """Replies that were spoilt, as planned."""
    lost: int = 0
    """Those of them that never arrived."""
    passed: int = 0
    _plan: Plan | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def spoil(
        self, fault: Fault, *commands: str, key: str = "", times: int = 1, every: int = 1
    ) -> None:
        """Spoil replies to these commands where an argument holds `key`; any earlier plan ends."""
        names = {name.upper().encode() for name in commands}

        def matches(request: list[bytes]) -> bool:
            return request[0].upper() in names and any(key.encode() in word for word in request)

        self._plan = Plan(fault, matches, times, every)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.to_port)
            try:
                await self._forward(reader, writer, from_server, to_server)
            finally:
                to_server.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one side is gone, or the test is over
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        """Send replies back in the order of their requests, which may come several at a time."""
        waiting: deque[Fault | None] = deque()
        due: deque[float] = deque()

        async def replies() -> None:
            while True:
                reply = await read_frame(from_server)
                if reply[:1] == b">":  # a push answers nothing
                    writer.write(reply)
                    continue
                await asyncio.sleep(due.popleft() - time.monotonic())
                if not await self._answer(waiting.popleft(), reply, writer):
                    return

        answering = asyncio.create_task(replies())
        self._tasks.add(answering)  # type: ignore[arg-type]
        try:
            asking = asyncio.create_task(self._requests(reader, to_server, waiting, due))
            await asyncio.wait({answering, asking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answering, asking):
                task.cancel()
            await asyncio.gather(answering, asking, return_exceptions=True)
            self._tasks.discard(answering)

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        waiting: deque[Fault | None],
        due: deque[float],
    ) -> None:
        while True:
            request = await read_frame(reader)
            due.append(time.monotonic() + self.round_trip)
            strikes = self._plan is not None and self._plan.strikes(words(request))
            waiting.append(self._plan.fault if strikes and self._plan else None)
            to_server.write(request)
            await to_server.drain()

    async def _answer(
        self, fault: Fault | None, reply: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        """Pass a reply on, or do what is planned for it; tell whether the connection lives on."""
        self.spoilt += fault is not None
        self.lost += fault in _LOSES
        if fault == "cut":
            return False
        if fault == "reset":
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if fault == "silent":
            await asyncio.Event().wait()  # until the client has had enough of it
        if fault == "delay":
            await asyncio.sleep(self._plan.pause if self._plan else 0)
        for at in range(0, len(reply), 1 if fault == "drip" else len(reply)):
            writer.write(reply[at : at + 1] if fault == "drip" else reply)
            await writer.drain()
            await asyncio.sleep(0)  # else the bytes would leave together
        self.passed += 1
        return True

    async def aclose(self) -> None:
        """Cut all connections."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def fault_proxy(to_port: int) -> AsyncIterator[FaultProxy]:
    """Run a proxy on a free port."""
    made = FaultProxy(to_port)
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0, limit=1 << 26)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.aclose()
