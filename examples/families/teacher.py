"""A right teacher that is a program: it knows a family's rules, and which one a sample is about.

It sees what any teacher sees, the messages, and answers in the JSON that a real critic must give.
What it is asked for it tells by the form of the prompt, not by its wording: who is to write edits
and is shown a task of the family is the critic; who is to write edits and is shown none tidies a
list up; who is asked for no edits solves.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from examples.families.family import Family, Rule
from ted_memory import Sample
from ted_memory.retrieval.selection import stems

MOST_EDITS = 3
OWN_WORDS = 6  # of the task, in a condition that did not do


class ProgramTeacher(BaseChatModel):
    """Solves by the reference, and as critic proposes the sample's rules that are not known yet.

    As compactor it changes nothing. Asked again, since an edit did not pass, it proposes the next
    one of the sample's rules alone, with words of the task in its condition.
    """

    samples: tuple[Sample, ...]
    rules: tuple[Rule, ...]
    model_name: str = "program"
    _keys: dict[str, Sample] = PrivateAttr(default_factory=dict)

    def model_post_init(self, _: Any) -> None:
        """Prepare the look-up of samples by their text."""
        self._keys = {_plain(sample.text): sample for sample in self.samples}

    @property
    def _llm_type(self) -> str:
        return "program"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        return ChatResult(
            generations=[ChatGeneration(message=AIMessage(content=self._answer(messages)))]
        )

    def _answer(self, messages: Sequence[BaseMessage]) -> str:
        asked = [str(m.text) for m in messages if not isinstance(m, AIMessage)]
        whole = "\n".join(asked)
        sample = self._find(asked[1] if len(asked) > 1 else asked[0])
        if not _mentions(whole, "edits"):
            return _solution(sample)
        if sample is None:
            return json.dumps({"reason": "Every rule stands for itself.", "edits": []})
        again = sum(isinstance(m, AIMessage) for m in messages)
        missing = self._missing(sample, asked[1], again)
        answer: dict[str, Any] = {}
        if _mentions(whole, "comparison"):
            told = "The failed attempts broke these rules, the good ones kept to them."
            answer["comparison"] = told
        answer["reason"] = "These rules of the house were missed."
        answer["edits"] = [_edit(rule, sample, again, whole) for rule in missing]
        return json.dumps(answer)

    def _find(self, text: str) -> Sample | None:
        """The sample whose task stands first in a prompt.

        Where one task begins like another, it is the longest. Known lessons come after it, and may
        have another sample's whole task as their example.
        """
        plain = _plain(text)
        found = [key for key in self._keys if key in plain]
        if not found:
            return None
        return self._keys[min(found, key=lambda key: (plain.index(key), -len(key)))]

    def _missing(self, sample: Sample, shown: str, again: int) -> list[Rule]:
        """The rules to propose: those that no known lesson states; asked again, one at a time."""
        fitting = [rule for rule in self.rules if rule.fits(sample)]
        plain = _plain(shown)
        missing = [rule for rule in fitting if _plain(rule.text) not in plain] or fitting
        if again:
            return [missing[(again - 1) % len(missing)]] if missing else []
        return missing[:MOST_EDITS]


def make_teacher(family: Family) -> ProgramTeacher:
    """The family's right teacher. It knows held-out samples too, but is never asked about them."""
    split = family.read()
    return ProgramTeacher(samples=(*split.train, *split.held_out), rules=family.rules)


def _solution(sample: Sample | None) -> str:
    return "I do not know." if sample is None else sample.reference or ""


def _edit(rule: Rule, sample: Sample, again: int, prompt: str) -> dict[str, Any]:
    when = rule.when
    if again and rule.kind:
        words = re.findall(r"[\w-]+", sample.text.rpartition("\n\n")[2])
        own = [word for word in words if stems(word)]
        when = ", ".join(dict.fromkeys([rule.when, *own[1 : OWN_WORDS + 1]]))
    edit: dict[str, Any] = {"op": "add", "ids": [], "when": when, "text": rule.text}
    if rule.example:  # not every critic may write one
        if _mentions(prompt, "example"):
            edit["example"] = rule.example
        else:
            edit["text"] = f"{rule.text}\nExample: {rule.example}"
    return edit


def _mentions(prompt: str, field: str) -> bool:
    """Tell whether a prompt names a JSON field: in quotes, or as an item of a list of fields."""
    return bool(re.search(rf'"{field}"|^\s*[-*]\s*`?{field}`?\b', prompt, re.MULTILINE))


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
