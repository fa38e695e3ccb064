"""A program with two event loops and one model, whose client keeps connections of the first."""

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from aiohttp import web
from langchain_core.messages import BaseMessage, HumanMessage

from ted_memory.llm import calls as calls_module
from ted_memory.llm.calls import Calls
from ted_memory.testing import ScriptedChatModel

ASKED = [HumanMessage("Are you there?")]


@contextlib.contextmanager
def _server_that_keeps_connections() -> Iterator[str]:
    """Serve answers in a thread; connections stay open for the next request, as providers do it."""

    async def answer(_: web.Request) -> web.Response:
        message = {
            "index": 0,
            "message": {"role": "assistant", "content": "here"},
            "finish_reason": "stop",
        }
        return web.json_response(
            {"id": "1", "object": "chat.completion", "model": "m", "choices": [message]}
        )

    ready, stop, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    ports: list[int] = []

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports.append(runner.addresses[0][1])
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield f"http://127.0.0.1:{ports[0]}/v1"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


TWO_LOOPS = """
import asyncio, sys
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from ted_memory.llm.calls import Calls

model = ChatOpenAI(model="m", base_url=sys.argv[1], api_key="none", max_retries=0)

async def ask(count):
    calls = Calls(count)
    asked = (calls.invoke("student", model, [HumanMessage("?")]) for _ in range(count))
    answers = await asyncio.gather(*asked)
    print(*(answer.content for answer, _ in answers))

asyncio.run(ask(24))
asyncio.run(ask(1))  # all that is left of the first loop is in its way
"""


def test_one_model_serves_a_program_that_runs_two_event_loops() -> None:
    """A distillation, then an evaluation: LangChain keeps the first loop's connections."""
    with _server_that_keeps_connections() as url:
        command = [sys.executable, "-c", TWO_LOOPS, url]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["here"] * 25, done.stderr


async def test_a_client_of_another_loop_for_good_fails_as_what_it_is() -> None:
    def closed(_: list[BaseMessage]) -> str:
        raise RuntimeError("Event loop is closed")

    model = ScriptedChatModel(script=closed)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        await Calls(1).invoke("student", model, ASKED)
    assert len(model.asked) == calls_module.MOST_STALE + 1
