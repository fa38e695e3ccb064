"""The controls: each mechanism of the scripts is switched off, and the suite must find it out."""

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from ted_memory.errors import ClaimLost
from ted_memory.experience.evidence import add_outcome
from ted_memory.protocols import ExperienceStore
from ted_memory.storage.redis import scripts
from ted_memory.testing.oracle import episodes as in_memory_log
from ted_memory.testing.oracle import evidence as in_memory_evidence
from ted_memory.testing.oracle.episodes import InMemoryEpisodeQueue
from ted_memory.testing.oracle.evidence import InMemoryEvidence
from ted_memory.testing.oracle.store import InMemoryStore
from tests.contracts import evidence_mechanisms, mechanisms
from tests.contracts import test_archive as kept
from tests.contracts import test_episode_log as begins
from tests.contracts import test_evidence as shown
from tests.contracts.mechanisms import LATE
from tests.contracts.queue import Queue, emptied
from tests.contracts.switches import CLIENT, URL, Handed, Test
from tests.contracts.writer import Writer

# ValueError: a claim more or less than expected
FOUND = (AssertionError, pytest.fail.Exception, ClaimLost, ValueError)
OFF = {**mechanisms.OFF, **evidence_mechanisms.OFF}


@pytest.mark.parametrize("backend_url", ["valkey"], indirect=True)
@pytest.mark.parametrize("mechanism", list(OFF))
async def test_a_script_without_its_mechanism_is_found_out(
    store: ExperienceStore,
    backend_url: str,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    mechanism: str,
) -> None:
    script, line, instead, contract, *parameters = OFF[mechanism]
    source = getattr(scripts, script)
    assert source.count(line) == 1, "the line that is switched off is there"
    await emptied(backend_url)
    async with Redis.from_url(backend_url, decode_responses=True) as client:
        handed = {CLIENT: client, URL: backend_url}
        given = [handed[one] if isinstance(one, Handed) else one for one in parameters]
        broken = source.replace(line, instead)
        monkeypatch.setattr(scripts, script, broken)
        monkeypatch.setitem(scripts._DIGESTS, broken, hashlib.sha1(broken.encode()).hexdigest())
        with pytest.raises(FOUND):
            await contract(Queue(store, Writer(store, namespace)), *given)


def test_no_mechanism_stands_in_both_lists() -> None:
    assert len(OFF) == len(mechanisms.OFF) + len(evidence_mechanisms.OFF)


def _without_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InMemoryEpisodeQueue, "check", lambda *_: None)


def _without_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    real = in_memory_log.Queue.take_in

    def take_in(queue: Any, episode: Any, *more: Any) -> str:
        queue.runs.pop(episode.run_id, None)
        return real(queue, episode, *more)

    monkeypatch.setattr(in_memory_log.Queue, "take_in", take_in)


def _without_the_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(Counter[str]):
        def __setitem__(self, name: str, number: int) -> None:
            pass

    real = in_memory_log.Queue
    monkeypatch.setattr(in_memory_log, "Queue", lambda: real(counts=Deaf()))


def _without_what_was_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory_evidence.InMemoryEvidence, "_add_to_done", lambda *_: None)


def _without_voices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory_evidence, "voice_of", lambda _: 1)


def _without_taking_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        in_memory_evidence, "correct_outcome", lambda sums, _, now: add_outcome(sums, *now)
    )


def _without_lateness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InMemoryEpisodeQueue, "_is_open", staticmethod(lambda *_: True))


def _without_forgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InMemoryEvidence, "forget", lambda *_: None)


def _without_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    real = in_memory_log.Queue.keep

    def keep(queue: Any, archived: Any, settle: Any, purged: Any) -> None:
        real(
            queue,
            archived,
            settle.model_copy(update={"max_archived": 999, "max_archive_bytes": 10**9}),
            purged,
        )

    monkeypatch.setattr(in_memory_log.Queue, "keep", keep)


@pytest.mark.parametrize(
    ("switch_off", "contract", "parameters"),
    [
        (_without_the_fence, LATE, ("by another",)),
        (_without_the_runs, begins.test_a_run_is_taken_in_once_however_often_it_is_sent, ()),
        (
            _without_the_counters,
            begins.test_what_comes_beyond_the_cap_on_episodes_is_dropped_and_counted,
            (),
        ),
        (_without_what_was_replayed, shown.test_a_pair_counts_once_for_a_lesson_and_an_episode, ()),
        (
            _without_voices,
            shown.test_each_principal_speaks_for_himself_and_the_loudest_can_be_left_out,
            (),
        ),
        (_without_taking_back, shown.test_a_corrected_score_takes_its_old_factor_back, ()),
        (
            _without_lateness,
            shown.test_an_outcome_counts_for_what_its_run_was_assigned_under_only,
            (),
        ),
        (_without_forgetting, shown.test_of_lessons_that_come_and_go_nothing_is_left, ()),
        (_without_bounds, kept.test_the_archive_has_bounds_and_the_oldest_go, ()),
    ],
)
async def test_a_log_in_memory_without_its_mechanism_is_found_out(
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    switch_off: Callable[[pytest.MonkeyPatch], None],
    contract: Test,
    parameters: tuple[Any, ...],
) -> None:
    switch_off(monkeypatch)
    store = InMemoryStore()
    with pytest.raises(FOUND):
        await contract(Queue(store, Writer(store, namespace)), *parameters)
