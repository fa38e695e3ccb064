"""Every backend tells of commits as they are made; what it does not tell of is found by looking."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from ted_memory import TedMemory
from ted_memory.models import Add, Remove
from ted_memory.protocols import ExperienceStore
from ted_memory.settings import make_settings
from ted_memory.storage.redis import scripts
from ted_memory.storage.redis.keys import Keys
from ted_memory.testing import wait_until
from tests.contracts.writer import Writer


@dataclass(eq=False)
class Listener:
    """Keeps what it hears."""

    heard: list[tuple[str, int]] = field(default_factory=list)

    @property
    def versions(self) -> list[int]:
        """The versions it has heard of; 0 stands for what it may have missed before."""
        return [version for _, version in self.heard if version]

    def told(self, epoch: str, version: int) -> None:
        self.heard.append((epoch, version))

    def is_in_use(self) -> bool:
        return True

    def unwatched(self) -> None:
        pass


@pytest.fixture
async def listener(store: ExperienceStore, namespace: str) -> Listener:
    """Who listens to the namespace, and is heard by the server."""
    listener, feed = Listener(), store.feed(namespace)
    feed.watch(listener)
    await wait_until(lambda: feed.live)
    listener.heard.clear()  # what may have been missed until now
    return listener


async def hears_last(listener: Listener, writer: Writer) -> None:
    """Wait until the listener has heard of the set as it is now."""
    now = await writer.now()
    await wait_until(lambda: (now.epoch, now.version) in listener.heard[-1:])


async def test_each_new_version_is_told_of(listener: Listener, writer: Writer) -> None:
    [lesson] = await writer.add("One.")
    await hears_last(listener, writer)
    await writer.commit(Remove(id=lesson.id))
    await hears_last(listener, writer)
    assert listener.versions == [1, 2]


async def test_what_makes_no_version_is_not_told_of(listener: Listener, writer: Writer) -> None:
    await writer.commit(Add(text="One."), token="t")
    await hears_last(listener, writer)
    await writer.commit(Add(text="One."), token="t")
    await writer.commit(Add(text="Refused."), expect_version=9)
    await writer.commit(Add(text="Two."))
    await hears_last(listener, writer)
    assert listener.versions == [1, 2]


async def test_other_sets_and_staging_sets_are_not_told_of(
    listener: Listener, writer: Writer, store: ExperienceStore, namespace: str
) -> None:
    for other in (f"{namespace}-other", f"{namespace}~run"):
        await Writer(store, other).add("Elsewhere.")
    await writer.add("Here.")
    await hears_last(listener, writer)
    assert listener.versions == [1]
    await store.drop(f"{namespace}-other")
    await store.drop(f"{namespace}~run")


async def test_a_burst_is_told_of_to_its_end(listener: Listener, writer: Writer) -> None:
    for i in range(30):
        await writer.add(f"Lesson {i}.")
    await hears_last(listener, writer)


async def test_a_set_that_is_dropped_and_made_again_is_told_of_both_times(
    listener: Listener, writer: Writer, store: ExperienceStore, namespace: str
) -> None:
    await writer.add("One.")
    await hears_last(listener, writer)
    await store.drop(namespace)
    await wait_until(lambda: listener.heard[-1] == ("", 0))
    await writer.add("Another.")
    await hears_last(listener, writer)
    assert len({epoch for epoch, _ in listener.heard}) == 3


async def test_who_has_gone_is_not_held(store: ExperienceStore, namespace: str) -> None:
    import gc
    import weakref

    listener = Listener()
    store.feed(namespace).watch(listener)
    gone = weakref.ref(listener)
    del listener
    gc.collect()
    assert gone() is None


# --- with the cache of an agent


@pytest.fixture
async def agent(store: ExperienceStore, namespace: str, writer: Writer) -> AsyncIterator[TedMemory]:
    """An agent that holds version 1, hears of commits and does not look for a minute."""
    await writer.add("One.")
    settings = make_settings(namespace=namespace, refresh=60.0, read_timeout=5.0)
    memory = TedMemory(store, settings, namespace)
    assert "One." in await memory.render()
    await wait_until(lambda: memory.health().pushed)
    yield memory
    await memory._snapshots.aclose()


async def test_an_agent_sees_a_commit_without_looking_for_it(
    agent: TedMemory, writer: Writer
) -> None:
    await writer.add("Two.")
    await wait_until(lambda: agent.health().version == 2)
    assert "Two." in await agent.render()


async def test_a_message_that_is_missed_is_made_up_for_by_looking(
    store: ExperienceStore, namespace: str, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent(monkeypatch)
    await writer.add("One.")
    settings = make_settings(namespace=namespace, refresh=0.1, read_timeout=5.0)
    memory = TedMemory(store, settings, namespace)
    assert "One." in await memory.render()
    await writer.add("Two.")

    async def is_seen() -> bool:
        return "Two." in await memory.render()

    await wait_until(is_seen)
    await memory._snapshots.aclose()


async def test_without_messages_an_agent_that_does_not_look_sees_nothing(
    agent: TedMemory, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: it is the message that makes it look."""
    silent(monkeypatch)
    await writer.add("Two.")
    with pytest.raises(TimeoutError):
        await wait_until(lambda: agent.health().version == 2, timeout=0.5)


def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody told of commits, on any backend."""
    monkeypatch.setattr(Keys, "commits", "ted:{nobody}:commits")
    monkeypatch.setattr(
        "ted_memory.testing.oracle.store.InMemoryFeed.tell", lambda self, *news: None
    )


async def test_a_backup_that_was_brought_back_is_seen_with_its_next_commit(
    agent: TedMemory,
    writer: Writer,
    store: ExperienceStore,
    namespace: str,
    backend_url: str | None,
) -> None:
    """An older version is no news by itself; another history's next version is."""
    if backend_url is None:
        pytest.skip("what ends with its process has no backup")
    import redis

    with redis.Redis.from_url(backend_url) as owner:
        backup = {key: owner.dump(key) for key in owner.scan_iter(f"ted:{{{namespace}}}:*")}
        await writer.add("Lost.")
        await wait_until(lambda: agent.health().version == 2)
        for key in owner.scan_iter(f"ted:{{{namespace}}}:*"):
            owner.delete(key)
        for key, value in backup.items():
            owner.restore(key, 60_000 if b":applied:" in key else 0, value)
    await writer.add("Other.")
    await writer.add("And another.")
    await wait_until(lambda: agent.health().version == 3)
    assert [e.text for e in agent._snapshots.held or ()] == ["One.", "Other.", "And another."]


async def test_the_script_tells_after_all_its_checks_and_never_fails_for_it(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the server does not know the command."""
    source = scripts._COMMIT.replace("'SPUBLISH'", "'NOSUCHCOMMAND'")
    monkeypatch.setitem(scripts._DIGESTS, source, "0" * 40)
    monkeypatch.setattr(scripts, "_COMMIT", source)
    assert (await writer.commit(Add(text="One."))).version == 1
