"""The buffer between agents and the store: what it keeps, drops and counts, whatever happens."""

import asyncio
import contextlib
import multiprocessing
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ted_memory import TedMemory, open_memory
from ted_memory.capture.parcel import BATCH_BYTES
from ted_memory.capture.recorder import BATCH
from ted_memory.episodes import Episode
from ted_memory.errors import StoreUnavailable
from ted_memory.testing import wait_until
from tests.chaos.test_killed_servers import MortalServer
from tests.conftest import Server
from tests.spy_log import spied, taken_in


def episode(name: object, text: str = "What is the code?", **fields: Any) -> Episode:
    return Episode(run_id=f"run-{name}", input=({"role": "user", "content": text},), **fields)  # type: ignore[arg-type]


async def record(memory: TedMemory, names: Any, **fields: Any) -> None:
    for name in names:
        await memory.record(episode(name, **fields))


def adds_up(memory: TedMemory, handed_in: int) -> bool:
    """Every run that was handed in is somewhere, and counted there once."""
    h = memory.health()
    return h.recorded + h.dropped + h.buffered == handed_in and len(taken_in(memory)) == h.recorded


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses."""
    monkeypatch.setattr("ted_memory.capture.recorder.EVERY", 0.01)
    monkeypatch.setattr("ted_memory.capture.recorder.LONGEST_PAUSE", 0.05)
    monkeypatch.setattr("ted_memory.storage.redis.clients.COMMIT_RETRIES", 0)


# --- batches


async def test_runs_are_sent_in_batches_and_not_one_by_one() -> None:
    memory, log = spied()
    await record(memory, range(2 * BATCH + 50))
    await memory.flush()
    assert [len(batch) for batch in log.batches] == [BATCH, BATCH, 50]
    assert [e.run_id for e in taken_in(memory)] == [f"run-{i}" for i in range(2 * BATCH + 50)], (
        "in their order"
    )
    await memory.aclose()


async def test_they_are_sent_without_being_asked_and_what_comes_at_once_goes_at_once() -> None:
    memory, log = spied()
    for i in range(5):
        await record(memory, range(10 * i, 10 * i + 10))
        await asyncio.sleep(0)
    await wait_until(lambda: memory.health().recorded == 50)
    assert len(log.batches) <= 3
    await memory.aclose()


async def test_a_batch_is_full_too_when_it_would_keep_the_server_from_others() -> None:
    memory, log = spied()
    await record(memory, range(40), text="word " * 12_000)
    await memory.flush()
    assert sum(map(len, log.batches)) == 40
    assert max(map(len, log.batches)) <= BATCH_BYTES // 60_000 + 1
    await memory.aclose()


async def test_episodes_are_built_beside_the_loop_of_the_agents() -> None:
    memory, _ = spied()
    where = []

    def make() -> tuple[Episode, dict[str, bytes]]:
        where.append(threading.current_thread())
        return episode(1), {}

    memory.recorder.put("run-1", make)
    assert not where, "not while the agent waits"
    await memory.flush()
    assert where
    assert threading.main_thread() not in where
    await memory.aclose()


# --- what is full


async def test_what_finds_the_buffer_full_is_dropped_and_counted_exactly(hurried: None) -> None:
    memory, log = spied(buffer_episodes=10)
    log.away = 10**6
    await record(memory, range(25))
    assert (memory.health().dropped, memory.health().buffered) == (15, 10)
    await asyncio.sleep(0.1)  # tries that fail change nothing
    assert (memory.health().dropped, memory.health().buffered) == (15, 10)
    log.away = 0
    await memory.flush()
    assert [e.run_id for e in taken_in(memory)] == [f"run-{i}" for i in range(10)]
    assert adds_up(memory, 25)
    await memory.aclose()


async def test_a_full_buffer_is_sent_although_nothing_more_fits_in(hurried: None) -> None:
    memory, log = spied(buffer_episodes=3)
    log.away = 10**6
    await record(memory, range(3))
    sender = memory.recorder._task
    assert sender is not None
    sender.cancel()  # as when its loop ends
    await asyncio.wait({sender})
    log.away = 0
    await record(memory, [3])
    await wait_until(lambda: memory.health().recorded == 3)
    await memory.aclose()


async def test_what_the_queue_does_not_take_is_counted_as_dropped() -> None:
    memory, _ = spied(max_episodes=3)
    await record(memory, range(5))
    await memory.flush()
    assert (memory.health().recorded, memory.health().dropped) == (3, 2)
    await memory.aclose()

    limited, _ = spied(rate_limit=2)
    await record(limited, range(5), principal="anna")
    await limited.flush()
    assert (limited.health().recorded, limited.health().dropped) == (2, 3)
    await limited.aclose()


async def test_of_two_ends_of_one_run_the_first_counts_but_for_a_failure_that_was_made_good(
    hurried: None,
) -> None:
    memory, log = spied()
    log.away = 10**6
    recorder = memory.recorder

    def told(text: str) -> tuple[str, Any]:
        return "run-1", lambda: (episode(1, text), {})

    recorder.hold(*told("failed"), 0.0)
    await asyncio.sleep(0.05)
    recorder.put(*told("made good"))
    recorder.put(*told("once more"))
    recorder.hold(*told("begun again"), 0.0)
    await asyncio.sleep(0.05)
    log.away = 0
    await memory.flush()
    assert [e.question for e in taken_in(memory)] == ["made good"]
    assert adds_up(memory, 1)
    await memory.aclose()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "end", "fail", "flush", "away", "lost"]), st.integers(0, 9)
    ),
    max_size=40,
)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_whatever_happens_every_run_is_counted_once(steps: list[tuple[str, int]]) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, int]]) -> None:
    memory, log = spied(buffer_episodes=3)
    recorder, begun, ended = memory.recorder, set[int](), set[int]()
    for what, n in steps:
        one = episode(n)

        def make(one: Episode = one) -> tuple[Episode, dict[str, bytes]]:
            return one, {}

        if what in {"away", "lost"}:
            setattr(log, what, n % 3)
        elif what == "flush":
            with contextlib.suppress(StoreUnavailable):
                await recorder.flush()
        elif n not in ended:
            begun.add(n)
            if what != "begin":
                ended.add(n)
            if what == "end":
                recorder.put(one.run_id, make)
            else:
                recorder.hold(one.run_id, make, 300.0 if what == "begin" else 0.0)
    log.away = log.lost = 0
    await recorder.flush(all=True)
    assert memory.health().buffered == 0
    assert adds_up(memory, len(begun)), (memory.health(), begun)
    await memory.aclose()


# --- a store that is away


async def test_what_the_store_does_not_take_is_kept_and_sent_when_it_is_back(hurried: None) -> None:
    memory, log = spied()
    log.away = 4
    await record(memory, range(5))
    await wait_until(lambda: log.asked == 3)
    assert memory.health().buffered == 5
    assert memory.recorder.last_error == "nobody is there"
    await wait_until(lambda: memory.health().recorded == 5)
    assert adds_up(memory, 5)
    await memory.aclose()


async def test_a_server_that_is_killed_and_comes_again_gets_every_run(
    tmp_path: Path, namespace: str, hurried: None
) -> None:
    server = MortalServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    try:
        memory = open_memory(server.url, namespace=namespace)
        await record(memory, range(20))
        await memory.flush()
        server.kill()
        await record(memory, range(20, 50))
        with pytest.raises(StoreUnavailable):
            await memory.flush()
        assert memory.health().buffered == 30
        server.start()
        await wait_until(lambda: memory.health().recorded == 50)
        assert (await memory.store.episodes.traffic(namespace)).waiting == 50
        assert memory.health().dropped == 0
        await memory.aclose()
    finally:
        server.kill()


async def test_a_lost_answer_doubles_nothing(hurried: None) -> None:
    memory, log = spied()
    log.lost = 2
    await record(memory, range(5))
    await wait_until(lambda: memory.health().recorded == 5)
    assert len(log.batches) == 3
    assert adds_up(memory, 5)
    await memory.aclose()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_cancellation_in_the_middle_of_a_batch_loses_nothing_and_doubles_nothing(
    when: str,
) -> None:
    memory, log = spied()
    setattr(log, when, 30.0)
    await record(memory, range(5))
    await wait_until(lambda: log.asked == 1 and (when == "before" or bool(log.batches)))
    waiting = asyncio.create_task(memory.flush())
    await asyncio.sleep(0.01)
    for task in (waiting, memory.recorder._task):
        assert task is not None
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
    assert memory.health().buffered == 5
    log.before = log.after = 0.0
    await memory.flush()
    assert adds_up(memory, 5)
    await memory.aclose()


# --- flush, and the end


async def test_flush_waits_for_what_another_task_is_sending() -> None:
    memory, log = spied()
    log.before = 0.2
    await record(memory, range(5))
    await wait_until(lambda: log.asked == 1)
    assert not log.batches
    await memory.flush()
    assert [len(batch) for batch in log.batches] == [5], "and does not send it once more"
    await memory.aclose()


async def test_the_end_sends_the_rest_also_what_was_under_way() -> None:
    memory, _ = spied()
    await record(memory, range(3))
    memory.recorder.hold("run-3", lambda: (episode(3), {}))
    await memory.aclose()
    assert adds_up(memory, 4)


async def test_what_is_lost_at_the_end_is_counted_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory, log = spied(namespace="mine")
    log.away = 10
    await record(memory, range(3))
    await memory.aclose()
    assert (memory.health().dropped, memory.health().buffered) == (3, 0)
    assert "3 recorded runs of 'mine' are lost: nobody is there" in caplog.text


# --- event loops, threads and processes


def test_one_memory_records_in_one_event_loop_after_the_other(
    valkey: Server, namespace: str
) -> None:
    memory = open_memory(valkey.url, namespace=namespace)  # as a module has it

    async def one_request(name: str) -> None:
        await record(memory, [name])  # and the loop ends with it in the buffer

    async def the_last_request() -> None:
        await one_request("third")
        await memory.flush()
        assert (await memory.store.episodes.traffic(namespace)).waiting == 3
        await memory.aclose()

    asyncio.run(one_request("first"))
    asyncio.run(one_request("second"))
    assert memory.health().buffered == 2
    asyncio.run(the_last_request())


def test_short_loops_do_not_keep_each_other_from_sending() -> None:
    memory, _ = spied()

    async def one_request(i: int) -> None:
        await record(memory, [i])
        await asyncio.sleep(0.02)

    for i in range(30):
        asyncio.run(one_request(i))
    assert memory.health().recorded >= 15
    asyncio.run(memory.aclose())
    assert adds_up(memory, 30)


def test_a_loop_that_stands_still_does_not_keep_others_from_sending() -> None:
    memory, log = spied()
    log.before = 0.05
    with asyncio.Runner() as first:
        first.run(record(memory, [1]))

        async def elsewhere() -> None:
            await record(memory, [2])
            await wait_until(lambda: memory.health().recorded == 2)

        asyncio.run(elsewhere())
        first.run(memory.aclose())
    assert adds_up(memory, 2)


async def test_many_threads_may_record_at_once() -> None:
    memory, _ = spied(buffer_episodes=100_000, rate_limit=100_000)

    async def many(first: int) -> None:
        await record(memory, range(first, first + 200))
        await asyncio.sleep(0.05)

    await asyncio.gather(
        *(asyncio.to_thread(asyncio.run, many(1000 * i)) for i in range(5)), many(9000)
    )
    await memory.flush()
    assert len(taken_in(memory)) == 1200
    assert adds_up(memory, 1200)
    await memory.aclose()


def _record_in_child(memory: TedMemory, results: Any) -> None:
    asyncio._set_running_loop(None)  # the fork happened inside the parent's loop

    async def use() -> None:
        await record(memory, ["childs"])
        await wait_until(lambda: memory.health().buffered == 0)
        await memory.aclose()

    asyncio.run(use())
    results.put(memory.health().recorded)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_a_forked_child_sends_its_own_runs_and_leaves_the_parents_to_the_parent(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ted_memory.capture.recorder.EVERY", 0.5)
    memory = open_memory(valkey.url, namespace=namespace)
    await record(memory, ["warm"])
    await memory.flush()
    await record(memory, ["parents"])
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    with memory.recorder._lock:  # as when another thread holds it just then
        child = context.Process(target=_record_in_child, args=(memory, results), daemon=True)
        child.start()
    assert await asyncio.to_thread(results.get, timeout=30) == 2
    await asyncio.to_thread(child.join, 30)
    await memory.flush()
    assert memory.health().recorded == 2
    assert (await memory.store.episodes.traffic(namespace)).counts["recorded"] == 3
    await memory.aclose()
