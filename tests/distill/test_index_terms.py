"""A lesson is found by words of its tasks, too, where no task with another answer has them."""

import re
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Sample, TedMemory
from ted_memory.distill import distill
from ted_memory.distill.index_terms import kindred_words, lesson_for, terms_of
from ted_memory.distill.leaks import recurring_answers
from ted_memory.distill.run import job
from ted_memory.distill.run.material import Material
from ted_memory.models import Experience
from ted_memory.testing import in_memory
from tests.distill.scripts import add, critique, prompt_of, student, teacher

LETTERS = {
    "office F": (
        "Is there anything without gluten in the cafe?",
        "The soup at lunch was cold and the waiter laughed.",
    ),
    "office P": ("I left an umbrella in the cloakroom.", "Did anybody hand in my reading glasses?"),
    "office C": ("Does my pass end in May?", "How is the annual membership renewed?"),
}
LATER = {
    "office F": "A hair was in my soup!",
    "office P": "Somebody took the umbrella of my brother.",
    "office C": "Is the membership a gift for Christmas?",
}


def _samples(letters: dict[str, tuple[str, ...]] = LETTERS) -> list[Sample]:
    return [
        Sample(
            id=f"{office[-1]}{i}",
            input=f"Which office answers this letter? {text}",
            reference=office,
        )
        for office, texts in letters.items()
        for i, text in enumerate(texts)
    ]


def _terms(samples: list[Sample]) -> dict[str, str]:
    return dict(terms_of(samples, recurring_answers(samples)))


def test_they_are_the_words_that_no_task_with_another_answer_has() -> None:
    terms = _terms(_samples())
    assert terms["F1"] == "soup lunch cold waiter laughed"
    assert terms["P0"] == "left umbrella cloakroom"
    assert {"office", "letter", "answers"}.isdisjoint(" ".join(terms.values()).split()), (
        "all tasks have them"
    )


def test_what_several_tasks_with_the_answer_have_comes_first_and_numbers_are_none() -> None:
    terms = _terms(
        _samples({"a": ("Two boxes of tea, 35 bags", "old tea"), "b": ("a chair", "my chair")})
    )
    assert terms["a0"].split() == ["tea", "two", "boxes", "bags"]


def test_forms_of_a_word_are_one_word() -> None:
    terms = _terms(
        _samples({"a": ("a refund or refunds", "refunded"), "b": ("pens", "ink and a pen")})
    )
    assert [len(words.split()) for words in terms.values()] == [1, 1, 1, 2]


def test_words_that_another_answer_has_in_another_form_are_left_out() -> None:
    terms = _terms(
        _samples({"a": ("boxes of tea", "more tea"), "b": ("a box of pens", "some pens")})
    )
    assert terms["a0"] == "tea"
    assert terms["b0"] == "pens"


def test_an_answer_of_its_own_leaves_only_details_and_no_terms() -> None:
    sums = [Sample(id=f"{i}", input=f"Add {i} and {i}.", reference=str(2 * i)) for i in range(9)]
    assert _terms(sums) == {}
    assert terms_of(_samples(), ()) == {}


def test_a_language_that_writes_no_words_apart_has_pairs_of_characters() -> None:
    terms = _terms(
        _samples({"甲": ("我的雨伞在哪里?", "雨伞丢了"), "乙": ("年票多少钱?", "年票过期了")})
    )
    assert "雨伞" in terms["甲0"].split()
    assert "年票" in terms["乙1"].split()


def _believes(messages: list[BaseMessage]) -> str:
    """Follow the one lesson that is shown."""
    told = prompt_of(messages).partition("<experiences>")[2]
    return next((office for office in LETTERS if f"answer {office}" in told), "no idea")


def _critic(messages: list[BaseMessage]) -> str:
    """Name one word of the letter, as small models do."""
    said = prompt_of(messages)
    whens = {
        "gluten": "F",
        "soup": "F",
        "cloakroom": "P",
        "glasses": "P",
        "pass": "C",
        "renewed": "C",
    }
    when = next(word for word in whens if word in said.rpartition("Task:")[2].lower())
    return critique(add(f"answer office {whens[when]}", when))


async def _learned(letters: dict[str, tuple[str, ...]], learned: int, **settings: Any) -> TedMemory:
    given = {
        "profile": "small",
        "selection": "relevant",
        "top_k": 1,
        "validation": 0,
        "concurrency": 1,
    }
    memory, samples = in_memory(trust="always", **given | settings), _samples(letters)

    def solves(messages: Any) -> Any:
        return next(s.reference for s in samples if str(s.input) in prompt_of(messages))

    expert: Any = teacher(_critic, solves=solves)
    report = await distill(
        samples, student=student(_believes), teacher=expert, memory=memory, name="letters"
    )
    assert report.learned == learned, report.reasons
    return memory


async def _shown_to_later_letters() -> dict[str, str]:
    memory = await _learned(LETTERS, 6)
    snapshot = await memory.load()
    shown = {office: await memory.show(snapshot, text) for office, text in LATER.items()}
    told = await memory.render()
    assert all(word not in told for word in ("waiter", "umbrella", "membership"))
    return {office: " ".join(e.text for e in lessons) for office, lessons in shown.items()}


async def test_a_later_letter_in_other_words_finds_its_lesson(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await _shown_to_later_letters() == {office: f"answer {office}" for office in LETTERS}
    # the control
    monkeypatch.setattr(job, "terms_of", lambda *_args, **_given: {})
    found = await _shown_to_later_letters()
    assert found["office P"] == found["office C"] == ""


async def test_it_is_found_by_words_of_samples_too_that_it_made_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They were no reason to learn anything: who is right is not criticised."""
    letters = {**LETTERS, "office F": ("Is there gluten in it?", "Gluten! The rolls were mouldy.")}

    async def found(text: str) -> list[str]:
        memory = await _learned(letters, 5)
        return [e.text for e in await memory.show(await memory.load(), text)]

    assert await found("A mouldy bun") == ["answer office F"]
    monkeypatch.setattr(job, "lesson_for", lambda *_, **__: None)
    assert await found("A mouldy bun") == [], "the control"


async def test_a_sample_judges_the_set_without_its_own_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each adds its words as a change of its own, which is taken back where it judges."""
    letters = {
        **LETTERS,
        "office F": (
            "Is there gluten in it?",
            "Gluten! The rolls were mouldy.",
            "More gluten, a bun",
        ),
    }
    staged: list[Material] = []
    real = Material.without

    def without(self: Material, sample: Sample) -> tuple[Experience, ...]:
        staged.append(self)
        return real(self, sample)

    monkeypatch.setattr(Material, "without", without)
    await _learned(letters, 5, validation=0.2)
    material, by_id = staged[0], {s.id: s for s in _samples(letters)}
    whole = " ".join(e.index_terms for e in material.staged.active)
    assert {"mouldy", "bun"} <= set(whole.split())
    left = " ".join(e.index_terms for e in real(material, by_id["F1"])).split()
    assert "mouldy" not in left
    left = " ".join(e.index_terms for e in real(material, by_id["F2"])).split()
    assert "mouldy" in left
    assert "bun" not in left
    lesson = next(e for e in material.staged.active if "mouldy" in e.index_terms)
    assert material.as_known_without(lesson, by_id["F0"]) is None, "who taught it does not judge it"
    known = material.as_known_without(lesson, by_id["F1"])
    assert known is not None
    assert known.lesson == lesson.lesson
    assert "mouldy" not in known.index_terms


async def test_somebodys_words_are_no_index_terms() -> None:
    samples = [s.model_copy(update={"sources": ("principal:anna",)}) for s in _samples()]
    assert _terms(samples) == {}


def test_a_sample_adds_to_the_lesson_that_tells_its_answer_and_is_found_first() -> None:
    lessons = [
        Experience(id=id, text=text, when=when)
        for id, text, when in (
            ("1", "answer office F.", "cafe"),
            ("2", "answer office F.", "soup"),
            ("3", "F", ""),
        )
    ]
    soup = Sample(id="s", input="The soup was cold", reference="office F")
    labels = {"office f", "office p"}
    found = lesson_for(soup, lessons, labels)
    assert found is not None
    assert found.id == "2"
    other = lesson_for(soup.model_copy(update={"input": "Hello"}), lessons, labels)
    assert other is not None
    assert other.id == "1", "the first, where none is found"
    assert lesson_for(soup.model_copy(update={"reference": "office P"}), lessons, labels) is None
    both = [Experience(id="4", text="answer office F, never office P.", when="x")]
    assert lesson_for(soup, both, labels) is None, "it names two answers"


async def test_without_examples_no_word_of_a_sample_is_kept() -> None:
    kept = [e.index_terms for e in await (await _learned(LETTERS, 6)).load()]
    assert all(kept), "the control"
    assert [e.index_terms for e in await (await _learned(LETTERS, 6, examples=False)).load()] == [
        ""
    ] * len(kept)


# Answers in parts: which words go with answers like a sample's own.

GOODS = {"seeds": ("JO", "S5"), "paper": ("VU", "S9"), "candles": ("WI", "S3")}
PLACES, DAYS = ("Turin", "Lund", "Riga"), ("Monday", "Friday", "Sunday", "Tuesday")


def _line(i: int) -> Sample:
    goods = list(GOODS)[i % 3]
    code, shelf = GOODS[goods]
    place, day = PLACES[i // 3 % 3], DAYS[i // 3 % 4]
    asked = f"Write the line. {10 + i} packs of {goods} from {place} came in on {day}."
    return Sample(id=f"d{i}", input=asked, reference=f"{code} | {10 + i} | {place} | {shelf} //ok")


def test_words_go_with_answers_that_share_what_their_tasks_do_not_say() -> None:
    kindred = kindred_words([_line(i) for i in range(9)])
    assert {id: kindred[id] for id in ("d0", "d1", "d2")} == {
        "d0": ("seeds",),
        "d1": ("paper",),
        "d2": ("candles",),
    }
    assert len(kindred) == 9


def test_samples_whose_answers_say_nothing_of_their_own_have_none() -> None:
    listed = [
        Sample(
            id=str(i),
            input=f"Which one: team A, team B? Case {i}, {'fire' if i % 2 else 'rain'}.",
            reference=team,
        )
        for i, team in enumerate(("team A", "team B") * 3)
    ]
    assert kindred_words(listed) == {}, (
        "each task lists all answers: there is nothing that it does not say"
    )


def test_nobodys_words_tell_what_goes_together() -> None:
    people = [_line(i).model_copy(update={"sources": ("principal:anna",)}) for i in range(9)]
    assert kindred_words(people) == {}


def _imitates(messages: list[BaseMessage]) -> str:
    """Write the line of an earlier turn with this code and shelf; without one something else."""
    turns = [str(m.text) for m in messages if m.type == "ai"]
    if not turns:
        return "Some goods came in."
    found = re.findall(r"(\d+) packs of \w+ from (\w+) came", prompt_of(messages))
    code, *_, shelf = turns[-1].removesuffix(" //ok").split(" | ")
    return f"{code} | {' | '.join(found[-1])} | {shelf} //ok"


async def _conditions_of_solved_tasks() -> set[str]:
    """Return those of tasks that help one by one.

    All together they would be tried with the ways to show the set.
    """
    memory = in_memory(trust="always", profile="small", concurrency=1, measure_presentation=False)
    silent = teacher(lambda _: critique(add("write a line", "line")))
    await distill(
        [_line(i) for i in range(18)], student=student(_imitates), teacher=silent, memory=memory
    )
    return {e.when for e in (await memory.load()).active if e.task}


async def test_a_solved_task_is_found_by_the_words_that_go_with_its_answer() -> None:
    assert await _conditions_of_solved_tasks() == set(GOODS)


async def test_control_by_all_words_of_its_own_none_is_shown_to_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job, "kindred_words", lambda *_, **__: {})
    assert await _conditions_of_solved_tasks() == set()
