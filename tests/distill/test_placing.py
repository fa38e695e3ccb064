"""Whether a lesson's own task would find it is read in the language that the set is searched in."""

from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Sample, TedMemory
from ted_memory.distill import placing
from ted_memory.distill.placing import is_found_by, telling_words
from ted_memory.distill.proposals import ProposedEdit, in_its_own_words
from ted_memory.distill.solved_tasks import conditions_of
from ted_memory.models import Experience
from ted_memory.retrieval import WordRetriever
from ted_memory.retrieval.conditions import common_words, stems
from ted_memory.testing import in_memory
from tests.distill.scripts import add, critique, one_pass, prompt_of, student, teacher

BILL = "Auf meiner Rechnung stimmt der Betrag nicht, was nun?"
PAIRS = (
    ("Rechnungen", BILL),
    ("vergessene Passwörter", "Ich habe mein Passwort vergessen und komme nicht in das Konto."),
    ("Lieferungen", "Wo bleibt die Lieferung, die ich bestellt habe?"),
    ("возвраты", "Когда вы оформите возврат денег?"),
    ("remboursements", "Quand est-ce que je reçois mon remboursement pour les chaussures ?"),
    ("包裹", "我的包裹还没有到。"),
    ("refunds", "When do I get the refund for my shoes?"),
)


@pytest.mark.parametrize(("when", "task"), PAIRS)
def test_a_condition_is_found_where_the_retriever_finds_it(when: str, task: str) -> None:
    [lesson] = lessons = [Experience(id="x", text="-", when=when)]
    assert WordRetriever().rank_now(lessons, task) == [lesson]
    assert is_found_by(when, task, ())
    for _, other in PAIRS:
        assert is_found_by(when, other, ()) is bool(WordRetriever().rank_now(lessons, other))


def test_in_a_set_of_one_language_it_is_read_in_that_one() -> None:
    task = "Betrag Rechnung 17?"  # shows no language by itself
    [lesson] = lessons = [Experience(id="x", text="-", when="Rechnungen")]
    assert WordRetriever("de").rank_now(lessons, task) == [lesson]
    assert is_found_by("Rechnungen", task, (), language="de")
    assert not is_found_by("Rechnungen", task, (), language="en"), "the control"
    assert not is_found_by("Rechnungen", task, stems("Rechnung", language="de"), language="de"), (
        "all tasks have it"
    )


def _obedient(messages: list[BaseMessage]) -> str:
    return "Konto 7" if "say Konto 7" in prompt_of(messages) else "no idea"


async def _learned(memory: TedMemory, when: str, task: str = BILL) -> Experience:
    given = Sample(id="bill", input=task, reference="Konto 7")
    expert = teacher(lambda _: critique(add("say Konto 7", when)), solves=lambda _: "Konto 7")
    out = await one_pass(
        memory, given, student=student(_obedient), teacher=expert, labels={"konto 7": "Konto 7"}
    )
    assert out["status"] == "learned", out["note"]
    [lesson] = (await memory.load()).active
    return lesson


def german(language: str = "de", **settings: Any) -> TedMemory:
    return in_memory(
        trust="always", selection="relevant", shown_share=1.0, language=language, **settings
    )


@pytest.mark.parametrize("language", ["de", "auto"])
async def test_a_german_lesson_is_shown_where_it_applies_and_nowhere_else(language: str) -> None:
    memory = german(language)
    lesson = await _learned(memory, "Rechnungen")
    assert not lesson.everywhere
    assert "Konto 7" in await memory.render("Die Rechnung ist falsch.")
    assert await memory.render("Wo bleibt mein Paket?") == ""


async def test_without_the_language_it_would_be_shown_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placing, "spoken_in", lambda *_: "en")
    memory = german()
    assert (await _learned(memory, "Rechnungen")).everywhere
    assert "Konto 7" in await memory.render("Wo bleibt mein Paket?")


async def test_what_no_retrieval_finds_is_shown_everywhere_in_german_too() -> None:
    assert (await _learned(german(), "wenn Geld fehlt")).everywhere


# --- key words


def test_words_that_others_have_are_known_in_other_forms() -> None:
    sample = Sample(id="s", input="Betrag, Rechnungen, Mahnungen", reference="?")
    taken = stems("Rechnung", language="de")
    assert telling_words(sample, taken, language="de") == ["Betrag", "Mahnungen"]
    assert "Rechnungen" in telling_words(sample, taken, language="en"), "the control"
    words = conditions_of(
        sample, "Mahnung", (), common=taken, kindred=["Rechnungen", "Betrag"], language="de"
    )
    assert words == ["Betrag"]
    assert conditions_of(sample, "Mahnung", (), common=taken, kindred=(), language="de") == [
        "Betrag"
    ]


def test_a_condition_in_key_words_loses_what_every_task_says_in_whatever_form() -> None:
    asked = [
        f"Anfrage {i}: {word}"
        for i, word in enumerate(("Rechnung", "Miete", "Rad", "Post", "Geld"))
    ]
    common = common_words(asked, language="de")
    proposed = ProposedEdit(op="add", when="Anfragen, Rechnungen", text="-")
    assert in_its_own_words(proposed, (), asked[0], common, language="de").when == "Rechnungen"
    assert in_its_own_words(proposed, (), asked[0], common, language="en").when != "Rechnungen", (
        "the control"
    )
