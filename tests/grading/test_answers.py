"""What an attempt concludes, in whatever language it says so."""

import pytest

from ted_memory.grading.answers import final_answer
from ted_memory.grading.graders import exact


def is_right(answer: str, reference: str) -> bool:
    return exact(inputs={}, outputs=answer, reference_outputs=reference)


@pytest.mark.parametrize(
    ("text", "conclusion"),
    [
        ("Paris", "Paris"),
        ("Let me think.\nAnswer: Paris", "Paris"),
        ("The answer is 3. No, the final answer is **4**", "4"),
        (r"So \boxed{1} or rather \boxed{12}.", "12"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\frac{\sqrt{3}}{2}}", r"\frac{\sqrt{3}}{2}"),
        (r"\boxed{1} and then \boxed{2", "1"),
        ("", ""),
    ],
)
def test_what_an_attempt_concludes(text: str, conclusion: str) -> None:
    assert final_answer(text) == conclusion


SEVEN = (
    *(
        "Die Antwort ist 7.",
        "Antwort: 7",
        "**Antwort:** 7",
        "Also lautet die Antwort: 7.",
        "Die Antwort lautet 7.",
    ),
    *("La réponse est 7.", "Réponse : 7", "La réponse finale est : 7", "REPONSE: 7"),
    *("La respuesta es 7.", "Respuesta: 7", "La respuesta correcta es **7**."),
    *(
        "A resposta é 7.",
        "Resposta: 7",
        "La risposta è 7.",
        "Risposta: 7",
        "Het antwoord is 7.",
        "Antwoord: 7",
    ),
    *(
        "Svaret är 7.",
        "Svaret er 7.",
        "Svar: 7",
        "Odpowiedź: 7",
        "Odpowiedź to 7.",
        "Odpověď je 7.",
        "Vastaus on 7.",
    ),
    *("Răspunsul este 7.", "Jawabannya adalah 7.", "Cevap: 7", "Válasz: 7", "Απάντηση: 7"),
    *(
        "Ответ: 7",
        "Ответ — 7.",
        "Ответ: 7.\n",
        "Відповідь: 7",
        "الجواب هو 7",
        "الإجابة: 7",
        "उत्तर: 7।",
    ),
    *(
        "答案是7。",
        "答案\uff1a7",
        "所以答案为 7。",
        "最终答案是\uff1a**7**",
        "答えは7です",
        "答えは 7 です。",
        "答え\uff1a7",
        "したがって、答えは7となります。",
    ),
    *("정답은 7입니다.", "답: 7", "So the answer is 7.", "Answer\uff1a7"),
)


@pytest.mark.parametrize("said", SEVEN)
def test_an_answer_is_found_in_whatever_language_it_is_named(said: str) -> None:
    assert is_right(said, "7")
    assert is_right(f"3 + 4 = 7\n\n{said}", "7")
    assert not is_right(said, "8")


@pytest.mark.parametrize(
    "text",
    [
        "Antwort means answer in German.",
        "The answer isn't known",
        "An answerphone is no answer",
        "They say respuesta in Spain",
        "It is called la réponse, estimated at 4",
        "Vastaus once was a town",
        "Is it the Antwort Islands?",
        "La respuesta está en el libro",
        "Das beantwortet nichts",
        "답답하다",
    ],
)
def test_a_word_for_an_answer_alone_names_none(text: str) -> None:
    assert final_answer(text) == text


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("La réponse est « Paris ».", "Paris", True),
        ("Die Antwort ist nicht 7.", "7", False),
        ("Die Antwort ist 7, denke ich", "7", False),
        ("答えは7だ。", "7", True),
        ("答えはまだ", "まだ", True),
    ],
)
def test_what_is_said_besides_counts(answer: str, reference: str, right: bool) -> None:
    assert is_right(answer, reference) is right


@pytest.mark.timeout(30)  # with patterns that try again with one blank less it is minutes
def test_blanks_in_plenty_do_not_hang_it() -> None:
    for text in (
        "answer:" + " " * 200_000,
        "answer " * 20_000 + " " * 100_000,
        r"\boxed{" * 100_000,
        "{" * 500_000,
    ):
        final_answer(text)
