"""Everything that was done can be looked at and undone, except what was purged."""

from ted_memory import Add, Remove, Rewrite, TedMemory
from ted_memory.testing import in_memory


async def texts(memory: TedMemory) -> list[str]:
    return [lesson.text for lesson in await memory.load()]


async def test_the_log_says_who_changed_what_and_why(memory: TedMemory) -> None:
    [made] = (await memory.commit([Add(text="Be brief.")], author="anna")).applied
    await memory.commit(
        [Rewrite(id=made.id, text="Be thorough.")], author="bruno", why="complaints"
    )
    latest, first = await memory.log()
    assert (first.author, latest.author, latest.why) == ("anna", "bruno", "complaints")
    [changed] = await memory.diff(1)
    assert changed.before is not None
    assert changed.after is not None
    assert (changed.before.text, changed.after.text) == ("Be brief.", "Be thorough.")


async def test_an_older_version_can_be_looked_at_without_going_back(memory: TedMemory) -> None:
    await memory.commit([Add(text="One.")], author="me")
    await memory.commit([Add(text="Two.")], author="me")
    assert [lesson.text for lesson in await memory.at(1)] == ["One."]
    assert await texts(memory) == ["One.", "Two."]


async def test_going_back_is_a_new_version_that_can_be_undone_itself(memory: TedMemory) -> None:
    await memory.commit([Add(text="One."), Add(text="Two.")], author="me")
    one, _ = await memory.load()
    await memory.commit([Remove(id=one.id)], author="me")
    await memory.rollback(1)
    assert await texts(memory) == ["One.", "Two."]
    await memory.rollback(2)
    assert await texts(memory) == ["Two."]


async def test_a_rejected_lesson_comes_back_with_a_rollback(memory: TedMemory) -> None:
    [made] = (await memory.commit([Add(text="Be brief.")], author="me")).applied
    await memory.reject(made.id, author="a person")
    assert await texts(memory) == []
    await memory.rollback(1)
    assert await texts(memory) == ["Be brief."]


async def test_what_came_from_a_purged_source_never_comes_back(memory: TedMemory) -> None:
    lessons = [
        Add(text="From a bad data set.", sources=("dataset:bad",)),
        Add(text="From a good one.", sources=("dataset:good",)),
    ]
    await memory.commit(lessons, author="me")
    export = await memory.export()
    await memory.purge("dataset:bad")
    assert await texts(memory) == ["From a good one."]

    await memory.rollback(1)
    await memory.import_set(export, merge=True)
    again = await memory.commit(lessons[:1], author="me")
    assert [rejected.reason for rejected in again.rejected] == ["purged"]
    assert await texts(memory) == ["From a good one."]


async def test_a_set_goes_to_another_installation_as_it_is(memory: TedMemory) -> None:
    await memory.commit([Add(text="Be brief.", when="a customer is in a hurry")], author="me")
    elsewhere = in_memory()
    await elsewhere.import_set(await memory.export())
    assert await elsewhere.render() == await memory.render()
    await elsewhere.aclose()
