"""House conventions in free text: a short reply to a customer, graded in four parts.

The messages are the tickets of six of the help desk's twelve topics. Two parts of a reply, its
first and its last words, are the same for all tasks; the two others, a file number and a time
limit, go by the topic.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from examples.families.desks import DATA
from examples.families.family import Family, Rule, Split, last_paragraph
from ted_memory import Sample
from ted_memory.datasets import read_samples

OPENING, CLOSING = "Ahoy from Brindle!", "Keep it rolling!"
ASKS = "Write our shop's reply to this message in one short sentence."


class Topic(NamedTuple):
    """What a reply on one topic must name."""

    when: str
    file: str
    limit: str

    @property
    def reply(self) -> str:
        """A reply that keeps to all conventions."""
        told = f"Your message is in file {self.file}, and we answer within {self.limit}."
        return f"{OPENING} {told} {CLOSING}"


TOPICS: dict[str, Topic] = {
    "refund": Topic("a refund of something that was sent back", "F-25", "14 days"),
    "delivery": Topic("a parcel, its delivery or its tracking", "P-17", "3 days"),
    "workshop": Topic("an appointment in the workshop for a repair or a service", "W-40", "8 days"),
    "invoice": Topic("an invoice or its correction", "N-52", "6 days"),
    "rental": Topic("the rental of bikes", "R-33", "5 days"),
    "voucher": Topic("a gift voucher", "V-61", "2 days"),
}

RULES = (
    Rule(text=f"Begin every reply with the words: {OPENING}"),
    Rule(text=f"End every reply with the words: {CLOSING}"),
    *(
        Rule(
            kind=name,
            when=f"the message is about {topic.when}",
            text=f"say that it is in file {topic.file} and that we answer within {topic.limit}.",
            example=topic.reply,
        )
        for name, topic in TOPICS.items()
    ),
)


def read() -> Split:
    """The help desk's tickets on these topics as messages that want a reply."""
    train, held_out = (
        [
            _sample(s)
            for s in read_samples(DATA / "helpdesk" / f"{name}.jsonl")
            if s.category in TOPICS
        ]
        for name in ("train", "heldout")
    )
    return Split(train, held_out)


def _sample(ticket: Sample) -> Sample:
    message = last_paragraph(ticket.text).removeprefix("Ticket: ")
    topic = TOPICS[ticket.category or ""]
    return Sample(
        id=ticket.id,
        input=f"{ASKS}\n\nMessage: {message}",
        reference=topic.reply,
        category=ticket.category,
    )


def grade_parts(*, inputs: Mapping[str, Any], outputs: str, reference_outputs: str) -> float:  # noqa: ARG001
    """A quarter for each part that is right: first words, last words, file number, time limit."""
    said = " ".join(outputs.split())
    file = re.search(r"[A-Z]-\d\d", reference_outputs)
    limit = re.search(r"\d+ days", reference_outputs)
    if not file or not limit:
        raise ValueError("the reference is no reply by the house's conventions")
    parts = (
        said.startswith(OPENING),
        said.rstrip('"').endswith(CLOSING),
        set(re.findall(r"[A-Z]-\d\d", said)) == {file[0]},
        set(re.findall(r"\d+ days", said)) == {limit[0]},
    )
    return sum(parts) / len(parts)


REPLIES = Family(
    "replies",
    "short replies by house conventions, four parts: two hold for all tasks, two for a topic",
    read,
    RULES,
    last_paragraph,
    grader=grade_parts,
    answer_tokens=60,
)
