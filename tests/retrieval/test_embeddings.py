"""Embeddings: what they find, where their vectors are kept, and what happens without them."""

import asyncio
from collections.abc import Sequence

import pytest

from ted_memory import Add, Rewrite, TedMemory, open_memory
from ted_memory.errors import SettingsError
from ted_memory.models import Experience
from ted_memory.retrieval import EmbeddingRetriever, FusedRetriever, WordRetriever
from ted_memory.retrieval.fusion import DEPTH
from ted_memory.retrieval.ranker import BREAK_AFTER, Ranker
from ted_memory.storage.redis.keys import Keys
from ted_memory.testing import in_memory
from ted_memory.testing.oracle.store import InMemoryStore
from tests.conftest import Server
from tests.retrieval.worlds import TopicEmbeddings

CONDITIONS = ("a refund is asked for", "a parcel is late", "a bike was stolen")
LESSONS = tuple(
    Experience(id=c.split()[1], text="-", when=c, order=i) for i, c in enumerate(CONDITIONS)
)
ADDS = tuple(Add(text=f"Do {c}.", when=c) for c in CONDITIONS)
FORM = "Which team answers? Answer with a team only.\n- team A\n- team B\n\nTicket: "


def fused(embeddings: TopicEmbeddings) -> FusedRetriever:
    return FusedRetriever(WordRetriever(), EmbeddingRetriever(embeddings))


def remembering(
    embeddings: TopicEmbeddings, store: InMemoryStore | None = None, **settings: object
) -> TedMemory:
    # nobody misses a lesson by the coin, and a busy machine is no slow model
    quiet = {"withhold_share": 0.0, "read_timeout": 5.0}
    options = {"selection": "relevant", "top_k": 1, "trust": "always", **quiet, **settings}
    return in_memory(store=store, retriever=fused(embeddings), **options)


def ids(found: list[Experience]) -> list[str]:
    return [e.id for e in found]


# --- what they find


async def test_a_question_in_other_words_finds_its_lesson() -> None:
    retriever = EmbeddingRetriever(TopicEmbeddings())
    assert ids(await retriever.rank(LESSONS, "Give me my money")) == ["refund"]
    assert WordRetriever().rank_now(LESSONS, "Give me my money") == [], "the control"
    assert await retriever.rank(LESSONS, "Nothing of that kind") == []
    assert await retriever.rank(LESSONS, " ") == []
    assert await retriever.rank((), "Give me my money") == []


async def test_a_long_form_does_not_hide_what_is_asked() -> None:
    class Mean(TopicEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            return [*super().embed_query(text)[:3], 0.5 * text.lower().count("team")]

    retriever = EmbeddingRetriever(Mean(), least=0.5)
    assert ids(await retriever.rank(LESSONS, f"{FORM}My parcel!")) == ["parcel"]
    whole = (
        f"{FORM}My parcel!".replace("\n", " ").replace(".", "").replace("?", "").replace(":", "")
    )
    assert await retriever.rank(LESSONS, whole) == [], "the control: as one piece it is mostly form"


async def test_what_is_near_enough_is_told_by_the_set() -> None:
    """Some models make all texts alike: then no similarity by itself says that a lesson applies."""

    class Crowded(TopicEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            own = [float(text == f"topic {i}") for i in range(9)]
            return [3.0, *super().embed_query(text)[:3], *own, 0.5 * text.startswith("Give")]

    many = [*LESSONS, *(Experience(id=f"e{i}", text="-", when=f"topic {i}") for i in range(9))]
    assert ids(await EmbeddingRetriever(Crowded()).rank(many, "Give me my money")) == ["refund"]
    everything = await EmbeddingRetriever(Crowded(), least=0.25).rank(many, "Give me my money")
    assert len(everything) == len(many), "the control: with a fixed limit"


async def test_fused_what_both_find_comes_before_what_one_finds() -> None:
    retriever = fused(TopicEmbeddings())
    assert ids(await retriever.rank(LESSONS, "My parcel is gone")) == ["parcel", "bike"]
    assert ids(await retriever.rank(LESSONS, "The stolen bike is late")) == ["bike", "parcel"]
    assert await retriever.rank(LESSONS, "zebra") == []


class InOrder:
    """Finds all lessons, in their order or backwards."""

    def __init__(self, *, step: int) -> None:
        self.step = step

    async def rank(self, experiences: Sequence[Experience], question: str) -> list[Experience]:
        return list(experiences)[:: self.step]


async def test_of_a_large_set_everything_that_applies_is_found_and_nothing_twice() -> None:
    """Places are added up to a depth; a lesson on trial is met wherever it stands."""
    many = [Experience(id=f"e{i}", text="-", when=f"topic {i}") for i in range(3 * DEPTH)]
    found = ids(await FusedRetriever(InOrder(step=1), InOrder(step=-1)).rank(many, "topic"))
    assert sorted(found) == sorted(ids(many))
    assert set(found[: 2 * DEPTH]) == {*ids(many[:DEPTH]), *ids(many[-DEPTH:])}
    assert found[:2] == ["e0", f"e{3 * DEPTH - 1}"]
    assert found[2 * DEPTH :] == ids(many[DEPTH : 2 * DEPTH])


# --- in a memory


async def test_the_block_is_chosen_by_what_embeddings_find() -> None:
    memory = remembering(TopicEmbeddings(), withhold_share=0.0)
    await memory.commit(ADDS, author="me")
    assert "Do a refund is asked for." in await memory.render("Give me my money")
    assert "Do a bike was stolen." in (await memory.expose("There was a thief", unit="u")).block
    assert await memory.render("Give me my money") == await memory.render("Give me my money")
    plain = in_memory(store=memory.store, selection="relevant", top_k=1)  # type: ignore[arg-type]
    assert await plain.render("Give me my money") == "", "the control"


async def test_nothing_is_ranked_where_the_selection_does_not_look_at_the_question() -> None:
    embeddings = TopicEmbeddings()
    memory = remembering(embeddings, selection="all")
    await memory.commit(ADDS, author="me")
    embeddings.asked.clear()
    await memory.render("Give me my money")
    assert embeddings.asked == []
    await memory.expose("Give me my money", unit="u")
    assert embeddings.asked == ["Give me my money"], "a trial must know where a lesson applies"


async def test_a_retriever_of_the_users_own_decides() -> None:
    class Last:
        async def rank(
            self, experiences: tuple[Experience, ...], question: str
        ) -> list[Experience]:
            return list(experiences)[-1:]

    memory = in_memory(retriever=Last(), selection="relevant", top_k=3, trust="always")
    await memory.commit([*ADDS, Add(text="Always.")], author="me")
    block = await memory.render("Give me my money")
    assert "stolen" in block
    assert "Always." in block
    assert "refund" not in block
    exposed = await memory.expose("Give me my money", unit="u")
    assert exposed.counted or exposed.withheld, "the coin of two in a hundred may withhold it"


# --- where their vectors are kept


async def test_each_lesson_is_embedded_once_whoever_reads_it() -> None:
    store, writing, reading = InMemoryStore(), TopicEmbeddings(), TopicEmbeddings()
    writer = remembering(writing, store)
    await writer.commit(ADDS, author="me")
    assert sorted(writing.asked) == sorted(CONDITIONS)
    async with remembering(reading, store) as reader:
        reading.asked.clear()
        await reader.render("Give me my money")
        assert reading.asked == ["Give me my money"]
    id = (await writer.load()).active[0].id
    writing.asked.clear()
    await writer.commit([Rewrite(id=id, text="Do so.", when="it is paid back")], author="me")
    assert writing.asked[-1:] == ["it is paid back"]
    assert not set(CONDITIONS) & set(writing.asked), "what did not change is not embedded again"


async def test_vectors_are_kept_on_a_server_and_go_with_a_purge(
    valkey: Server, namespace: str
) -> None:
    import redis.asyncio

    options = {"selection": "relevant", "trust": "always", "read_timeout": 2.0}
    key = Keys(namespace).vectors
    async with (
        redis.asyncio.Redis.from_url(valkey.url) as client,
        open_memory(
            valkey.url, namespace=namespace, embeddings=TopicEmbeddings(), **options
        ) as memory,
    ):
        await memory.commit(ADDS, author="me")
        await memory.commit([Add(text="Hers.", when="waiting", sources=("eve",))], author="me")
        assert await client.hlen(key) == 5
        fields = set(await client.hkeys(key))
        await memory.purge("eve")
        assert await client.hlen(key) == 0
        assert "Do a refund" in await memory.render("Give me my money")
        await memory.commit([Add(text="New.", when="a thief")], author="me")
        assert await client.hlen(key) == 5
        assert len(fields - set(await client.hkeys(key))) == 1, "hers, and nothing else"


@pytest.mark.parametrize("other", [TopicEmbeddings(padding=4), TopicEmbeddings(model="other")])
async def test_another_models_embeddings_are_told_at_set_up_and_at_a_commit(
    other: TopicEmbeddings,
) -> None:
    store = InMemoryStore()
    await remembering(TopicEmbeddings(), store).commit(ADDS, author="me")
    with pytest.raises(SettingsError, match="cannot be compared; nothing was written") as told:
        async with remembering(other, store):
            pass
    assert "\n" not in str(told.value)
    assert "'TopicEmbeddings:topics' (4 numbers)" in str(told.value)
    memory = remembering(other, store)
    with pytest.raises(SettingsError, match="forget_vectors"):
        await memory.commit([Add(text="New.", when="a thief")], author="me")
    assert len(await memory.load()) == 3
    # an agent that did not look is served, by words
    assert "Do a parcel is late." in await memory.render("My parcel")
    assert memory.health().retrieval_fallbacks == 1
    await memory.forget_vectors()
    async with memory:
        assert "Do a refund is asked for." in await memory.render("Give me my money")
        assert memory.health().retrieval_fallbacks == 1


# --- away or slow


async def test_a_model_that_is_away_leaves_it_to_the_words() -> None:
    embeddings = TopicEmbeddings()
    memory = remembering(embeddings)
    await memory.commit(ADDS, author="me")
    embeddings.away = True
    assert "Do a parcel is late." in await memory.render("My parcel")
    assert "Do a bike" in (await memory.expose("The bike", unit="u")).block
    assert memory.health().retrieval_fallbacks == 2
    embeddings.away = False
    assert "Do a refund" in await memory.render("Give me my money")
    assert memory.health().retrieval_fallbacks == 2


async def test_a_commit_stands_although_the_model_is_away() -> None:
    embeddings = TopicEmbeddings()
    embeddings.away = True
    async with remembering(embeddings) as memory:
        assert len((await memory.commit(ADDS, author="me")).applied) == 3
        embeddings.away = False
        assert "Do a refund" in await memory.render("Give me my money"), (
            "its vectors are made up for"
        )


async def test_a_slow_model_is_waited_for_no_longer_than_the_store() -> None:
    embeddings = TopicEmbeddings()
    memory = remembering(embeddings, read_timeout=0.02)
    await memory.commit(ADDS, author="me")
    embeddings.delay = 30.0
    async with asyncio.timeout(5):
        assert "Do a parcel is late." in await memory.render("My parcel")
    assert memory.health().retrieval_fallbacks == 1
    embeddings.delay = 0.1  # a distillation has the time
    ranking = await memory.rank((await memory.load()).candidates, "Give me my money")
    assert len(ranking.ids or ()) == 1


async def test_vectors_that_take_long_are_there_for_those_who_come_after() -> None:
    embeddings = TopicEmbeddings()
    embeddings.delay = 0.1
    ranker = Ranker(EmbeddingRetriever(embeddings))
    assert (await ranker.rank(LESSONS, "Give me my money", patience=0.01)).ids == ()
    await asyncio.sleep(0.3)
    embeddings.delay = 0.0
    embeddings.asked.clear()
    assert (await ranker.rank(LESSONS, "Give me my money", patience=0.01)).ids == ("refund",)
    assert embeddings.asked == ["Give me my money"]


async def test_nobody_waits_for_a_model_that_failed_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embeddings = TopicEmbeddings()
    embeddings.away = True
    ranker = Ranker(EmbeddingRetriever(embeddings))
    for _ in range(BREAK_AFTER + 5):
        assert (await ranker.rank(LESSONS, "My parcel", patience=1.0)).ids == ("parcel",)
    assert len(embeddings.asked) == BREAK_AFTER
    assert ranker.fallbacks == BREAK_AFTER + 5
    monkeypatch.setattr("ted_memory.retrieval.ranker.PROBE_EVERY", 0.0)
    embeddings.away = False
    assert (await ranker.rank(LESSONS, "Give me my money", patience=1.0)).ids == ("refund",)


async def test_work_on_vectors_ends_with_the_memory() -> None:
    embeddings = TopicEmbeddings()
    embeddings.away = True
    async with remembering(embeddings, read_timeout=0.01) as memory:
        await memory.commit(ADDS, author="me")
        embeddings.away, embeddings.delay = False, 60.0
        await memory.render("My parcel")


# --- how they are asked for


def test_a_retriever_and_embeddings_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="retriever and embeddings exclude each other"):
        open_memory(
            "redis://127.0.0.1:1/0", retriever=WordRetriever(), embeddings=TopicEmbeddings()
        )


async def test_the_local_embeddings_find_what_words_do_not() -> None:
    pytest.importorskip("wordllama")
    from ted_memory.retrieval.local import LocalEmbeddings

    topics = (
        "a parcel is late",
        "a bike was stolen",
        "an invoice is wrong",
        "somebody applies for a job",
    )
    lessons = [Experience(id=when.split()[1], text="-", when=when) for when in topics]
    asked = f"{FORM}A thief took my bicycle last night."
    assert (await EmbeddingRetriever(LocalEmbeddings()).rank(lessons, asked))[0].id == "bike"
    assert WordRetriever().rank_now(lessons, asked) == [], "the control"


@pytest.mark.parametrize("by", ["argument", "environment"])
async def test_local_embeddings_are_a_setting(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    pytest.importorskip("wordllama")
    given = {"retrieval": "local"} if by == "argument" else {}
    if by == "environment":
        monkeypatch.setenv("TED_MEMORY_RETRIEVAL", "local")
    options = {"selection": "relevant", "top_k": 1, "trust": "always", "read_timeout": 2.0}
    async with open_memory(valkey.url, namespace=namespace, **options, **given) as memory:
        await memory.commit(ADDS, author="me")
        assert "Do a bike was stolen." in await memory.render(f"{FORM}A thief took my bicycle.")
        assert memory.health().retrieval_fallbacks == 0
