"""``python -m bench reach``: how many questions a lesson from traffic applies to.

A lesson has a condition of three words of one question, as small critics write them, and tells its
answer. Half of a family's questions have been asked and graded, each by a person of his own; the
table says which share of the other half it applies to, by its condition alone and with the words
that several people shared (`ted_memory.learner.shared_words`).
"""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean

from rich.console import Console
from rich.table import Table

from examples.families import FAMILIES
from ted_memory import Experience, Sample
from ted_memory.distill.index_terms import shared_words
from ted_memory.grading.answers import plain
from ted_memory.learner.shared_words import LEAST
from ted_memory.llm.messages import question, sample_messages
from ted_memory.retrieval.bm25 import WordRetriever
from ted_memory.retrieval.selection import stems

WORLDS = ("helpdesk", "townhall", "museum", "intents", "replies")
SEEDS = 5
WORDS = 3  # of a condition
RARE = 0.2  # of the questions may have such a word
Shares = tuple[float, float]  # of questions with the same answer, and of all others


async def main() -> None:
    """Print the table."""
    table = Table("questions", "same answer: condition", "with shared words", "others", "with them")
    for name in WORLDS:
        split = FAMILIES[name].read()
        samples = [*split.train, *split.held_out]
        found = [pair for seed in range(SEEDS) for pair in _lessons(samples, random.Random(seed))]
        alone, shared = zip(*found, strict=True)
        table.add_row(name, *(f"{value:.2f}" for value in _row(alone, shared)))
    Console().print(table)


def _row(alone: Sequence[Shares], shared: Sequence[Shares]) -> Iterator[float]:
    for side in (0, 1):
        yield fmean(shares[side] for shares in alone)
        yield fmean(shares[side] for shares in shared)


def _lessons(samples: list[Sample], luck: random.Random) -> Iterator[tuple[Shares, Shares]]:
    """Yield for each question of one half what its lesson reaches in the other half."""
    luck.shuffle(samples)
    asked, later = samples[: len(samples) // 2], samples[len(samples) // 2 :]
    words = shared_words([(sample.id, sample) for sample in asked], LEAST)
    for sample in asked:
        condition = _condition(sample, asked, luck)
        yield (
            _reached(sample, condition, "", later),
            _reached(sample, condition, words.get(plain(sample.reference or ""), ""), later),
        )


def _condition(sample: Sample, asked: Sequence[Sample], luck: random.Random) -> str:
    """Three words of a question that few of the others have."""
    counts = Counter(stem for one in asked for stem in stems(one.text))
    rare = [
        word
        for word in dict.fromkeys(re.findall(r"[^\W\d_]{4,}", sample.text))
        if (its := stems(word)) and all(counts[stem] <= RARE * len(asked) for stem in its)
    ]
    return ", ".join(luck.sample(rare, min(WORDS, len(rare)))) or sample.text


def _reached(sample: Sample, condition: str, words: str, later: Sequence[Sample]) -> Shares:
    """Which shares of later questions the lesson applies to."""
    lesson = Experience(id="lesson", text="answer it", when=condition, index_terms=words)
    applies: dict[bool, list[bool]] = {True: [], False: []}
    for one in later:
        [score] = WordRetriever().scores_now([lesson], question(sample_messages(one)))
        applies[one.reference == sample.reference].append(score > 0)
    return fmean(applies[True] or [0.0]), fmean(applies[False] or [0.0])
