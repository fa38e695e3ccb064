"""What every `EpisodeQueue` forgets of a principal, a run or a conversation, and what it leaves."""

import pytest

from ted_memory.episodes import Erased, Subject
from ted_memory.errors import ClaimLost
from tests.contracts.queue import Queue, an_episode

ANNA = Subject(kind="principal", name="anna")


async def left(queue: Queue) -> list[str]:
    """Return the runs whose episodes can be begun."""
    return sorted(claim.episode.run_id for claim in (await queue.claim(99)).claims)


async def filled(queue: Queue) -> None:
    """Record runs of two people in two conversations each."""
    for who in ("anna", "bert"):
        for i in range(4):
            await queue.record(
                an_episode(f"{who}-{i}", principal=who, thread_id=f"{who}-thread-{i % 2}")
            )
            await queue.say(f"{who}-{i}", 0.5, comment="Hm.", principal=who)


async def test_a_principals_episodes_records_and_words_are_forgotten_and_nobody_elses(
    queue: Queue,
) -> None:
    await filled(queue)
    await queue.say("bert-0", 0.0, correction="Anna knows better.", principal="anna", reviewer=True)
    assert await queue.log.erase(queue.namespace, ANNA) == Erased(
        episodes=4, runs=tuple(f"anna-{i}" for i in range(4)), words=5
    )
    assert await left(queue) == [f"bert-{i}" for i in range(4)]
    [of_anna, of_bert] = await queue.log.told(queue.namespace, ["anna-0", "bert-0"])
    assert (of_anna, [said.principal for said in of_bert]) == ((), ["bert"])
    assert await queue.say("anna-0", 1.0, principal="anna") == "unknown"
    assert await queue.say("bert-0", 1.0, principal="bert") == "corrected"
    assert await queue.log.erase(queue.namespace, ANNA) == Erased(words=1), "what was said since"


async def test_one_run_is_forgotten_and_the_others_of_its_conversation_stay(queue: Queue) -> None:
    await filled(queue)
    erased = await queue.log.erase(queue.namespace, Subject(kind="run", name="anna-2"))
    assert erased == Erased(episodes=1, runs=("anna-2",), words=1)
    assert len(await left(queue)) == 7


async def test_one_conversation_is_forgotten_also_what_was_settled_of_it(queue: Queue) -> None:
    await filled(queue)
    await queue.settle(await queue.claim_one())
    erased = await queue.log.erase(queue.namespace, Subject(kind="thread", name="anna-thread-0"))
    assert erased == Erased(episodes=1, runs=("anna-0", "anna-2"), words=2)
    assert await left(queue) == ["anna-1", "anna-3", *(f"bert-{i}" for i in range(4))]


async def test_who_holds_a_forgotten_episode_comes_too_late(queue: Queue) -> None:
    await queue.record(an_episode("r", principal="anna"))
    claim = await queue.claim_one()
    await queue.log.erase(queue.namespace, ANNA)
    with pytest.raises(ClaimLost):
        await queue.settle(claim)
    assert await queue.return_claim(claim) == "fenced"
    assert await left(queue) == []


async def test_dead_letters_images_and_bytes_go_and_the_last_error_with_them(queue: Queue) -> None:
    shared = {"5" * 64: b"of both"}
    for who in ("anna", "bert"):
        await queue.record(an_episode(who, principal=who, images=tuple(shared)), images=shared)
    for claim in (await queue.claim(2)).claims:
        await queue.return_claim(
            claim, reason=f"{claim.episode.principal} wrote nonsense", max_deliveries=1
        )
    await queue.log.erase(queue.namespace, ANNA)
    assert [letter.run_id for letter in await queue.dead_letters()] == ["bert"]
    assert await queue.log.images(queue.namespace, list(shared)) == shared, (
        "somebody else's episode holds it"
    )
    await queue.log.erase(queue.namespace, Subject(kind="principal", name="bert"))
    traffic = await queue.traffic()
    assert (traffic.bytes, traffic.dead, traffic.last_error) == (0, 0, "")
    assert await queue.log.images(queue.namespace, list(shared)) == {}


async def test_a_forgotten_principals_daily_counts_begin_anew(queue: Queue) -> None:
    await queue.record(
        an_episode("a", principal="anna"), an_episode("b", principal="bert"), rate_limit=1
    )
    await queue.log.erase(queue.namespace, ANNA)
    assert (await queue.record(an_episode("c", principal="anna"), rate_limit=1)).recorded == 1
    assert (await queue.record(an_episode("d", principal="bert"), rate_limit=1)).limited == 1


async def test_the_last_error_goes_also_where_nothing_waits_any_more(queue: Queue) -> None:
    await queue.record(an_episode("a", principal="anna"))
    claim = await queue.claim_one()
    await queue.return_claim(claim, reason="anna wrote nonsense")
    await queue.settle(await queue.claim_one(alone=True))
    assert (await queue.traffic()).last_error
    await queue.log.erase(queue.namespace, ANNA)
    assert (await queue.traffic()).last_error == ""


async def test_the_runs_of_a_subject_are_known_without_forgetting_them(queue: Queue) -> None:
    await filled(queue)
    await queue.settle(await queue.claim_one())
    for kind, name, runs in (
        ("principal", "anna", {f"anna-{i}" for i in range(4)}),
        ("thread", "bert-thread-1", {"bert-1", "bert-3"}),
        ("run", "bert-1", {"bert-1"}),
    ):
        assert await queue.log.runs_of(queue.namespace, Subject(kind=kind, name=name)) == runs
    assert len(await left(queue)) == 7


async def test_what_belongs_to_nobody_who_is_asked_for_stays(queue: Queue) -> None:
    await filled(queue)
    for kind in ("principal", "run", "thread"):
        assert await queue.log.erase(queue.namespace, Subject(kind=kind, name="ann")) == Erased()
    beside = queue.beside()
    await beside.record(an_episode("x", principal="anna"))
    await queue.log.erase(queue.namespace, ANNA)
    assert await left(beside) == ["x"], "of another namespace"
