"""A critic's merge or removal needs no lift: it must lose nothing of what its lessons held."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Add, Sample, TedMemory
from ted_memory.distill.graph import compile_graph
from ted_memory.distill.profiles import PROFILES
from ted_memory.distill.state import Evidence
from ted_memory.distill.verifier import Verifier
from ted_memory.llm.structured import StructuredModel
from ted_memory.testing import in_memory
from tests.distill.scripts import critique, one_pass, prompt_of, sample, student, teacher
from tests.distill.test_merging import ASKED, careful, three_rules

Ids = Sequence[str]
Edits = Callable[[Ids], list[dict[str, Any]]]

NO_LIFT = "still scored 1.00 (without it: 1.00, "
ATTEMPTS = 5
LOST = "something is lost, or it was not shown that nothing is"


class Slips:
    """Does as another student does, but for its attempts.

    So there is something to criticise, and nothing to gain.
    """

    def __init__(self, student: Callable[[list[BaseMessage]], str] = careful) -> None:
        self.student, self.answers = student, 0

    def __call__(self, messages: list[BaseMessage]) -> str:
        self.answers += 1
        return "oops" if self.answers <= ATTEMPTS else self.student(messages)


def remove(id: str) -> dict[str, Any]:
    return {"op": "remove", "ids": [id]}


def join_two_that_say_the_same(ids: Ids) -> list[dict[str, Any]]:
    text = "never divide by zero: check it first"
    return [
        {"op": "merge", "ids": [*ids[:2]], "when": "dividing, or computing a ratio", "text": text}
    ]


def join_what_differs(ids: Ids) -> list[dict[str, Any]]:
    """Say of two lessons what one of them said."""
    return [{"op": "merge", "ids": [ids[0], ids[2]], "when": "", "text": "never divide by zero"}]


def take_out_one_of_two(ids: Ids) -> list[dict[str, Any]]:
    return [remove(ids[0])]


def take_out_both(ids: Ids) -> list[dict[str, Any]]:
    return [remove(ids[0]), remove(ids[1])]


def take_out_what_is_needed(ids: Ids) -> list[dict[str, Any]]:
    return [remove(ids[2])]


async def criticised(
    edits_of: Edits, *, answering: Callable[[list[BaseMessage]], str] | None = None, **changes: Any
) -> tuple[dict[str, Any], list[str]]:
    """Send a task about dividing through the graph.

    Returns what came of it, and the conditions that are left.
    """
    memory, context = await three_rules(answering or Slips(), shown_share=1.0)
    ids = [e.id for e in await memory.load()]
    expert = teacher(lambda _: critique(*edits_of(ids)), solves=lambda _: "done with care")
    context = replace(
        context, teacher=expert, critic=StructuredModel(expert, context.calls), **changes
    )
    labels = {"done with care": "done with care"}
    given: Any = {"sample": ASKED[0].model_dump(mode="json"), "labels": labels}
    out = await compile_graph().ainvoke(given, context=context)
    return out, [e.when for e in (await memory.load()).active]


async def test_two_that_say_the_same_are_joined_though_the_student_gets_no_better() -> None:
    out, left = await criticised(join_two_that_say_the_same)
    assert out["status"] == "learned", out["note"]
    assert left == ["reading a list", "dividing, or computing a ratio"]


async def test_one_of_two_that_say_the_same_may_be_taken_out() -> None:
    assert (await criticised(take_out_one_of_two))[1] == ["computing a ratio", "reading a list"]


async def test_of_both_that_say_the_same_one_stays() -> None:
    out, left = await criticised(take_out_both)
    assert left == ["computing a ratio", "reading a list"]
    assert out["refused"][0]["reason"].startswith(LOST)


@pytest.mark.parametrize("edits_of", [join_what_differs, take_out_what_is_needed])
async def test_what_loses_something_is_refused(edits_of: Edits) -> None:
    out, left = await criticised(edits_of)
    assert len(left) == 3
    assert out["refused"][0]["reason"].startswith(LOST)


async def test_what_helps_here_and_loses_elsewhere_is_refused() -> None:
    """The control of it: with no sample of the other lesson at hand its help alone is asked for."""

    def needs_more(messages: list[BaseMessage]) -> str:
        said = prompt_of(messages)
        return (
            "crashed"
            if "about dividing numbers, number 0" in said and "check twice" not in said
            else careful(messages)
        )

    def edits(ids: Ids) -> list[dict[str, Any]]:
        text = "see that the divisor is zero never, check twice"
        return [{"op": "merge", "ids": [ids[0], ids[2]], "when": "dividing numbers", "text": text}]

    out, left = await criticised(edits, answering=needs_more)
    assert len(left) == 3
    assert out["refused"][0]["reason"].startswith(LOST)
    _, left = await criticised(edits, answering=needs_more, samples={})
    assert len(left) == 2


@pytest.mark.parametrize("edits_of", [join_two_that_say_the_same, take_out_one_of_two])
async def test_control_without_the_proof_a_lift_is_asked_for(
    edits_of: Edits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Verifier, "can_prove", lambda *_: False)
    out, left = await criticised(edits_of)
    assert len(left) == 3
    assert NO_LIFT in out["refused"][0]["reason"]


async def test_a_removal_whose_lesson_has_no_sample_at_hand_must_help() -> None:
    out, left = await criticised(take_out_one_of_two, samples={})
    assert len(left) == 3
    assert NO_LIFT in out["refused"][0]["reason"]


async def test_where_merges_keep_their_parents_words_one_with_words_of_its_own_must_help() -> None:
    verbatim = replace(PROFILES["default"], merges="verbatim")
    out, left = await criticised(join_two_that_say_the_same, profile=verbatim)
    assert len(left) == 3
    assert NO_LIFT in out["refused"][0]["reason"]


async def test_a_join_is_no_evidence_that_a_lesson_helps() -> None:
    """At the gate what was found of its parents speaks for it."""
    kept: list[Evidence] = []

    async def keep(_: str, found: Sequence[Evidence]) -> None:
        kept.extend(found)

    await criticised(join_two_that_say_the_same, keep_evidence=keep)
    assert kept == []


async def with_two(first: str, second: str) -> tuple[TedMemory, dict[str, Any]]:
    """Let a critic join two lessons that no sample is at hand of."""
    memory = in_memory(trust="always", shown_share=1.0)
    await memory.commit(
        [Add(text="say c000", when=first), Add(text="say c000 then", when=second)], author="me"
    )
    ids = [e.id for e in await memory.load()]
    joins = critique({"op": "merge", "ids": ids, "when": "asked about apples", "text": "say c000"})
    slips = Slips(lambda messages: "c000" if "say c000" in prompt_of(messages) else "no idea")
    asked: Sample = sample("apples")
    return memory, await one_pass(
        memory, asked, student=student(slips), teacher=teacher(lambda _: joins)
    )


async def test_the_task_itself_stands_in_for_lessons_that_are_about_it() -> None:
    memory, out = await with_two("asked about apples", "asked about the apples")
    assert out["status"] == "learned", out["note"]
    assert len((await memory.load()).active) == 1


async def test_it_does_not_for_a_lesson_about_something_else() -> None:
    memory, out = await with_two("asked about apples", "the weather is fine")
    assert len((await memory.load()).active) == 2
    assert NO_LIFT in out["refused"][0]["reason"]


async def test_what_nobody_is_shown_is_not_taken_out_on_a_critics_word() -> None:
    memory = in_memory(trust="always", shown_share=1.0)
    await memory.commit(
        [Add(text="say c000", when="asked about apples", state="proposed")], author="me"
    )
    [waits] = await memory.load()
    takes_out = teacher(lambda _: critique(remove(waits.id)))
    out = await one_pass(memory, sample("apples"), student=student(), teacher=takes_out)
    assert [e.id for e in await memory.load()] == [waits.id]
    assert "it changes nothing that the student sees" in out["refused"][0]["reason"]
