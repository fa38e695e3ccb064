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


async def test_a_namespace_that_is_dropped_takes_it_along(writer: Writer) -> None:
    await writer.commit(Add(text="One."), presentation=BEST_ONE)
    await writer.store.drop(writer.namespace)
    await writer.commit(Add(text="New."))
    assert (await writer.now()).presentation is None
