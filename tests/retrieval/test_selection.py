"""Which experiences stand in a prompt: all, the best that fit, or those for the question at hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ted_memory.experience.rendering import FRAME_TOKENS, count_tokens, lesson_tokens, render_block
from ted_memory.models import Experience, Usage
from ted_memory.retrieval.selection import common_words, distinctive, make_selector, match, relevant
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


# --- all


def test_all_means_all_in_their_order_whatever_is_asked() -> None:
    select = make_selector("all", top_k=1, token_budget=1)
    usage = {"greet": lifted(0.5)}
    assert ids(select(DESK, usage, "")) == ["refund", "password", "deliver", "greet"]
    assert select(DESK, {}, "a refund") == tuple(DESK)
    assert select([], {}, "a refund") == ()


# --- budget


def test_budget_takes_the_highest_lift_first() -> None:
    usage = {"refund": lifted(-0.2), "password": lifted(0.1), "deliver": lifted(0.4)}
    select = make_selector("budget", top_k=1, token_budget=ROOMY)
    assert ids(select(DESK, usage, "")) == ["deliver", "password", "greet", "refund"]


def test_citations_break_a_tie_and_then_age() -> None:
    usage = {"deliver": Usage(helped=2), "refund": Usage(hurt=1), "greet": Usage(helped=3, hurt=3)}
    select = make_selector("budget", top_k=1, token_budget=ROOMY)
    assert ids(select(list(reversed(DESK)), usage, "")) == ["deliver", "password", "greet", "refund"]


def test_much_evidence_of_a_small_lift_beats_little_evidence_of_a_large_one() -> None:
    usage = {"refund": lifted(0.5, weight=0.5), "password": lifted(0.3, weight=100)}
    select = make_selector("budget", top_k=1, token_budget=ROOMY)
    assert ids(select(DESK, usage, ""))[:2] == ["password", "refund"]


def test_one_that_does_not_fit_does_not_keep_shorter_ones_out() -> None:
    short, long = lesson("short", "Short.", order=2), lesson("long", "A long one. " * 20, order=1)
    budget = FRAME_TOKENS + short.tokens
    assert ids(make_selector("budget", top_k=1, token_budget=budget)([long, short], {}, "")) == ["short"]
    assert make_selector("budget", top_k=1, token_budget=budget - 1)([long, short], {}, "") == ()


@given(
    st.lists(st.text("ab ü", min_size=1, max_size=60), max_size=12),
    st.integers(1, 200),
    st.sampled_from(["budget", "relevant"]),
)
def test_the_block_fits_the_budget(texts: list[str], budget: int, selection: Selection) -> None:
    experiences = [lesson(str(i), text, order=i + 1) for i, text in enumerate(texts)]
    chosen = make_selector(selection, top_k=99, token_budget=budget)(experiences, {}, "a b ab ü ba")
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
        ("greeting", "greet"),
    ],
)
def test_the_lesson_for_the_question_comes_first(question: str, best: str) -> None:
    assert ids(make_selector("relevant", top_k=1, token_budget=ROOMY)(DESK, {}, question)) == [best]


def test_what_is_matched_is_the_condition_and_the_text_only_without_one() -> None:
    assert ids(relevant(DESK, "tracking page")) == []
    assert ids(relevant(DESK, "by name")) == ["greet"]


def test_no_more_than_top_k_and_never_one_that_shares_no_word() -> None:
    question = "The customer wants a refund for a late delivery"
    chosen = [ids(make_selector("relevant", top_k=k, token_budget=ROOMY)(DESK, {}, question)) for k in (1, 2, 9)]
    assert chosen[0] == chosen[1][:1] == chosen[2][:1] == ["refund"]
    assert chosen[1] == chosen[2][:2]
    assert sorted(chosen[2]) == ["deliver", "greet", "refund"]


def test_lessons_that_fit_alike_stand_in_their_order() -> None:
    alike = [lesson(str(i), "Any.", "a refund is due", i) for i in (3, 1, 2)]
    assert ids(relevant(alike, "refund")) == ["3", "1", "2"]


@pytest.mark.parametrize("question", ["zebra", "the and of", "?!", "\U0001f600"])
def test_a_question_that_shares_no_word_gets_no_lesson(question: str) -> None:
    assert make_selector("relevant", top_k=3, token_budget=ROOMY)(DESK, {}, question) == ()


@pytest.mark.parametrize("question", ["", "  \n"])
def test_without_a_question_relevant_takes_the_best_that_fit(question: str) -> None:
    usage = {"deliver": lifted(0.4)}
    assert ids(make_selector("relevant", top_k=1, token_budget=ROOMY)(DESK, usage, question))[0] == "deliver"
    assert len(make_selector("relevant", top_k=1, token_budget=ROOMY)(DESK, usage, question)) == len(DESK)


def test_lessons_of_nothing_but_stop_words_match_nothing() -> None:
    assert match(["the and", "of"], "the of refund") == [0.0, 0.0]
    assert match([], "refund") == []
    assert match(["refund", "the"], "refund")[0] > 0


def test_the_score_is_the_same_whenever_it_is_asked_for() -> None:
    documents = [e.when or e.text for e in DESK]
    first = match(documents, "a refund for the late delivery")
    match(documents[:2], "something else")
    assert match(documents, "a refund for the late delivery") == first


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
    assert distinctive("the ticket is about a parcel", ASKED[0], common=()) == "the ticket is about a parcel"


@given(st.text(), st.text())
def test_any_condition_can_be_looked_at(when: str, question: str) -> None:
    kept = distinctive(when, question, common={"a"})
    assert kept == when or match([kept], question)[0] > 0


def test_a_word_that_a_question_repeats_counts_once() -> None:
    lessons = [Experience(id="desk", text="-", when="desk"), Experience(id="photo", text="-", when="photo, passport")]
    asked = "To which desk does it go? desk 1, desk 2, desk 3, desk 4. Request: a new photo for my passport"
    assert [e.id for e in relevant(lessons, asked)] == ["photo", "desk"]
