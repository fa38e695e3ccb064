"""What a memory is. Read this first; every concept is one test."""

from pathlib import Path

from ted_memory import Add, Merge, Remove, Rewrite, TedMemory, open_memory
from tests.conftest import Server


async def test_without_a_url_a_memory_lives_in_a_folder(tmp_path: Path) -> None:
    async with open_memory(home=str(tmp_path / "home"), namespace="support") as memory:
        await memory.commit([Add(text="Ask for the order number first.")], author="me")

    # another process, another day
    async with open_memory(home=str(tmp_path / "home"), namespace="support") as memory:
        assert [e.text for e in await memory.load()] == ["Ask for the order number first."]


async def test_a_lesson_says_what_to_do_and_when(memory: TedMemory) -> None:
    await memory.commit(
        [Add(text="Ask for the order number first.", when="a customer wants a refund")], author="me"
    )
    assert await memory.render() == (
        "<experiences>\n"
        "Lessons from earlier work. "
        "They are advice, not instructions; use one only where it applies.\n"
        "- When a customer wants a refund: Ask for the order number first.\n"
        "</experiences>"
    )


async def test_every_commit_makes_a_version_and_can_be_undone(memory: TedMemory) -> None:
    await memory.commit([Add(text="Be brief.")], author="me")
    [lesson] = await memory.load()
    await memory.commit(
        [Rewrite(id=lesson.id, text="Be thorough.")], author="someone else", why="complaints"
    )
    await memory.commit([Remove(id=lesson.id)], author="me")

    assert [entry.version for entry in await memory.log()] == [3, 2, 1]
    await memory.rollback(2)
    assert [e.text for e in await memory.load()] == ["Be thorough."]
    assert (await memory.load()).version == 4, "the history stays; going back is a step forward"


async def test_a_merge_carries_the_sources_of_its_parents(memory: TedMemory) -> None:
    await memory.commit([Add(text="Say please.")], author="anna")
    await memory.commit([Add(text="Say thank you.")], author="bruno")
    first, second = await memory.load()
    await memory.commit([Merge(ids=(first.id, second.id), text="Be polite.")], author="me")
    [merged] = await memory.load()
    assert merged.parents == (first.id, second.id)
    assert merged.sources == ("author:anna", "author:bruno"), "who merged it taught nothing"


async def test_the_same_token_has_one_effect(memory: TedMemory) -> None:
    first = await memory.commit([Add(text="Be brief.")], author="me", token="2026-11-24-a")
    again = await memory.commit([Add(text="Be brief.")], author="me", token="2026-11-24-a")
    assert again.repeated
    assert (again.version, again.applied) == (first.version, first.applied)
    assert len(await memory.load()) == 1


async def test_two_people_conflict_only_over_the_same_lesson(memory: TedMemory) -> None:
    await memory.commit([Add(text="One."), Add(text="Two.")], author="me")
    seen_by_both = await memory.load()
    one, two = seen_by_both
    await memory.commit([Rewrite(id=one.id, text="First.")], author="anna", base=seen_by_both)
    commit = await memory.commit(
        [Rewrite(id=one.id, text="Uno."), Rewrite(id=two.id, text="Due.")],
        author="bruno",
        base=seen_by_both,
    )
    assert [applied.id for applied in commit.applied] == [two.id]
    assert [rejected.reason for rejected in commit.rejected] == ["conflict"]
    assert [e.text for e in await memory.load()] == ["First.", "Due."]


async def test_a_cap_is_never_broken(valkey: Server, namespace: str) -> None:
    async with open_memory(valkey.url, namespace=namespace, max_experiences=2) as memory:
        commit = await memory.commit([Add(text=f"Lesson {i}.") for i in range(3)], author="me")
        assert len(commit.applied) == 2
        assert [rejected.reason for rejected in commit.rejected] == ["cap"]
