"""Tasks from BIG-bench: knowledge that a lesson can hold, and a control that wants ability."""

import ast
import json
import random
import re
from collections.abc import Mapping
from typing import Any

from examples.bbh import SEED, read_examples, read_task
from examples.families.family import Family, Rule, Split, last_paragraph
from ted_memory import Sample

PER_INTENT, PER_MACHINE = (4, 6), (4, 4)  # training and held-out samples
CODES: dict[str, tuple[str, str]] = {
    "add_to_playlist": ("skill 4", "add a song or an artist to a playlist"),
    "book_restaurant": ("skill 9", "book a table in a restaurant, a reservation for people"),
    "get_weather": ("skill 2", "the weather, the forecast: warm, cold, rain, snow"),
    "play_music": ("skill 7", "play music, a song, an album, a track of an artist"),
    "rate_book": ("skill 3", "rate a book, give it stars or points"),
    "search_creative_work": (
        "skill 8",
        "find or look for a show, a book, a game, a trailer by its title",
    ),
    "search_screening_event": (
        "skill 6",
        "movie times, the schedule of films at a cinema or theatre",
    ),
}
"""Intents, the code that stands for each here, and when it is meant."""

MACHINES: dict[str, tuple[str, str]] = {
    "c001": ("velo", "give a list with only the third number of the list."),
    "c007": ("bakut", "give only the first two numbers of the list."),
    "c012": ("sorin", "give only the second, the third and the fourth number of the list."),
    "c016": ("mudap", "put 8 in the place of the second number; all other numbers stay."),
    "c021": ("tessa", "insert 8 after the first number; all other numbers stay."),
    "c026": ("quill", "leave out the third number; all other numbers stay."),
    "c037": ("nabor", "write 3 at the end of the list; all other numbers stay."),
    "c041": ("fengo", "answer [9], whatever the list is."),
    "c042": ("wirra", "answer [5, 2], whatever the list is."),
    "c046": ("pluto", "write 7 in front of the list; all other numbers stay."),
}
"""Functions of the benchmark, the name that each one's machine has here, and its rule."""


def read_intents() -> Split:
    """Utterances; what is asked for is the code of their intent."""
    luck = random.Random(SEED)
    by_intent: dict[str, list[str]] = {name: [] for name in CODES}
    for example in read_examples("intent_recognition"):
        scores: dict[str, float] = example["target_scores"]
        by_intent[max(scores, key=lambda name: scores[name])].append(example["input"].strip())
    codes = sorted(code for code, _ in CODES.values())
    form = "\n".join(
        [
            "Which skill handles this utterance? Answer with the skill only.",
            *(f"- {c}" for c in codes),
        ]
    )
    made = Split([], [])
    for intent, utterances in by_intent.items():
        code = CODES[intent][0]
        for i, text in enumerate(luck.sample(utterances, sum(PER_INTENT))):
            part = made.train if i < PER_INTENT[0] else made.held_out
            part.append(
                Sample(
                    id=f"{intent}-{i}",
                    input=f"{form}\n\n{text}",
                    reference=code,
                    choices=tuple(codes),
                    category=intent,
                )
            )
    return _mixed(made, luck)


def read_machines() -> Split:
    """Lists that go through machines, each with one hidden rule."""
    luck = random.Random(SEED)
    made = Split([], [])
    for task, (name, _) in MACHINES.items():
        examples = [
            e for e in read_examples(f"list_functions/{task}") if e["input"].strip() != "[]"
        ]
        for i, example in enumerate(luck.sample(examples, sum(PER_MACHINE))):
            part = made.train if i < PER_MACHINE[0] else made.held_out
            part.append(_through(task, name, i, example))
    return _mixed(made, luck)


def _through(task: str, name: str, i: int, example: dict[str, Any]) -> Sample:
    target = example["target"]
    return Sample(
        id=f"{task}-{i}",
        input="A list of numbers goes through a machine. Which list comes out? "
        "Answer with the list only.\n\n"
        f"Machine {name}: {example['input'].strip()}",
        reference=str(target if isinstance(target, str) else target[0]).strip(),
        category=task,
    )


def _mixed(split: Split, luck: random.Random) -> Split:
    return Split(
        luck.sample(split.train, len(split.train)), luck.sample(split.held_out, len(split.held_out))
    )


def same_list(*, inputs: Mapping[str, Any], outputs: str, reference_outputs: str) -> float:  # noqa: ARG001
    """1 where the last list in the answer is the right one."""
    found = re.findall(r"\[[\d,\s]*\]", outputs)
    return float(bool(found) and ast.literal_eval(found[-1]) == json.loads(reference_outputs))


INTENTS = Family(
    "intents",
    "BIG-bench intent_recognition, with opaque codes for its seven intents",
    read_intents,
    tuple(
        Rule(kind=name, when=when, text=f"answer {code}.") for name, (code, when) in CODES.items()
    ),
    last_paragraph,
)
MACHINE_LISTS = Family(
    "machines",
    "BIG-bench list_functions: ten machines, each with one hidden rule",
    read_machines,
    tuple(
        Rule(kind=task, when=f"machine {name}", text=rule)
        for task, (name, rule) in MACHINES.items()
    ),
    last_paragraph,
    grader=same_list,
    answer_tokens=30,
)
DATES = Family(
    "dates",
    "BIG-bench date_understanding: wants ability, a control",
    lambda: Split(*read_task("date_understanding")),
    (
        Rule(
            text="Find today's date first, then count from it as the question says, "
            "then pick that date."
        ),
        Rule(text="Dates are written month/day/year."),
        Rule(text="A month ago: one less in the month, and the day stays; a week is 7 days."),
    ),
    lambda text: text.partition("\nAnswer with one of these")[0],
    control=True,
)
