"""An endpoint for Prometheus: answers ``GET /metrics``, and nothing else.

It is served by the loop of whoever opens it, so that it needs no web server. Whatever becomes of a
request, the work beside it goes on.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from ted_memory.cli.output.terminal import one_line
from ted_memory.errors import InvalidInput, StoreError

PATH = "/metrics"
PATIENCE = 5.0  # seconds that a client may take to ask, or to take its answer
LONGEST_HEAD = 16_384  # bytes

Read = Callable[[], Awaitable[str]]
"""Writes the metrics of now. Raises StoreError."""


@contextlib.asynccontextmanager
async def serving(read: Read, host: str, port: int) -> AsyncIterator[int]:
    """Serve metrics while the block runs; give the port, which is a free one for port 0.

    Raises:
        InvalidInput: the port cannot be used; the block has not begun.
    """
    under_way: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(_converse(reader, writer, read))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    try:
        server = await asyncio.start_server(connected, host, port, limit=LONGEST_HEAD)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidInput(
            f"metrics cannot be served at {host}:{port} ({reason}); choose another --metrics-port. "
            "Nothing was begun"
        ) from None
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, read: Read) -> None:
    """Answer one request, and end the connection."""
    try:
        async with asyncio.timeout(PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
        status, body = await _answer(head, read)
        async with asyncio.timeout(PATIENCE):
            writer.write(_response(status, body, has_body=not head.startswith(b"HEAD ")))
            await writer.drain()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # the client has gone, or is none of HTTP's
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _answer(head: bytes, read: Read) -> tuple[str, str]:
    """Choose the status and the body for the head of a request."""
    method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    if method not in {"GET", "HEAD"}:
        return "405 Method Not Allowed", "only GET\n"
    if rest.partition(" ")[0].partition("?")[0] != PATH:
        return "404 Not Found", f"see {PATH}\n"
    try:
        return "200 OK", await read()
    except StoreError as error:
        return "503 Service Unavailable", f"{one_line(str(error))}\n"
    except Exception as error:  # noqa: BLE001 - a scrape that fails stops nothing
        return "500 Internal Server Error", f"{type(error).__name__}\n"


def _response(status: str, body: str, *, has_body: bool) -> bytes:
    data = body.encode()
    head = (
        f"HTTP/1.1 {status}\r\n"
        "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        f"Content-Length: {len(data)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (data if has_body else b"")
