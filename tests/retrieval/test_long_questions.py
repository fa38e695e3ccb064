"""Of a long question only its beginning and its end are looked at, since an agent waits."""

import pytest

from ted_memory.models import Experience
from ted_memory.retrieval import EmbeddingRetriever, FusedRetriever, WordRetriever, bm25, questions
from ted_memory.retrieval.questions import LONGEST_QUESTION, looked_at
from tests.retrieval.worlds import TopicEmbeddings

LESSONS = tuple(
    Experience(id=when.split()[1], text="-", when=when)
    for when in ("a bike was stolen", "a refund is asked for")
)
CONTEXT = "Nothing is told of it here.\n" * 300
ASKED = "My bike was stolen!"
AT_THE_END, AT_THE_BEGINNING = f"{CONTEXT}Question: {ASKED}", f"Question: {ASKED}\n{CONTEXT}"
IN_BETWEEN = f"{CONTEXT}Question: {ASKED}\n{CONTEXT}"
MEGABYTE = "all of it is read, or a part. " * 35_000


def fused() -> FusedRetriever:
    return FusedRetriever(WordRetriever(), EmbeddingRetriever(TopicEmbeddings()))


@pytest.mark.parametrize(
    "question", [AT_THE_END, AT_THE_BEGINNING], ids=["at the end", "at the beginning"]
)
@pytest.mark.parametrize(
    "make", [WordRetriever, lambda: EmbeddingRetriever(TopicEmbeddings()), fused]
)
async def test_what_stands_at_either_end_of_a_long_text_is_found(
    make: type[WordRetriever], question: str
) -> None:
    assert len(question) > 2 * LONGEST_QUESTION
    assert [e.id for e in await make().rank(LESSONS, question)] == ["bike"]
    assert await make().rank(LESSONS, IN_BETWEEN) == [], "the control: the middle is not looked at"


def test_so_much_is_looked_at() -> None:
    assert looked_at(ASKED) == ASKED
    exactly = "a" * LONGEST_QUESTION
    assert looked_at(exactly) == exactly
    assert len(looked_at(MEGABYTE)) == LONGEST_QUESTION
    assert MEGABYTE.startswith(looked_at(MEGABYTE)[:1000])
    assert MEGABYTE.endswith(looked_at(MEGABYTE)[-1000:])


async def characters(question: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Return how many characters of a question are stemmed, and how many embedded."""
    stemmed, embeddings, analyse = [], TopicEmbeddings(), bm25.analyse
    retriever = FusedRetriever(WordRetriever(), EmbeddingRetriever(embeddings))
    await retriever.rank(LESSONS, ASKED)  # the lessons are known by then
    embeddings.asked.clear()
    with monkeypatch.context() as patched:
        patched.setattr(
            bm25,
            "analyse",
            lambda text, language: (stemmed.append(len(text)), analyse(text, language))[1],
        )
        await retriever.rank(LESSONS, question)
    return sum(stemmed), sum(map(len, embeddings.asked))


async def test_the_work_on_a_question_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    by_words, by_embeddings = await characters(MEGABYTE, monkeypatch)
    assert 0 < by_words <= LONGEST_QUESTION
    assert 0 < by_embeddings <= LONGEST_QUESTION
    monkeypatch.setattr(questions, "LONGEST_QUESTION", len(MEGABYTE))
    assert (await characters(MEGABYTE, monkeypatch))[0] == len(MEGABYTE), "the control"


async def test_pieces_of_both_ends_are_embedded() -> None:
    """Also of a question that is not long, but has many lines."""
    embeddings = TopicEmbeddings()
    retriever = EmbeddingRetriever(embeddings)
    await retriever.rank(LESSONS, ASKED)
    embeddings.asked.clear()
    await retriever.rank(LESSONS, "\n".join(f"line {number}" for number in range(100)))
    assert embeddings.asked == [f"line {number}" for number in (*range(8), *range(92, 100))]
