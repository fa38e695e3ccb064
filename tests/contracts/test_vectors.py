"""What every backend promises about the vectors that a set keeps for its embeddings."""

from ted_memory.protocols import ExperienceStore, VectorHead
from ted_memory.storage.redis.vectors import AT_ONCE, SPARE
from tests.contracts.writer import Writer

OURS = VectorHead(model="small", dimension=2)
NONE: frozenset[str] = frozenset()


async def test_vectors_come_back_as_they_were_given(store: ExperienceStore, namespace: str) -> None:
    vectors = store.vectors(namespace)
    assert await vectors.head() is None
    assert await vectors.load(["a"]) == {}
    assert await vectors.load([]) == {}
    given = {"a": bytes(range(256)), "b": b"\0" * 8}
    assert await vectors.save(OURS, given, NONE) == OURS
    assert await vectors.head() == OURS
    assert await vectors.load(["a", "b", "c"]) == given
    assert await store.vectors(f"{namespace}-other").load(["a"]) == {}


async def test_more_of_them_join_those_that_are_there(
    store: ExperienceStore, namespace: str
) -> None:
    vectors = store.vectors(namespace)
    many = {f"{i:04x}": bytes([i % 256]) for i in range(AT_ONCE + 3)}
    await vectors.save(OURS, {"x": b"1"}, many.keys())
    await vectors.save(OURS, many, many.keys())
    assert await vectors.load([*many, "x"]) == {**many, "x": b"1"}


async def test_another_models_vectors_are_not_taken_in(
    store: ExperienceStore, namespace: str
) -> None:
    vectors = store.vectors(namespace)
    await vectors.save(OURS, {"a": b"1"}, NONE)
    for other in (VectorHead(model="large", dimension=2), VectorHead(model="small", dimension=3)):
        assert await vectors.save(other, {"a": b"9", "b": b"9"}, NONE) == OURS
    assert await vectors.load(["a", "b"]) == {"a": b"1"}


async def test_vectors_of_lessons_that_are_gone_go_when_they_are_many(
    store: ExperienceStore, namespace: str
) -> None:
    vectors = store.vectors(namespace)
    old = {f"{i:04x}": b"1" for i in range(SPARE)}
    await vectors.save(OURS, old, {"k"})
    assert len(await vectors.load([*old])) == SPARE, "few are not looked for"
    new = {"k": b"2", "l": b"3", "m": b"4"}
    await vectors.save(OURS, new, {"k"})
    assert await vectors.load([*old, *new]) == {"k": b"2"}
    assert await vectors.head() == OURS


async def test_they_can_be_dropped_and_go_with_their_set(
    store: ExperienceStore, namespace: str
) -> None:
    vectors = store.vectors(namespace)
    await vectors.save(OURS, {"a": b"1"}, NONE)
    await vectors.drop()
    assert (await vectors.head(), await vectors.load(["a"])) == (None, {})
    await Writer(store, namespace).add("One.")
    await vectors.save(OURS, {"a": b"1"}, NONE)
    await store.drop(namespace)
    assert (await vectors.head(), await vectors.load(["a"])) == (None, {})
    await vectors.drop()
