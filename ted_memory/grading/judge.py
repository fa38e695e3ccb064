"""A chat model as a grader.

What it judges is untrusted text, so it stands between marks that the text cannot hold.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from langchain_core.runnables import Runnable
from pydantic import BaseModel, ConfigDict, Field

from ted_memory.grading.graders import Grader, find_grader
from ted_memory.llm.calls import Calls, model_name
from ted_memory.llm.fences import mark_for
from ted_memory.llm.prompts import load_prompt
from ted_memory.llm.structured import StructuredModel

JUDGE = load_prompt(Path(__file__).parent / "judge.md", ("task", "reference", "answer", "mark"))
CONCURRENCY = 8  # calls in flight, for a judge that shares no cap
LONGEST_ANSWER = 8000  # characters that the judge sees; of a longer one the end counts most
HEAD = 2000  # of them, that are taken from its beginning
LEFT_OUT = "\n(...)\n"


class Verdict(BaseModel):
    """What the judge answers; the reason comes first, so that the score follows from it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    reason: str
    score: Annotated[float, Field(ge=0, le=1)]


class Judge:
    """A grader that asks a chat model how right an answer is.

    A model that gives no usable verdict, also when asked again, is a failure of the grader and
    never a score of 0.
    """

    def __init__(self, model: Runnable[Any, Any], calls: Calls | None = None) -> None:
        self._asks = StructuredModel(model, calls or Calls(CONCURRENCY))

    def __repr__(self) -> str:
        # the same in every process: a run that is taken up again is known by its grader, too
        return f"Judge({model_name(self._asks.model)})"

    def share(self, calls: Calls) -> None:
        """Have calls count as the teacher's from now on, under the cap and the budget of a run."""
        self._asks.calls = calls

    async def __call__(
        self, *, inputs: Mapping[str, Any], outputs: str, reference_outputs: str
    ) -> dict[str, Any]:
        """Judge an answer, as openevals' ``{"key", "score", "comment"}``.

        Raises:
            ValueError: the model gave no usable verdict.
            Exception: whatever the model's client raises.
        """
        task, reference = _task(inputs), _sendable(reference_outputs)
        answer = _cut(_sendable(outputs))
        mark = mark_for(task, reference, answer)
        messages = JUDGE.messages(task=task, reference=reference, answer=answer, mark=mark)
        result = await self._asks.ask(messages, Verdict)
        if result.value is None:
            raise ValueError(
                f"the judge gave no usable verdict: {result.problem}; "
                f"it wrote: {result.raw[:200]!r}"
            )
        return {"key": "judge", "score": result.value.score, "comment": result.value.reason}


def bind_grader(grader: str | Grader, calls: Calls) -> Grader:
    """Find a grader as `find_grader` does; a judge asks its model under the cap of ``calls``.

    Raises:
        SettingsError: there is no grader of this name.
        MissingExtra: what it needs is not installed.
    """
    if isinstance(grader, Judge):
        grader.share(calls)
    return find_grader(grader)


def _task(inputs: Mapping[str, Any]) -> str:
    lines = [str(inputs.get("input", "")), *(f"- {choice}" for choice in inputs.get("choices", ()))]
    return _sendable("\n".join(lines))


def _cut(answer: str) -> str:
    if len(answer) <= LONGEST_ANSWER:
        return answer
    return answer[:HEAD] + LEFT_OUT + answer[HEAD + len(LEFT_OUT) - LONGEST_ANSWER :]


def _sendable(text: str) -> str:
    """Replace halves of characters (lone surrogates), which no client can send."""
    return text.encode("utf-8", "replace").decode()
