"""What people wrote, encrypted by a user's cipher: unreadable in the server, and all works."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Episode
from ted_memory.errors import CorruptData
from ted_memory.learner import Learner
from ted_memory.models import Message
from ted_memory.storage.redis.sealing import Seal
from tests.conftest import Server
from tests.distill.scripts import student, teacher
from tests.learner.worlds import complain, episode
from tests.test_curation import everything_stored

PAGE = (Path(__file__).parent.parent.parent / "docs" / "privacy.md").read_text(encoding="utf-8")
WORD = "Xylograph"


def cipher(*keys: str) -> Any:
    """Return the cipher of the page on privacy, as it stands there."""
    told = re.search(r"```python\n(from cryptography.*?)\nmemory = ", PAGE, re.DOTALL)
    assert told is not None
    names: dict[str, Any] = {}
    exec(told[1], names)
    return names["Rotating"](*keys)


@pytest.fixture(scope="module")
def keys() -> list[str]:
    from cryptography.fernet import Fernet

    return [Fernet.generate_key().decode() for _ in range(2)]


@pytest.fixture
async def memory(valkey: Server, namespace: str, keys: list[str]) -> AsyncIterator[TedMemory]:
    options: dict[str, Any] = {"trust": "always", "rollouts": 1, "verify_calls": 0}
    async with open_memory(
        valkey.url, namespace=namespace, cipher=cipher(keys[0]), **options
    ) as opened:
        yield opened


def annas(run_id: str, **fields: Any) -> Episode:
    asked = Message(role="user", content=f"What is the code of apples? I am {WORD}.")
    return Episode(run_id=run_id, principal="anna", input=(asked,), **fields)


async def claimed(memory: TedMemory, count: int = 1) -> Any:
    log = memory.store.episodes
    return (
        await log.claim(memory.namespace, "x", lease=9, count=count, max_deliveries=1, alone=False)
    ).claims


async def test_nothing_that_somebody_wrote_can_be_read_in_the_server(memory: TedMemory) -> None:
    picture = {"sha256:1": WORD.encode()}
    memory.recorder.put("a", lambda: (annas("a", images=tuple(picture)), picture))
    for run in "bc":
        await memory.record(annas(run))
    await memory.flush()
    await memory.give_feedback(
        "a", score=0.0, correction=f"c000, {WORD}", comment=WORD, principal="anna"
    )
    for claim in await claimed(memory, 1):
        assert claim.episode.input[0].text.endswith(f"{WORD}.")
        assert claim.correction == f"c000, {WORD}"
        assert await memory.store.episodes.images(memory.namespace, claim.episode.images) == picture
        await memory.store.episodes.return_claim(
            memory.namespace, claim, counts=True, reason="no", delay=0, max_deliveries=1
        )
    [dead] = await memory.store.episodes.dead_letters(memory.namespace, 9)
    assert dead.episode is not None
    staging = memory.staging("run")
    await staging.store.save_progress(staging.namespace, "k", {"answer": WORD})
    assert await staging.store.load_progress(staging.namespace) == {"k": {"answer": WORD}}
    stored = await everything_stored(memory) + await everything_stored(staging)
    assert WORD not in stored
    assert WORD.encode().hex() not in stored


async def test_learners_learn_archive_and_forget_as_without(memory: TedMemory) -> None:
    await complain(memory, [episode("apples", i, principal=f"user-{i}") for i in range(3)])
    report = await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
    assert sum(report.outcomes.values()) == 3
    assert report.outcomes["learned"] >= 1
    archived = await memory.store.episodes.archived(memory.namespace)
    assert len(archived) == 3
    staging = memory.staging("run")
    await staging.store.save_progress(staging.namespace, "k", {"of": "principal:user-1"})
    told = await memory.forget("principal", "user-1")
    assert (told.lessons.archived, told.drafts, told.words) == (1, 1, 1)


async def test_without_the_cipher_each_record_is_named_and_stops_nobody(
    memory: TedMemory, valkey: Server, namespace: str, keys: list[str]
) -> None:
    await complain(memory, [episode("apples")])
    async with open_memory(valkey.url, namespace=namespace) as blind:
        assert await claimed(blind) == ()
        [letter] = await blind.store.episodes.dead_letters(namespace, 9)
        assert "open_memory(cipher=...)" in letter.reason
    async with open_memory(valkey.url, namespace=namespace, cipher=cipher(keys[1])) as wrong:
        await wrong.store.episodes.retry_dead(namespace, [letter.seq])
        assert await claimed(wrong) == ()
        [letter] = await wrong.store.episodes.dead_letters(namespace, 9)
        assert "Is it the key that wrote it?" in letter.reason
    await memory.store.episodes.retry_dead(namespace, [letter.seq])
    assert len(await claimed(memory)) == 1, "nothing was lost"


async def test_keys_are_changed_and_what_was_in_the_clear_is_read(
    memory: TedMemory, valkey: Server, namespace: str, keys: list[str]
) -> None:
    await memory.record(annas("old-key"))
    await memory.flush()
    async with open_memory(valkey.url, namespace=namespace) as plain:
        await plain.record(annas("in-the-clear"))
        await plain.flush()
    async with open_memory(
        valkey.url, namespace=namespace, cipher=cipher(keys[1], keys[0])
    ) as newer:
        await newer.record(annas("new-key"))
        await newer.flush()
        runs = {claim.episode.run_id for claim in await claimed(newer, 9)}
    assert runs == {"old-key", "in-the-clear", "new-key"}


@pytest.mark.parametrize("stored", ["~", "~aes", "~aes~", "~fernet~!!", "~fernet~AAAA"])
def test_what_is_damaged_is_said_in_one_line(stored: str, keys: list[str]) -> None:
    for seal in (Seal(cipher(*keys)), Seal()):
        with pytest.raises(CorruptData) as caught:
            seal.open(stored)
        assert "\n" not in str(caught.value)
