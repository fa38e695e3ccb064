"""What a shell completes beside options: namespaces, and ids of lessons."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import typer

from ted_memory.cli.output.terminal import one_line
from ted_memory.errors import TedMemoryError
from ted_memory.experience.comparing import spelled_out
from ted_memory.memory.client import TedMemory
from ted_memory.settings import Settings, make_settings
from ted_memory.wiring import open_memory

_PATIENCE = 2.0  # seconds; whoever has pressed Tab waits
_SHOWN = 60  # characters of a lesson
T = TypeVar("T")


def namespaces(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a set."""
    found = _ask(ctx, TedMemory.namespaces) or ()
    return [name for name in found if name.startswith(incomplete)]


def lessons(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the id of a lesson; its text stands beside it."""
    found = _ask(ctx, TedMemory.load) or ()
    return [
        (lesson.id, spelled_out(one_line(lesson.text))[:_SHOWN])
        for lesson in found
        if lesson.id.startswith(incomplete)
    ]


def _ask(ctx: typer.Context, question: Callable[[TedMemory], Coroutine[Any, Any, T]]) -> T | None:
    """Ask the memory that the command names so far. Tab never raises, and makes no folder."""
    with contextlib.suppress(TedMemoryError, TimeoutError, OSError):
        given = {name: ctx.params.get(name) for name in ("url", "home", "namespace")}
        settings = make_settings(**given)
        if settings.url is not None or Path(settings.home).is_dir():
            return asyncio.run(_answer(settings, question))
    return None


async def _answer(settings: Settings, question: Callable[[TedMemory], Coroutine[Any, Any, T]]) -> T:
    memory = open_memory(settings.url, namespace=settings.namespace, home=settings.home)
    async with contextlib.aclosing(memory), asyncio.timeout(_PATIENCE):
        return await question(memory)
