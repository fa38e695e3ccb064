"""What is found in a large set is what a plain search would find, only faster."""

import itertools
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from ted_memory.models import Experience
from ted_memory.retrieval import EmbeddingRetriever, FusedRetriever, WordRetriever, embeddings
from ted_memory.retrieval.bm25 import K1, B, index_of
from ted_memory.retrieval.embeddings import _pieces
from ted_memory.retrieval.fusion import DEPTH, FLATNESS
from ted_memory.retrieval.language import analyse
from ted_memory.retrieval.ranker import Ranker

MANY, LEAST = 700, 0.1
_DRAW = random.Random(1)
WORDS = [f"word{i}" for i in range(60)]


def text(count: int) -> str:
    return " ".join(_DRAW.choices(WORDS, k=count))


LESSONS = tuple(Experience(id=f"e{i}", text="Do it.", when=f"{text(4)} {i}") for i in range(MANY))
QUESTIONS = [". ".join(text(5) for _ in range(pieces)) for pieces in (1, 2, 6, 16, 40)]


class Random(Embeddings):
    """A vector of its own for each text."""

    def embed_query(self, text: str) -> list[float]:
        numbers: list[float] = np.random.default_rng([*text.encode()]).standard_normal(48).tolist()
        return numbers

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


def plainly(question: str) -> list[int]:
    """Return the places of those that are near enough, by one similarity after the other."""
    asked = [np.array(Random().embed_query(piece)) for piece in _pieces(question)]
    lessons = [np.array(Random().embed_query(e.when)) for e in LESSONS]
    near = [
        max(float(lesson @ one / np.linalg.norm(lesson) / np.linalg.norm(one)) for one in asked)
        for lesson in lessons
    ]
    return sorted((i for i, one in enumerate(near) if one > LEAST), key=lambda i: -near[i])


def added_up(*answers: Sequence[Experience]) -> list[str]:
    """Return the ids as ``1 / (60 + place)`` puts them."""
    scores: dict[str, float] = {}
    for answer in answers:
        for place, e in enumerate(answer[:DEPTH], start=FLATNESS + 1):
            scores[e.id] = scores.get(e.id, 0.0) + 1 / place
    best = sorted(scores, key=scores.__getitem__, reverse=True)
    return list(dict.fromkeys([*best, *(e.id for answer in answers for e in answer)]))


@pytest.mark.parametrize(
    "question", QUESTIONS, ids=lambda question: f"{question.count('.') + 1} pieces"
)
@pytest.mark.parametrize("alone", [1, 10_000, 2**18, 2**30])
async def test_embeddings_find_what_a_plain_search_finds(
    question: str, alone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "ALONE", alone)
    found = await EmbeddingRetriever(Random(), least=LEAST).order(LESSONS, question)
    assert found == plainly(question)
    assert 0 < len(found) < MANY


@pytest.mark.parametrize(
    "question", QUESTIONS, ids=lambda question: f"{question.count('.') + 1} pieces"
)
async def test_fused_is_the_sum_of_both(question: str) -> None:
    near, words = EmbeddingRetriever(Random(), least=LEAST), WordRetriever()
    fused = FusedRetriever(words, near)
    expected = added_up(await words.rank(LESSONS, question), await near.rank(LESSONS, question))
    assert [e.id for e in await fused.rank(LESSONS, question)] == expected
    assert list((await Ranker(fused).rank(LESSONS, question)).ids or ()) == expected


class Backwards(WordRetriever):
    """A user's retriever: what words find, worst first, one twice, and one of another set."""

    async def rank(self, experiences: Sequence[Experience], question: str) -> list[Experience]:
        found = (await super().rank(experiences, question))[::-1]
        return [found[0], *found, Experience(id="another", text="-")]


async def test_a_class_of_a_users_own_ranks_as_it_says() -> None:
    question = QUESTIONS[0]
    expected = [e.id for e in WordRetriever().rank_now(LESSONS, question)][::-1]
    assert [e.id for e in await FusedRetriever(Backwards()).rank(LESSONS, question)] == expected
    assert (
        list((await Ranker(FusedRetriever(Backwards())).rank(LESSONS, question)).ids or ())
        == expected
    )


async def test_large_products_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLAS starts threads for a large one, and an agent's process would wait for them."""
    sizes = []
    lessons, asked = np.ones((256, 5000), np.float32), np.ones((6, 256), np.float32)

    class Watched(np.ndarray):
        def __matmul__(self, other: np.ndarray) -> np.ndarray:
            sizes.append(self.size * other.shape[1])
            return np.asarray(self) @ other

    assert embeddings._closest(lessons, asked.view(Watched)).tolist() == list(
        itertools.repeat(256.0, 5000)
    )
    assert max(sizes) <= embeddings.ALONE
    sizes.clear()
    monkeypatch.setattr(embeddings, "ALONE", 2**30)
    embeddings._closest(lessons, asked.view(Watched))
    assert sizes == [6 * 256 * 5000], "the control"


def test_the_first_question_to_an_index_and_later_ones_find_the_same() -> None:
    conditions, strangers = [e.when for e in LESSONS], "unheard of 12 words"
    index = index_of(conditions)
    for question in [*QUESTIONS, strangers, *QUESTIONS]:
        first_asked = index_of(conditions).scores(question)
        assert index.scores(question) == first_asked == plain_bm25(question)


def plain_bm25(question: str) -> list[float]:
    """Score each condition by the formula in the head of `bm25`, one after the other."""
    texts = [analyse(e.when, "en") for e in LESSONS]
    average = sum(text.length for text in texts) / MANY
    scores = [0.0] * MANY
    for term in analyse(question, "en").counts:
        having = sum(term in text.counts for text in texts)
        rarity = math.log(1 + (MANY - having + 0.5) / (having + 0.5))
        for number, text in enumerate(texts):
            count = text.counts.get(term, 0.0)
            held_back = K1 * (1 - B + B * (text.length / average))
            scores[number] += 1.0 * (rarity * (count / (count + held_back)))
    return scores


def test_words_that_no_lesson_has_are_not_kept() -> None:
    index = index_of([e.when for e in LESSONS])
    for n in range(50):
        index.scores(f"stranger{n} {WORDS[0]}")
    assert len(index._postings) == 1
