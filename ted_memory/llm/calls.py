"""The one place where a model is called.

Calls are made under one cap on those in flight, counted, and their failures sorted: what is worth
another try, what is about one sample, and what stops the whole run.
"""

import asyncio
import contextlib
import hashlib
import math
import re
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from ted_memory import telemetry
from ted_memory.errors import BudgetExceeded, ModelError, ModelRefused, StoreError
from ted_memory.llm.messages import answer_of
from ted_memory.llm.refusals import explain, is_of_model, message_of, refusal_of, status_of
from ted_memory.llm.spend import Budget, Spend
from ted_memory.llm.work import call_config, stage

CALL_TIMEOUT = 300.0  # seconds that one call may take before it is given up and made again
ATTEMPTS = 10  # of one call, with growing pauses of about three minutes in all
MOST_STALE = 100  # connections of an earlier event loop that one call gets rid of
LONGEST_PAUSE = 600.0  # seconds; a provider that asks for more is asked again then
GROWING = wait_exponential_jitter(initial=1, max=30)
_DIGIT = r"(?:[\w+/-]|\\{1,4}/|%2[BFbf])"  # of base64, as URLs and JSON write it, too
# possessive: an image is long, and nothing is to be tried twice
_DIGITS = r"(?:[\w+/-]++|\\{1,4}/|%2[BFbf])*+"
_IMAGE = re.compile(
    rf"(?:data:image\\{{0,4}}/[\w.+-]+;base64,"
    # how PNG, JPEG, GIF and WebP begin
    rf"|(?<!\w)(?:iVBORw0KGgo|\\{{0,4}}/9j\\{{0,4}}/|R0lGOD|UklGR)"
    rf"|{_DIGIT}{{200}}){_DIGITS}"  # no word is that long
    # or in lines
    rf"(?:\s+{_DIGIT}{{60}}{_DIGITS})*(?:\s+(?:{_DIGIT}{{16}}{_DIGITS}|{_DIGIT}+(?==)))?={{0,2}}",
    re.ASCII,
)
FORBIDDEN = 403  # HTTP status: some keys may not use some models, and some texts are not allowed


@dataclass
class Meter:
    """Counts what is spent within one context, also by work that fails."""

    spent: Spend = field(default_factory=Spend)


METER: ContextVar[Meter | None] = ContextVar("ted_memory_meter", default=None)


class Calls:
    """Calls models, `concurrency` at a time over all that share this object, for each event loop.

    A call that a provider turns away for a while (429, 5xx, no answer in time) is made again: after
    the time that the provider names in Retry-After, for which all calls of that role wait, else
    after a growing pause of its own.

    ``spent`` is what all calls cost so far. ``reserved`` calls of each role are set aside: the
    budget ends before them. What coming calls will cost is estimated from those before: a limit in
    calls holds exactly, one in tokens or money nearly.
    """

    def __init__(
        self, concurrency: int, *, budget: Budget | None = None, spent: Spend | None = None
    ) -> None:
        self._concurrency = concurrency
        self._semaphores: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, asyncio.Semaphore
        ] = weakref.WeakKeyDictionary()
        self.budget = budget
        self.spent = spent or Spend()
        self.reserved: Counter[str] = Counter()
        self._in_flight: Counter[str] = Counter()
        self._welcome_at: dict[str, float] = {}
        self._answered: set[str] = set()

    async def invoke(
        self, role: str, model: Runnable[Any, Any], messages: Sequence[BaseMessage]
    ) -> tuple[BaseMessage, Spend]:
        """Ask a model; the answer comes with its cost.

        Raises:
            ModelRefused: the provider refuses the key, the model's name or a parameter, whatever it
                is asked.
            ModelError: the model can't be used at all, such as for a wrong address; going on makes
                no sense.
            BudgetExceeded: the budget has no room for it; it was not made.
            Exception: whatever else the model's client raises.
        """
        output, spend = await self.raw(role, model, messages)
        return answer_of(output), spend

    async def raw(
        self, role: str, model: Runnable[Any, Any], messages: Sequence[BaseMessage]
    ) -> tuple[Any, Spend]:
        """Ask a model whose output is not a message, such as ``{"raw": ...}``; else as `invoke`."""
        # of now: a call that still waits when the budget is lifted is not free of it
        budget = self.budget
        try:
            return await self._with_retries(role, model, messages, budget)
        except Exception as error:
            if not is_of_model(error, model):
                raise
            if (refusal := refusal_of(error)) is not None:
                said = _in_one_line(message_of(error))
                raise ModelRefused(
                    explain(refusal, said, role, model, model_name(model))
                ) from error
            if is_hopeless(error):
                raise ModelError(
                    f"the {role} cannot be used: {one_line(error)}. {_advice(error)}"
                ) from error
            raise

    def count(self, spend: Spend) -> Spend:
        """Add the cost of a call that was made and paid for; gives it back."""
        self.spent = self.spent + spend
        meter = METER.get()
        if meter is not None:
            meter.spent = meter.spent + spend
        for role, used in (("student", spend.student), ("teacher", spend.teacher)):
            if used.calls:
                telemetry.model_called(
                    role,
                    stage(),
                    calls=used.calls,
                    tokens_in=used.tokens_in,
                    tokens_out=used.tokens_out,
                )
        return spend

    def check_room(self, coming: Counter[str]) -> None:
        """Make sure that the budget leaves so many calls of each role.

        Raises:
            BudgetExceeded: it does not.
        """
        if self.budget is not None:
            self._check(self.budget, coming)

    def _check(self, budget: Budget, coming: Counter[str]) -> None:
        coming = coming + self.reserved
        spent = self.spent
        likely = Spend(
            student=spent.student.times(coming["student"]),
            teacher=spent.teacher.times(coming["teacher"]),
        )
        if limit := budget.passed_by(spent + likely):
            raise BudgetExceeded(
                f"the budget of {limit} is used up; what was learned so far is kept"
            )

    async def _with_retries(
        self,
        role: str,
        model: Runnable[Any, Any],
        messages: Sequence[BaseMessage],
        budget: Budget | None,
    ) -> tuple[Any, Spend]:
        def worth_another(error: BaseException) -> bool:
            # an address that never answered is wrong; one that did may be back in a moment
            return is_transient(error) or (_is_connection(error) and role in self._answered)

        try:
            return await self._once(role, model, messages, budget)
        except Exception as error:
            if not worth_another(error):
                raise
            failed = [error]
        attempts = AsyncRetrying(
            retry=retry_if_exception(worth_another),
            wait=partial(self._pause, role),
            stop=stop_after_attempt(ATTEMPTS),
            reraise=True,
        )
        # made for a call that has failed only, since it takes longer than all else of ours; so the
        # first of its attempts is the one that failed
        async for attempt in attempts:
            with attempt:
                if failed:
                    raise failed.pop()
                return await self._once(role, model, messages, budget)
        raise AssertionError("the last attempt returns or raises")

    async def _once(
        self,
        role: str,
        model: Runnable[Any, Any],
        messages: Sequence[BaseMessage],
        budget: Budget | None,
    ) -> tuple[Any, Spend]:
        """Make one call and count it. Raises what the model's client raises."""
        async with self._place(role, budget):
            async with asyncio.timeout(CALL_TIMEOUT):
                output = await _ask_on_this_loop(model, messages, call_config(role))
            self._answered.add(role)
            has_raw = isinstance(output, dict) and "raw" in output
            spend = Spend.of(role, messages, output["raw"] if has_raw else answer_of(output))
            self.count(spend)
        return output, spend

    @contextlib.asynccontextmanager
    async def _place(self, role: str, budget: Budget | None) -> AsyncIterator[None]:
        """Hold one place among the calls in flight.

        A role that must wait holds none, so that the other role's calls go on.
        """
        semaphore = self._semaphores.setdefault(
            asyncio.get_running_loop(), asyncio.Semaphore(self._concurrency)
        )
        while True:
            await asyncio.sleep(self._must_wait(role))
            async with semaphore:
                # the provider said so while this call queued for its place
                if self._must_wait(role) > 0:
                    continue
                if budget is not None:
                    self._check(budget, self._in_flight + Counter([role]))
                self._in_flight[role] += 1
                try:
                    yield
                finally:
                    self._in_flight[role] -= 1
                return

    def _must_wait(self, role: str) -> float:
        return max(self._welcome_at.get(role, 0.0) - time.monotonic(), 0.0)

    def _pause(self, role: str, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_for = retry_after(error)
        if not asked_for:  # 0, or a date that has passed, is no advice
            return GROWING(state)
        asked_for = min(asked_for, LONGEST_PAUSE)
        self._welcome_at[role] = max(self._welcome_at.get(role, 0.0), time.monotonic() + asked_for)
        return asked_for


def retry_after(error: BaseException | None) -> float | None:
    """Read how many seconds a provider asks to wait (RFC 9110, 10.2.3); None: it does not say.

    It may name them, or a date, which is 0 seconds away once it has passed.
    """
    headers = getattr(getattr(error, "response", None), "headers", None)
    asked = headers.get("retry-after") if isinstance(headers, Mapping) else None
    if not asked:
        return None
    try:
        seconds = float(asked)
    except ValueError:
        seconds = _seconds_until(str(asked))
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _seconds_until(date: str) -> float:
    try:
        return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return math.nan


def with_temperature(model: Runnable[Any, Any], temperature: float | None) -> Runnable[Any, Any]:
    """Bind a temperature to a chat model; any other student is left as it is."""
    if temperature is None or not isinstance(model, BaseChatModel):
        return model
    return model.bind(temperature=temperature)


def model_name(model: Runnable[Any, Any]) -> str:
    """Name a model for reports: as the provider knows it, else by its class."""
    name = getattr(model, "model_name", None) or getattr(model, "model", None)
    return str(name) if isinstance(name, str) else type(model).__name__


def is_hopeless(error: BaseException) -> bool:
    """Tell whether the trouble is with the model and not with the question.

    It is with a refused key, name or parameter, and where nobody answers. Who asked makes it a
    `ModelError`; where the role has answered before, a lost connection is tried again first.
    """
    return refusal_of(error) is not None or status_of(error) == FORBIDDEN or _is_connection(error)


async def _ask_on_this_loop(
    model: Runnable[Any, Any], messages: Sequence[BaseMessage], config: RunnableConfig
) -> Any:
    """Ask, and ask again at once where the provider's client holds a connection of an earlier loop.

    LangChain keeps its clients from one ``asyncio.run`` to the next. Each such failure drops one of
    their connections.
    """
    for _ in range(MOST_STALE):
        try:
            return await model.ainvoke(list(messages), config=config)
        except RuntimeError as error:
            if "Event loop is closed" not in str(error):
                raise
    return await model.ainvoke(list(messages), config=config)


def is_transient(error: BaseException) -> bool:
    """Tell whether the same call may work a moment later."""
    if refusal_of(error) is not None:
        return False
    status = status_of(error)
    too_slow = isinstance(error, TimeoutError) or "Timeout" in type(error).__name__
    return too_slow or status == 429 or (status is not None and status >= 500)


def is_final(error: BaseException) -> bool:
    """Tell whether a failure must stop the whole run instead of one sample."""
    return isinstance(error, ModelError | StoreError | BudgetExceeded)


def one_line(error: BaseException) -> str:
    """Write an error's message on one line of 300 characters at most, with hashes for images."""
    return _in_one_line(str(error)) or type(error).__name__


def _in_one_line(text: str) -> str:
    text = hash_images(" ".join(text.split()))
    return text if len(text) <= 300 else text[:297] + "..."


def hash_images(text: str) -> str:
    """Put ``sha256:...`` in place of each image that stands in a text as base64."""
    return _IMAGE.sub(
        lambda found: f"sha256:{hashlib.sha256(found[0].encode()).hexdigest()[:16]}", text
    )


def _is_connection(error: BaseException) -> bool:
    name = type(error).__name__
    return isinstance(error, ConnectionError) or ("Connect" in name and "Timeout" not in name)


def _advice(error: BaseException) -> str:
    if _is_connection(error):
        return "Is its server running, and the base URL right?"
    return "Is its API key set and allowed to use this model?"
