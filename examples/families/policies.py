"""Decisions by policies with two conditions and a threshold, which no single answer can teach.

The small student here answers at once, whatever the lesson says: in nine cases right lessons by
hand gave it nothing, in the one wording that was tried. So the family `methods` has a scripted
student that can follow a procedure, and `policies`, the same cases with the real one, is kept as a
control.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from langchain_core.messages import BaseMessage

from examples.families.family import Family, Rule, Split, last_paragraph
from examples.families.students import read_prompt, states
from ted_memory import Sample
from ted_memory.testing import ScriptedChatModel

SEED = 20261129
TRAIN, HELD_OUT = 24, 36
FORM = (
    "Decide the case by our house's policy. "
    "You may think first; end with 'Answer: ' and one of: {choices}."
)


@dataclass(frozen=True)
class Policy:
    """How one kind of case is made up, decided, and what a person would write down of it.

    ``words``: what a lesson must name to be the whole procedure: its threshold, its conditions, its
    verdicts.
    """

    name: str
    choices: tuple[str, ...]
    case: Callable[[random.Random], tuple[str, str]]
    when: str
    text: str
    words: tuple[str, ...]


def _return(luck: random.Random) -> tuple[str, str]:
    days = luck.choice((*range(3, 29), *range(33, 60)))
    opened, member = luck.random() < 0.6, luck.random() < 0.5
    thing = luck.choice(("a lamp", "a helmet", "a bag", "a pump"))
    case = (
        f"Return: A customer brings back {thing} {days} days after the purchase. "
        f"The package is {'opened' if opened else 'unopened'}. "
        f"The customer is {'a member' if member else 'no member'} of our club."
    )
    if days > 30:
        return case, "none"
    if not opened:
        return case, "refund"
    return case, "voucher" if member else "none"


def _shipment(luck: random.Random) -> tuple[str, str]:
    kilos = luck.choice((*range(2, 19), *range(22, 60)))
    island, urgent = luck.random() < 0.6, luck.random() < 0.5
    place = "an island" if island else "the mainland"
    case = (
        f"Shipment: A parcel of {kilos} kilos goes to a customer on {place}. "
        f"It is {'urgent' if urgent else 'not urgent'}."
    )
    if not island:
        return case, "van"
    return case, "plane" if urgent and kilos <= 20 else "ferry"


def _order(luck: random.Random) -> tuple[str, str]:
    euros = luck.choice((*range(20, 190, 7), *range(215, 600, 13)))
    new, paid = luck.random() < 0.5, luck.random() < 0.5
    case = (
        f"Order: {'A new' if new else 'An old'} customer orders for {euros} euros. "
        f"The order is {'already paid' if paid else 'not paid yet'}."
    )
    if paid:
        return case, "send"
    if euros > 200:
        return case, "hold"
    return case, "call" if new else "send"


POLICIES = (
    Policy(
        "return",
        ("refund", "voucher", "none"),
        _return,
        "a customer brings something back, a return",
        "go step by step. "
        "1. Say how many days ago the purchase was; more than 30 days: Answer: none. "
        "2. Else, is the package unopened? Then Answer: refund. "
        "3. Else (opened): a member of the club: Answer: voucher; no member: Answer: none.",
        ("30", "opened", "member", "refund", "voucher", "none"),
    ),
    Policy(
        "shipment",
        ("van", "ferry", "plane"),
        _shipment,
        "a shipment, a parcel to a customer on an island or the mainland",
        "go step by step. 1. Mainland: Answer: van. "
        "2. Else (island), say the weight; more than 20 kilos: Answer: ferry. "
        "3. Else: urgent: Answer: plane; not urgent: Answer: ferry.",
        ("20", "island", "urgent", "van", "ferry", "plane"),
    ),
    Policy(
        "order",
        ("send", "call", "hold"),
        _order,
        "an order, a customer orders for some euros",
        "go step by step. 1. Already paid: Answer: send. "
        "2. Else (not paid), say the euros; more than 200 euros: Answer: hold. "
        "3. Else: an old customer: Answer: send; a new customer: Answer: call.",
        ("200", "paid", "new", "send", "call", "hold"),
    ),
)

RULES = tuple(Rule(kind=policy.name, when=policy.when, text=policy.text) for policy in POLICIES)


def read() -> Split:
    """Cases of all policies, as many of each verdict as come up, the same ones each time."""
    luck = random.Random(SEED)
    samples = [_sample(i, POLICIES[i % len(POLICIES)], luck) for i in range(TRAIN + HELD_OUT)]
    return Split(samples[:TRAIN], samples[TRAIN:])


def _sample(i: int, policy: Policy, luck: random.Random) -> Sample:
    # as many cases of each verdict
    wanted = policy.choices[i // len(POLICIES) % len(policy.choices)]
    case, verdict = policy.case(luck)
    while verdict != wanted:
        case, verdict = policy.case(luck)
    return Sample(
        id=f"case-{i:02}",
        input=f"{FORM.format(choices=', '.join(policy.choices))}\n\n{case}",
        reference=verdict,
        choices=policy.choices,
        category=policy.name,
    )


def follower(samples: Sequence[Sample]) -> Callable[[list[BaseMessage]], str]:
    """The script of a student that does as a procedure says, if a lesson states all of it.

    A lesson that names only a verdict it takes at its word, for every case of the house; without
    one it keeps to its favourite.
    """
    cases = {last_paragraph(sample.text): sample for sample in samples}
    policies = {policy.name: policy for policy in POLICIES}

    def answer(messages: list[BaseMessage]) -> str:
        task, lessons = read_prompt(messages)
        sample = next((sample for case, sample in cases.items() if case in task), None)
        if sample is None:
            return "I do not know."
        policy = policies[str(sample.category)]
        states_all = states(*policy.words)
        if any(states_all(lesson.casefold()) for lesson in lessons):
            return f"Answer: {sample.reference}"
        return f"Answer: {_at_its_word(policy, ' '.join(lessons).casefold())}"

    return answer


def _at_its_word(policy: Policy, lessons: str) -> str:
    """The first verdict that the lessons name as an answer; none: the favourite."""
    for choice in policy.choices:
        if f"answer {choice}" in lessons or f"answer: {choice}" in lessons:
            return choice
    return policy.choices[0]


def student() -> ScriptedChatModel:
    """The student that can follow procedures."""
    split = read()
    return ScriptedChatModel(
        script=follower([*split.train, *split.held_out]), name_told="scripted follower"
    )


POLICY_CASES = Family(
    "policies",
    "three policies with two conditions and a threshold; the small student follows no procedure",
    read,
    RULES,
    last_paragraph,
    answer_tokens=160,
    control=True,
)
METHODS = replace(
    POLICY_CASES,
    name="methods",
    about="three policies with two conditions and a threshold; "
    "a scripted student that can follow a procedure",
    student=student,
    control=False,
)
