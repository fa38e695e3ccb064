"""What is kept of a set in a process: never stale, gone with the set, right in a fork and after a
cancellation. `docs/tests.md` lists all caches with their cases.

Each case is one walk for all caches of a set, and each cache has its control: with its rule
switched off the same walk fails.
"""

import asyncio
import gc
import multiprocessing
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ted_memory import Add, Rewrite, TedMemory, open_memory
from ted_memory.derived import Derived
from ted_memory.experience import rendering
from ted_memory.models import Edit, Experience, ExperienceSet
from ted_memory.retrieval.bm25 import WordRetriever
from ted_memory.retrieval.embeddings import EmbeddingRetriever
from ted_memory.testing import wait_until
from tests.conftest import Server, assert_only_known_keys
from tests.retrieval.worlds import TopicEmbeddings

TOPICS = ("refund", "parcel", "thief")
QUESTION = "May I have my money?"  # words find "money", and embeddings that it is about a refund
WHEN = {
    "refund": "a refund of money is asked for",
    "parcel": "a parcel is late",
    "thief": "a thief came",
}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "all": {"selection": "all"},
    "budget": {"selection": "budget"},
    "words": {"selection": "relevant", "top_k": 1},
    "embeddings": {"selection": "relevant", "top_k": 1},
}


def opened(url: str, namespace: str, way: str, **settings: Any) -> TedMemory:
    """Open a memory that shows lessons in this way, and looks at the store all the time."""
    found = {"retriever": EmbeddingRetriever(TopicEmbeddings())} if way == "embeddings" else {}
    quiet = {"withhold_share": 0.0, "read_timeout": 5.0, "refresh": 0.01}
    return open_memory(url, namespace=namespace, **{**quiet, **WAYS[way], **found, **settings})


async def write(memory: TedMemory, number: int) -> None:
    """Have each lesson say something else, about another topic."""
    now = await memory.load()
    edits: list[Edit] = []
    for place, topic in enumerate(TOPICS):
        said = {"text": f"Lesson {number} of {topic}.", "when": f"{WHEN[topic]}, case {number}"}
        if now.active:  # the one beside it says it from now on
            told = {e.id: e.when for e in now.active}
            other = TOPICS[place - 1]
            [id] = [id for id, when in told.items() if other in when]
            edits.append(Rewrite(id=id, **said))
        else:
            edits.append(Add(**said))
    assert len((await memory.commit(edits, author="me", base=now)).applied) == len(TOPICS)


def check_block(block: str, number: int) -> None:
    """Fail on a block of another number, or of a lesson about something else."""
    assert f"Lesson {number} of refund." in block, f"not as it is now: {block}"
    assert block.count("Lesson ") == block.count(f"Lesson {number} "), f"of two times: {block}"


async def seen(memory: TedMemory, version: int) -> bool:
    await memory.render(QUESTION)
    return (memory.health().version or 0) >= version


# --- stale


async def follow(url: str, namespace: str, way: str) -> None:
    """Have one process rewrite all lessons, and another one show each version as it is."""
    async with opened(url, namespace, way) as writer, opened(url, namespace, way) as reader:
        for number in range(1, 4):
            await write(writer, number)
            await wait_until(lambda n=number: seen(reader, n), what="the version")
            check_block(await reader.render(QUESTION), number)
            check_block((await reader.present(QUESTION)).block, number)
            check_block((await reader.expose(QUESTION, unit="u")).block, number)


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_kept_of_a_set_is_never_shown_of_the_next_one(
    valkey: Server, namespace: str, way: str
) -> None:
    await follow(valkey.url, namespace, way)
    await assert_only_known_keys(valkey.url)


def first_for(kept: dict[Any, Any], key: Callable[..., Any], plain: Any) -> Any:
    """Make a function keep its first value for each key for ever."""

    def once(*given: Any, **named: Any) -> Any:
        name = key(*given)
        if name not in kept:
            kept[name] = plain(*given, **named)
        return kept[name]

    return once


def views_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TedMemory, "_view", first_for({}, lambda self, _: id(self), TedMemory._view))


class ById(Derived[str]):
    """Keeps lines by the lesson's id, whatever it says by now."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, str] = {}

    def get(self, key: object) -> str | None:
        assert isinstance(key, Experience)
        return self.lines.get(key.id)

    def put(self, key: object, value: str) -> str:
        assert isinstance(key, Experience)
        return self.lines.setdefault(key.id, value)


def lines_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rendering, "_LINES", ById())
    patch.setattr(rendering, "_LINES_ALONE", ById())


def indexes_stay(patch: pytest.MonkeyPatch) -> None:
    kept = first_for({}, lambda self, *_: id(self), WordRetriever._index)
    patch.setattr(WordRetriever, "_index", kept)


def matrices_stay(patch: pytest.MonkeyPatch) -> None:
    plain, kept = EmbeddingRetriever._matrix, dict[int, Any]()

    async def once(self: EmbeddingRetriever, experiences: Any) -> Any:
        if id(self) not in kept:
            kept[id(self)] = await plain(self, experiences)
        return kept[id(self)]

    patch.setattr(EmbeddingRetriever, "_matrix", once)


def lessons_stay(patch: pytest.MonkeyPatch) -> None:
    """A refresh brings what is new, and leaves out what has changed."""
    from ted_memory.storage.redis import replies

    plain = replies._merged

    def merged(held: ExperienceSet, new: Mapping[str, Experience], *, gone: Any) -> Any:
        return plain(held, {id: e for id, e in new.items() if id not in held.by_id}, gone=gone)

    patch.setattr(replies, "_merged", merged)


STALE = {
    "the set, as changes are put in": ("all", lessons_stay),
    "the block of all": ("all", views_stay),
    "lines": ("budget", lines_stay),
    "the index of words": ("words", indexes_stay),
    "the matrix of vectors": ("embeddings", matrices_stay),
}


@pytest.mark.parametrize("cache", STALE)
async def test_a_cache_that_outlives_its_set_is_found_out(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    """The control."""
    way, stays = STALE[cache]
    stays(monkeypatch)
    with pytest.raises(AssertionError, match="not as it is now"):
        await follow(valkey.url, namespace, way)


# --- evicted


def held() -> int:
    """Return how many values are kept of whatever objects, in all of this process."""
    gc.collect()
    return sum(len(one) for one in gc.get_objects() if type(one) is Derived)


async def live_through(memory: TedMemory, first: int, count: int) -> int:
    """Have a memory show so many versions; return how many values are kept then."""
    for number in range(first, first + count):
        await write(memory, number)
        await memory.load()
        check_block(await memory.render(QUESTION), number)
        await memory.expose(QUESTION, unit="u")
    return held()


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_kept_of_a_set_goes_with_it(valkey: Server, namespace: str, way: str) -> None:
    async with opened(valkey.url, namespace, way) as memory:
        before = await live_through(memory, 1, 3)
        assert await live_through(memory, 4, 12) <= before


@pytest.mark.parametrize("way", WAYS)
async def test_a_cache_that_holds_what_it_was_made_from_is_found_out(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The control."""
    plain, keys = Derived.put, list[object]()

    def put(self: Derived[Any], key: object, value: Any) -> Any:
        keys.append(key)
        return plain(self, key, value)

    monkeypatch.setattr(Derived, "put", put)
    async with opened(valkey.url, namespace, way) as memory:
        before = await live_through(memory, 1, 3)
        assert await live_through(memory, 4, 12) > before


async def vectors_after(rounds: int) -> int:
    """Return how many vectors a retriever holds of a set whose lessons are rewritten so often."""
    retriever = EmbeddingRetriever(TopicEmbeddings())
    for number in range(rounds):
        lesson = Experience(id="one", text="-", when=f"case {number} of a refund", order=0)
        assert await retriever.order([lesson], "money") == [0]
    return len(retriever._held)


async def test_vectors_of_what_lessons_said_before_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ted_memory.retrieval.embeddings.SAMPLE", 8)
    assert await vectors_after(60) <= 2 + 8 + 1
    monkeypatch.setattr("ted_memory.retrieval.embeddings.SAMPLE", 1000)
    assert await vectors_after(60) == 60, "the control"


# --- forked


def in_child(memory: TedMemory, results: Any) -> None:
    """See what the parent commits after the fork, and commit; tell what is shown."""
    asyncio._set_running_loop(None)  # the fork happened inside the parent's loop

    async def use() -> None:
        inherited = await memory.render(QUESTION)
        results.put(inherited)
        try:
            await wait_until(lambda: seen(memory, 2), timeout=SOON)
            check_block(await memory.render(QUESTION), 2)
            await write(memory, 3)
            await wait_until(lambda: seen(memory, 3), timeout=SOON)
            results.put(await memory.render(QUESTION))
        except (AssertionError, TimeoutError) as error:
            results.put(f"not seen: {error}")
        await memory.aclose()

    asyncio.run(use())


SOON = 20.0  # seconds; a machine with too much to do is no failure


def is_looking(memory: TedMemory) -> bool:
    """Tell whether a look at the store is under way, for the loop of now."""
    task = memory._snapshots._tasks.get(asyncio.get_running_loop())
    return task is not None and not task.done()


async def fork(url: str, namespace: str, way: str, *, loops_are_one: bool = False) -> None:
    """Have a child fork from a process that holds all caches, and looks at the store just then."""
    # the look that is under way is that of the call below, and none that a commit has caused
    memory = opened(url, namespace, way, push=False)
    if loops_are_one:
        memory._snapshots._tasks = OneLoop()  # type: ignore[assignment]
    await live_through(memory, 1, 1)
    while not is_looking(memory):  # a call begins a look where the last one is older than `refresh`
        await asyncio.sleep(0.02)
        await memory.snapshot()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=in_child, args=(memory, results), daemon=True)
    child.start()
    try:
        check_block(await asyncio.to_thread(results.get, timeout=30), 1)
        await write(memory, 2)
        told = await asyncio.to_thread(results.get, timeout=60)
        assert "not seen" not in told, told
        check_block(told, 3)
        await wait_until(lambda: seen(memory, 3), what="what the child has committed")
        check_block(await memory.render(QUESTION), 3)
        await asyncio.to_thread(child.join, 30)
    finally:
        child.kill()
        await memory.aclose()


class OneLoop(dict[Any, Any]):
    """Takes all event loops for one."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get("", default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__("", value)


pytest_forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


@pytest_forks
@pytest.mark.parametrize("way", WAYS)
async def test_a_forked_child_goes_on_by_itself_with_what_the_parent_held(
    valkey: Server, namespace: str, way: str
) -> None:
    await fork(valkey.url, namespace, way)


@pytest_forks
async def test_a_child_that_waits_for_its_parents_look_at_the_store_is_found_out(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr("tests.contracts.test_caches.SOON", 2.0)
    with pytest.raises(AssertionError, match="not seen"):
        await fork(valkey.url, namespace, "all", loops_are_one=True)


# --- cancelled


async def cancel_at_each_turn(url: str, namespace: str, way: str) -> int:
    """Cancel a call after more and more turns of the loop, beside one that is not cancelled.

    Each has a new version before it, of which nothing is kept yet. Returns the number of turns
    after which a call was still under way.
    """
    turns = 0
    async with opened(url, namespace, way) as writer:
        await write(writer, 1)
        async with opened(url, namespace, way, refresh=3600.0) as reader:
            for turns in range(TURNS):
                await write(writer, turns + 2)
                await reader.load()
                first, second = (asyncio.create_task(reader.render(QUESTION)) for _ in range(2))
                for _ in range(turns):
                    await asyncio.sleep(0)
                ended = first.done()
                first.cancel()
                check_block(await second, turns + 2)
                check_block(await reader.render(QUESTION), turns + 2)
                await asyncio.gather(first, return_exceptions=True)
                if ended:
                    return turns
    return TURNS


TURNS = 40


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_that_is_cancelled_leaves_nothing_half_made(
    valkey: Server, namespace: str, way: str
) -> None:
    assert 0 < await cancel_at_each_turn(valkey.url, namespace, way) < TURNS


async def test_vectors_that_go_with_who_asked_first_are_found_out(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr("ted_memory.retrieval.embeddings.asyncio.shield", lambda task: task)
    with pytest.raises(asyncio.CancelledError):
        await cancel_at_each_turn(valkey.url, namespace, "embeddings")
