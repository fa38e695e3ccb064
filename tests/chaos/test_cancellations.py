"""Thousands of calls on one memory, most of them cancelled: no reply goes to another caller."""

import asyncio
import contextlib
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.asyncio import ConnectionPool, Redis

from ted_memory import TedMemory, open_memory
from ted_memory.errors import StoreUnavailable
from ted_memory.memory import cache as snapshots
from ted_memory.models import Add, Commit, ExperienceSet, LogEntry, Remove, Usage
from ted_memory.storage.redis.clients import AT_ONCE
from ted_memory.testing import wait_until
from tests.chaos.sizes import FULL, report, size
from tests.conftest import Server, assert_only_known_keys

WAVE = 60
"""Calls that are under way together; more than a loop opens connections for."""
OWN = re.compile(r"Text number \d+\.")
MOST = 2 * AT_ONCE
"""Connections that the server may see at a time.

A cancelled one is closed here a moment before the server notices.
"""


@dataclass
class Storm:
    """Calls with answers that can be told apart, and what came of them."""

    memory: TedMemory
    kept: str
    """The id of a lesson that is credited and never removed."""
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    cancelled: int = 0
    swallowed: int = 0
    answered: int = 0
    committed: set[str] = field(default_factory=set)
    credited: set[str] = field(default_factory=set)
    _numbers: Any = field(default_factory=itertools.count)

    async def wave(self) -> None:
        """Make calls, cancel most of them, and look at the answers of the others."""
        calls = [self._call() for _ in range(WAVE)]
        tasks = [asyncio.ensure_future(call) for call, _ in calls]
        cancels = [
            asyncio.ensure_future(self._cancel(task)) for task in tasks if self.rng.random() < 0.75
        ]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*cancels)
        for result, (_, check) in zip(results, calls, strict=True):
            if isinstance(result, asyncio.CancelledError):
                self.cancelled += 1
            elif isinstance(result, BaseException):
                raise result
            else:
                self.answered += 1
                check(result)
        now = await self.memory.load()
        gone = [Remove(id=e.id) for e in now if e.id != self.kept]
        if gone:
            await self.memory.commit(gone, author="tidy", base=now)

    async def _cancel(self, task: "asyncio.Future[Any]") -> None:
        if self.rng.random() < 0.5:
            await asyncio.sleep(self.rng.random() * 0.003)
        else:
            for _ in range(self.rng.randrange(25)):
                await asyncio.sleep(0)
        if task.cancel():
            await asyncio.wait({task})
            self.swallowed += not task.cancelled()

    def _call(self) -> tuple[Awaitable[Any], Callable[[Any], None]]:
        number = next(self._numbers)
        text, token = f"Text number {number}.", f"token-{number}"
        match self.rng.randrange(6):
            case 0 | 1:
                edit = Add(text=text, state="proposed")
                return self.memory.commit([edit], author="storm", token=token), self._own_commit(
                    text, token
                )
            case 2:
                credit = self.memory.credit({self.kept: Usage(n_with=1)}, token=token)
                return credit, self._own_credit(token)
            case 3:
                return self.memory.load(), _only_ours
            case 4:
                return self.memory.render(), _is_block
            case _:
                return self.memory.log(5), _newest_first

    def _own_commit(self, text: str, token: str) -> Callable[[Any], None]:
        def check(answer: Any) -> None:
            assert isinstance(answer, Commit)
            [applied] = answer.applied
            assert applied.edit.text == text, "somebody else's answer"
            assert not answer.repeated
            self.committed.add(token)

        return check

    def _own_credit(self, token: str) -> Callable[[Any], None]:
        def check(answer: Any) -> None:
            assert answer is True, "a token of its own has an effect"
            self.credited.add(token)

        return check

    async def happened_at_most_once(self, client: "Redis") -> None:
        """In the whole history an answered commit stands once, a cancelled one once or never."""
        store, name = self.memory.store, self.memory.namespace
        version = (await self.memory.load()).version
        log = await store.log(name, range(1, version + 1))
        assert [entry.version for entry in log] == list(range(1, version + 1))
        tokens = Counter(entry.token for entry in log)
        texts = Counter(
            c.edit.text for entry in log for c in entry.changes if isinstance(c.edit, Add)
        )
        assert max(tokens.values()) == max(texts.values()) == 1
        assert self.committed <= set(tokens)
        used = [key async for key in client.scan_iter(f"ted:{{{name}}}:credited:*", count=1000)]
        assert {f"ted:{{{name}}}:credited:{token}" for token in self.credited} <= set(used)
        assert (await store.usage(name))[self.kept].n_with == len(used)


def _only_ours(answer: Any) -> None:
    assert isinstance(answer, ExperienceSet)
    assert all(e.text == "Kept." or OWN.fullmatch(e.text) for e in answer)


def _is_block(answer: Any) -> None:
    assert isinstance(answer, str)
    assert answer == "" or "- Kept." in answer


def _newest_first(answer: Any) -> None:
    versions = [entry.version for entry in answer if isinstance(entry, LogEntry)]
    assert len(versions) == len(answer) > 0
    assert versions == list(range(versions[0], versions[0] - len(versions), -1))


async def _storm(server: Server, namespace: str) -> Storm:
    memory = open_memory(
        server.url, namespace=namespace, history_versions=1_000_000, read_timeout=2.0, refresh=0.0
    )
    commit = await memory.commit([Add(text="Kept.")], author="storm")
    return Storm(memory, commit.applied[0].id)


async def _connections(client: "Redis") -> int:
    return len(await client.client_list())


async def test_what_is_cancelled_at_any_await_harms_nobody_else(
    server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "IDLE", 0.01)  # so that `render` has something to wait for
    wanted, most = size(300, 10_000), 0
    async with Redis.from_url(server.url, decode_responses=True) as client:
        baseline = await _connections(client)
        storm = await _storm(server, namespace)
        while storm.cancelled < wanted:
            await storm.wave()
            most = max(most, await _connections(client) - baseline)
            assert most <= MOST, "connections are given back"
        await asyncio.wait_for(
            asyncio.gather(*(storm.memory.load() for _ in range(3 * AT_ONCE))), 30
        )
        await storm.happened_at_most_once(client)

        began = time.monotonic()
        await storm.memory.aclose()
        took = time.monotonic() - began
        assert took < 2 or not FULL

        async def back() -> bool:
            return await _connections(client) == baseline

        await wait_until(back, what="the number of connections from before")
    report(
        f"cancellations: {storm.cancelled} cancelled, {storm.answered} answered, "
        f"{storm.swallowed} finished all the same, at most {most} connections, "
        f"0 crossed replies, closed in {took * 1000:.0f} ms"
    )
    await assert_only_known_keys(server.url)


@pytest.mark.parametrize("kind", ["load", "commit", "credit", "log"])
async def test_a_call_that_is_cancelled_before_its_answer_ends_as_cancelled(
    server: Server, namespace: str, kind: str
) -> None:
    storm = await _storm(server, namespace)
    memory, went_on = storm.memory, list[int]()
    for step in range(30):
        usage, edit = {storm.kept: Usage(n_with=1)}, Add(text=f"Text number {step}.")
        call: Awaitable[Any] = {
            "load": memory.load,
            "commit": lambda: memory.commit([edit], author="storm", token=f"t{step}"),  # noqa: B023
            "credit": lambda: memory.credit(usage, token=f"t{step}"),  # noqa: B023
            "log": lambda: memory.log(5),
        }[kind]()
        task = asyncio.ensure_future(call)
        for _ in range(step):
            await asyncio.sleep(0)
        if task.cancel():
            await asyncio.wait({task})
            if not task.cancelled():
                went_on.append(step)
    await memory.aclose()
    await assert_only_known_keys(server.url)
    assert not went_on, f"cancelled after these steps of the loop, they went on: {went_on}"


async def test_a_reply_that_goes_to_the_next_caller_is_found_out(
    server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storm = await _storm(server, namespace)
    real, unread = storm.memory.store.commit, list[Commit]()

    async def one_behind(namespace: str, request: Any) -> Commit:
        # what a connection does on which one reply was left unread
        unread.append(await real(namespace, request))
        return unread.pop(0) if len(unread) > 1 else unread[0]

    monkeypatch.setattr(storm.memory.store, "commit", one_behind)
    with pytest.raises(AssertionError, match="somebody else's answer"):
        for _ in range(5):
            await storm.wave()
    await storm.memory.aclose()
    await assert_only_known_keys(server.url)


async def test_a_connection_that_is_not_given_back_is_found_out(
    server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def keep(self: ConnectionPool, connection: Any) -> None:
        """Forget to release."""

    async with Redis.from_url(server.url, decode_responses=True) as client:
        baseline = await _connections(client)
        storm = await _storm(server, namespace)
        with monkeypatch.context() as patched:
            patched.setattr(ConnectionPool, "release", keep)
            for _ in range(12):
                with contextlib.suppress(StoreUnavailable):  # the pool of redis-py ends at 100
                    await storm.wave()
                if await _connections(client) - baseline > MOST:
                    break
        leaked = await _connections(client) - baseline
        assert leaked > MOST, "the bound of the real test would have been passed"
        await storm.memory.aclose()
    await assert_only_known_keys(server.url)
