"""Answers that must be JSON of a given shape. A model's output is never trusted.

The ladder: a JSON schema where the provider enforces it, else a tool call, else the prompt alone.
Whatever came is then judged here: length, strict JSON, strict schema with unknown fields refused.
What fails is asked for again with the error, then given up with its raw text. Parsers that
"complete" broken JSON are not used: they turn a cut-off answer into a removal. A tool call of which
only the parsed arguments are left may have gone through one (LangChain's streams do that, and its
other parser drops doubled keys), so it counts as repaired.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    InvalidToolCall,
    ToolCall,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.runnables import Runnable
from pydantic import BaseModel, ValidationError

from ted_memory.errors import ModelError
from ted_memory.llm.calls import Calls, one_line
from ted_memory.llm.refusals import is_too_long, status_of
from ted_memory.llm.spend import Spend

LONGEST = 32_000  # characters; no critique needs more
LONGEST_PROBLEM = 300  # characters that are told back: names that a model made up may be long
ASKS = 3  # the first one and two more
CUT_OFF = {"length", "max_tokens", "max_output_tokens", "MAX_TOKENS"}

Shape = TypeVar("Shape", bound=BaseModel)
Method = Literal["json_schema", "function_calling", "prompt"]

_THOUGHTS = re.compile(r"^\s*<think>.*?</think>\s*", re.DOTALL)
# of stripped text: linear in its length
_FENCE = re.compile(r"```(?:json)?[ \t\r]*\n(.*)```", re.DOTALL)


class BadOutput(ValueError):  # noqa: N818 - a statement about the output
    """A model's answer is not what was asked for; the message is what the model is told."""


@dataclass(frozen=True)
class Structured(Generic[Shape]):
    """What came of asking.

    ``value`` is None when all asks failed; ``problem`` and ``raw`` then say why.

    ``repaired``: something had to be cut away around the JSON, or it is not known what exactly the
    model wrote; such output may add, never remove or merge.
    """

    value: Shape | None
    raw: str
    spend: Spend
    problem: str = ""
    repaired: bool = False


@dataclass
class StructuredModel:
    """Asks one chat model for JSON, and remembers which way works with it."""

    model: Runnable[Any, Any]
    calls: Calls
    role: str = "teacher"
    _methods: list[Method] = field(
        default_factory=lambda: ["json_schema", "function_calling", "prompt"]
    )

    async def ask(
        self,
        messages: Sequence[BaseMessage],
        shape: type[Shape],
        check: Callable[[Shape], None] = lambda _: None,
    ) -> Structured[Shape]:
        """Ask for an answer of a shape, up to three times.

        What cannot be used goes back to the model as a correction. After the third time ``value``
        is None, and ``problem`` says why. ``check`` refuses an answer of the right shape by raising
        BadOutput. Whatever the model's client raises is raised.
        """
        asked, spend, raw, problem = list(messages), Spend(), "", ""
        for _ in range(ASKS):
            answer, cost = await self._call(asked, shape)
            spend = spend + cost
            raw, exact = _raw_text(answer)
            try:
                _refuse_long(raw)
                text, repaired = _unwrap(raw)
                _refuse_cut_off(answer)
                value = parse(text, shape)
                check(value)
                return Structured(value, raw, spend, repaired=repaired or not exact)
            except BadOutput as error:
                problem = str(error)[:LONGEST_PROBLEM]
            again = f"That cannot be used: {problem}. Answer again, with the JSON object only."
            said = _sendable(raw[:2000]) or "(nothing)"
            asked = [*messages, AIMessage(content=said), HumanMessage(content=again)]
        return Structured(None, raw, spend, problem=problem)

    async def _call(
        self, messages: Sequence[BaseMessage], shape: type[BaseModel]
    ) -> tuple[BaseMessage, Spend]:
        """Call with the first method that this model takes.

        Those before it are left out from then on. Where none worked the question may be at fault,
        and all stay.
        """
        methods = list(self._methods)
        while True:
            method = methods.pop(0)
            try:
                runnable = _bound(self.model, shape, method)
                output, spend = await self.calls.raw(self.role, runnable, messages)
            except Exception as error:
                if (cut_off := _cut_off(error)) is not None:
                    return cut_off, self.calls.count(Spend.of(self.role, messages, cut_off))
                if not methods or not _unsupported(error):
                    raise
                continue
            self._methods = [method, *methods]
            return _message_in(output), spend


def _message_in(output: Any) -> BaseMessage:
    message = output["raw"] if isinstance(output, dict) and "raw" in output else output
    return message if isinstance(message, BaseMessage) else AIMessage(content=str(message))


def _bound(model: Runnable[Any, Any], shape: type[BaseModel], method: Method) -> Runnable[Any, Any]:
    if method == "prompt" or not isinstance(model, BaseChatModel):
        return model
    # a dict schema, not the class: with the class a parser raises and the raw text is lost
    schema = shape.model_json_schema()
    bound = model.with_structured_output(
        {**schema, "title": shape.__name__}, method=method, include_raw=True
    )
    # without LangChain's parser behind it: that one takes seconds of the loop's time for a long
    # answer
    asks = getattr(getattr(bound, "first", None), "steps__", {}).get("raw")
    return asks if isinstance(asks, Runnable) else bound


def _unsupported(error: Exception) -> bool:
    """Tell whether the way of asking is at fault, and not the question."""
    if isinstance(error, NotImplementedError):
        return True
    if isinstance(error, ModelError) or is_too_long(error):
        return False
    return status_of(error) in {400, 405, 415, 422, 501}


def _cut_off(error: Exception) -> BaseMessage | None:
    """Find the answer in an error, which is how OpenAI's client hands over one that was cut off.

    None: it is another error. What the token limit cut off was paid for, so it is not asked again
    in another way.
    """
    completion = getattr(error, "completion", None)
    if type(error).__name__ != "LengthFinishReasonError" or completion is None:
        return None
    text = completion.choices[0].message.content or ""
    usage = completion.usage
    counted = usage and UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
    )
    return AIMessage(
        content=text, response_metadata={"finish_reason": "length"}, usage_metadata=counted
    )


def _raw_text(answer: BaseMessage) -> tuple[str, bool]:
    """Read what the model wrote, and whether it wrote exactly that.

    It is the arguments of its one tool call, else its text. Arguments that somebody has parsed are
    not known exactly; of several calls none is taken.
    """
    calls: list[ToolCall | InvalidToolCall] = []
    if isinstance(answer, AIMessage):
        calls = [*answer.tool_calls, *answer.invalid_tool_calls]
    if not calls:
        # `text` would copy the content, which may be long
        return answer.content if isinstance(answer.content, str) else str(answer.text), True
    if len(calls) > 1:
        return "", False
    arguments = calls[0]["args"]
    return (arguments, True) if isinstance(arguments, str) else (_dumped(arguments), False)


def _dumped(arguments: object) -> str:
    """Write parsed arguments as JSON again.

    Where they are too long, or were no JSON, it is a remark in words, which no parser takes.
    """
    if not _is_small(arguments):
        return f"(a tool call of more than {LONGEST} characters)"
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        return f"(a tool call that is not JSON: {one_line(error)})"


def _is_small(value: object) -> bool:
    """Tell whether a value has no more than `LONGEST` characters and parts.

    No more than these are looked at, however large it is.
    """
    room, waiting = LONGEST, [value]
    while waiting and room >= 0:
        part = waiting.pop()
        room -= len(part) if isinstance(part, str) else 1
        if isinstance(part, Mapping | list | tuple):
            if len(part) > room:
                return False
            waiting += [*part.keys(), *part.values()] if isinstance(part, Mapping) else part
    return room >= 0


def _sendable(text: str) -> str:
    """Replace halves of characters (lone surrogates), which no client can send."""
    return text.encode("utf-8", "replace").decode()


def _refuse_cut_off(answer: BaseMessage) -> None:
    metadata = answer.response_metadata
    incomplete = metadata.get("incomplete_details") or {}  # of OpenAI's Responses API
    reason = (
        metadata.get("finish_reason") or metadata.get("stop_reason") or incomplete.get("reason")
    )
    if reason in CUT_OFF:
        raise BadOutput("it was cut off at the token limit; be shorter")


def _refuse_long(text: str) -> None:
    """Look at the length before anything that takes longer for a longer text."""
    if len(text) > LONGEST:
        raise BadOutput(f"it has {len(text)} characters, {LONGEST} is the limit")


def _unwrap(raw: str) -> tuple[str, bool]:
    """Take away thoughts and a code fence around the whole answer, nothing else."""
    text = _THOUGHTS.sub("", raw)
    fenced = _FENCE.fullmatch(text.strip())
    return (fenced.group(1), True) if fenced else (text, text != raw)


def parse(text: str, shape: type[Shape]) -> Shape:
    """Parse strict JSON of a shape.

    Raises:
        BadOutput: it is too long, not JSON (duplicate keys, NaN and trailing text are not), or not
            of this shape.
    """
    _refuse_long(text)
    try:
        value = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()  # an escaped lone surrogate only shows here
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = " ".join(".".join(str(part) for part in first["loc"]).split()) or "the answer"
        raise BadOutput(f"{where}: {first['msg']}") from None
    except UnicodeEncodeError:
        raise BadOutput("it holds half of a character (a lone surrogate)") from None
    except RecursionError:
        raise BadOutput("it is nested too deeply") from None
    except ValueError as error:
        raise BadOutput(f"it is not JSON ({one_line(error)})") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")
