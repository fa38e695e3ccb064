"""Word forms meet in many languages, and each text is read in its own."""

import pytest

from ted_memory.errors import SettingsError
from ted_memory.models import Experience
from ted_memory.retrieval import WordRetriever
from ted_memory.retrieval.conditions import common_words, distinctive, stems
from ted_memory.retrieval.language import LANGUAGES, STEMMERS, analyse, check_language, detect
from ted_memory.testing import in_memory
from tests.retrieval.desks import DESKS

SPACED = ("de", "ru", "fr")


def lessons_of(language: str) -> tuple[Experience, ...]:
    return tuple(
        Experience(id=f"{language}{i}", text="Do so.", when=when, order=i)
        for i, when in enumerate(DESKS[language], start=1)
    )


def found(language: str, retriever: WordRetriever) -> float:
    """Return for which share of the questions the right lesson is among the first three."""
    lessons = lessons_of(language)
    hits = [
        when in [e.when for e in retriever.rank_now(lessons, question)[:3]]
        for when, questions in DESKS[language].items()
        for question in questions
    ]
    assert len(lessons) >= 12
    assert len(hits) >= 24
    return sum(hits) / len(hits)


@pytest.mark.parametrize("language", DESKS)
def test_the_right_lesson_is_among_three(language: str) -> None:
    assert found(language, WordRetriever()) == 1
    assert found(language, WordRetriever(language)) == 1


@pytest.mark.parametrize("language", SPACED)
def test_with_english_word_forms_it_is_not(language: str) -> None:
    """The control."""
    assert found(language, WordRetriever("en")) < 0.85


def test_a_set_in_several_languages_is_found_in_each_of_them() -> None:
    mixed = tuple(e for language in DESKS for e in lessons_of(language))
    retriever = WordRetriever()
    for desk in DESKS.values():
        for when, (question, _) in desk.items():
            assert when in [e.when for e in retriever.rank_now(mixed, question)[:3]], question


@pytest.mark.parametrize("language", [*SPACED, "zh", "ja"])
def test_questions_show_their_language(language: str) -> None:
    questions = [question for pair in DESKS[language].values() for question in pair]
    assert sum(detect(question) in {language, ""} for question in questions) >= 0.95 * len(
        questions
    )
    assert detect(" ".join(questions)) == language


@pytest.mark.parametrize(
    "text",
    [
        "Somebody wants a parking permit for residents, or to change one.",
        "My password is gone and I cannot log in to the shop",
        "a die cast mould in the warehouse",
        "She paid for a café visa in Paris",
    ],
)
def test_english_is_not_taken_for_another_language(text: str) -> None:
    assert detect(text) == "en"


@pytest.mark.parametrize("text", ["", "12 + 7 = ?", "parcel", "XJ-900"])
def test_a_text_without_signs_shows_no_language(text: str) -> None:
    assert detect(text) == ""


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "the angle \u03b8 of a triangle is asked for"),
        ("en", "angles of triangles in \u03c0 units"),
        ("en", "the resistance is in k\u03a9, the time in \u00b5s or \u03bcs"),
        ("en", "a wavelength of 5 \u00c5 or 5 \u212b"),
        ("en", "\u0394t and \u0394x of a car that brakes"),
        ("de", "Aufgabe mit dem Winkel \u03b1 und dem Winkel \u03b2"),
        ("", "\u03c0 r\u00b2"),
        ("", "\u2211 \u03b1\u1d62 x\u1d62 = \u03bb"),
        ("", "5 \u00c5"),
        ("", "\u042f"),
        ("el", "Ποιο είναι το εμβαδόν με ακτίνα r και γωνία \u03b8;"),
    ],
)
def test_letters_of_formulas_are_no_language(language: str, text: str) -> None:
    assert detect(text) == language


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "What does the word «Здравствуйте» mean?"),
        ("en", "How do I spell the name 東京 in kana?"),
        ("en", "What does שלום mean, and how is it said?"),
        ("en", "Is τέλος the same as an end?"),
        ("en", "How do you say thank you: شكرا or something else?"),
        ("en", "Is नमस्ते how they say hello in the north?"),
        ("en", "How are 한국 and the others called there?"),
        ("de", "Was heißt «спасибо» auf Deutsch und wie spricht man das?"),
        ("zh", "我的 iPhone 15 Pro Max 坏了"),
        ("zh", "请问 Microsoft Windows Server 2022 Datacenter 多少钱?"),
        ("zh", "The North Face 的外套可以退货吗?"),
        ("zh", "请问日语里面的「の」这个字是什么意思,应该怎么用?"),
        ("ja", "iPhone 15 Pro Max の修理"),
        ("ja", "請求書の間違い"),
        ("ko", "Galaxy S24 Ultra 화면이 깨졌어요"),
        ("ru", "Как установить Microsoft Windows Server 2022 Datacenter Edition?"),
        (
            "ru",
            "Что такое сербская буква «ђ», и как она читается в словах на севере и на юге страны?",
        ),
        ("sr", "Где је мој пакет?"),
        ("ar", "أين هاتفي iPhone 15 Pro Max"),
        ("fa", "گوشی iPhone من کجاست"),
    ],
)
def test_a_word_that_is_quoted_or_a_name_does_not_change_the_language(
    language: str, text: str
) -> None:
    assert detect(text) == language


def test_a_lesson_with_a_formula_is_found_by_english_word_forms() -> None:
    lessons = (
        Experience(id="angle", text="-", when="the angle \u03b8 of a triangle is asked for"),
        Experience(id="bike", text="-", when="a bike was stolen"),
    )
    assert [
        e.id for e in WordRetriever().rank_now(lessons, "find the angles of two triangles")
    ] == ["angle"]
    assert WordRetriever().rank_now(lessons, "What is the price of a ticket for the tram?") == []


def test_key_words_are_read_in_the_language_of_the_question_or_of_the_set() -> None:
    terse = (
        Experience(id="k", text="-", when="Passwörter"),
        Experience(id="l", text="-", when="Lieferung"),
    )
    assert [e.id for e in WordRetriever().rank_now(terse, "Wo bleiben die Lieferungen?")] == ["l"]
    among = (*lessons_of("de"), Experience(id="k", text="-", when="Mahnung"))
    assert WordRetriever().rank_now(among, "Was bedeuten die Mahnungen?")[0].id == "k"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_known_language_has_what_it_takes(language: str) -> None:
    assert analyse("alpha beta", language).length == 2
    assert check_language(language) == language


def test_a_language_that_is_not_known_is_told_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match="language='klingon' is unknown") as told:
        in_memory(language="klingon")
    assert "\n" not in str(told.value)
    assert all(f" {language}" in str(told.value) for language in STEMMERS)


def test_small_words_of_a_language_say_nothing_there() -> None:
    assert stems("der Kunde und die Rechnung") == {"kund", "rechnung"}
    assert "und" in stems("der Kunde und die Rechnung", language="en")


def test_the_form_of_german_questions_is_known_as_such() -> None:
    asked = [
        f"Welches Team beantwortet die Anfrage? Anfrage: {w}"
        for w in ("Rechnung", "Miete", "Rad", "Post", "Geld")
    ]
    common = common_words(asked)
    assert common == stems("Team beantwortet Anfrage", language="de")
    assert distinctive("Anfragen, Rechnungen", asked[0], common=common) == "Rechnungen"


def test_chinese_conditions_have_words_to_merge_by() -> None:
    one, two = stems("顾客要求退款"), stems("退款什么时候到账?")
    assert one & two == {"退款"}


# --- hyphens


def test_a_hyphenated_word_is_found_by_its_parts_and_best_by_itself() -> None:
    bike = Experience(id="bike", text="-", when="a bike was stolen")
    e_bike = Experience(id="e-bike", text="-", when="the battery of an e-bike")
    both = (bike, e_bike)
    assert [e.id for e in WordRetriever().rank_now(both, "My e-bike!")] == ["e-bike", "bike"]
    assert [e.id for e in WordRetriever().rank_now(both, "My bike!")] == ["bike", "e-bike"]
    assert [e.id for e in WordRetriever().rank_now(tuple(reversed(both)), "My bike!")] == [
        "bike",
        "e-bike",
    ]


@pytest.mark.parametrize(
    ("asked", "meant", "other"),
    [
        ("यह रूसी है", "रूसी भाषा में उत्तर दें", "मुझे पैसा चाहिए"),  # Hindi
        ("பணம் திரும்ப", "பணம் கேட்டால் ரசீது", "வணக்கம் சொல்"),  # Tamil
        ("שָׁלוֹם", "אמור שָׁלוֹם", "כסף"),  # Hebrew with points
        # a letter and its mark apart
        ("Zu\u0308rich", "Fahrplan nach Zürich", "Fahrplan nach Bern"),
    ],
)
def test_words_keep_their_vowel_signs(asked: str, meant: str, other: str) -> None:
    lessons = [Experience(id="other", text=other), Experience(id="meant", text=meant)]
    scores = WordRetriever().scores_now(lessons, asked)
    assert scores[1] > scores[0]
