"""A proposed edit is put to the test before anyone keeps it."""

from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Add, Sample, TedMemory
from ted_memory.distill import distill
from ted_memory.testing import ScriptedChatModel, in_memory
from tests.distill.scripts import (
    CODES,
    add,
    calls_of,
    critique,
    follows,
    one_pass,
    prompt_of,
    right_lesson,
    role,
    sample,
    student,
    teacher,
    texts_of,
    thing_in,
)

APPLES = sample("apples")


def peer(thing: str, score: float | None = None, **fields: Any) -> tuple[Sample, float | None]:
    return sample(thing, 1, **fields), score


def _useless(messages: list[BaseMessage]) -> str:
    more = "er" * sum(message.type == "ai" for message in messages)
    return critique(add(f"think hard{more}", f"asked about {thing_in(str(messages[1].text))}"))


async def test_an_edit_that_does_not_raise_the_score_is_never_kept(scratch: TedMemory) -> None:
    teaching = teacher(_useless)
    out = await one_pass(scratch, APPLES, student=student(), teacher=teaching)
    assert await texts_of(scratch) == []
    assert out["status"] == "set_aside"
    assert "think hard" in out["note"]
    assert "still scored 0.00 (without it: 0.00, " in out["note"]
    assert calls_of(teaching, "critic") == 1 + 2, "asked, and twice again"


async def test_the_critic_is_told_what_became_of_its_lesson_and_may_do_better(
    scratch: TedMemory,
) -> None:
    def learns(messages: list[BaseMessage]) -> str:
        return (
            right_lesson(messages)
            if "think hard" in prompt_of(messages[2:])
            else _useless(messages)
        )

    teaching = teacher(learns)
    out = await one_pass(scratch, APPLES, student=student(), teacher=teaching)
    assert await texts_of(scratch) == ["say c000"]
    assert out["status"] == "learned"
    second = [messages for messages in teaching.asked if role(messages) == "critic"][1]
    assert second[-2].text == _useless(second[:2]), "its own answer stands before what it is told"
    assert "answered: no idea" in str(second[-1].text)


async def test_a_critic_that_repeats_itself_is_not_asked_until_luck_lets_it_through(
    scratch: TedMemory,
) -> None:
    stubborn = teacher(lambda _: critique(add("think hard", "asked about apples")))
    answering = student()
    out = await one_pass(scratch, APPLES, student=answering, teacher=stubborn)
    assert calls_of(stubborn, "critic") == 2
    assert out["status"] == "set_aside"
    assert (
        "the critic said the same: 'When asked about apples: think hard': with it the student still"
        in out["note"]
    )
    assert len(answering.asked) < 5 + 2 * 2 * 20, "the same lesson is verified once"


# Partial scores, several edits, and how sure one must be.

PARTS = ("dear", "order", "thanks", "bye")


def _parts(*, inputs: Any, outputs: str, reference_outputs: str) -> float:
    return sum(part in outputs for part in PARTS) / len(PARTS)


def _obedient(messages: list[BaseMessage]) -> str:
    """Write the parts that lessons ask for."""
    said = prompt_of(messages)
    return " ".join(["reply", *(part for part in PARTS if f"write {part}" in said)])


def _rules(*parts: str) -> ScriptedChatModel:
    return teacher(
        lambda _: critique(*(add(f"write {part}", "") for part in parts)),
        solves=lambda _: "dear order",
    )


@pytest.mark.parametrize("part", PARTS)
async def test_a_lesson_that_mends_one_of_four_graded_parts_passes(
    scratch: TedMemory, part: str
) -> None:
    out = await one_pass(
        scratch, APPLES, student=student(_obedient), teacher=_rules(part), grader=_parts
    )
    assert out["status"] == "learned", out["note"]
    assert await texts_of(scratch) == [f"write {part}"]


async def test_three_right_rules_of_one_critique_all_pass_and_a_useless_one_does_not(
    scratch: TedMemory,
) -> None:
    expert = _rules("dear", "order", "nonsense")
    await one_pass(scratch, APPLES, student=student(_obedient), teacher=expert, grader=_parts)
    assert set(await texts_of(scratch)) == {"write dear", "write order"}


async def test_edits_that_help_only_together_are_kept_together(scratch: TedMemory) -> None:
    def all_or_nothing(*, inputs: Any, outputs: str, reference_outputs: str) -> float:
        return float("dear" in outputs and "bye" in outputs)

    out = await one_pass(
        scratch,
        APPLES,
        student=student(_obedient),
        teacher=_rules("dear", "bye"),
        grader=all_or_nothing,
    )
    assert out["status"] == "learned", out["note"]
    assert set(await texts_of(scratch)) == {"write dear", "write bye"}


async def test_the_critic_is_asked_again_as_often_as_the_setting_says(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", max_revisions=5)
    teaching = teacher(_useless)
    await one_pass(memory, APPLES, student=student(), teacher=teaching)
    assert calls_of(teaching, "critic") == 1 + 5


async def test_without_tries_edits_are_kept_untested(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", verify_calls=0)
    answering = student()
    out = await one_pass(memory, APPLES, student=answering, teacher=teacher(_useless))
    assert await texts_of(memory) == ["think hard"]
    assert len(answering.asked) == 5
    assert out["status"] == "learned"


async def test_only_the_edits_that_pass_are_kept(scratch: TedMemory) -> None:
    both = critique(add("think hard", "asked about apples"), add("say c000", "asked about apples"))
    out = await one_pass(scratch, APPLES, student=student(), teacher=teacher(lambda _: both))
    assert await texts_of(scratch) == ["say c000"]
    assert out["status"] == "learned"
    assert [refused["edit"] for refused in out["refused"]] == [
        "When asked about apples: think hard"
    ]


async def test_a_lesson_that_hurts_another_task_that_it_fits_is_refused(scratch: TedMemory) -> None:
    def shaken(messages: list[BaseMessage]) -> str:
        if "say c000" in prompt_of(messages):
            return "c000"
        return CODES["bananas"] if thing_in(str(messages[-1].text)) == "bananas" else "no idea"

    def careless(_messages: list[BaseMessage]) -> str:
        return critique(add("say c000", "asked for the code of apples or bananas"))

    out = await one_pass(
        scratch,
        APPLES,
        student=student(shaken),
        teacher=teacher(careless),
        peers=[peer("bananas", 1.0), peer("cherries")],
    )
    assert await texts_of(scratch) == []
    assert "on other tasks that it fits the score fell from 1.00 to 0.00" in out["note"]


async def test_a_task_that_the_lesson_does_not_fit_has_no_say(scratch: TedMemory) -> None:
    def picky(messages: list[BaseMessage]) -> str:
        return follows(messages) if thing_in(str(messages[-1].text)) == "apples" else "no idea"

    answering = student(picky)
    out = await one_pass(
        scratch,
        APPLES,
        student=answering,
        teacher=teacher(),
        peers=[peer("bananas", 1.0), peer("cherries", 1.0)],
    )
    assert out["status"] == "learned"
    assert {thing_in(str(messages[-1].text)) for messages in answering.asked} == {"apples"}


async def test_a_lesson_that_is_too_long_is_tried_on_nobody(scratch: TedMemory) -> None:
    answering = student()
    endless = teacher(lambda _: critique(add("say c000 " * 1000, "asked about apples")))
    out = await one_pass(scratch, APPLES, student=answering, teacher=endless)
    assert len(answering.asked) == 5
    assert "characters" in out["note"]


async def test_a_lesson_that_its_own_task_would_not_find_is_refused(namespace: str) -> None:
    memory = in_memory(profile="small", namespace=namespace, trust="always", selection="relevant")
    unseen = teacher(lambda _: critique(add("say c000", "something else entirely")))
    out = await one_pass(memory, APPLES, student=student(), teacher=unseen)
    assert "it was not found for this very task" in out["note"]
    assert await texts_of(memory) == []


async def test_the_critic_is_told_which_lesson_was_found_instead(namespace: str) -> None:
    memory = in_memory(
        profile="small", namespace=namespace, trust="always", selection="relevant", top_k=1
    )
    await memory.commit([Add(text="peel them", when="a code of apples is asked for")], author="me")
    teaching = teacher(lambda _: critique(add("say c000", "apples")))
    out = await one_pass(memory, APPLES, student=student(), teacher=teaching)
    [old] = await memory.load()
    told = str([messages for messages in teaching.asked if role(messages) == "critic"][1][-1].text)
    assert f"{old.id} was found instead: 'When a code of apples is asked for: peel them'" in told
    assert out["status"] == "set_aside"


async def test_words_that_stand_in_every_task_do_not_make_a_condition(namespace: str) -> None:
    memory = in_memory(profile="small", namespace=namespace, trust="always", selection="relevant")
    broad = teacher(lambda _: critique(add("say c000", "the code, apples, the code of things")))
    await one_pass(
        memory, APPLES, student=student(lambda _: "no idea"), teacher=broad, common=["code"]
    )
    told = str([messages for messages in broad.asked if role(messages) == "critic"][1][-1].text)
    assert "Lesson: When apples, things: say c000" in told


async def test_a_rewrite_without_a_condition_keeps_the_old_one(scratch: TedMemory) -> None:
    await scratch.commit([Add(text="say something", when="asked about apples")], author="me")
    [old] = await scratch.load()
    edit = {"op": "rewrite", "ids": [old.id], "text": "say c000"}
    await one_pass(scratch, APPLES, student=student(), teacher=teacher(lambda _: critique(edit)))
    assert [(e.id, e.when, e.text) for e in await scratch.load()] == [
        (old.id, "asked about apples", "say c000")
    ]


async def test_a_rewrite_about_something_else_leaves_the_old_lesson_alone(namespace: str) -> None:
    scratch = in_memory(namespace=namespace, profile="small", selection="all", trust="always")
    await scratch.commit([Add(text="say c001", when="asked about bananas")], author="me")
    [old] = await scratch.load()
    edit = {"op": "rewrite", "ids": [old.id], "when": "bananas, about apples", "text": "say c000"}
    follower = student(lambda m: "c000" if "about apples: say c000" in prompt_of(m) else "no idea")
    await one_pass(scratch, APPLES, student=follower, teacher=teacher(lambda _: critique(edit)))
    assert [(e.when, e.text) for e in await scratch.load()] == [
        ("asked about bananas", "say c001"),
        ("about apples", "say c000"),
    ]


async def test_a_grader_that_fails_during_the_try_keeps_nothing(scratch: TedMemory) -> None:
    calls: list[int] = []

    def breaks(*, inputs: Any, outputs: str, reference_outputs: str) -> float:
        calls.append(1)
        if len(calls) > 5:
            raise RuntimeError("out of order")
        return 0.0

    out = await one_pass(scratch, APPLES, student=student(), teacher=teacher(), grader=breaks)
    assert out["status"] == "set_aside"
    assert out["note"] == "the proposed edits could not be verified: out of order"
    assert await texts_of(scratch) == []


async def test_what_a_try_showed_never_becomes_usage(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", shown_share=1.0)
    await memory.commit([Add(text="Be brief.")], author="me")
    await one_pass(memory, APPLES, student=student(), teacher=teacher())
    assert await memory.usage() == {}


# A lesson that gives away the answer of its own sample is the cheapest way to pass a try on it.

TICKETS = [
    Sample(
        id=f"{team}-{i}",
        input=f"Which team takes this ticket? Ticket {i}: {words}",
        reference=team,
        category=team,
    )
    for team, complaints in {
        "Alpha": ("the invoice is wrong", "charged twice this month", "the receipt never came"),
        "Beta": ("the screen stays black", "it does not switch on", "the fan is loud"),
        "Gamma": ("the parcel is lost", "the courier went away", "delivered next door"),
        "Delta": ("my password is gone", "the login page loops", "locked out since noon"),
    }.items()
    for i, words in enumerate(complaints)
]


def _parrot(messages: list[BaseMessage]) -> str:
    """Say what any lesson claims to be the answer."""
    _, found, rest = prompt_of(messages).rpartition("The answer is ")
    return rest.split(".")[0] if found else "no idea"


def _leaking(when: str) -> ScriptedChatModel:
    def answer_of_this_very_sample(messages: list[BaseMessage]) -> str:
        reference = prompt_of(messages).rpartition("Right answer: ")[2].split("\n")[0]
        return critique(add(f"The answer is {reference}.", when))

    return teacher(answer_of_this_very_sample, solves=lambda _: "no idea")


VAGUE = ["", "a ticket needs a team", "a ticket comes in", "in doubt", "being asked anything"]


@pytest.mark.parametrize("when", VAGUE)
async def test_an_answer_that_is_leaked_as_a_lesson_never_becomes_active(
    memory: TedMemory, when: str
) -> None:
    report = await distill(TICKETS, student=student(_parrot), teacher=_leaking(when), memory=memory)
    assert await texts_of(memory) == []
    assert not report.promoted


@pytest.mark.parametrize("when", VAGUE)
async def test_the_try_alone_keeps_a_leaked_answer_out(namespace: str, when: str) -> None:
    no_gate = in_memory(namespace=namespace, validation=0.0, concurrency=1)
    report = await distill(
        TICKETS, student=student(_parrot), teacher=_leaking(when), memory=no_gate
    )
    assert await texts_of(no_gate) == []
    assert report.set_aside == report.samples


@pytest.mark.parametrize("when", VAGUE)
async def test_without_tries_and_gate_the_leak_gets_through(namespace: str, when: str) -> None:
    """The control: the tries keep the leak out, and not a script that fails to leak."""
    open_door = in_memory(namespace=namespace, verify_calls=0, validation=0.0)
    report = await distill(
        TICKETS, student=student(_parrot), teacher=_leaking(when), memory=open_door
    )
    assert report.promoted
    assert any(text.startswith("The answer is ") for text in await texts_of(open_door))


async def test_things_have_codes_of_their_own() -> None:
    assert len(set(CODES.values())) == len(CODES), "else a leaked answer would be right elsewhere"


async def test_a_condition_that_fits_every_task_is_refused_before_any_attempt(
    namespace: str,
) -> None:
    scratch = in_memory(namespace=namespace, profile="small", selection="all", trust="always")

    def learns(messages: list[BaseMessage]) -> str:
        told = prompt_of(messages[2:])
        return (
            right_lesson(messages)
            if "set this task apart in 'when', such as: " in told
            else broad(messages)
        )

    def broad(messages: list[BaseMessage]) -> str:
        return critique(
            add(f"say {CODES[thing_in(str(messages[1].text))]}", "asked about the code")
        )

    teaching, answering = (
        teacher(learns),
        student(lambda messages: CODES["apples"] if "say c000" in prompt_of(messages) else "?"),
    )
    out = await one_pass(
        scratch, APPLES, student=answering, teacher=teaching, common=["code", "ask"]
    )
    assert out["refused"][0]["reason"].startswith("'when' fits every task")
    [lesson] = (await scratch.load()).active
    assert lesson.when == "apples"
    assert len(answering.asked) == 5 + 2 * 4, "nothing was paid for verifying the broad one"


async def test_without_known_common_words_a_broad_condition_gets_its_try(namespace: str) -> None:
    scratch = in_memory(namespace=namespace, profile="small", selection="all", trust="always")

    """The control: what stands in every task is what refuses it."""

    def broad(messages: list[BaseMessage]) -> str:
        return critique(
            add(f"say {CODES[thing_in(str(messages[1].text))]}", "asked about the code")
        )

    answering = student(
        lambda messages: CODES["apples"] if "say c000" in prompt_of(messages) else "?"
    )
    await one_pass(scratch, APPLES, student=answering, teacher=teacher(broad))
    assert [e.when for e in (await scratch.load()).active] == ["asked about the code"]
