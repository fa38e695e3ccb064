"""For users' tests and ours: a memory without a server, chat models that follow a script, a scripted HTTP server."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from ted_memory.memory import TedMemory
from ted_memory.models import check_namespace
from ted_memory.retrieval.protocol import Retriever
from ted_memory.settings import make_settings
from ted_memory.storage.in_memory import InMemoryStore

Script = Callable[[list[BaseMessage]], str]
"""From the messages of a call to the text of the answer."""


def in_memory(
    *,
    namespace: str = "test",
    store: InMemoryStore | None = None,
    retriever: Retriever | None = None,
    **settings: Any,
) -> TedMemory:
    """Return a memory that ends with the process. Share a `store` to play several processes."""
    made = make_settings(namespace=namespace, **settings)
    return TedMemory(store or InMemoryStore(), made, check_namespace(namespace), retriever=retriever)


class ScriptedChatModel(BaseChatModel):
    """A chat model that answers what a function says, and keeps what it was asked.

    ``script`` may raise. Structured output is not supported, as with many small models: the caller must ask in words.
    ``delay``: seconds that an asynchronous call takes.
    """

    script: Script
    name_told: str = "scripted"
    delay: float = 0.0
    asked: list[list[BaseMessage]] = Field(default_factory=list)
    """The messages of every call so far."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def model_name(self) -> str:
        """What reports call it."""
        return self.name_told

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        self.asked.append(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=self.script(messages)))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        await asyncio.sleep(self.delay)
        return self._generate(messages, stop, None, **kwargs)


@dataclass
class Reply:
    """What the scripted server answers to one request."""

    text: str = ""
    status: int = 200
    finish_reason: str = "stop"
    delay: float = 0.0
    """Seconds before it answers."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class ScriptedServer:
    """An OpenAI-compatible server on loopback that answers what a function of the request's JSON says."""

    script: Callable[[dict[str, Any]], Reply | str]
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The JSON bodies of all requests so far."""
    base_url: str = ""
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["ScriptedServer"]:
        """Listen on a free port; ``base_url`` is for any OpenAI client."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        try:
            yield self
        finally:
            server.close()
            open_ones = set(self._open)  # clients keep their connections for later
            for connection in open_ones:
                connection.cancel()
            if open_ones:
                await asyncio.wait(open_ones)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a connection is served in a task of its own
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if ": " in line)
                body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
                self.requests.append(body)
                scripted = self.script(body)
                reply = Reply(text=scripted) if isinstance(scripted, str) else scripted
                await asyncio.sleep(reply.delay)
                writer.write(_http(reply, body))
                await writer.drain()
        writer.close()


def _http(reply: Reply, request: Mapping[str, Any]) -> bytes:
    if reply.status == 200:
        body: dict[str, Any] = {
            "id": "scripted",
            "object": "chat.completion",
            "created": 0,
            "model": request.get("model", "scripted"),
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": reply.text},
                    "finish_reason": reply.finish_reason,
                }
            ],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
    else:
        body = {"error": {"message": reply.text or "scripted failure", "type": "scripted", "code": None}}
    content = json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {reply.status} Scripted",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *(f"{name}: {value}" for name, value in reply.headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


async def wait_until(
    condition: Callable[[], bool | Awaitable[bool]], *, timeout: float = 10.0, what: str = "the condition"
) -> None:
    """Return as soon as a condition holds; look every 10 ms.

    Raises:
        TimeoutError: it did not hold within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come about within {timeout} s")
        await asyncio.sleep(0.01)


def asked_for_edits(messages: Sequence[BaseMessage]) -> bool:
    """Tell whether a call is the critic's, and not the teacher solving: its prompt names the JSON keys."""
    return '"edits"' in str(messages[0].content)
