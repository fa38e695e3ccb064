"""``python -m bench retrieval``: how often the right lesson is found, and how long it takes.

The lessons are the rules of the two made-up companies' handbooks, the questions their held-out
tickets.
"""

import itertools
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from examples.rulebook import HANDBOOK, read_handbook
from ted_memory import TedMemory
from ted_memory.experience.rendering import render_block
from ted_memory.models import Caps, Experience, ExperienceSet
from ted_memory.retrieval import EmbeddingRetriever, FusedRetriever, Retriever, WordRetriever
from ted_memory.retrieval.local import LocalEmbeddings
from ted_memory.testing import in_memory

DESKS = ("helpdesk", "townhall")
SIZES = (50, 5000)
QUESTIONS = 500
WORDS = 8000  # of the made-up language; how often each occurs falls with its rank, as in any other
CONDITION, TICKET = 8, 15  # words of a lesson's condition and of a ticket
FORM = (
    "Which team answers this ticket? Answer with the name of the team only.\n"
    "- team K\n- team L\n\nTicket: "
)


class WholeQuestions:
    """Whole questions by embeddings, for comparison.

    As they are or, with the training tickets that were ``seen``, without the mean of these.
    """

    def __init__(self, seen: Sequence[str] = ()) -> None:
        self._embed = LocalEmbeddings().embed_query
        vectors = [self._embed(question) for question in seen] or [[0.0]]
        self._mean = np.mean(vectors, axis=0)

    async def rank(self, experiences: Sequence[Experience], question: str) -> list[Experience]:
        """All of them, most similar first."""
        asked = np.array(self._embed(question)) - self._mean
        lessons = np.array([self._embed(e.when) for e in experiences])
        similar = lessons @ asked / np.linalg.norm(lessons, axis=1)
        return [experiences[i] for i in np.argsort(-similar, kind="stable")]


def desk(name: str) -> tuple[tuple[Experience, ...], list[tuple[str, str]], list[str]]:
    """A desk's rules as lessons, its held-out tickets with their rules, its training tickets."""
    folder = HANDBOOK.parent.parent / name
    rules = read_handbook(folder / "handbook.md")
    lessons = []
    for rule in rules:
        when = rule.ticket[0].lower() + rule.ticket[1:].rstrip(".")
        lessons.append(Experience(id=rule.name, text=f"answer {rule.team}.", when=when))
    held_out = [(row["input"], row["category"]) for row in rows(folder / "heldout.jsonl")]
    return tuple(lessons), held_out, [row["input"] for row in rows(folder / "train.jsonl")]


def rows(path: Path) -> list[dict[str, str]]:
    """The lines of a data set."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def found(retriever: Retriever, name: str) -> tuple[float, float, float]:
    """How often the right lesson comes first, is among three, and how many others apply."""
    lessons, held_out, _ = desk(name)
    first = among = others = 0
    for question, right in held_out:
        ids = [e.id for e in await retriever.rank(lessons, question)]
        first += ids[:1] == [right]
        among += right in ids[:3]
        others += len(set(ids) - {right})
    count = len(held_out)
    return first / count, among / count, others / (count * (len(lessons) - 1))


async def hits() -> Table:
    """How often each retriever finds the right lesson."""
    ways: dict[str, Callable[[str], Retriever]] = {
        "words": lambda _: WordRetriever(),
        "local embeddings": lambda _: EmbeddingRetriever(LocalEmbeddings()),
        "fused": lambda _: FusedRetriever(WordRetriever(), EmbeddingRetriever(LocalEmbeddings())),
        "(whole questions as they are)": lambda _: WholeQuestions(),
        "(whole questions, mean of the training tickets subtracted)": lambda name: WholeQuestions(
            desk(name)[2]
        ),
    }
    table = Table(
        "retriever", "desk", "right lesson first", "among three", "share of the others that apply"
    )
    for (way, make), name in itertools.product(ways.items(), DESKS):
        table.add_row(way, name, *(f"{figure:.2f}" for figure in await found(make(name), name)))
    return table


def words(seed: int) -> Callable[[int], str]:
    """What makes texts of a made-up language."""
    draw = random.Random(seed)
    letters = ("bcdfghklmnprstvz", "aeiou") * 3
    known = ["".join(draw.choice(of) for of in letters) + "k" for _ in range(WORDS)]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, WORDS + 1)))
    return lambda count: " ".join(draw.choices(known, cum_weights=weights, k=count))


async def speed() -> Table:
    """How long ranking and a whole `render` take."""
    table = Table("lessons", "retriever", "what", "p50", "p99", title="wall clock, in milliseconds")
    retrievers: dict[str, Callable[[], Retriever]] = {
        "words": WordRetriever,
        "fused": lambda: FusedRetriever(WordRetriever(), EmbeddingRetriever(LocalEmbeddings())),
    }
    for size, (name, make) in itertools.product(SIZES, retrievers.items()):
        text = words(size)
        memory = in_memory(retriever=make(), selection="relevant", read_timeout=5.0)
        lessons = (
            Experience(id=f"e{i}", text=f"Do {i}.", when=text(CONDITION), tokens=20)
            for i in range(size)
        )
        caps = Caps(max_experiences=size, token_budget=2000)
        snapshot = ExperienceSet("bench", "epoch", 1, caps, tuple(lessons))
        questions = [FORM + text(TICKET) for _ in range(QUESTIONS)]

        async def rank(
            question: str, memory: TedMemory = memory, snapshot: ExperienceSet = snapshot
        ) -> None:
            await memory.rank(snapshot.candidates, question)

        async def render(
            question: str, memory: TedMemory = memory, snapshot: ExperienceSet = snapshot
        ) -> None:
            render_block(await memory.show(snapshot, question))

        for what, call in (("ranking", rank), ("choosing and rendering", render)):
            await call(questions[0])
            taken = []
            for question in questions:
                began = time.perf_counter()
                await call(question)
                taken.append((time.perf_counter() - began) * 1e3)
            taken.sort()
            figures = (taken[len(taken) // 2], taken[int(len(taken) * 0.99)])
            table.add_row(f"{size:,}", name, what, *(f"{figure:.2f}" for figure in figures))
    return table


async def main() -> None:
    """Measure both, and print them."""
    console = Console(width=120)
    console.print(await hits())
    console.print(await speed())
