"""Calls of models that are slow, busy or away for a while, over the wire with the usual client."""

import asyncio
import base64
import hashlib
import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import openai
import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from ted_memory import TedMemory
from ted_memory.distill import Budget, Prices, Report, distill
from ted_memory.distill.scoring import map_bounded
from ted_memory.errors import BudgetExceeded, ModelError
from ted_memory.llm import calls as calls_module
from ted_memory.llm.calls import Calls, is_hopeless, one_line, retry_after
from ted_memory.testing import Reply, ScriptedServer, in_memory, wait_until
from tests.distill.scripts import (
    CODES,
    SlowChatModel,
    add,
    critique,
    follows,
    samples,
    student,
    teacher,
    thing_in,
)

AS_SHIPPED = calls_module.ATTEMPTS  # read before the tests make it smaller
ASKED = [HumanMessage("Are you there?")]


def _client(base_url: str, name: str = "m") -> ChatOpenAI:
    return ChatOpenAI(
        model=name, base_url=base_url, api_key=SecretStr("none"), max_retries=0, timeout=5
    )


def _in_turn(*replies: Reply | str) -> Callable[[dict[str, Any]], Reply | str]:
    """Answer the requests in this order, then with the last one."""
    waiting = list(replies)
    return lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0]


def _timed(script: Callable[[dict[str, Any]], Reply | str], came: list[float]) -> ScriptedServer:
    def scripted(request: dict[str, Any]) -> Reply | str:
        came.append(time.time())
        return script(request)

    return ScriptedServer(scripted)


# A provider that asks to wait.


@pytest.mark.parametrize("status", [429, 503])
async def test_seconds_that_a_provider_asks_for_are_waited(status: int) -> None:
    came: list[float] = []
    busy = Reply(status=status, headers={"Retry-After": "0.2"})
    async with _timed(_in_turn(busy, "here"), came).serve() as server:
        answer, _ = await Calls(1).invoke("student", _client(server.base_url), ASKED)
    assert answer.content == "here"
    assert len(came) == 2
    assert came[1] - came[0] >= 0.2


async def test_a_date_that_a_provider_names_is_waited_for() -> None:
    came: list[float] = []
    # the format has no less
    told = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)
    busy = Reply(status=429, headers={"Retry-After": format_datetime(told, usegmt=True)})
    async with _timed(_in_turn(busy, "here"), came).serve() as server:
        await Calls(1).invoke("student", _client(server.base_url), ASKED)
    assert len(came) == 2
    assert came[0] < told.timestamp() <= came[1]


@pytest.mark.parametrize("told", ["soon", "nan", "inf", "", "Mon, 99 Foo 2020"])
def test_what_is_no_time_is_no_reason_to_wait(told: str) -> None:
    assert retry_after(_status_error(429, {"retry-after": told})) is None


def test_a_time_that_is_over_is_no_wait() -> None:
    over = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    assert retry_after(_status_error(429, {"retry-after": over})) == 0
    assert retry_after(_status_error(429, {"retry-after": "-5"})) == 0


def _status_error(status: int, headers: dict[str, str]) -> openai.APIStatusError:
    request = httpx.Request("POST", "http://localhost/v1")
    return openai.APIStatusError(
        "busy", response=httpx.Response(status, headers=headers, request=request), body=None
    )


async def test_nobody_makes_a_run_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "LONGEST_PAUSE", 0.05)
    busy = Reply(status=429, headers={"Retry-After": "86400"})
    async with ScriptedServer(_in_turn(busy, "here")).serve() as server, asyncio.timeout(10):
        answer, _ = await Calls(1).invoke("student", _client(server.base_url), ASKED)
    assert answer.content == "here"


async def test_other_calls_of_the_role_wait_too_and_those_of_the_other_go_on() -> None:
    calls, came = Calls(2), []
    busy = Reply(status=429, headers={"Retry-After": "0.6"})
    asked_of_teacher: list[float] = []
    async with (
        _timed(_in_turn(busy, "here"), came).serve() as server,
        _timed(lambda _: "yes", asked_of_teacher).serve() as other,
    ):
        model, teaching = _client(server.base_url), _client(other.base_url)
        first = asyncio.create_task(calls.invoke("student", model, ASKED))
        await wait_until(lambda: "student" in calls._welcome_at)
        # more than there are places: who waits must not keep the teacher from one
        others = [asyncio.create_task(calls.invoke("student", model, ASKED)) for _ in range(5)]
        await asyncio.sleep(0)
        for _ in range(3):
            await calls.invoke("teacher", teaching, ASKED)
        assert len(came) == 1, "the teacher's calls went through while the student's waited"
        await asyncio.gather(first, *others)
    assert len(asked_of_teacher) == 3
    assert len(came) == 7
    assert min(came[1:]) - came[0] >= 0.6


# A whole run with a provider that turns away four calls of ten.


def _turned_away() -> Callable[[], Reply | None]:
    """Of ten requests three meet a 429 and one a 5xx, in random order."""
    shuffler, waiting = random.Random(1), []

    def next_one() -> Reply | None:
        if not waiting:
            waiting.extend([429, 429, 429, shuffler.choice([500, 502, 503]), *[200] * 6])
            shuffler.shuffle(waiting)
        status = waiting.pop()
        return (
            None
            if status == 200
            else Reply(status=status, headers={"Retry-After": "0"} if status == 429 else {})
        )

    return next_one


async def _run_with_a_busy_provider(
    memory: TedMemory, **settings: Any
) -> tuple[Report, Counter[str]]:
    turned_away, statuses = _turned_away(), Counter[str]()

    def script(request: dict[str, Any]) -> Reply | str:
        away = turned_away()
        statuses[str(away.status if away else 200)] += 1
        if away:
            return away
        prompt = "\n".join(str(m["content"]) for m in request["messages"])
        thing = thing_in(prompt)
        if request["model"] == "s":
            return CODES[thing] if f"about {thing}: say {CODES[thing]}" in prompt else "no idea"
        return (
            critique(add(f"say {CODES[thing]}", f"asked about {thing}"))
            if '"edits"' in prompt
            else CODES[thing]
        )

    async with ScriptedServer(script).serve() as server:
        models = [_client(server.base_url, name) for name in ("s", "t")]
        memory.settings = memory.settings.model_copy(
            update={"measure_presentation": False, "validation": 0.0} | settings
        )
        report = await distill(samples(3, 2), student=models[0], teacher=models[1], memory=memory)
    return report, statuses


async def test_a_provider_that_turns_away_four_calls_of_ten_costs_no_sample(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "ATTEMPTS", AS_SHIPPED)
    report, statuses = await _run_with_a_busy_provider(scratch, validation=0.2)
    assert 0.35 < 1 - statuses["200"] / statuses.total() < 0.45, "it was as busy as this test says"
    assert (report.samples, report.set_aside, report.reasons) == (6, 0, ())
    assert report.learned >= 3
    assert report.promoted
    assert report.gate is not None and report.gate.failures == ()


async def test_samples_that_were_lost_all_the_same_are_taken_up_again(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "ATTEMPTS", 1)
    report, _ = await _run_with_a_busy_provider(scratch)
    assert (report.samples, report.set_aside) == (6, 0)


async def test_without_both_the_same_provider_costs_samples(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "ATTEMPTS", 1)
    monkeypatch.setattr("ted_memory.distill.run.job.with_retries", map_bounded)
    report, _ = await _run_with_a_busy_provider(scratch)
    assert report.set_aside > 0


# Calls that hang, addresses that are wrong, servers that go away.


async def test_a_call_that_hangs_is_given_up_and_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls_module, "CALL_TIMEOUT", 0.3)
    async with ScriptedServer(_in_turn(Reply("late", delay=30), "in time")).serve() as server:
        answer, spend = await Calls(1).invoke("student", _client(server.base_url), ASKED)
        assert len(server.requests) == 2
    assert answer.content == "in time"
    assert spend.student.calls == 1


async def test_a_call_that_always_hangs_fails_and_frees_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls_module, "CALL_TIMEOUT", 0.1)
    calls = Calls(1)
    async with (
        ScriptedServer(lambda _: Reply("late", delay=30)).serve() as hanging,
        ScriptedServer(lambda _: "here").serve() as well,
    ):
        with pytest.raises(TimeoutError):
            await calls.invoke("student", _client(hanging.base_url), ASKED)
        assert len(hanging.requests) == calls_module.ATTEMPTS
        assert (await calls.invoke("student", _client(well.base_url), ASKED))[0].content == "here"


class _Counting(SlowChatModel):
    """Passes every call on to a real client, and keeps what was asked."""

    client: Any = None

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self.asked.append(messages)
        return await self.client._agenerate(messages)


async def test_an_address_that_never_answered_is_told_at_once() -> None:
    async with ScriptedServer(lambda _: "").serve() as server:
        gone = _client(server.base_url)
    counting = _Counting(script=follows, client=gone)
    with pytest.raises(ModelError, match="Is its server running"):
        await Calls(1).invoke("student", counting, ASKED)
    assert len(counting.asked) == 1


async def test_a_server_that_answered_before_is_asked_again() -> None:
    calls = Calls(1)
    async with ScriptedServer(lambda _: "here").serve() as server:
        counting = _Counting(script=follows, client=_client(server.base_url))
        await calls.invoke("student", counting, ASKED)
    with pytest.raises(ModelError, match="Is its server running"):
        await calls.invoke("student", counting, ASKED)
    assert len(counting.asked) == 1 + calls_module.ATTEMPTS


async def test_a_server_that_comes_back_loses_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "ATTEMPTS", AS_SHIPPED)
    fails = [1, 1, 1]

    def script(_: list[BaseMessage]) -> str:
        if model.asked[1:] and fails:
            fails.pop()
            raise openai.APIConnectionError(request=httpx.Request("POST", "http://localhost/v1"))
        return "here"

    model, calls = student(script), Calls(1)
    for _ in range(2):
        answer, _ = await calls.invoke("student", model, ASKED)
        assert answer.content == "here"
    assert len(model.asked) == 5
    assert is_hopeless(
        openai.APIConnectionError(request=httpx.Request("POST", "http://localhost/v1"))
    )


# One cap, over both roles.


@pytest.mark.parametrize("cap", [1, 3, 8])
async def test_students_and_teachers_share_one_cap(namespace: str, cap: int) -> None:
    flight: list[int] = []
    gauge = {"now": 0}
    models = [
        SlowChatModel(script=script, name_told=name, pause=lambda _: 0.002)
        for name, script in (("student", follows), ("teacher", teacher().script))
    ]
    for model in models:
        model.flight, model.gauge = flight, gauge  # pydantic copies containers
    await distill(
        samples(3, 2), student=models[0], teacher=models[1], memory=in_memory(concurrency=cap)
    )
    assert max(flight) == cap
    assert len(flight) == sum(len(model.asked) for model in models)


# Budgets.


def _slow() -> list[SlowChatModel]:
    scripts = {"student": follows, "teacher": teacher().script}
    return [
        SlowChatModel(script=script, name_told=name, pause=lambda _: 0.001)
        for name, script in scripts.items()
    ]


# few calls for each sample
SHORT: dict[str, Any] = {"trust": "always", "profile": "small", "selection": "all"}


async def _within(
    memory: TedMemory, budget: Budget | None, models: list[SlowChatModel] | None = None
) -> Report:
    models = models or _slow()
    return await distill(
        samples(), student=models[0], teacher=models[1], memory=memory, budget=budget
    )


def _made(models: list[SlowChatModel]) -> int:
    return sum(len(model.asked) for model in models)


@pytest.mark.parametrize("cap", [1, 3])
@pytest.mark.parametrize("limit", [60, 90, 120])
async def test_a_run_never_makes_more_calls_than_its_budget(cap: int, limit: int) -> None:
    models, without = _slow(), _slow()
    report = await _within(in_memory(**SHORT, concurrency=cap), Budget(calls=limit), models)
    assert _made(models) <= limit
    assert (
        report.stopped == f"the budget of {limit} calls is used up; what was learned so far is kept"
    )
    assert 0 < report.samples < 12
    assert report.gate is not None, "enough was set aside for it"
    assert report.gate.pairs > 0 == len(report.gate.failures)
    free = await _within(in_memory(**SHORT, concurrency=cap), None, without)
    assert (free.samples, free.stopped, _made(without) > limit) == (12, "", True)


async def test_what_was_learned_before_the_budget_ended_goes_live() -> None:
    memory = in_memory(**SHORT, concurrency=1)
    report = await _within(memory, Budget(calls=160))
    assert (report.promoted, bool(report.stopped)) == (True, True)
    assert 0 < report.learned <= report.experiences.active == len(await memory.load())


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        (Budget(tokens=4000), "4000 tokens"),
        (
            Budget(money=0.5, prices=Prices(teacher_in=500, teacher_out=500, currency="EUR")),
            "0.5 EUR",
        ),
    ],
)
async def test_tokens_and_money_are_limits_too(budget: Budget, named: str) -> None:
    report = await _within(in_memory(**SHORT, concurrency=1), budget)
    assert named in report.stopped
    most = {
        "tokens": budget.tokens and budget.tokens * 1.1,
        "money": budget.money and budget.money * 1.1,
    }
    assert budget.model_copy(update=most).passed_by(report.spend) == "", (
        "it is estimated, and nearly kept"
    )
    assert report.gate is not None
    free = await _within(in_memory(**SHORT, concurrency=1), None)
    assert budget.passed_by(free.spend) == named


def test_a_budget_in_money_without_prices_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the prices"):
        Budget(money=1)
    with pytest.raises(ValueError, match="needs the prices"):
        Budget(money=1, prices=Prices(currency="EUR"))


@pytest.mark.parametrize("more", [30, 10_000])
async def test_a_run_that_is_taken_up_counts_what_was_spent_before(more: int) -> None:
    memory, first, second = in_memory(**SHORT, concurrency=1), _slow(), _slow()
    run = asyncio.create_task(_within(memory, None, first))
    await wait_until(lambda: _made(first) >= 40)
    run.cancel()
    await asyncio.wait([run])
    report = await _within(memory, Budget(calls=_made(first) + more), second)
    assert report.resumed > 0
    assert report.spend.student.calls + report.spend.teacher.calls <= _made(first) + more
    # 9: a sample that the interruption cut short is in no record
    assert (_made(second) <= 30 + 9) == bool(report.stopped) == (more == 30)


async def test_a_call_that_waits_when_the_budget_is_lifted_is_not_free_of_it() -> None:
    model, calls = (
        SlowChatModel(script=lambda _: "yes", pause=lambda _: 0.02),
        Calls(1, budget=Budget(calls=1)),
    )
    made = [asyncio.create_task(calls.invoke("student", model, ASKED)) for _ in range(2)]
    await wait_until(lambda: bool(model.flight))
    calls.budget = None  # as before the gate
    assert [type(e) for e in await asyncio.gather(*made, return_exceptions=True)] == [
        tuple,
        BudgetExceeded,
    ]


# Images.


def test_an_image_in_an_error_is_told_by_its_hash() -> None:
    picture = base64.b64encode(random.Random(1).randbytes(3000)).decode()
    url = f"data:image/png;base64,{picture}"
    told = one_line(ValueError(f"I cannot read {url} today"))
    assert told == f"I cannot read sha256:{hashlib.sha256(url.encode()).hexdigest()[:16]} today"
    assert picture[:50] not in one_line(ValueError(picture))
    assert one_line(ValueError(picture)) != one_line(ValueError(picture[4:]))


async def test_a_provider_that_sends_an_image_back_does_not_get_it_into_the_report(
    scratch: TedMemory,
) -> None:
    url = "data:image/png;base64," + base64.b64encode(random.Random(2).randbytes(900)).decode()
    given = [s.model_copy(update={"images": (url,)}) for s in samples(2, 1)]
    async with ScriptedServer(lambda _: Reply(f"bad image: {url}", status=400)).serve() as server:
        client = _client(server.base_url)
        report = await distill(given, student=client, teacher=client, memory=scratch)
    assert report.set_aside == 2
    assert "sha256:" in report.reasons[0].reason
    assert url[30:60] not in report.model_dump_json()
