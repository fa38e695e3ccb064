"""Clocks that a test moves: a server's own by libfaketime, or what scripts are told of the time.

As if: every time to live in the server is shortened by so much, and the scripts of this process
tell a later time.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Protocol

import pytest
from redis.asyncio import Redis

from examples.moved_days import faked, find_library
from ted_memory.learner import trials
from ted_memory.storage.redis import scripts
from ted_memory.testing import wait_until
from tests.chaos.learner_process import known_to_scripts
from tests.conftest import SERVERS, Server

DAY = 24 * 3600
AT_ONCE = 1000  # keys
PATIENCE = 600.0  # seconds; a machine with too much to do is no failure
SHORTEN = """
for _, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  if left >= 0 then redis.call('PEXPIRE', key, left - ARGV[1]) end
end
"""
TELLS = {  # where scripts ask for the time -> the same so many seconds later
    "time[1] * 1000": "(time[1] + {0}) * 1000",
    "time[1] .. '.'": "time[1] + {0} .. '.'",
    "return redis.call('TIME')[1]": "return redis.call('TIME')[1] + {0}",
}


class MovedClock(Protocol):
    """A clock `seconds` ahead of the machine's. Memories opened earlier may remember what it was.

    ``ahead``: by how much scripts must tell a later time than the server does.
    """

    seconds: int

    @property
    def ahead(self) -> int: ...

    async def move(self, seconds: int) -> None: ...


class AsIf:
    """The clock of a server that knows nothing of it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._told = {
            name: source
            for name, source in vars(scripts).items()
            if name.isupper() and _asks(source)
        }
        assert self._told
        self.seconds = 0

    @property
    def ahead(self) -> int:
        return self.seconds

    async def move(self, seconds: int) -> None:
        self.seconds += seconds
        have_scripts_tell(self._told, self.seconds)
        have_learners_look(self.seconds)
        async with Redis.from_url(self._server.url) as client:
            names = [name async for name in client.scan_iter(count=AT_ONCE)]
            for first in range(0, len(names), AT_ONCE):
                some = names[first : first + AT_ONCE]
                await client.eval(SHORTEN, len(some), *some, str(seconds * 1000))


class Faked:
    """The clock of a server that was started by `faked_server`."""

    def __init__(self, server: Server, file: Path) -> None:
        self._server = server
        self._file = file
        self.seconds = self.ahead = 0

    async def move(self, seconds: int) -> None:
        async with Redis.from_url(self._server.url) as client:

            async def has_moved() -> bool:
                return (await client.time())[0] >= before + seconds

            before, self.seconds = (await client.time())[0], self.seconds + seconds
            self._file.write_text(f"+{self.seconds}\n")
            have_learners_look(self.seconds)
            await wait_until(has_moved, timeout=PATIENCE, what="the server's later time")


def _asks(source: object) -> bool:
    return isinstance(source, str) and any(text in source for text in TELLS)


def have_scripts_tell(sources: Mapping[str, str], seconds: int) -> None:
    """Have these scripts of this process tell a later time than the server's."""
    for name, source in sources.items():
        for text, instead in TELLS.items():
            source = source.replace(text, instead.format(seconds))  # noqa: PLW2901
        setattr(scripts, name, known_to_scripts(source))


def have_learners_look(seconds: int) -> None:
    """Have the learners of this process look at trials so much later."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=seconds)

    trials.datetime = Later  # type: ignore[misc]


@contextmanager
def restored() -> Iterator[None]:
    """Put back what a clock has changed in this process."""
    told = {name: source for name, source in vars(scripts).items() if _asks(source)}
    try:
        yield
    finally:
        vars(scripts).update(told)
        trials.datetime = datetime  # type: ignore[misc]


def faked_server(folder: Path) -> tuple[Server, Faked]:
    """Start a server whose clock can be moved, or skip the test."""
    found, binary = find_library(), SERVERS["valkey"]
    if found is None or binary is None:
        pytest.skip("faketime is not installed; the same is tested with shorter times to live")
    file = folder / "time"
    file.write_text("+0\n")
    server = Server(binary, folder, env=os.environ | faked(found, file))
    return server, Faked(server, file)
