"""Which experiences stand in a prompt: all, the best that fit, or those for the question."""

import gc
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ted_memory.experience.ranking import NO_QUESTION, Ranking
from ted_memory.experience.rendering import FRAME_TOKENS, count_tokens, lesson_tokens, render_block
from ted_memory.models import Experience, Usage
from ted_memory.retrieval.bm25 import Index, WordRetriever, index_of
from ted_memory.retrieval.selection import common_words, distinctive, make_selector, match
from ted_memory.settings import Selection

ROOMY = 2000


def lesson(id: str, text: str, when: str = "", order: int = 0) -> Experience:
    return Experience(id=id, text=text, when=when, order=order, tokens=lesson_tokens(text, when))


def lifted(by: float, weight: float = 10.0) -> Usage:
    return Usage(weight=weight, weighted_difference=weight * by)


def ids(chosen: tuple[Experience, ...] | list[Experience]) -> list[str]:
    return [e.id for e in chosen]


DESK = [
    lesson("refund", "Ask for the order number.", "a customer wants a refund", 1),
    lesson("password", "Send the link.", "a password was forgotten", 2),
    lesson("deliver", "Look at the tracking page.", "a delivery is late", 3),
    lesson("greet", "Greet every customer by name.", "", 4),
]


ALWAYS = DESK[-1]


def asked(lessons: list[Experience], question: str) -> Ranking:
    conditional = [e for e in lessons if not e.applies_always]
    return Ranking(tuple(e.id for e in WordRetriever().rank_now(conditional, question)))


# --- all


def test_all_means_all_in_their_order_whatever_is_asked() -> None:
    select = make_selector("all", top_k=1, token_budget=1)
    usage = {"greet": lifted(0.5)}
    assert ids(select(DESK, usage, NO_QUESTION)) == ["refund", "password", "deliver", "greet"]
    assert select(DESK, {}, asked(DESK, "a refund")) == tuple(DESK)
    assert select([], {}, asked([], "a refund")) == ()


# --- budget


def test_budget_takes_the_highest_lift_first() -> None:
    usage = {"refund": lifted(-0.2), "password": lifted(0.1), "deliver": lifted(0.4)}
    select = make_selector("budget", top_k=1, token_budget=ROOMY)
    assert ids(select(DESK, usage, NO_QUESTION)) == ["deliver", "password", "greet", "refund"]


def test_citations_break_a_tie_and_then_age() -> None:
    usage = {"deliver": Usage(helped=2), "refund": Usage(hurt=1), "greet": Usage(helped=3, hurt=3)}
    select = make_selector("budget", top_k=1, token_budget=ROOMY)
    assert ids(select(list(reversed(DESK)), usage, NO_QUESTION)) == [
        "deliver",
        "password",
        "greet",
        "refund",
    ]


def test_much_evidence_of_a_small_lift_beats_little_evidence_of_a_large_one() -> None:
    usage = {"refund": lifted(0.5, weight=0.5), "password": lifted(0.3, weight=100)}
    select = make_selector("budget", top_k=1, token_budget=ROOMY)
    assert ids(select(DESK, usage, NO_QUESTION))[:2] == ["password", "refund"]


def test_one_that_does_not_fit_does_not_keep_shorter_ones_out() -> None:
    short, long = lesson("short", "Short.", order=2), lesson("long", "A long one. " * 20, order=1)
    budget = FRAME_TOKENS + short.tokens
    assert ids(
        make_selector("budget", top_k=1, token_budget=budget)([long, short], {}, NO_QUESTION)
    ) == ["short"]
    assert (
        make_selector("budget", top_k=1, token_budget=budget - 1)([long, short], {}, NO_QUESTION)
        == ()
    )


@given(
    st.lists(st.text("ab ü", min_size=1, max_size=60), max_size=12),
    st.integers(1, 200),
    st.sampled_from(["budget", "relevant"]),
)
def test_the_block_fits_the_budget(texts: list[str], budget: int, selection: Selection) -> None:
    experiences = [
        lesson(str(i), text, when=text[: i % 3 * 9], order=i + 1) for i, text in enumerate(texts)
    ]
    ranking = asked(experiences, "a b ab ü ba")
    chosen = make_selector(selection, top_k=99, token_budget=budget)(experiences, {}, ranking)
    assert not chosen or count_tokens(render_block(chosen)) <= budget
    assert len(set(ids(chosen))) == len(chosen)


# --- relevant


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("I want my money back, please give me a refund", "refund"),
        ("REFUNDS!", "refund"),
        ("My passwords are forgotten", "password"),
        ("When will my deliveries come?", "deliver"),
    ],
)
def test_the_lesson_for_the_question_stands_last_and_before_it_what_applies_always(
    question: str, best: str
) -> None:
    select = make_selector("relevant", top_k=1, token_budget=ROOMY)
    assert ids(select(DESK, {}, asked(DESK, question))) == ["greet", best]


def test_what_is_matched_is_the_condition_and_the_text_only_without_one() -> None:
    assert ids(WordRetriever().rank_now(DESK, "tracking page")) == []
    assert ids(WordRetriever().rank_now(DESK, "by name")) == ["greet"]


def test_no_more_than_top_k_and_never_one_that_shares_no_word() -> None:
    question = "The customer wants a refund for a late delivery"
    ranking = asked(DESK, question)
    chosen = [
        ids(make_selector("relevant", top_k=k, token_budget=ROOMY)(DESK, {}, ranking))
        for k in (1, 2, 9)
    ]
    assert chosen == [
        ["greet", "refund"],
        ["greet", "refund", "deliver"],
        ["greet", "refund", "deliver"],
    ]


def test_lessons_that_apply_always_never_take_a_place_of_the_best_ones() -> None:
    always = [lesson(f"a{i}", f"Always {i}.", order=10 + i) for i in range(9)]
    everywhere = lesson("x", "Everywhere.", "a refund", 30).model_copy(update={"everywhere": True})
    lessons = [*always, everywhere, *DESK]
    usage = {"a7": lifted(0.4), "x": lifted(0.2)}
    ranking = asked(lessons, "a refund, and a late delivery")
    select = make_selector("relevant", top_k=2, token_budget=ROOMY)
    chosen = ids(select(lessons, usage, ranking))
    assert (chosen[:2], chosen[-2:]) == (["a7", "x"], ["deliver", "refund"])
    tight = (
        FRAME_TOKENS
        + sum(e.tokens for e in DESK if e.id in {"refund", "deliver"})
        + everywhere.tokens
    )
    kept = ids(make_selector("relevant", top_k=2, token_budget=tight)(lessons, usage, ranking))
    assert kept[-2:] == ["deliver", "refund"]
    assert kept[0] == "a7", "best utility first"


def test_a_lesson_that_applies_everywhere_is_not_found_by_its_condition() -> None:
    everywhere = DESK[0].model_copy(update={"everywhere": True})
    ranking = Ranking(("refund", "password"))
    assert ids(ranking.best([everywhere, DESK[1]])) == ["password"]
    assert ranking.applying([everywhere, *DESK[2:]]) == {"refund", "greet"}


def test_lessons_that_fit_alike_stand_in_their_order() -> None:
    alike = [lesson(str(i), "Any.", "a refund is due", i) for i in (3, 1, 2)]
    assert ids(WordRetriever().rank_now(alike, "refund")) == ["3", "1", "2"]


@pytest.mark.parametrize("question", ["zebra", "the and of", "?!", "\U0001f600"])
def test_a_question_that_shares_no_word_gets_only_what_applies_always(question: str) -> None:
    select = make_selector("relevant", top_k=3, token_budget=ROOMY)
    assert select(DESK, {}, asked(DESK, question)) == (ALWAYS,)


def test_without_a_question_relevant_takes_the_best_that_fit() -> None:
    usage = {"deliver": lifted(0.4)}
    select = make_selector("relevant", top_k=1, token_budget=ROOMY)
    assert ids(select(DESK, usage, NO_QUESTION))[0] == "deliver"
    assert len(select(DESK, usage, NO_QUESTION)) == len(DESK)


def test_lessons_of_nothing_but_stop_words_match_nothing() -> None:
    assert match(["the and", "of"], "the of refund") == [0.0, 0.0]
    assert match([], "refund") == []
    assert match(["refund", "the"], "refund")[0] > 0


def test_the_score_is_that_of_bm25() -> None:
    """By hand: ln(1 + (N - n + 0.5) / (n + 0.5)) * f / (f + 1.5 (0.25 + 0.75 length / mean))."""
    documents = ["refund refund parcel", "parcel", "invoice, letter"]
    average = 6 / 3
    refund = math.log(1 + 2.5 / 1.5) * 2 / (2 + 1.5 * (0.25 + 0.75 * 3 / average))
    parcel = [math.log(1 + 1.5 / 2.5) / (1 + 1.5 * (0.25 + 0.75 * n / average)) for n in (3, 1)]
    assert match(documents, "a refund for the parcel") == pytest.approx(
        [refund + parcel[0], parcel[1], 0]
    )


# --- the index belongs to the set


def test_the_same_set_is_indexed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    plain = Index.__init__
    monkeypatch.setattr(
        Index, "__init__", lambda self, *args: (made.append(1), plain(self, *args))[1]
    )
    sets = [tuple(e.model_copy(update={"id": f"{e.id}{n}"}) for e in DESK) for n in range(100)]
    retriever = WordRetriever()
    for _ in range(3):
        for lessons in sets:
            assert ids(retriever.rank_now(lessons, "a refund"))[0].startswith("refund")
    assert len(made) == 100, "however many sets a process serves"
    assert ids(retriever.rank_now(list(sets[0]), "a refund"))
    assert len(made) == 100, "a list of the same lessons is the same set"


def test_what_belongs_to_a_set_goes_with_it() -> None:
    retriever = WordRetriever()
    for n in range(20):
        retriever.rank_now([e.model_copy(update={"id": f"{e.id}{n}"}) for e in DESK], "a refund")
    gc.collect()
    assert len(retriever._readings) <= len(DESK)
    assert len(retriever._indexes) <= 1


def test_a_lesson_that_changed_is_found_by_its_new_words() -> None:
    retriever, lessons = WordRetriever(), list(DESK)
    assert ids(retriever.rank_now(lessons, "a refund")) == ["refund"]
    lessons[0] = lesson("refund", "Ask.", "a voucher was lost")
    assert ids(retriever.rank_now(lessons, "a refund")) == []
    assert ids(retriever.rank_now(lessons, "vouchers")) == ["refund"]
    lessons[1] = lesson("new", "Ask.", "vouchers are sold out")
    assert ids(retriever.rank_now(lessons, "vouchers")) == ["refund", "new"]


def test_an_index_answers_many_questions() -> None:
    index = index_of([e.when or e.text for e in DESK])
    assert index.scores("a refund") == match([e.when or e.text for e in DESK], "a refund")
    assert index.ranked("late, forgotten") == [1, 2]


# --- what a condition may be made of

ASKED = [
    f"Which team answers this ticket? Ticket: {words}"
    for words in ("my parcel", "a refund", "the invoice", "a job", "it")
]


def test_words_that_stand_in_every_text_are_its_form() -> None:
    assert common_words(ASKED) == {"team", "answer", "ticket"}
    assert common_words([]) == frozenset()
    assert common_words(ASKED[:2]) == frozenset(), "two tasks may be about the same"


@pytest.mark.parametrize(
    ("when", "kept"),
    [
        ("parcel, team, parcel", "parcel"),
        ("the ticket is about a parcel", "parcel"),
        ("a late parcel of the ticket and its courier", "late parcel, courier"),
        ("a parcel is late; delivery", "a parcel is late, delivery"),
        ("parcel, cold, ten kilometres", "parcel"),
        ("a cold parcel", "a cold parcel"),
        ("ticket, team", "ticket, team"),  # nothing would be left: the try will judge it
        ("team, refund", "team, refund"),  # nor here, for this question
        ("", ""),
    ],
)
def test_a_condition_keeps_what_sets_its_question_apart(when: str, kept: str) -> None:
    foreign = {"cold", "ten", "kilometr"}
    assert distinctive(when, ASKED[0], common=common_words(ASKED), foreign=foreign) == kept


def test_without_knowledge_a_condition_stays_as_it_is() -> None:
    assert (
        distinctive("the ticket is about a parcel", ASKED[0], common=())
        == "the ticket is about a parcel"
    )


@given(st.text(), st.text())
def test_any_condition_can_be_looked_at(when: str, question: str) -> None:
    kept = distinctive(when, question, common={"a"})
    assert kept == when or match([kept], question)[0] > 0


def test_a_word_that_a_question_repeats_counts_once() -> None:
    lessons = [
        Experience(id="desk", text="-", when="desk"),
        Experience(id="photo", text="-", when="photo, passport"),
    ]
    form = "To which desk does it go? desk 1, desk 2, desk 3, desk 4."
    question = f"{form} Request: a new photo for my passport"
    assert [e.id for e in WordRetriever().rank_now(lessons, question)] == ["photo", "desk"]


@pytest.mark.parametrize("wanted", [0, 1, 3, 50, None])
@pytest.mark.parametrize("left_out", [0, 5, 40, 79])
def test_the_best_of_many_are_those_of_a_full_search(wanted: int | None, left_out: int) -> None:
    """Of eighty that are ranked the first are not there, or apply always."""
    many = [
        Experience(id=f"e{i}", text="Do it.", when="" if i % 7 == 0 else f"about {i}")
        for i in range(80)
    ]
    there = many[:0:-1] if not left_out else many[left_out:]
    expected = [f"e{i}" for i in range(max(left_out, 1), 80) if i % 7][:wanted]
    assert ids(Ranking(tuple(e.id for e in many)).best(there, wanted)) == expected


def test_a_lesson_is_found_by_its_index_terms_too_and_by_its_condition_first() -> None:
    indexed = DESK[2].model_copy(update={"index_terms": "parcel courier"})
    lessons = [*DESK[:2], indexed, ALWAYS]
    assert ids(WordRetriever().rank_now(lessons, "the courier lost it")) == ["deliver"]
    assert ids(WordRetriever().rank_now(DESK, "the courier lost it")) == []
    assert asked(lessons, "my parcel").applying(lessons) == {"deliver", "greet"}
