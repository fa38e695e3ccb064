"""A look that is taken again and again: a page on a terminal, lines elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ted_memory.cli.output.terminal import out

_QUIT = set(b"qQ")


async def watch_always(
    look: Callable[[], Awaitable[None]], interval: float, *, on_one_page: bool
) -> None:
    """Take a look every ``interval`` seconds until q, Ctrl-C or SIGTERM.

    ``look`` prints to `out`. With ``on_one_page`` each look takes the place of the one before,
    where there is a terminal; the last one stays there at the end.
    """
    stop = asyncio.Event()
    with _told_to_stop(stop):
        if on_one_page and out.is_terminal:
            await _on_a_page(look, interval, stop)
            return
        while not stop.is_set():
            await look()
            await _rest(stop, interval)


async def _on_a_page(
    look: Callable[[], Awaitable[None]], interval: float, stop: asyncio.Event
) -> None:
    page = ""
    with Live(console=Console(), screen=True, auto_refresh=False) as live:  # it wraps lines
        while not stop.is_set():
            with out.capture() as captured:
                await look()
            page = captured.get()
            text = Text.from_ansi(page)
            text.append("\nq or Ctrl-C ends it", style="dim")
            live.update(text, refresh=True)
            await _rest(stop, interval)
    out.print(Text.from_ansi(page))


async def _rest(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


@contextlib.contextmanager
def _told_to_stop(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C is an exception there
            loop.add_signal_handler(name, stop.set)
    with _keys(stop):
        yield


@contextlib.contextmanager
def _keys(stop: asyncio.Event) -> Iterator[None]:
    """Have q on the terminal stop it, without the Enter key; afterwards it is as it was."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        yield
        return
    if not sys.stdin.isatty():
        yield
        return
    loop, file = asyncio.get_running_loop(), sys.stdin.fileno()

    def heard() -> None:
        if _QUIT & set(os.read(file, 64)):
            stop.set()

    before = termios.tcgetattr(file)
    tty.setcbreak(file)
    loop.add_reader(file, heard)
    try:
        yield
    finally:
        loop.remove_reader(file)
        termios.tcsetattr(file, termios.TCSADRAIN, before)
