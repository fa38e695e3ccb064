"""An HTTP server that answers as a provider of models does, by a script."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Reply:
    """What the scripted server answers to one request."""

    text: str = ""
    status: int = 200
    finish_reason: str = "stop"
    delay: float = 0.0
    """Seconds before it answers."""
    headers: Mapping[str, str] = field(default_factory=dict)
    thoughts: str = ""
    """What the model considered: a reasoning item of the Responses API, else
    ``reasoning_content``."""
    code: str | None = None
    """Of an error; ``param`` is the parameter that it is about."""
    param: str | None = None
    kind: str = "scripted"
    calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Tools that the model calls, each with its arguments; Chat Completions only."""


@dataclass(frozen=True)
class Family:
    """What the models of one family refuse, in their provider's words.

    ``names`` is a pattern that their names begin with. ``reasons``: only the default temperature,
    and ``max_completion_tokens`` instead of ``max_tokens``. ``schemas``: takes a JSON schema as
    ``response_format``.
    """

    names: str
    reasons: bool = False
    schemas: bool = True

    def refusal(self, request: Mapping[str, Any]) -> Reply | None:
        """The answer to a request that a model of the family refuses; None: it takes it."""
        if self.reasons and (refusal := _refused_by_reasoning(request)):
            return refusal
        form = request.get("response_format", {}).get("type")
        if form == "json_schema" and not self.schemas:
            return _bad_request(
                "This response_format type is unavailable now", code="invalid_request_error"
            )
        return None


REASONING = Family(r"gpt-5(?!\S*chat)|o\d", reasons=True)
WITHOUT_SCHEMAS = Family("deepseek", schemas=False)
FAMILIES = (REASONING, WITHOUT_SCHEMAS)


@dataclass(frozen=True)
class Provider:
    """What a provider refuses before a model is asked, in the words of the real ones.

    ``models``: the names that it serves, ``key``: the only API key that it takes; empty for any.
    """

    families: Sequence[Family] = FAMILIES
    models: Collection[str] = ()
    key: str = ""

    def refusal(self, request: Mapping[str, Any], key: str) -> Reply | None:
        """The answer to a request that the provider refuses; None: it takes it."""
        name = str(request.get("model", ""))
        if self.key and key != self.key:
            where = "You can find your API key at https://platform.openai.com/account/api-keys."
            return _bad_request(
                f"Incorrect API key provided: {key}. {where}", status=401, code="invalid_api_key"
            )
        if self.models and name not in self.models:
            told = f"The model `{name}` does not exist or you do not have access to it."
            return _bad_request(told, status=404, code="model_not_found")
        family = next((family for family in self.families if re.match(family.names, name)), None)
        return family.refusal(request) if family else None


def _refused_by_reasoning(request: Mapping[str, Any]) -> Reply | None:
    temperature = request.get("temperature")
    if "input" in request and temperature is not None:  # the Responses API takes none at all
        return _bad_request(
            "Unsupported parameter: 'temperature' is not supported with this model.", "temperature"
        )
    if temperature not in {None, 1} and request.get("reasoning_effort") != "none":
        return _bad_request(
            f"Unsupported value: 'temperature' does not support {temperature} with this model. "
            "Only the default (1) value is supported.",
            "temperature",
            code="unsupported_value",
        )
    if "max_tokens" in request:
        return _bad_request(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "max_tokens",
            code="unsupported_parameter",
        )
    return None


def _bad_request(
    text: str, param: str | None = None, *, status: int = 400, code: str | None = None
) -> Reply:
    return Reply(text, status=status, param=param, code=code, kind="invalid_request_error")


@dataclass
class ScriptedServer:
    """An OpenAI-compatible server on loopback that follows a script.

    ``script`` makes the answer of the request's JSON. The server speaks Chat Completions, and
    OpenAI's Responses API to a request that has ``input``. A ``provider`` refuses requests before
    the script sees them.

    It closes each connection after its answer. LangChain keeps one HTTP client for an address for
    as long as the process lives; a connection that it kept would belong to the event loop of an
    earlier test, and fail in a later one whose server got the same port.
    """

    script: Callable[[dict[str, Any]], Reply | str]
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The JSON bodies of all requests so far."""
    base_url: str = ""
    provider: Provider | None = None
    refused: list[Reply] = field(default_factory=list)
    """What the provider refused so far."""
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
            await asyncio.sleep(0.01)  # whoever has connected just now begins
            while open_ones := set(self._open):  # clients that still wait for an answer
                for connection in open_ones:
                    connection.cancel()
                await asyncio.wait(open_ones)
                # sockets are closed by the loop's next turns, which may be its last ones
                await asyncio.sleep(0.01)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a connection is served in a task of its own
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError
        ):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = (
                line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if ": " in line
            )
            headers = {name.lower(): value for name, value in lines}
            body = json.loads(
                await reader.readexactly(int(headers.get("content-length", 0))) or b"{}"
            )
            self.requests.append(body)
            reply = self._reply(body, headers.get("authorization", "").removeprefix("Bearer "))
            await asyncio.sleep(reply.delay)
            writer.write(_http(reply, body))
            await writer.drain()
        writer.close()

    def _reply(self, request: dict[str, Any], key: str) -> Reply:
        if self.provider and (refusal := self.provider.refusal(request, key)):
            self.refused.append(refusal)
            return refusal
        scripted = self.script(request)
        return Reply(text=scripted) if isinstance(scripted, str) else scripted


def _http(reply: Reply, request: Mapping[str, Any]) -> bytes:
    if reply.status != 200:
        error = {
            "message": reply.text or "scripted failure",
            "type": reply.kind,
            "param": reply.param,
        }
        body: dict[str, Any] = {"error": {**error, "code": reply.code}}
    else:
        body = _response(reply, request) if "input" in request else _completion(reply, request)
    content = json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {reply.status} Scripted",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in reply.headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def _completion(reply: Reply, request: Mapping[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text}
    if reply.thoughts:
        message["reasoning_content"] = reply.thoughts
    if reply.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for number, (name, arguments) in enumerate(reply.calls)
        ]
    return {
        "id": "scripted",
        "object": "chat.completion",
        "created": 0,
        "model": request.get("model", "scripted"),
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def _response(reply: Reply, request: Mapping[str, Any]) -> dict[str, Any]:
    """An answer in the shape of OpenAI's Responses API."""
    complete = reply.finish_reason == "stop"
    said = {"type": "output_text", "text": reply.text, "annotations": []}
    summary = [{"type": "summary_text", "text": reply.thoughts}] if reply.thoughts else []
    return {
        "id": "resp_scripted",
        "object": "response",
        "created_at": 0,
        "model": request.get("model", "scripted"),
        "status": "completed" if complete else "incomplete",
        "incomplete_details": None if complete else {"reason": "max_output_tokens"},
        "error": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "output": [
            {"type": "reasoning", "id": "rs_scripted", "summary": summary},
            {
                "type": "message",
                "id": "msg_scripted",
                "role": "assistant",
                "status": "completed" if complete else "incomplete",
                "content": [said],
            },
        ],
        "usage": {
            "input_tokens": 10,
            "output_tokens": 5,
            "total_tokens": 15,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }
