"""Tool use in a made-up bank that has its habits: which calls, in which order, with what in them.

The student is scripted and strong: it knows which calls a request needs, and makes a newcomer's
mistakes as long as no lesson states the house's rule, in words or as a snippet. A lesson that hands
it whole calls it takes for an order and makes these, on whatever task.
"""

import random
import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from examples.families.family import Family, Rule, Split, last_paragraph
from examples.families.students import Habit, newcomer, states, without
from ted_memory import Sample
from ted_memory.testing import ScriptedChatModel

SEED = 20261130
TRAIN, HELD_OUT = 24, 36
ASKS = (
    "Write the calls that this request needs, one a line, and nothing else.\n"
    "Tools: find(name), lock(account), unlock(account), address(account, text), "
    "pay(account, amount), book(account, date),\n"
    "note(account)\n"
    "An account is what find returned: write it as #."
)

NAMES = (
    "Alder",
    "Brandt",
    "Costa",
    "Dahl",
    "Eriksen",
    "Ferrari",
    "Gomez",
    "Huber",
    "Ivanov",
    "Jansen",
    "Kowal",
    "Lund",
)
STREETS = ("Ferry Road", "Mill Lane", "Weir Street", "Harbour Row", "Cooper Yard", "Elm Walk")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
)


def _in_euros(calls: Sequence[str]) -> list[str]:
    return [
        re.sub(r"pay\(#, (\d+)\)", lambda m: f"pay(#, {int(m[1]) / 100:.2f})", call)
        for call in calls
    ]


def _as_written(calls: Sequence[str]) -> list[str]:
    def day(found: re.Match[str]) -> str:
        return f"book(#, {int(found[3])} {MONTHS[int(found[2]) - 1]} {found[1]})"

    return [re.sub(r"book\(#, (\d{4})-(\d\d)-(\d\d)\)", day, call) for call in calls]


HABITS = (
    Habit(
        Rule("call find with the name before all other calls, and give these # as the account."),
        lambda said: bool(re.search(r"\bfind\b.*(before|first)|(before|first)\b.*\bfind\b", said)),
        without("find"),
    ),
    Habit(
        Rule("call note(#) as the last call."),
        lambda said: bool(re.search(r"\bnote\b.*(last|end)|(last|end)\b.*\bnote\b", said)),
        without("note"),
    ),
    Habit(
        Rule(
            kind="pay",
            when="euros are to be paid",
            text="write the amount in cents, without a point.",
        ),
        states("cents"),
        _in_euros,
    ),
    Habit(
        Rule(
            kind="book",
            when="somebody wants a meeting",
            text="write the date as YYYY-MM-DD.",
            example="3 May 2027 -> 2027-05-03",
        ),
        lambda said: bool(re.search(r"yyyy-mm-dd|iso (8601|date|format)", said)),
        _as_written,
    ),
    Habit(
        Rule(
            kind="address",
            when="somebody has moved",
            text="call lock(#) before address(#, ...) and unlock(#) after it.",
        ),
        lambda said: (
            bool(re.search(r"\block\b.*\bbefore\b.*\baddress\b", said)) and "unlock" in said
        ),
        without("lock", "unlock"),
    ),
)
WHOLE_CALL = re.compile(r"\b(?:find|pay|book|address)\((?!#, \.\.\.\))[^()]*[\w ]\)")


def read() -> Split:
    """Requests of all kinds, the same ones each time."""
    luck = random.Random(SEED)
    samples = [_sample(i, luck) for i in range(TRAIN + HELD_OUT)]
    return Split(samples[:TRAIN], samples[TRAIN:])


def _sample(i: int, luck: random.Random) -> Sample:
    kind, name = ("pay", "book", "address")[i % 3], luck.choice(NAMES)
    euros, cents = luck.randint(2, 900), luck.randint(1, 99)
    day, month = luck.randint(1, 28), luck.randrange(len(MONTHS))
    street = f"{luck.choice(STREETS)} {luck.randint(2, 99)}"
    text, middle = {
        "pay": (
            f"Please pay {euros}.{cents:02} euros to {name}.",
            [f"pay(#, {euros * 100 + cents})"],
        ),
        "book": (
            f"{name} wants a meeting on {day} {MONTHS[month]} 2027; book it.",
            [f"book(#, 2027-{month + 1:02}-{day:02})"],
        ),
        "address": (
            f"{name} has moved to {street}.",
            ["lock(#)", f"address(#, {street})", "unlock(#)"],
        ),
    }[kind]
    calls = [f"find({name})", *middle, "note(#)"]
    return Sample(
        id=f"call-{i:02}",
        input=f"{ASKS}\n\nRequest: {text}",
        reference="\n".join(calls),
        category=kind,
    )


def grade_calls(*, inputs: Mapping[str, Any], outputs: str, reference_outputs: str) -> float:  # noqa: ARG001
    """The share of right calls: in their order, with their arguments; superfluous ones count."""
    wanted = [line.strip() for line in reference_outputs.splitlines() if line.strip()]
    made = [line.strip() for line in outputs.splitlines() if line.strip()]
    same = sum(
        block.size
        for block in SequenceMatcher(None, wanted, made, autojunk=False).get_matching_blocks()
    )
    return same / max(len(wanted), len(made), 1)


def student() -> ScriptedChatModel:
    """The newcomer."""
    split = read()
    return ScriptedChatModel(
        script=newcomer([*split.train, *split.held_out], HABITS, orders=WHOLE_CALL),
        name_told="scripted newcomer",
    )


TOOLS = Family(
    "tools",
    "calls with arguments and order in a made-up bank; "
    "a scripted student that makes a newcomer's mistakes",
    read,
    tuple(habit.rule for habit in HABITS),
    last_paragraph,
    grader=grade_calls,
    student=student,
)
