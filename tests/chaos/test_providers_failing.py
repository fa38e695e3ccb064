"""A provider that turns calls away, breaks or hangs: no episode is lost, few calls are in vain."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import pytest
from langchain_core.messages.utils import convert_to_messages

from ted_memory import TedMemory
from ted_memory.episodes import Claim
from ted_memory.learner import Learner
from ted_memory.learner import learner as learning_module
from ted_memory.llm import calls
from ted_memory.testing import Reply, ScriptedServer, wait_until
from ted_memory.wiring import make_chat_model
from tests.chaos.learner_process import Job, attempts, learning, teaches
from tests.chaos.learners import check_learned, none_left, record_all
from tests.chaos.sizes import report, size
from tests.conftest import Server

EPISODES = size(24, 400)
TIMEOUT = 1.0  # seconds after which the client gives a call up
FOR_EVER = 600.0
TURNED_AWAY, BROKEN, HANGING = 0.30, 0.10, 0.05  # shares of the calls
FAILING = TURNED_AWAY + BROKEN + HANGING
# of those that are turned away are told to come back in a second, as many at once
ASKED_TO_WAIT = size(0.1, 0.2)
Way = Literal["none", "calls", "requests"]
"""What fails: nothing; of each call the first request; or any request, whatever was before."""
AT_MOST: dict[Way, float] = {"calls": 1.6, "requests": 1.1 / (1 - FAILING)}
"""Requests for each call. If each request may fail, 1 / (1 - 0.45) = 1.82 is the least."""
PRODUCTION_ATTEMPTS = 10


def plain(body: dict[str, Any]) -> str:
    """Play student and teacher of `learner_process`."""
    messages = convert_to_messages(body["messages"])
    return attempts(messages) if body["model"] == "student" else teaches("one")(messages)


@dataclass
class Provider:
    """Fails in many ways, drawn with a fixed seed; refuses who comes too early, as limits do."""

    way: Way
    patient: bool = True
    """Whether it has anybody wait: for a second, or in vain."""
    failures: dict[str, int] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)
    _closed_until: dict[str, float] = field(default_factory=dict)
    _draw: random.Random = field(default_factory=lambda: random.Random(31))

    def __call__(self, body: dict[str, Any]) -> Reply | str:
        call, role = json.dumps(body["messages"]), body["model"]
        again = call in self._asked
        self._asked.add(call)
        if time.monotonic() < self._closed_until.get(role, 0.0):
            return self._failed("too early", Reply(status=429, headers={"Retry-After": "1"}))
        if self.way == "none" or (self.way == "calls" and again):
            return plain(body)
        lot = self._draw.random()
        if not self.patient:
            return self._failed("5xx", Reply(status=503)) if lot < FAILING else plain(body)
        if lot < TURNED_AWAY:
            return self._turned_away(role)
        if lot < TURNED_AWAY + BROKEN:
            return self._failed("5xx", Reply(status=self._draw.choice((500, 503))))
        if lot < TURNED_AWAY + BROKEN + HANGING:
            return self._failed("hanging", Reply(delay=FOR_EVER))
        return plain(body)

    def _turned_away(self, role: str) -> Reply:
        lot = self._draw.random()
        if lot < ASKED_TO_WAIT:
            self._closed_until[role] = time.monotonic() + 0.9  # clocks differ
            return self._failed("429, in 1 s", Reply(status=429, headers={"Retry-After": "1"}))
        now = {"Retry-After": "0"} if lot < 2 * ASKED_TO_WAIT else {}
        return self._failed("429", Reply(status=429, headers=now))

    def _failed(self, how: str, reply: Reply) -> Reply:
        self.failures[how] = self.failures.get(how, 0) + 1
        return reply


@contextlib.asynccontextmanager
async def learner_at(base_url: str, memory: TedMemory) -> AsyncIterator[Learner]:
    """A learner with the real client of an OpenAI-compatible server; connections end with it."""
    async with httpx.AsyncClient(timeout=TIMEOUT) as http:
        options: dict[str, Any] = {
            "base_url": base_url,
            "timeout": TIMEOUT,
            "http_async_client": http,
        }
        student, teacher = (make_chat_model(name, **options) for name in ("student", "teacher"))
        yield Learner(memory, student=student, teacher=teacher)


@contextlib.asynccontextmanager
async def memory_of(server: Server, namespace: str, **settings: Any) -> AsyncIterator[TedMemory]:
    given = {"rate_limit": EPISODES, **settings}
    async with learning(Job(server.url, namespace, "", "one", lease=60.0), **given) as memory:
        yield memory


async def requests_for(server: Server, namespace: str, provider: Provider, **settings: Any) -> int:
    """Learn from all episodes; return how many requests it took."""
    async with (
        memory_of(server, namespace, **settings) as memory,
        ScriptedServer(provider).serve() as serving,
    ):
        seed = await record_all(memory, EPISODES)
        async with learner_at(serving.base_url, memory) as learner:
            while not await none_left(memory):
                await learner.run(until_empty=True)
        await check_learned(memory, seed, [f"run-{i}" for i in range(EPISODES)])
        return len(serving.requests)


@pytest.mark.parametrize("way", list(AT_MOST))
async def test_a_provider_that_often_fails_costs_patience_and_few_calls(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    monkeypatch.setattr(calls, "ATTEMPTS", PRODUCTION_ATTEMPTS)
    ideal = await requests_for(valkey, f"{namespace}-ideal", Provider("none"))
    assert ideal == 3 * EPISODES, "an attempt, a solution and a critique each"
    began, provider = time.monotonic(), Provider(way)
    made = await requests_for(valkey, namespace, provider)
    report(
        f"failing provider, 45 % of the {way}: {EPISODES} episodes, "
        f"{made} requests for {ideal} calls ({made / ideal:.2f}), 0 lost, 0 dead, "
        f"{time.monotonic() - began:.0f} s; {provider.failures}"
    )
    assert set(provider.failures) >= {"429", "429, in 1 s", "5xx", "hanging"}
    assert made <= AT_MOST[way] * ideal


async def test_a_client_that_gives_up_at_once_makes_more_calls(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: where no call is repeated by itself, whole episodes are, with all calls."""
    monkeypatch.setattr(calls, "ATTEMPTS", 1)
    monkeypatch.setattr(learning_module, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(learning_module, "RETRY_AFTER", 0.01)
    made = await requests_for(
        valkey, namespace, Provider("requests", patient=False), max_deliveries=1000
    )
    assert made > AT_MOST["requests"] * 3 * EPISODES


# --- gone


@dataclass
class Outage:
    """A learner whose provider can be switched off."""

    memory: TedMemory
    learner: Learner
    seed: str
    down: bool = False
    begun: int = 0

    async def settled(self, count: int) -> None:
        async def enough() -> bool:
            return (await self.memory.store.episodes.traffic(self.memory.namespace)).counts[
                "learned"
            ] >= count

        await wait_until(enough, timeout=60, what=f"{count} episodes that are learned")

    async def go_down(self) -> None:
        """Return when all that was under way is given back."""
        self.down = True
        await wait_until(
            lambda: self.learner._must_pause() and not self.learner._work,
            timeout=60,
            what="a pause",
        )

    def come_back(self) -> None:
        self.down = False
        # as if it had passed
        self.learner._pause, self.learner._paused_until = learning_module.FIRST_PAUSE, 0.0


@contextlib.asynccontextmanager
async def outages(
    server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[Outage]:
    monkeypatch.setattr(learning_module, "FIRST_PAUSE", 60.0)  # longer than the test looks
    monkeypatch.setattr(learning_module, "RETRY_AFTER", 0.01)
    begin = Learner._begin

    async def counted(self: Learner, space: Any, claim: Claim) -> None:
        outage.begun += 1
        await begin(self, space, claim)

    monkeypatch.setattr(Learner, "_begin", counted)

    def script(body: dict[str, Any]) -> Reply | str:
        return Reply(status=503) if outage.down else Reply(text=plain(body), delay=0.02)

    async with (
        memory_of(server, namespace, **settings) as memory,
        ScriptedServer(script).serve() as serving,
        learner_at(serving.base_url, memory) as learner,
    ):
        outage = Outage(memory, learner, await record_all(memory, EPISODES))
        running = asyncio.create_task(outage.learner.run())
        try:
            yield outage
        finally:
            outage.learner.stop()
            await running


async def test_a_learner_whose_provider_is_gone_waits_and_blames_no_episode(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with outages(valkey, namespace, monkeypatch) as outage:
        for number in range(3):
            await outage.settled(number * 6 + 4)
            await outage.go_down()
            begun, traffic = outage.begun, await outage.memory.store.episodes.traffic(namespace)
            await asyncio.sleep(0.5)
            assert outage.begun == begun, "it claims nothing more"
            # only what others' answers came beside when it all began is held against an episode,
            # once
            assert (
                traffic.counts["retried"] <= (number + 1) * outage.memory.settings.episodes_at_once
            )
            assert (
                "did not answer" in outage.learner.report.last_error
                or "503" in outage.learner.report.last_error
            )
            outage.come_back()
        await outage.settled(EPISODES)
        await check_learned(outage.memory, outage.seed, [f"run-{i}" for i in range(EPISODES)])
        assert outage.learner.report.outcomes["dead"] == 0
        report(
            f"provider gone three times: {EPISODES} episodes learned, {outage.begun} begun, 0 dead"
        )


async def test_a_learner_that_does_not_pause_or_blames_its_episodes_is_found_out(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    return_claim = Learner._hand_back

    async def blamed(self: Learner, space: Any, claim: Claim, **how: Any) -> str:
        return await return_claim(self, space, claim, **{**how, "counts": True})

    async with outages(valkey, namespace, monkeypatch) as outage:
        await outage.settled(4)
        monkeypatch.setattr(Learner, "_must_pause", lambda self: False)
        monkeypatch.setattr(Learner, "_hand_back", blamed)
        outage.down, begun = True, outage.begun
        await wait_until(
            lambda: outage.begun > begun + EPISODES, timeout=60, what="claims without end"
        )
        outage.down = False

        await wait_until(lambda: none_left(outage.memory), timeout=60, what="the end")
        with pytest.raises(AssertionError, match="never learned"):
            await check_learned(outage.memory, outage.seed, [f"run-{i}" for i in range(EPISODES)])
        assert outage.learner.report.outcomes["dead"] > 0
