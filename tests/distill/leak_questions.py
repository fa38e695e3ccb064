"""Fifty questions that have an answer of their own, and what a lesson says that gives it away.

Beside them stands the right lesson for each kind: it holds for all questions of its kind and names
no answer.
"""

from dataclasses import dataclass

from ted_memory import Sample


@dataclass(frozen=True)
class Kind:
    """A kind of question: questions with their answers, a right lesson, the wording of leaks."""

    name: str
    questions: tuple[tuple[str, str], ...]
    lesson: str

    def samples(self) -> list[Sample]:
        return [
            Sample(id=f"{self.name}-{i}", input=question, reference=answer)
            for i, (question, answer) in enumerate(self.questions)
        ]


SUMS = Kind(
    "sums",
    tuple(
        (
            f"A farmer has {a} hens and buys {b} more, then sells {c}. How many hens are left?",
            str(a + b - c),
        )
        for a, b, c in (
            *((20, 18, 3), (31, 12, 7), (44, 9, 16), (52, 21, 30), (15, 27, 5)),
            *((63, 14, 22), (38, 33, 9), (71, 8, 41), (29, 16, 12), (84, 5, 60)),
        )
    ),
    "Write down the running total after each step before you answer.",
)
NUMBERS = Kind(
    "numbers",
    tuple(
        (f"What is {a} times {b}, as a decimal number with two digits?", f"{a * b:.2f}")
        for a, b in (
            (1.5, 7),
            (2.25, 9),
            (13.1, 3),
            (0.75, 11),
            (4.2, 6.5),
            (8.8, 1.25),
            (3.3, 3.3),
            (120.5, 4),
        )
    ),
    "Multiply as if there were no decimal points, "
    "put the point back, and write two digits after it.",
)
DATES = Kind(
    "dates",
    tuple(
        (
            f"The meeting was on {day}. It is repeated a week later. On which date, as YYYY-MM-DD?",
            answer,
        )
        for day, answer in (
            *(
                ("2024-02-26", "2024-03-04"),
                ("2023-12-28", "2024-01-04"),
                ("2025-04-25", "2025-05-02"),
            ),
            *(
                ("2026-07-30", "2026-08-06"),
                ("2022-10-01", "2022-10-08"),
                ("2021-06-24", "2021-07-01"),
            ),
            *(("2020-02-22", "2020-02-29"), ("2019-11-29", "2019-12-06")),
        )
    ),
    "Count the days that are left in the month first, "
    "and go on with the rest of them in the next one.",
)
NAMES = Kind(
    "names",
    tuple(
        (f"{a} is older than {b}, and {b} is older than {c}. Who is the oldest?", a)
        for a, b, c in (
            *(
                ("Ada", "Ben", "Cleo"),
                ("Dora", "Emil", "Finn"),
                ("Gus", "Hana", "Ivo"),
                ("Jill", "Karl", "Lena"),
            ),
            *(
                ("Mia", "Noah", "Olga"),
                ("Paul", "Quinn", "Rosa"),
                ("Sven", "Tara", "Ugo"),
                ("Vera", "Will", "Xenia"),
            ),
        )
    ),
    "Put everybody into one row from the first sentence to the last, "
    "and read off who stands in front.",
)
CODE = Kind(
    "code",
    tuple(
        (f"Which Python expression gives {what} of the list `xs`?", answer)
        for what, answer in (
            *(
                ("the last item", "xs[-1]"),
                ("the first three items", "xs[:3]"),
                ("every second item", "xs[::2]"),
            ),
            *(
                ("the reverse", "xs[::-1]"),
                ("the largest item", "max(xs)"),
                ("the number of items", "len(xs)"),
            ),
            *(("the sorted form", "sorted(xs)"), ("the sum of squares", "sum(x * x for x in xs)")),
        )
    ),
    "Write an index, a slice or a call of a built-in function on the list itself, and no loop.",
)
TRANSLATIONS = Kind(
    "translations",
    tuple(
        (f"Translate into German: {english}", german)
        for english, german in (
            *(("good morning", "guten Morgen"), ("thank you very much", "vielen Dank")),
            *(
                ("the train is late", "der Zug hat Verspätung"),
                ("I am looking for the station", "ich suche den Bahnhof"),
            ),
            *(
                ("where is the next pharmacy", "wo ist die nächste Apotheke"),
                ("a cup of tea", "eine Tasse Tee"),
            ),
            *(
                (
                    "please close the window before you leave",
                    "bitte schließen Sie das Fenster, bevor Sie gehen",
                ),
                (
                    "we have no rooms left for tonight",
                    "wir haben für heute Nacht keine Zimmer mehr frei",
                ),
            ),
        )
    ),
    "Keep the tone and the punctuation of the sentence, "
    "and write every noun with a capital letter.",
)

KINDS = (SUMS, NUMBERS, DATES, NAMES, CODE, TRANSLATIONS)

WORDINGS = (
    "answer {answer}.",
    "The answer is {answer}",
    "say '{answer}' and nothing else",
    "1. Think.\n2. Write {answer}",
)
"""How a leak is worded.

An answer that is told in other words is measured by the gate, not found by its letters.
"""
