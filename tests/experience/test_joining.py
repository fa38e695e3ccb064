"""Proposals of the same text: which of them become one more, which wait, and which are said already."""

from typing import Any

import pytest

from ted_memory.experience.joining import JOINED, behind, contained, joined_proposals, strung
from ted_memory.models import Add, Experience, Trial
from tests.experience.lessons import a_set, lesson, on_trial, proposed

SAME = "answer office P."
ONE = proposed("l1", text=SAME, when="earring, toilet", by=("anna",))
TWO = proposed("l2", text=SAME, when="umbrella", by=("bert",))


def joined(*lessons: Experience, max_text: int = 800) -> list[Add]:
    return joined_proposals(a_set(*lessons), max_text=max_text)


def test_proposals_of_one_text_become_one_more_about_all_of_their_situations() -> None:
    [made] = joined(ONE, TWO, proposed("l3", text="answer office C.", when="pass"))
    assert (made.text, made.when, made.state) == (SAME, "earring, toilet, umbrella", "proposed")
    assert made.sources == ("principal:anna", "principal:bert"), "neither is a witness of it"
    assert made.metadata == {JOINED: "l1 l2"}


def test_spelling_makes_no_other_text() -> None:
    [made] = joined(ONE, TWO.model_copy(update={"text": "Answer  OFFICE P"}))
    assert made.text == SAME


MADE = proposed("l9", text=SAME, when="umbrella, Toilet, earring", metadata={JOINED: "l1 l2"})


def test_it_is_made_once_and_a_third_one_makes_it_anew_of_those_that_users_led_to() -> None:
    assert joined(ONE, TWO, MADE) == []
    [made] = joined(ONE, TWO, MADE, proposed("l10", text=SAME, when="lost"))
    assert made.when == "earring, toilet, umbrella, lost"
    assert made.metadata == {JOINED: "l1 l2 l10"}


def test_what_was_refuted_is_no_part_of_it_any_more() -> None:
    three = proposed("l3", text=SAME, when="letter")
    all_of_them = proposed("l9", text=SAME, when="earring, toilet, umbrella, letter", metadata={JOINED: "l1 l2 l3"})
    assert joined(ONE, TWO, three, all_of_them) == []
    [made] = joined(ONE, TWO, all_of_them)
    assert made.when == "earring, toilet, umbrella"


@pytest.mark.parametrize(
    "other",
    [
        proposed("l2", text="answer office C.", when="umbrella"),
        proposed("l2", text=SAME, when="umbrella", by=()),
        proposed("l2", text=SAME, when=""),
        proposed("l2", text=SAME, when="umbrella", everywhere=True),
        proposed("l2", text=SAME, when="umbrella", example="Where is it? => office P"),
        proposed("l2", text=SAME, when="TOILET, earring"),
        lesson("l2", "proposed", Trial(ended="it has come to hurt"), text=SAME, when="umbrella"),
        lesson("l2", text=SAME, when="umbrella"),
    ],
    ids=["text", "by hand", "no condition", "everywhere", "example", "the same", "ended", "active"],
)
def test_others_are_left_as_they_are(other: Experience) -> None:
    assert joined(ONE, TWO), "the control"
    assert joined(ONE, other) == []


def test_it_is_not_made_longer_than_a_lesson_may_be() -> None:
    length = len(SAME) + len("earring, toilet, umbrella")
    assert joined(ONE, TWO, max_text=length)
    assert joined(ONE, TWO, max_text=length - 1) == []


def test_while_one_is_on_trial_the_others_wait_and_none_is_made() -> None:
    tried = on_trial("l5", text=SAME, when="lost")
    other, by_hand = proposed("l6", text="answer office C."), proposed("l7", text=SAME, by=())
    assert joined(ONE, TWO, tried) == []
    assert behind(a_set(ONE, TWO, tried, other, by_hand)) == {"l1": "l5", "l2": "l5"}
    assert behind(a_set(ONE, TWO, MADE)) == {}


def test_what_an_active_lesson_is_about_already_goes() -> None:
    active = lesson("l5", text=SAME, when="umbrella, toilet, earring")
    by_hand = proposed("l6", text=SAME, when="umbrella", by=())
    wider = proposed("l7", text=SAME, when="umbrella, lost")
    other = proposed("l8", text="answer office C.", when="umbrella")
    always = proposed("l10", text=SAME)
    gone: list[Any] = contained(a_set(ONE, TWO, active, by_hand, wider, other, always))
    assert [(edit.id, edit.state, edit.rev) for edit in gone] == [("l1", "retired", 7), ("l2", "retired", 7)]


@pytest.mark.parametrize(
    ("conditions", "made"),
    [
        (["a pass, a card", "a card, new"], "a pass, a card, new"),
        (["the user asks for a refund", "the user is angry"], "the user asks for a refund; the user is angry"),
        (["a; b", "c, d"], "a; b; c, d"),
        (["bike", "Bike, theft"], "bike, theft"),
        ([], ""),
    ],
)
def test_conditions_are_strung_together(conditions: list[str], made: str) -> None:
    assert strung(conditions) == made
