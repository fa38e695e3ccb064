"""A server on loopback that breaks in every way on demand, and is a real one while it is well."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Script:
    """What a broken server does with a command.

    ``handshake``: HELLO, AUTH, CLIENT and SELECT are still answered, as a real server in that state
    would. ``cuts``: the connection ends after the reply.
    """

    reply: bytes | None
    handshake: bool = True
    cuts: bool = False


ON_A_CONNECTION = {
    "blackholed": Script(None, handshake=False),
    "silent after the handshake": Script(None),
    "loading": Script(b"-LOADING Redis is loading the dataset in memory\r\n"),
    "out of memory": Script(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"),
    "read only": Script(b"-READONLY You can't write against a read only replica.\r\n"),
    "wants a password": Script(b"-NOAUTH Authentication required.\r\n", handshake=False),
    "forbids": Script(
        b"-NOPERM User default has no permissions to run the 'evalsha_ro' command\r\n"
    ),
    "wrong type": Script(b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
    "busy": Script(
        b"-BUSY Redis is busy running a script. "
        b"You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n"
    ),
    "master down": Script(
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n"
    ),
    "nonsense": Script(b"\x00\xff\x16\x03HTTP/1.1 400 Bad Request\r\n\r\n", handshake=False),
    "nonsense after the handshake": Script(b"*3\r\n:x\r\n$-7\r\n!\r\n"),
    "an answer to something else": Script(b"+OK\r\n"),
    "cut after half a reply": Script(b"*4\r\n$7\r\nchan", cuts=True),
    "silent after half a reply": Script(b"*4\r\n$7\r\nchan"),
    "hangs up": Script(b"", handshake=False, cuts=True),
}
WITHOUT_A_CONNECTION = ("closed port", "full backlog")
WAYS = (*ON_A_CONNECTION, *WITHOUT_A_CONNECTION)
_HANDSHAKE = {b"HELLO", b"AUTH", b"CLIENT", b"SELECT"}


@dataclass
class BreakableServer:
    """Forwards to a real server on `to_port` until it is told to break."""

    to_port: int
    port: int = 0
    script: Script | None = None
    _server: asyncio.Server | None = None
    _connections: set["asyncio.Task[None]"] = field(default_factory=set)
    _full: list[socket.socket] = field(default_factory=list)

    async def listen(self) -> None:
        """Take a port, always the same, and serve."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def be(self, way: str) -> None:
        """Break in this way from now on."""
        self.script = ON_A_CONNECTION.get(way)
        if way in WITHOUT_A_CONNECTION:
            await self.aclose()
        if way == "full backlog":
            self._fill_backlog()

    async def mend(self) -> None:
        """Be a good server again. Connections that were broken stay so."""
        self.script = None
        if self._server is None:
            for one in self._full:
                one.close()
            self._full.clear()
            await self.listen()

    def _fill_backlog(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(0)
        self._full.append(listener)
        for _ in range(4):  # the kernel takes one or two more than it was told
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._full.append(filler)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        from_real, to_real = await asyncio.open_connection("127.0.0.1", self.to_port)
        pump = asyncio.ensure_future(_pump(from_real, writer))
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    name, command = await _command(reader)
                    script = self.script
                    if script is None or (script.handshake and name in _HANDSHAKE):
                        to_real.write(command)
                        continue
                    if script.reply is None:  # this connection is never heard of again
                        await reader.read()
                        break
                    writer.write(script.reply)
                    await writer.drain()
                    if script.cuts:
                        break
        finally:
            pump.cancel()
            await asyncio.wait({pump})
            for end in (writer, to_real):
                end.transport.abort()
            self._connections.discard(task)

    async def aclose(self) -> None:
        """Stop listening and cut all connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in set(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(set(self._connections))
        for one in self._full:
            one.close()
        self._full.clear()
        await asyncio.sleep(0)  # transports close in the loop's next step


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while some := await reader.read(1 << 16):
            writer.write(some)


async def _command(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return the name of the next command, and its bytes."""
    head = await reader.readuntil(b"\r\n")
    raw, words = [head], []
    for _ in range(int(head[1:])):
        length = await reader.readuntil(b"\r\n")
        word = await reader.readexactly(int(length[1:]) + 2)
        raw += [length, word]
        words.append(word[:-2])
    return words[0].upper(), b"".join(raw)


@contextlib.asynccontextmanager
async def breakable(to_port: int) -> AsyncIterator[BreakableServer]:
    """Serve on a free port of loopback in front of a real server."""
    server = BreakableServer(to_port)
    await server.listen()
    try:
        yield server
    finally:
        await server.aclose()
