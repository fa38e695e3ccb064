"""Look-up: who answers what, in three made-up houses."""

from pathlib import Path

from examples.families.family import Family, Rule, Split, last_paragraph
from examples.rulebook import read_handbook
from ted_memory.datasets import read_samples

DATA = Path(__file__).parent.parent / "data"


def desk(name: str, about: str) -> Family:
    """The family whose samples and handbook stand in a folder of ``examples/data``."""
    folder = DATA / name

    def read() -> Split:
        return Split(read_samples(folder / "train.jsonl"), read_samples(folder / "heldout.jsonl"))

    rules = tuple(
        Rule(
            kind=row.name,
            when=row.ticket[0].lower() + row.ticket[1:].rstrip("."),
            text=f"answer {row.team}.",
        )
        for row in read_handbook(folder / "handbook.md")
    )
    return Family(name, about, read, rules, last_paragraph)


HELPDESK = desk("helpdesk", "six teams, twelve rules, four training tickets a rule")
TOWNHALL = desk("townhall", "six desks, twelve rules, four training requests a rule")
MUSEUM = desk("museum", "ten offices, two training letters an office")
