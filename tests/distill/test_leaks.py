"""A lesson that tells its own sample's answer never goes live; the right one beside it does."""

import re
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Add
from ted_memory.distill import distill, verifier
from ted_memory.distill import judges as judges_module
from ted_memory.distill.leaks import leaks, recurring_answers
from ted_memory.models import Sample
from ted_memory.testing import in_memory
from tests.distill.leak_questions import KINDS, WORDINGS, Kind
from tests.distill.scripts import add, critique, one_pass, prompt_of, student, teacher

CLOSE = "bitte schließen Sie das Fenster, bevor Sie gehen"


def _answer_to(kind: Kind, messages: list[BaseMessage]) -> str:
    said = prompt_of(messages)
    return next(answer for question, answer in kind.questions if question in said)


def _believes_lessons(kind: Kind) -> Any:
    """A student that is right when told how, and wrong by itself.

    It repeats any answer that a lesson tells.
    """

    def answer(messages: list[BaseMessage]) -> str:
        said = prompt_of(messages)
        if kind.lesson in said:
            return _answer_to(kind, messages[-1:])
        block = said.partition("<experiences>")[2]
        told = [a for _, a in kind.questions if a in block]
        return told[-1] if told else "I do not know"

    return student(answer)


def _critic(kind: Kind, wording: str, *, right_too: bool) -> Any:
    def write(messages: list[BaseMessage]) -> str:
        question, answer = next((q, a) for q, a in kind.questions if q in str(messages[1].text))
        leak = add(wording.format(answer=answer), " ".join(question.split()[:3]))
        right = [add(kind.lesson, "")] if right_too else []
        return critique(leak, *right)

    return teacher(write, solves=lambda messages: _answer_to(kind, messages))


def _exact(*, inputs: Any, outputs: str, reference_outputs: str) -> float:
    return float(outputs.strip() == reference_outputs)


def test_there_are_fifty_questions() -> None:
    assert sum(len(kind.questions) for kind in KINDS) == 50


def test_each_kind_has_a_right_lesson_of_its_own_that_tells_none_of_its_answers() -> None:
    assert len({kind.lesson for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        for given in kind.samples():
            assert not leaks(kind.lesson, given, given.reference or "", frozenset())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("wording", WORDINGS)
async def test_no_leak_goes_live_and_the_right_lesson_beside_it_does(
    kind: Kind, wording: str
) -> None:
    memory = in_memory(trust="always")
    report = await distill(
        kind.samples(),
        student=_believes_lessons(kind),
        teacher=_critic(kind, wording, right_too=True),
        memory=memory,
        grader=_exact,
    )
    live = [e.text for e in (await memory.load()).active]
    assert live == [kind.lesson], report.rejected


@pytest.mark.parametrize("profile", ["default", "small"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_of_a_critic_that_only_leaks_nothing_goes_live(kind: Kind, profile: str) -> None:
    memory = in_memory(trust="always", profile=profile, examples=False)
    teaching = _critic(kind, WORDINGS[0], right_too=False)
    await distill(
        kind.samples(),
        student=_believes_lessons(kind),
        teacher=teaching,
        memory=memory,
        grader=_exact,
    )
    assert (await memory.load()).active == ()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_right_lesson_whose_example_is_the_task_itself_goes_live_without_it(
    kind: Kind,
) -> None:
    def copies_its_task(messages: list[BaseMessage]) -> str:
        question, answer = next((q, a) for q, a in kind.questions if q in str(messages[1].text))
        return critique(add(kind.lesson, "") | {"example": f"{question} => {answer}"})

    memory = in_memory(trust="always")
    expert = teacher(copies_its_task, solves=lambda messages: _answer_to(kind, messages))
    await distill(
        kind.samples(),
        student=_believes_lessons(kind),
        teacher=expert,
        memory=memory,
        grader=_exact,
    )
    assert [(e.text, e.example) for e in (await memory.load()).active] == [(kind.lesson, "")]


async def test_a_telling_example_leaves_a_rewritten_lesson_the_one_that_it_had() -> None:
    kind = KINDS[0]
    given = kind.samples()[0]
    question, answer = kind.questions[0]

    def rewrites(messages: list[BaseMessage]) -> str:
        [id] = re.findall(r"^(\S+) \(lift", str(messages[1].text), re.M)
        edit = {
            "op": "rewrite",
            "ids": [id],
            "when": "",
            "text": kind.lesson,
            "example": f"{question} => {answer}",
        }
        return critique(edit)

    memory = in_memory(trust="always", shown_share=1.0)
    await memory.commit([Add(text="Take care.", example="2 + 2 => 4")], author="me")
    expert = teacher(rewrites, solves=lambda messages: _answer_to(kind, messages))
    await one_pass(memory, given, student=_believes_lessons(kind), teacher=expert, grader=_exact)
    assert [(e.text, e.example) for e in (await memory.load()).active] == [
        (kind.lesson, "2 + 2 => 4")
    ]


async def test_where_nothing_is_verified_a_leak_is_refused_all_the_same() -> None:
    memory, kind = in_memory(trust="always", verify_calls=0, validation=0), KINDS[0]
    teaching = _critic(kind, WORDINGS[0], right_too=True)
    await distill(
        kind.samples(),
        student=_believes_lessons(kind),
        teacher=teaching,
        memory=memory,
        grader=_exact,
    )
    assert [e.text for e in (await memory.load()).active] == [kind.lesson]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("wording", WORDINGS)
async def test_without_looking_for_leaks_and_judging_by_others_they_do(
    kind: Kind, wording: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: these scripts do leak."""
    monkeypatch.setattr(verifier, "leaks", lambda *_: False)
    monkeypatch.setattr(judges_module, "has_open_answer", lambda *_: False)
    memory = in_memory(trust="always", validation=0)
    teaching = _critic(kind, wording, right_too=False)
    await distill(
        kind.samples(),
        student=_believes_lessons(kind),
        teacher=teaching,
        memory=memory,
        grader=_exact,
    )
    assert (await memory.load()).active


async def test_an_answer_in_other_words_is_stopped_by_samples_with_other_answers() -> None:
    """What no comparison of letters finds: thirty-five for 35."""
    kind, memory = KINDS[0], in_memory(trust="always")

    def write(messages: list[BaseMessage]) -> str:
        answer = int(next(a for q, a in kind.questions if q in str(messages[1].text)))
        return critique(add(f"it is one more than {answer - 1}", ""))

    def believes(messages: list[BaseMessage]) -> str:
        _, found, rest = prompt_of(messages).rpartition("it is one more than ")
        return str(int(rest.split("\n")[0]) + 1) if found else "I do not know"

    expert = teacher(write, solves=lambda messages: _answer_to(kind, messages))
    await distill(
        kind.samples(), student=student(believes), teacher=expert, memory=memory, grader=_exact
    )
    assert (await memory.load()).active == ()


@pytest.mark.parametrize(
    ("text", "answer", "leaked"),
    [
        ("answer 35.", "35", True),
        ("the result is 35.0 in the end", "35", True),
        ("there are 350 of them", "35", False),
        ("always write 1,250", "1250", True),
        ("on 04.03.2024", "2024-03-04", True),
        ("write the date as YYYY-MM-DD", "2024-03-04", False),
        ("Ada is the oldest", "Ada", True),
        ("adapt the order", "Ada", False),
        ("use xs[-1] here", "xs[-1]", True),
        ("please close: bitte schließen Sie das Fenster bevor Sie gehen", CLOSE, True),
        ("translate politely, with 'bitte' first", CLOSE, False),
        ("WRITE GUTEN MORGEN", "guten Morgen", True),
    ],
)
def test_what_counts_as_telling_the_answer(text: str, answer: str, leaked: bool) -> None:
    sample = Sample(id="a", input="?", reference=answer)
    assert leaks(text, sample, answer, frozenset()) is leaked


def test_labels_and_choices_may_be_named() -> None:
    chosen = Sample(id="a", input="?", reference="red", choices=("red", "blue"))
    assert not leaks("answer red", chosen, "red", frozenset())
    tickets = [Sample(id=f"{i}", input=f"ticket {i}", reference="team a") for i in range(2)]
    assert recurring_answers(tickets) == {"team a": "team a"}
    listed = [Sample(id=f"{t}", input=f"Teams: K, L, M. Ticket {t}", reference=t) for t in "KLM"]
    assert recurring_answers(listed) == {"k": "K", "l": "L", "m": "M"}
    sums = [Sample(id=f"{i}", input=f"sum {i}", reference=str(35 + i // 2)) for i in range(8)]
    assert recurring_answers(sums) == {}, "two sums may come to the same"
    codes = [Sample(id=f"{i}", input=f"flag {i}", reference=str(35 + i % 2)) for i in range(8)]
    assert recurring_answers(codes) == {"35": "35", "36": "36"}, "few numbers, each several times"


def test_an_answer_that_is_frequent_among_open_ones_is_a_label() -> None:
    """A desk refers every seventh customer to the office; all others get replies of their own."""

    def desk(referred: int, replies: int) -> list[Sample]:
        answers = ["please call the office"] * referred + [
            f"we sent parcel {i} to you" for i in range(replies)
        ]
        return [
            Sample(id=f"{i}", input=f"letter {i}", reference=answer)
            for i, answer in enumerate(answers)
        ]

    label = {"please call the office": "please call the office"}
    assert recurring_answers(desk(3, 17)) == label
    assert recurring_answers(desk(3, 17), of_users=True) == {}, "one account may say so three times"
    assert recurring_answers(desk(2, 18)) == {}, "two may be the same by chance"
    assert recurring_answers(desk(5, 45)) == label, "a tenth of fifty"
    assert recurring_answers(desk(4, 46)) == {}, "rare: the answer of some tasks"
    sums = [
        Sample(id=f"{i}", input=f"sum {i}", reference="35" if i < 5 else str(100 + i))
        for i in range(20)
    ]
    assert recurring_answers(sums) == {}, "numbers that are counted come to the same"
