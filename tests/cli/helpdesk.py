"""A student that follows lessons and a teacher that knows, behind a scripted server."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from ted_memory.testing import Provider, Reply, ScriptedServer

COLOURS = {"apples": "red", "bananas": "yellow", "grass": "green", "the sky": "blue"}
FILE_LINES = [
    json.dumps(
        {
            "id": f"{thing}-{i}",
            "input": f"{ask} the colour of {thing}?",
            "reference": colour,
            "category": thing,
        }
    )
    for thing, colour in COLOURS.items()
    for i, ask in enumerate(("What is", "Tell me:", "Do you know"))
]


def answer(request: dict[str, Any]) -> Reply | str:
    """Play the model that the request names: student, teacher, or a judge who is content."""
    if request["model"] == "judge":
        return json.dumps({"reason": "as good as any", "score": 1.0})
    prompt = "\n".join(str(message["content"]) for message in request["messages"])
    thing = next(thing for thing in COLOURS if f"colour of {thing}?" in prompt)
    colour = COLOURS[thing]
    if request["model"] == "student":
        return colour if f"about {thing}: say {colour}" in prompt else "no idea"
    if request["model"] != "teacher":
        return Reply(status=404, text=f"The model {request['model']} does not exist")
    if '"edits"' not in prompt:
        return colour
    edit = {"op": "add", "ids": [], "when": f"asked about {thing}", "text": f"say {colour}"}
    return json.dumps({"reason": f"{thing}: {colour}", "edits": [edit], "helped": [], "hurt": []})


def model_options(url: str) -> list[str]:
    """Return the options that name student and teacher on this server."""
    return [
        "--student",
        "student",
        "--student-base-url",
        url,
        "--teacher",
        "teacher",
        "--teacher-base-url",
        url,
    ]


@contextlib.contextmanager
def serve_in_thread(script: Any = answer, provider: Provider | None = None) -> Iterator[str]:
    """Serve for a process that we start; yields the base URL."""
    ready, stop, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    server = ScriptedServer(script, provider=provider)

    async def run() -> None:
        async with server.serve():
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield server.base_url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
