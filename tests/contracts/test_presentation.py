"""How a set is shown is kept with it, by every backend."""

import pytest

from ted_memory.models import Add, Presentation, Remove
from tests.contracts.writer import Writer, reasons

BEST_ONE = Presentation(selection="relevant", top_k=1, placement="user", examples=False)
ALL = Presentation()


async def test_a_set_carries_no_presentation_until_a_commit_brings_one(writer: Writer) -> None:
    await writer.commit(Add(text="One."))
    assert (await writer.now()).presentation is None
    await writer.commit(Add(text="Two."), presentation=BEST_ONE)
    assert (await writer.now()).presentation == BEST_ONE


async def test_a_later_commit_leaves_it_or_replaces_it(writer: Writer) -> None:
    await writer.commit(Add(text="One."), presentation=BEST_ONE)
    await writer.commit(Add(text="Two."))
    assert (await writer.now()).presentation == BEST_ONE
    await writer.commit(Add(text="Three."), presentation=ALL)
    assert (await writer.now()).presentation == ALL


async def test_who_holds_an_older_version_is_told_too(writer: Writer) -> None:
    await writer.commit(Add(text="One."))
    held = await writer.now()
    await writer.commit(Add(text="Two."), presentation=BEST_ONE)
    read = await writer.store.read(writer.namespace, held)
    assert read is not None
    assert (held.presentation, read.presentation) == (None, BEST_ONE)
    assert read == await writer.now()


@pytest.mark.parametrize("atomic", [False, True])
async def test_a_commit_that_changes_nothing_brings_none(writer: Writer, atomic: bool) -> None:
    await writer.commit(Add(text="One."), presentation=BEST_ONE)
    refused = await writer.commit(Remove(id="nobody"), presentation=ALL, atomic=atomic)
    assert reasons(refused) == ["unknown"]
    assert (await writer.now()).presentation == BEST_ONE


async def test_without_edits_another_one_makes_a_version_and_the_same_one_none(
    writer: Writer,
) -> None:
    await writer.commit(Add(text="One."))
    held = await writer.now()
    assert (await writer.commit(presentation=BEST_ONE, why="measured")).version == 2
    now = await writer.now()
    assert (now.version, now.presentation, now.experiences) == (2, BEST_ONE, held.experiences)
    assert await writer.store.read(writer.namespace, held) == now
    [entry] = await writer.store.log(writer.namespace, [2])
    assert (entry.why, entry.changes) == ("measured", ())
    assert (await writer.commit(presentation=BEST_ONE)).version == 2
    assert (await writer.commit()).version == 2, "and nothing at all makes none"


async def test_without_edits_it_comes_too_late_for_another_version_and_happens_once(
    writer: Writer,
) -> None:
    await writer.commit(Add(text="One."))
    await writer.commit(presentation=BEST_ONE, expect_version=0)
    assert (await writer.now()).presentation is None
    for _ in range(2):
        await writer.commit(presentation=BEST_ONE, token="once")
    assert (await writer.now()).version == 2


async def test_a_set_may_be_told_how_it_is_shown_before_it_has_lessons(writer: Writer) -> None:
    await writer.commit(presentation=BEST_ONE)
    assert ((await writer.now()).version, (await writer.now()).presentation) == (1, BEST_ONE)
    await writer.add("One.")
    assert (await writer.now()).presentation == BEST_ONE


async def test_a_namespace_that_is_dropped_takes_it_along(writer: Writer) -> None:
    await writer.commit(Add(text="One."), presentation=BEST_ONE)
    await writer.store.drop(writer.namespace)
    await writer.commit(Add(text="New."))
    assert (await writer.now()).presentation is None


async def test_without_edits_other_models_make_a_version_too(writer: Writer) -> None:
    """A set whose lessons were tested on another student says so, though none has changed."""
    small, large = {"student": "small"}, {"student": "large"}
    await writer.commit(Add(text="One."), models=small)
    assert (await writer.commit(models=large)).version == 2
    assert (await writer.now()).models == large
    assert (await writer.commit(models=large)).version == 2
    assert (await writer.commit(models=small, expect_version=0)).version == 2, "it comes too late"
    assert (await writer.now()).models == large
