"""What every `EpisodeQueue` promises of episodes that come in, that wait, and that are begun."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest

from ted_memory.models import Message, Usage
from ted_memory.testing import wait_until
from tests.contracts.queue import LONG, Queue, an_episode, runs

# --- record


async def test_an_episode_comes_back_as_it_was_recorded(queue: Queue) -> None:
    text = 'Ünï|cödé "quoted" \\ \U0001f600 a\x00b\n\r\n\u2028 %d %s |1| {}'
    episode = an_episode(
        "1|2:{x}*",
        thread_id="t|1",
        principal="Anna Ä. 1|2",
        namespace=queue.namespace,
        input=(
            Message(role="system", content=text),
            Message(role="user", content=({"type": "text", "text": text},)),
        ),
        output=(Message(role="assistant", content=text),),
        tools=(text, ""),
        seen=("id1", "id2"),
        withheld=("id3",),
        counted=("id2",),
        epoch="e",
        version=7,
        model="m",
        latency=1.25,
        error=text,
        tags=("a b", "c"),
        images=("0" * 64,),
    )
    await queue.record(episode)
    assert (await queue.claim_one()).episode == episode


async def test_a_run_is_taken_in_once_however_often_it_is_sent(queue: Queue) -> None:
    again = an_episode("a", thread_id="another one")
    done = await queue.record("a", again, "b")
    assert (done.recorded, done.repeated, done.dropped, done.limited) == (2, 1, 0, 0)
    claim = await queue.claim_one()
    assert claim.episode.thread_id == "", "the first one counts"
    assert (await queue.record(again)).repeated == 1
    await queue.settle(claim)
    assert (await queue.record(again)).repeated == 1, "nor is it taken in when it was learned from"
    assert await queue.places() == (1, 0, 0)
    assert (await queue.traffic()).counts["recorded"] == 2


async def test_two_processes_that_send_the_same_runs_have_them_taken_in_once(queue: Queue) -> None:
    sent = [f"r{i}" for i in range(10)]
    done = await asyncio.gather(*(queue.record(*sent[i:], *sent[:i]) for i in range(8)))
    assert sum(one.recorded for one in done) == 10
    assert sum(one.repeated for one in done) == 70
    assert sorted(runs(await queue.claim(100))) == sorted(sent)


async def test_namespaces_do_not_share_runs_or_caps_or_claims(queue: Queue) -> None:
    beside = queue.beside()
    for one in (queue, beside):
        assert (await one.record("a", max_episodes=1, rate_limit=1)).recorded == 1
    claim = await queue.claim_one()
    assert await queue.places() == (0, 1, 0)
    assert await beside.places() == (1, 0, 0)
    assert await beside.return_claim(claim) == "fenced"


async def test_what_comes_beyond_the_cap_on_episodes_is_dropped_and_counted(queue: Queue) -> None:
    done = await queue.record("a", "b", "a", "c", "d", max_episodes=2)
    assert (done.recorded, done.repeated, done.dropped) == (2, 1, 2)
    claim = await queue.claim_one()
    assert (await queue.record("e", max_episodes=2)).dropped == 1, "what is claimed is still there"
    await queue.settle(claim)
    done = await queue.record("c", "g", "h", max_episodes=2)
    assert (done.repeated, done.recorded, done.dropped) == (1, 1, 1), (
        "what was dropped does not come again"
    )
    traffic = await queue.traffic()
    assert (traffic.counts["recorded"], traffic.counts["dropped"], traffic.counts["limited"]) == (
        3,
        4,
        0,
    )
    assert runs(await queue.claim(10)) == ["b", "g"]


async def test_the_cap_on_bytes_holds_to_the_byte(queue: Queue) -> None:
    await queue.record("a")
    size = (await queue.traffic()).bytes
    assert size == len(an_episode("a").model_dump_json(exclude_defaults=True).encode())
    assert (await queue.record("b", max_bytes=2 * size - 1)).dropped == 1
    done = await queue.record("c", "d", max_bytes=2 * size)
    assert (done.recorded, done.dropped) == (1, 1)
    assert (await queue.traffic()).bytes == 2 * size
    assert (await queue.record(an_episode("e", error="x" * 10), max_bytes=3 * size)).dropped == 1, (
        "it is larger"
    )
    assert (await queue.record("f", max_bytes=3 * size)).recorded == 1


async def test_nothing_is_left_of_the_bytes_when_nothing_is_left_of_the_episodes(
    queue: Queue,
) -> None:
    data = {"0" * 64: b"image"}
    episodes = [
        an_episode(name, images=("0" * 64,), error=name * i) for i, name in enumerate("abcdef")
    ]
    await queue.record(*episodes, images=data)
    taken = (await queue.claim(6)).claims
    for claim, outcome in zip(taken[:3], ("learned", "nothing", "set_aside"), strict=True):
        await queue.settle(claim, outcome=outcome)
    full = (await queue.traffic()).bytes
    for claim in taken[3:]:
        await queue.return_claim(claim, max_deliveries=1)
    assert (await queue.traffic()).bytes == full, "dead letters keep theirs"
    await queue.log.drop_dead(queue.namespace, [taken[3].seq, taken[4].seq])
    assert 0 < (await queue.traffic()).bytes < full
    await queue.log.retry_dead(queue.namespace, [taken[5].seq])
    await queue.settle(await queue.claim_one())
    traffic = await queue.traffic()
    assert (traffic.bytes, traffic.waiting, traffic.claimed, traffic.dead) == (0, 0, 0, 0)


async def test_a_principal_has_a_daily_share_of_episodes(queue: Queue) -> None:
    loud = [an_episode(f"loud{i}", principal="loud") for i in range(4)]
    quiet = an_episode("quiet", principal="e:loud")
    done = await queue.record(*loud[:3], quiet, loud[0], rate_limit=2)
    assert (done.recorded, done.limited, done.repeated) == (3, 1, 1)
    assert (await queue.record(loud[3], rate_limit=2)).limited == 1
    assert (await queue.record(loud[2], rate_limit=100)).repeated == 1, (
        "what was refused does not come again"
    )
    assert (await queue.traffic()).counts["limited"] == 2
    assert runs(await queue.claim(10)) == ["loud0", "loud1", "quiet"]


@pytest.mark.parametrize("refused", ["dropped", "limited"])
async def test_a_run_that_was_refused_takes_feedback_all_the_same(
    queue: Queue, refused: str
) -> None:
    lesson = await queue.lesson()
    limits = {"max_episodes": 0} if refused == "dropped" else {"rate_limit": 0}
    done = await queue.record(an_episode("a", seen=(lesson,)), **limits)
    assert getattr(done, refused) == 1
    assert await queue.say("a", 1.0) == "credited"
    assert await queue.say("a", 0.25) == "corrected"
    assert await queue.usage(lesson) == Usage(n_with=1, successes_with=0.25)
    assert await queue.places() == (0, 0, 0), "and nothing is woken"
    assert (await queue.traffic()).bytes == 0


async def test_namespaces_with_traffic_are_listed(queue: Queue) -> None:
    beside = queue.beside()
    assert not {queue.namespace, beside.namespace} & {*await queue.log.namespaces()}
    await queue.lesson()
    await queue.say("a", 1.0)
    assert queue.namespace not in await queue.log.namespaces(), "there is nothing to learn from"
    await beside.record("a")
    await queue.record("a")
    names = await queue.log.namespaces()
    assert [name for name in names if name.startswith(queue.namespace)] == [
        queue.namespace,
        beside.namespace,
    ]
    assert list(names) == sorted(names)


async def test_feedback_that_came_first_is_told_once_and_makes_its_episode_due(
    queue: Queue,
) -> None:
    assert await queue.say("b", 0.5, comment="early") == "unknown"
    assert await queue.say("d", comment="early too") == "unknown"
    await queue.record("a", "b", "c", "d", wait=LONG)
    assert queue.early == ("b", "d")
    first, second = (await queue.claim(10)).claims
    assert (first.episode.run_id, second.episode.run_id) == ("b", "d")
    assert [f.comment for f in first.feedback] == ["early"]
    await queue.record("b", "c", wait=LONG)
    assert queue.early == (), "a repeat owes nobody anything"


async def test_feedback_that_came_first_is_told_too_where_its_episode_is_refused(
    queue: Queue,
) -> None:
    for name in "ab":
        await queue.say(name, 0.5)
    await queue.record("a", max_episodes=0)
    assert queue.early == ("a",)
    await queue.record("b", rate_limit=0)
    assert queue.early == ("b",)


# --- wait


async def test_an_episode_that_waits_for_feedback_cannot_be_begun_before(queue: Queue) -> None:
    await queue.record("a", wait=LONG)
    assert not runs(await queue.claim(10))
    assert not runs(await queue.claim(10, alone=True))
    assert await queue.places() == (1, 0, 0)
    await queue.record("b")
    assert runs(await queue.claim(10)) == ["b"]


async def test_an_episode_that_waited_in_vain_is_begun_without_feedback(queue: Queue) -> None:
    async def begun() -> bool:
        return runs(await queue.claim()) == ["a"]

    await queue.record("a", wait=0.1)
    await wait_until(begun, what="an episode whose wait has ended")
    assert await queue.places() == (0, 1, 0)


@pytest.mark.parametrize("said", [{"score": 0.0}, {"comment": "hm"}, {"correction": "1234"}])
async def test_whatever_is_said_of_a_run_wakes_its_episode_and_no_other(
    queue: Queue, said: dict[str, str]
) -> None:
    await queue.record("a", "b", "c", wait=LONG)
    await queue.say("b", **said)
    assert runs(await queue.claim(10)) == ["b"]


async def test_a_grade_of_which_nobody_said_anything_wakes_nothing(queue: Queue) -> None:
    await queue.record("a", wait=LONG)
    assert await queue.count("a", 1.0) == "credited"
    assert not runs(await queue.claim(10))


async def test_feedback_changes_nothing_for_an_episode_that_is_claimed_or_dead(
    queue: Queue,
) -> None:
    [dead] = await queue.kill("dead")
    await queue.record("held")
    await queue.claim_one()
    for name in ("dead", "held"):
        assert await queue.say(name, 0.0) == "credited"
    assert await queue.places() == (0, 1, 1)
    assert not (await queue.claim(10)).claims
    assert [letter.seq for letter in await queue.dead_letters()] == [dead]


# --- claim


async def test_the_oldest_come_first_and_as_many_as_asked_for(queue: Queue) -> None:
    names = [f"r{i}" for i in range(25)]
    # as one batch: in the same millisecond, and over the step from 9 to 10
    await queue.record(*names[:12])
    await asyncio.sleep(0.005)
    for name in names[12:]:
        await queue.record(name)
        await asyncio.sleep(0.002)
    found = [runs(await queue.claim(count)) for count in (1, 3, 0, 7, 100, 100)]
    assert [len(some) for some in found] == [1, 3, 0, 7, 14, 0]
    assert [*chain.from_iterable(found)] == names


async def test_an_empty_queue_gives_nothing(queue: Queue) -> None:
    for alone in (True, False):
        claims = await queue.claim(10, alone=alone)
        assert (claims.claims, claims.suspects) == ((), 0)


async def test_of_many_learners_each_gets_others(queue: Queue) -> None:
    names = [f"r{i}" for i in range(60)]
    await queue.record(*names)

    async def learner(number: int) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        while claims := (await queue.claim(1 + number % 3, learner=f"l{number}")).claims:
            found += [(claim.fence, claim.episode.run_id) for claim in claims]
        assert [fence for fence, _ in found] == sorted(fence for fence, _ in found)
        return found

    found = [*chain.from_iterable(await asyncio.gather(*map(learner, range(8))))]
    assert sorted(run for _, run in found) == sorted(names), "each once"
    assert len({fence for fence, _ in found}) == 60
    traffic = await queue.traffic()
    assert (traffic.waiting, traffic.claimed, traffic.learners) == (0, 60, 8)


async def test_of_many_learners_one_takes_over_what_another_left(queue: Queue) -> None:
    await queue.record(*(f"r{i}" for i in range(10)))
    old = await queue.freeze(10)
    taken = await asyncio.gather(*(queue.claim(2, learner=f"l{i}", alone=True) for i in range(8)))
    new = [*chain.from_iterable(claims.claims for claims in taken)]
    assert sorted(claim.seq for claim in new) == sorted(claim.seq for claim in old)
    assert min(claim.fence for claim in new) > max(claim.fence for claim in old)


async def test_a_fence_is_higher_than_all_before_it(queue: Queue) -> None:
    await queue.record("a", "b")
    fences = [claim.fence for claim in await queue.freeze(1)]
    fences += [claim.fence for claim in await queue.freeze(1, alone=True)]
    claim = await queue.claim_one(alone=True)
    await queue.return_claim(claim, counts=False)
    again = await queue.claim_one(alone=True)
    await queue.return_claim(again, max_deliveries=1)
    await queue.log.retry_dead(queue.namespace, [again.seq])
    rest = (await queue.claim(2)).claims
    await queue.settle(rest[0])
    await queue.record("c")
    fences += [one.fence for one in (claim, again, *rest, await queue.claim_one())]
    assert len(fences) == 7
    assert fences == sorted(set(fences))
    assert fences[0] > 0


async def test_what_ended_without_an_answer_is_begun_only_by_one_that_takes_it_alone(
    queue: Queue,
) -> None:
    await queue.record("frozen", "failed", "held", "released", "waits")
    [frozen] = await queue.freeze()
    failed, _held, released = (await queue.claim(3)).claims
    await queue.return_claim(failed)
    await queue.return_claim(released, counts=False)
    beside_others = await queue.claim(10)
    assert sorted(runs(beside_others)) == ["released", "waits"], "of those none was begun and lost"
    assert beside_others.suspects == 2
    alone = await queue.claim(1, alone=True)
    assert alone.suspects == 1, "one is left"
    alone = alone.model_copy(
        update={"claims": (*alone.claims, *(await queue.claim(9, alone=True)).claims)}
    )
    assert sorted(runs(alone)) == ["failed", "frozen"]
    assert [claim.deliveries for claim in alone.claims] == [2, 2]
    assert {frozen.seq, failed.seq} == {claim.seq for claim in alone.claims}
    assert await queue.suspects() == 0


async def test_what_ended_each_learner_that_began_it_becomes_a_dead_letter(queue: Queue) -> None:
    await queue.record("poison")
    deliveries = [claim.deliveries for claim in await queue.freeze()]
    for _ in range(2):
        deliveries += [claim.deliveries for claim in await queue.freeze(alone=True)]
    assert deliveries == [1, 2, 3]
    claims = await queue.claim(alone=True, max_deliveries=3)
    assert (claims.claims, claims.suspects) == ((), 0)
    [letter] = await queue.dead_letters()
    assert (letter.run_id, letter.deliveries) == ("poison", 3)
    assert letter.reason == "begun 3 times, and each time its learner ended or froze"
    assert letter.episode == an_episode("poison")
    assert abs(datetime.now(UTC) - letter.at) < timedelta(minutes=1)
    traffic = await queue.traffic()
    assert (traffic.dead, traffic.counts["dead"], traffic.last_error) == (1, 1, letter.reason)


async def test_a_claim_brings_the_latest_feedback_on_its_run(queue: Queue) -> None:
    await queue.record("a", "b")
    for i in range(23):
        await queue.say("a", i / 32, comment=f"no {i}", principal=f"p{i % 2}")
    await queue.say("a", comment="no score")
    a, b = (await queue.claim(2)).claims
    assert [f.comment for f in a.feedback] == [*(f"no {i}" for i in range(4, 23)), "no score"], (
        "twenty, in their order"
    )
    assert a.feedback[0].principal == "p0"
    assert {f.run_id for f in a.feedback} == {"a"}
    assert {f.at for f in a.feedback} == {an_episode("a").started_at}
    assert a.score == 22 / 32, "the latest that there is"
    assert await queue.latest_score("a") == 22 / 32
    assert (b.feedback, b.score, b.correction) == ((), None, "")
    for run_id in ("b", "nobody"):
        assert await queue.latest_score(run_id) is None


@pytest.mark.parametrize("count", [1, 19, 20, 21, 40, 41])
async def test_of_any_number_of_words_on_a_run_the_latest_twenty_are_kept_in_order(
    queue: Queue, count: int
) -> None:
    for i in range(count):
        await queue.say("a", correction=str(i))
    await queue.record("a")
    claim = await queue.claim_one()
    assert [f.correction for f in claim.feedback] == [
        str(i) for i in range(max(0, count - 20), count)
    ]
    assert claim.correction == str(count - 1)
    assert claim.score is None


async def test_feedback_that_comes_later_is_in_the_next_claim(queue: Queue) -> None:
    await queue.record("a")
    await queue.say("a", 1.0, correction="12")
    claim = await queue.claim_one()
    await queue.say("a", 0.0, correction="34")
    await queue.say("a", comment="that is all")
    assert (claim.score, claim.correction) == (1.0, "12")
    await queue.return_claim(claim)
    again = await queue.claim_one(alone=True)
    assert (again.score, again.correction, len(again.feedback)) == (0.0, "34", 3)
