"""House conventions in a format: one line for a delivery, graded in four parts.

How the parts are ordered and marked off, and the closing mark, hold for all tasks; the code in
front and the shelf go by what was delivered. Samples are made from a seed.
"""

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

from examples.families.family import Family, Rule, Split, last_paragraph
from ted_memory import Sample

SEED = 20261128
TRAIN, HELD_OUT = 24, 36
MARK = "//ok"
ASKS = "Write the log line for this delivery. Answer with the line only."
PLACES = (
    "Hamm",
    "Lund",
    "Graz",
    "Turin",
    "Bergen",
    "Riga",
    "Porto",
    "Ghent",
    "Brno",
    "Malmo",
    "Nantes",
    "Cork",
)
NAMES = (
    "Lena",
    "Omar",
    "Ines",
    "Paul",
    "Sara",
    "Nils",
    "Rosa",
    "Emil",
    "Vera",
    "Hugo",
    "Mona",
    "Karl",
)


class Goods(NamedTuple):
    """What may be delivered: the words for it, the code of its kind, its shelf."""

    words: tuple[str, ...]
    code: str
    shelf: str


KINDS: dict[str, Goods] = {
    "biscuits": Goods(
        ("boxes of oat biscuits", "tins of butter biscuits", "bags of ginger biscuits"), "KX", "S4"
    ),
    "paper": Goods(
        ("reams of white paper", "rolls of brown paper", "packs of writing paper"), "VU", "S9"
    ),
    "screws": Goods(
        ("boxes of brass screws", "bags of wood screws", "tins of long screws"), "QA", "S2"
    ),
    "blankets": Goods(
        ("bales of wool blankets", "boxes of grey blankets", "packs of baby blankets"), "ZE", "S7"
    ),
    "seeds": Goods(
        ("bags of grass seeds", "packs of flower seeds", "tins of carrot seeds"), "JO", "S5"
    ),
    "candles": Goods(
        ("boxes of red candles", "packs of wax candles", "crates of tall candles"), "WI", "S3"
    ),
}


def line(code: str, number: int, place: str, name: str, shelf: str) -> str:
    """The line as the house wants it."""
    return f"{code} | {number} | {place} | {name} | {shelf} {MARK}"


RULES = (
    Rule(
        text="Write the parts of the line in the order code, number, place, name, shelf, "
        "with ' | ' between them."
    ),
    Rule(text=f"End every line with {MARK}"),
    *(
        Rule(
            kind=name,
            when=name,
            text=f"the code is {goods.code} and the shelf is {goods.shelf}.",
            example=line(goods.code, 12, "Oslo", "Tim", goods.shelf),
        )
        for name, goods in KINDS.items()
    ),
)


def read() -> Split:
    """Samples of all kinds, the same ones each time."""
    luck = random.Random(SEED)
    kinds = list(KINDS)
    samples = [_sample(i, kinds[i % len(kinds)], luck) for i in range(TRAIN + HELD_OUT)]
    return Split(samples[:TRAIN], samples[TRAIN:])


def _sample(i: int, kind: str, luck: random.Random) -> Sample:
    goods = KINDS[kind]
    number, place, name = luck.randint(3, 98), luck.choice(PLACES), luck.choice(NAMES)
    day = f"{luck.randint(1, 28)} {luck.choice(('March', 'April', 'May', 'June'))}"
    fact = f"{number} {luck.choice(goods.words)} from {place} came in on {day}, checked by {name}."
    return Sample(
        id=f"delivery-{i:02}",
        input=f"{ASKS}\n\nDelivery: {fact}",
        reference=line(goods.code, number, place, name, goods.shelf),
        category=kind,
    )


def grade_parts(*, inputs: Mapping[str, Any], outputs: str, reference_outputs: str) -> float:  # noqa: ARG001
    """A quarter for each part that is right: code, the three facts, shelf, closing mark.

    The facts count where all three are right, in order and marked off.
    """
    said = next((row.strip(" `") for row in outputs.splitlines() if row.strip(" `")), "")
    wanted = reference_outputs.removesuffix(MARK).strip().split(" | ")
    body = said.removesuffix(MARK).strip(" |")
    fields = [field.strip() for field in body.split("|")]
    parts = (
        fields[0] == wanted[0],
        len(fields) >= 4 and fields[1:4] == wanted[1:4],
        fields[-1] == wanted[-1],
        said.endswith(MARK),
    )
    return sum(parts) / len(parts)


LOGLINES = Family(
    "loglines",
    "one line for a delivery, four parts: "
    "order and closing mark for all tasks, code and shelf by the goods",
    read,
    RULES,
    last_paragraph,
    grader=grade_parts,
    answer_tokens=40,
)
