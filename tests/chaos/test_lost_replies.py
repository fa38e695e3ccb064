"""A command takes effect and its reply is lost: nothing happens twice, nothing is missing."""

import random
import uuid
from collections.abc import AsyncIterator

import pytest

from ted_memory import Add, TedMemory, open_memory
from ted_memory.models import Usage
from ted_memory.storage.redis import clients
from ted_memory.storage.redis.keys import Keys
from tests.chaos.checks import check_acknowledged, check_history, check_texts, whole_log
from tests.chaos.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.chaos.sizes import FULL, report, size
from tests.chaos.writer_process import SETTINGS
from tests.conftest import Server, assert_only_known_keys

SCRIPTS = ("EVALSHA", "EVAL")
FAULTS: tuple[Fault, ...] = ("cut", "reset", "delay", "drip", "silent")
QUICK_TIMEOUT = 0.3  # seconds; "silent" costs one of these each time


@pytest.fixture
async def between(valkey: Server) -> AsyncIterator[FaultProxy]:
    """A proxy in front of a real server."""
    async with fault_proxy(valkey.port) as proxy:
        yield proxy
    await assert_only_known_keys(valkey.url)


@pytest.fixture
async def beside(
    between: FaultProxy, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[TedMemory]:
    """A memory that is reached through the proxy, and is not patient with a silent server."""
    if not FULL:
        monkeypatch.setattr(clients, "COMMIT_TIMEOUT", QUICK_TIMEOUT)
    async with open_memory(between.url, namespace=namespace, **SETTINGS) as memory:
        await memory.commit([Add(text="Zero.")], author="me", token="zero")
        yield memory


def times(fault: Fault) -> int:
    """Return how many replies are lost."""
    if fault == "silent":
        return size(1, 3)
    return size(20, 1000) if fault == "cut" else size(5, 200)


def told(name: str, fault: Fault, between: FaultProxy) -> None:
    report(f"lost replies: {name}, {fault}: {between.spoilt} spoilt, 0 effects twice, 0 missing")


async def commit_all(memory: TedMemory, count: int) -> dict[str, int]:
    """Add a lesson each time; return what was acknowledged: token -> version."""
    acknowledged, base = {"zero": 1}, await memory.load()
    for number in range(count):
        commit = await memory.commit(
            [Add(text=f"Lesson {number}.")], author="me", token=f"t{number}", base=base
        )
        assert not commit.rejected
        acknowledged[f"t{number}"] = commit.version
    return acknowledged


async def check_commits(memory: TedMemory, count: int, acknowledged: dict[str, int]) -> None:
    held, log = await memory.load(), await whole_log(memory)
    check_history(log, held)
    check_acknowledged(log, acknowledged, acknowledged)
    check_texts(held, ["Zero.", *(f"Lesson {number}." for number in range(count))])
    assert held.version == count + 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_commit_whose_reply_is_lost_has_one_effect(
    beside: TedMemory, between: FaultProxy, fault: Fault
) -> None:
    count = times(fault)
    # the token's key is named by commits only: reads pass
    between.spoil(fault, *SCRIPTS, key=":applied:t", times=count, every=2 if loses(fault) else 1)
    await check_commits(beside, count, await commit_all(beside, count))
    assert_all_spoilt(between, fault, count)
    told("commit", fault, between)


def loses(fault: Fault) -> bool:
    return fault in {"cut", "reset", "silent"}


def assert_all_spoilt(between: FaultProxy, fault: Fault, count: int) -> None:
    assert between.spoilt == count
    assert between.lost == (count if loses(fault) else 0)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_credit_whose_reply_is_lost_counts_once(
    beside: TedMemory, between: FaultProxy, fault: Fault
) -> None:
    count = times(fault)
    id = (await beside.load()).experiences[0].id
    between.spoil(fault, *SCRIPTS, key=":credited:t", times=count, every=2 if loses(fault) else 1)
    for number in range(count):
        await beside.credit({id: Usage(helped=1)}, token=f"t{number}")
    assert_all_spoilt(between, fault, count)
    assert (await beside.usage())[id].helped == count
    told("credit", fault, between)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_record_of_a_run_whose_reply_is_lost_is_kept_as_it_was_sent(
    beside: TedMemory, between: FaultProxy, fault: Fault
) -> None:
    count = times(fault)
    run = f"{beside.namespace}~run"
    between.spoil(fault, *SCRIPTS, "EXEC", times=count, every=2 if loses(fault) else 1)
    for number in range(count):
        await beside.store.save_progress(run, f"key{number}", {"number": number})
    assert_all_spoilt(between, fault, count)
    kept = await beside.store.load_progress(run)
    assert kept == {f"key{number}": {"number": number} for number in range(count)}
    told("save_progress", fault, between)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_rollback_whose_reply_is_lost_makes_one_version(
    beside: TedMemory, between: FaultProxy, fault: Fault
) -> None:
    count = times(fault)
    await beside.commit([Add(text="One.")], author="me", token="one")
    between.spoil(fault, *SCRIPTS, key=":applied:", times=count, every=2 if loses(fault) else 1)
    for number in range(count):
        await beside.rollback(1 + number % 2)  # there and back
        held = await beside.load()
        assert held.version == 3 + number, "one version for each call"
        check_texts(held, ["Zero."] if number % 2 == 0 else ["Zero.", "One."])
    assert_all_spoilt(between, fault, count)
    check_history(await whole_log(beside), await beside.load())
    told("rollback", fault, between)


async def test_any_mixture_of_faults_in_any_reply_leaves_exact_counts(
    beside: TedMemory, between: FaultProxy
) -> None:
    """Faults strike reads and writes alike, in an order that is drawn with a fixed seed."""
    draw, count = random.Random(7), size(10, 300)
    id = (await beside.load()).experiences[0].id
    acknowledged, injected = {"zero": 1}, 0
    for number in range(count):
        fault = draw.choice(("cut", "reset", "delay", "drip"))
        between.spoil(fault, *SCRIPTS, times=1)
        commit = await beside.commit(
            [Add(text=f"Lesson {number}.")], author="me", token=f"t{number}"
        )
        acknowledged[f"t{number}"] = commit.version
        between.spoil(draw.choice(("cut", "reset")), *SCRIPTS, times=1)
        await beside.credit({id: Usage(helped=1)}, token=f"t{number}")
        injected += 2
    assert between.spoilt == injected
    await check_commits(beside, count, acknowledged)
    assert (await beside.usage())[id].helped == count


async def test_without_the_token_in_the_key_the_checks_find_the_second_effect(
    beside: TedMemory, between: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a key that is new in each call protects nobody."""
    monkeypatch.setattr(
        Keys, "applied", lambda self, token: self._key(f"applied:t{uuid.uuid4().hex}")
    )
    between.spoil("cut", *SCRIPTS, key=":applied:t", times=5, every=2)
    for number in range(5):
        base = await beside.load()
        for _ in range(2):  # who was not answered sends the same again
            await beside.commit(
                [Add(text=f"Lesson {number}.")], author="me", token=f"t{number}", base=base
            )
    held, log = await beside.load(), await whole_log(beside)
    with pytest.raises(AssertionError, match="doubled"):
        check_texts(held, ["Zero.", *(f"Lesson {number}." for number in range(5))])
    with pytest.raises(AssertionError, match="committed twice"):
        check_history(log, held)
