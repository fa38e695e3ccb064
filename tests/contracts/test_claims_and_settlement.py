"""What every `EpisodeQueue` promises of a claimed episode: how long it is held, how it leaves."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from ted_memory.episodes import Claim, Traffic
from ted_memory.errors import ClaimLost
from ted_memory.models import Add, Caps, Remove, Rewrite, Usage
from ted_memory.testing import wait_until
from tests.contracts.queue import LONG, Queue, an_episode, runs
from tests.contracts.writer import reasons

SEEN = Usage(n_with=1, successes_with=0.5, weight=0.25, helped=1)


# --- beat


async def test_a_heartbeat_holds_a_claim_past_its_lease(queue: Queue) -> None:
    await queue.record("a", "b")
    held, left = await queue.freeze(2)
    assert await queue.extend_lease(held) == frozenset()
    assert runs(await queue.claim(10, alone=True)) == [left.episode.run_id]
    assert await queue.suspects() == 0


async def test_a_heartbeat_ends_too(queue: Queue) -> None:
    async def lost() -> bool:
        return await queue.suspects() == 1

    await queue.record("a")
    claim = await queue.claim_one()
    await queue.extend_lease(claim, lease=0.001)
    await wait_until(lost, what="the end of a heartbeat's lease")


async def test_a_claim_whose_lease_has_ended_is_held_until_another_learner_takes_it_over(
    queue: Queue,
) -> None:
    await queue.record("a")
    [claim] = await queue.freeze()
    assert await queue.extend_lease(claim) == frozenset(), "nobody else has begun it"
    assert (await queue.settle(claim)).repeated is False
    assert await queue.places() == (0, 0, 0)


async def test_a_heartbeat_tells_what_was_lost_and_takes_nothing_back(queue: Queue) -> None:
    await queue.record("taken", "failed", "mine")
    taken, failed, mine = await queue.freeze(3)
    await queue.return_claim(failed)
    [new] = [c for c in (await queue.claim(10, alone=True)).claims if c.seq == taken.seq]
    assert await queue.extend_lease(taken, failed, mine, learner="frozen") == {
        taken.seq,
        failed.seq,
        mine.seq,
    }
    assert await queue.extend_lease(new, learner="other") == frozenset()
    assert await queue.return_claim(taken) == "fenced"


async def test_a_heartbeat_takes_what_is_settled_for_no_loss(queue: Queue) -> None:
    await queue.record("a", "b")
    a, b = (await queue.claim(2)).claims
    await queue.settle(a)
    assert await queue.extend_lease(a, b) == frozenset(), "its holder may be about to hear of it"
    assert await queue.places() == (0, 1, 0), "and it does not come back"


async def test_a_learner_counts_for_one_lease_after_it_was_last_heard_of(queue: Queue) -> None:
    async def gone() -> bool:
        return (await queue.traffic()).learners < 2

    await queue.claim(learner="short", lease=LONG)
    await queue.extend_lease(learner="long")
    await queue.claim(learner="long")
    assert (await queue.traffic()).learners == 2
    await queue.extend_lease(learner="short", lease=0.05)
    await wait_until(gone, what="a learner that is gone")
    assert (await queue.traffic()).learners == 1, "the other one has its own lease"


# --- settle


async def test_an_episode_leaves_with_the_lessons_that_it_taught(queue: Queue) -> None:
    lesson = await queue.lesson()
    await queue.record("a", "b")
    claim = await queue.claim_one()
    spent = {"learned": 1, "teacher_calls": 3, "teacher_tokens_in": 1234}
    commit = await queue.settle(claim, Add(text="New."), usage={lesson: SEEN}, counters=spent)
    assert (commit.version, len(commit.applied), commit.repeated) == (2, 1, False)
    assert await queue.writer.texts() == ["A lesson.", "New."]
    assert await queue.usage(lesson) == SEEN
    assert (await queue.writer.now()).usage == {lesson: SEEN}
    traffic = await queue.traffic()
    assert (traffic.waiting, traffic.claimed, traffic.counts["learned"]) == (1, 0, 1)
    assert traffic.today == spent
    assert traffic.last_settled is not None
    assert abs(datetime.now(UTC) - traffic.last_settled) < timedelta(minutes=1)
    assert await queue.return_claim(claim) == "fenced"


@pytest.mark.parametrize("outcome", ["learned", "nothing", "set_aside"])
async def test_an_episode_that_taught_nothing_makes_no_version_and_credits_all_the_same(
    queue: Queue, outcome: str
) -> None:
    lesson = await queue.lesson()
    await queue.record("a")
    usage = {lesson: SEEN, "nobody": SEEN}
    commit = await queue.settle(
        await queue.claim_one(), outcome=outcome, usage=usage, counters={"n": 1}
    )
    assert (commit.version, commit.applied, commit.rejected) == (1, (), ())
    held = await queue.writer.now()
    assert (held.version, held.usage) == (1, {}), (
        "what stands in a prompt changes with a version only"
    )
    assert await queue.usage(lesson) == SEEN
    traffic = await queue.traffic()
    assert await queue.places() == (0, 0, 0)
    assert {name: traffic.counts[name] for name in ("learned", "nothing", "set_aside")} == {
        **dict.fromkeys(("learned", "nothing", "set_aside"), 0),
        outcome: 1,
    }
    assert traffic.today == {"n": 1.0}
    await queue.lesson("Another.")
    assert (await queue.writer.now()).usage == {lesson: SEEN}, "the next version carries it"


async def test_an_episode_can_leave_where_there_is_no_set_yet(queue: Queue) -> None:
    await queue.record("a")
    commit = await queue.settle(await queue.claim_one(), outcome="nothing")
    assert (commit.epoch, commit.version) == ("", 0)
    assert await queue.store.read(queue.namespace) is None
    assert await queue.places() == (0, 0, 0)


@pytest.mark.parametrize(
    "taken", ["by another", "handed back", "settled", "dead", "dropped", "begun anew"]
)
async def test_who_comes_too_late_writes_nothing(queue: Queue, taken: str) -> None:
    lesson = await queue.lesson()
    await queue.record("a")
    await queue.say("a", 0.5)
    [late] = await queue.freeze()
    if taken in {"by another", "handed back"}:
        new = await queue.claim_one(alone=True)
        if taken == "handed back":
            await queue.return_claim(new)
    if taken == "settled":
        await queue.settle(late, outcome="nothing")
    if taken in {"dead", "dropped", "begun anew"}:
        await queue.return_claim(late, max_deliveries=1)
    if taken == "dropped":
        await queue.log.drop_dead(queue.namespace, [late.seq])
    if taken == "begun anew":
        await queue.log.retry_dead(queue.namespace, [late.seq])
        assert (await queue.claim_one()).seq == late.seq
    before = await queue.everything()
    for atomic in (False, True):
        with pytest.raises(ClaimLost, match="nothing was written"):
            await queue.settle(
                late,
                Add(text="Late."),
                usage={lesson: SEEN},
                counters={"n": 1},
                token="late",
                atomic=atomic,
            )
    assert await queue.everything() == before
    assert not (await queue.writer.commit(Add(text="Late."), token="late")).repeated, (
        "nor is its token used"
    )


async def test_a_settlement_that_is_sent_again_answers_as_it_did(queue: Queue) -> None:
    lesson = await queue.lesson()
    await queue.record("a", "b")
    claim = await queue.claim_one()
    edits = (Add(text="New."), Remove(id="nobody"))
    base = await queue.writer.now()
    first = await queue.settle(
        claim, *edits, token="t", usage={lesson: SEEN}, counters={"n": 1}, base=base
    )
    after = await queue.everything()
    again = await queue.settle(
        claim, *edits, token="t", usage={lesson: SEEN}, counters={"n": 1}, base=base
    )
    assert again == first.model_copy(update={"repeated": True})
    assert await queue.everything() == after


async def test_of_two_that_settle_at_once_one_does(queue: Queue) -> None:
    await queue.record(*(f"r{i}" for i in range(10)))
    claims = (await queue.claim(10)).claims
    done = await asyncio.gather(
        *(queue.settle(claim, Add(text=f"Lesson {claim.seq}.")) for claim in (*claims, *claims)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, ClaimLost) for one in done) == 10
    assert sorted(await queue.writer.texts()) == sorted(f"Lesson {claim.seq}." for claim in claims)
    assert (await queue.traffic()).counts["learned"] == 10


async def test_what_is_refused_still_settles_the_episode_and_credits(queue: Queue) -> None:
    queue.writer.caps = Caps(max_experiences=1, token_budget=2000)
    lesson = await queue.lesson()
    old = await queue.writer.now()
    await queue.writer.commit(Rewrite(id=lesson, text="Rewritten."))
    await queue.record("a", "b")
    a, b = (await queue.claim(2)).claims
    refused = (Add(text="No room."), Remove(id=lesson), Remove(id="nobody"))
    commit = await queue.settle(a, *refused, base=old, usage={lesson: SEEN})
    assert reasons(commit) == ["cap", "conflict", "unknown"]
    assert (commit.version, await queue.usage(lesson)) == (2, SEEN)
    commit = await queue.settle(
        b, Add(text="No room."), Rewrite(id=lesson, text="Fits."), usage={lesson: SEEN}
    )
    assert (reasons(commit), commit.version) == (["cap"], 3)
    assert await queue.usage(lesson) == SEEN, "what was known of it belonged to another text"
    assert await queue.places() == (0, 0, 0)
    assert (await queue.traffic()).counts["learned"] == 2


async def test_all_or_nothing_settles_nothing_where_an_edit_is_refused(queue: Queue) -> None:
    lesson = await queue.lesson()
    await queue.record("a")
    claim = await queue.claim_one()
    before = await queue.everything()
    edits = (Add(text="New."), Remove(id="nobody"))
    commit = await queue.settle(claim, *edits, atomic=True, usage={lesson: SEEN}, counters={"n": 1})
    assert reasons(commit) == ["aborted", "unknown"]
    assert await queue.everything() == before
    assert not (await queue.settle(claim, edits[0], atomic=True)).rejected
    assert await queue.places() == (0, 0, 0)


async def test_what_was_spent_without_a_result_is_counted_too(queue: Queue) -> None:
    now = datetime.now(UTC)
    this_hour, earlier = f"hour:{now:%H}", f"hour:{now - timedelta(hours=5):%H}"
    await queue.log.count(
        queue.namespace, {"teacher_calls": 2, "failed": 1, this_hour: 1, earlier: 7}
    )
    await queue.record("a")
    await queue.settle(await queue.claim_one(), counters={"teacher_calls": 3, this_hour: 1})
    traffic = await queue.traffic()
    assert traffic.today == {"teacher_calls": 5, "failed": 1}
    assert traffic.hour == 2, "of this hour and the one before"


# --- hand back


async def test_what_is_released_does_not_count_as_begun(queue: Queue) -> None:
    await queue.record("a")
    for _ in range(5):
        claim = await queue.claim_one()
        assert claim.deliveries == 1
        assert (
            await queue.return_claim(claim, counts=False, reason="told to stop", max_deliveries=1)
            == "released"
        )
    assert await queue.places() == (1, 0, 0)
    traffic = await queue.traffic()
    assert (traffic.counts["retried"], traffic.counts["dead"]) == (0, 0)
    assert traffic.last_error == "told to stop"
    assert await queue.return_claim(claim, counts=False) == "fenced"


async def test_what_fails_again_and_again_becomes_a_dead_letter(queue: Queue) -> None:
    await queue.record("a")
    claim = await queue.claim_one()
    assert await queue.return_claim(claim, reason="first", max_deliveries=3) == "failed"
    claim = await queue.claim_one(alone=True)
    assert await queue.return_claim(claim, counts=False, reason="", max_deliveries=3) == "released"
    for deliveries, became in ((2, "failed"), (3, "dead")):
        claim = await queue.claim_one(alone=True)
        assert claim.deliveries == deliveries
        assert (
            await queue.return_claim(claim, reason=f"no {deliveries}", max_deliveries=3) == became
        )
    [letter] = await queue.dead_letters()
    assert (letter.seq, letter.run_id, letter.reason, letter.deliveries) == (
        claim.seq,
        "a",
        "no 3",
        3,
    )
    traffic = await queue.traffic()
    assert (traffic.waiting, traffic.claimed, traffic.dead) == (0, 0, 1)
    assert (traffic.counts["retried"], traffic.counts["dead"], traffic.last_error) == (2, 1, "no 3")


async def test_who_comes_too_late_hands_nothing_back(queue: Queue) -> None:
    await queue.record("a")
    [late] = await queue.freeze()
    new = await queue.claim_one(alone=True)
    before = await queue.everything()
    for counts in (True, False):
        assert (
            await queue.return_claim(late, counts=counts, reason="late", max_deliveries=1)
            == "fenced"
        )
    assert await queue.everything() == before
    assert await queue.extend_lease(new) == frozenset()
    await queue.settle(new)
    assert await queue.return_claim(new) == "fenced"


@pytest.mark.parametrize("counts", [True, False])
async def test_what_is_handed_back_can_be_left_alone_for_a_while(
    queue: Queue, counts: bool
) -> None:
    await queue.record("later", "soon")
    later, soon = (await queue.claim(2)).claims
    await queue.return_claim(later, counts=counts, delay=LONG)
    await queue.return_claim(soon, counts=counts, delay=0.1)

    begun: list[str] = []

    async def ready() -> bool:
        begun.extend(runs(await queue.claim(10, alone=counts)))
        return bool(begun)

    await wait_until(ready, what="an episode that was to be left alone")
    assert begun == ["soon"]
    assert await queue.suspects() == 0
    assert await queue.places() == ((0, 2, 0) if counts else (1, 1, 0))


# --- dead letters


async def test_dead_letters_are_told_newest_first_and_as_many_as_asked_for(queue: Queue) -> None:
    names = [f"r{i}" for i in range(12)]
    seqs = await queue.kill(*names)
    letters = await queue.dead_letters()
    assert [letter.seq for letter in letters] == seqs[::-1]
    assert [(one.run_id, one.reason) for one in letters] == [
        (name, f"{name} broke") for name in names[::-1]
    ]
    assert letters[0].episode == an_episode("r11")
    assert await queue.dead_letters(3) == letters[:3]
    assert await queue.dead_letters(0) == ()
    assert await queue.beside().dead_letters() == ()


async def test_a_dead_letter_that_is_put_back_begins_anew(queue: Queue) -> None:
    a, b = await queue.kill("a", "b")
    assert await queue.log.retry_dead(queue.namespace, [a, 99, a]) == 1
    assert await queue.places() == (1, 0, 1)
    claim = await queue.claim_one()
    assert (claim.seq, claim.deliveries, claim.episode) == (a, 1, an_episode("a"))
    assert await queue.log.retry_dead(queue.namespace, [a]) == 0
    assert await queue.return_claim(claim, reason="again", max_deliveries=1) == "dead"
    assert [letter.reason for letter in await queue.dead_letters()] == ["b broke", "again"]
    assert await queue.log.retry_dead(queue.namespace, [a, b]) == 2
    assert sorted(runs(await queue.claim(10))) == ["a", "b"]


async def test_a_dead_letter_that_is_dropped_is_gone(queue: Queue) -> None:
    a, b, c = await queue.kill("a", "b", "c")
    await queue.record("waits")
    full = (await queue.traffic()).bytes
    for none in ([], [99], [c + 1]):
        assert await queue.log.drop_dead(queue.namespace, none) == 0, (
            "what is not dead is not dropped"
        )
        assert await queue.log.retry_dead(queue.namespace, none) == 0
    assert await queue.log.drop_dead(queue.namespace, [a, 99, c, a]) == 2
    assert [letter.seq for letter in await queue.dead_letters()] == [b]
    assert (await queue.traffic()).bytes < full
    assert await queue.log.retry_dead(queue.namespace, [a, c]) == 0
    assert (await queue.record("a", "c")).repeated == 2, (
        "its run was taken in once, and is known still"
    )
    assert await queue.places() == (1, 0, 1)


# --- a namespace that is dropped


async def test_a_dropped_namespace_has_no_traffic_and_no_other_loses_any(queue: Queue) -> None:
    beside = queue.beside()
    for one in (queue, beside):
        await one.kill("dead")
        await one.record("held", "left", "waits")
        await one.claim_one()
        await one.freeze()
    kept = await beside.everything()
    await queue.store.drop(queue.namespace)
    await queue.store.drop(queue.namespace)
    traffic = await queue.traffic()
    nothing = Traffic(counts=dict.fromkeys(traffic.counts, 0))
    assert traffic.model_copy(update={"learners": 0, "today": {}}) == nothing
    assert await queue.dead_letters() == ()
    assert (await queue.claim(10)).suspects == 0
    names = await queue.log.namespaces()
    assert queue.namespace not in names
    assert beside.namespace in names
    assert await beside.everything() == kept


async def test_who_held_a_claim_when_its_namespace_was_dropped_settles_nothing_of_the_new_one(
    queue: Queue,
) -> None:
    await queue.record("old")
    late = await queue.claim_one()
    await queue.settle(late, token=_token(late), outcome="nothing")
    await queue.store.drop(queue.namespace)
    await queue.record("new")
    claim = await queue.claim_one()
    with pytest.raises(ClaimLost):
        await queue.settle(late, outcome="nothing")
    assert await queue.return_claim(late) == "fenced"
    assert not (await queue.settle(claim, token=_token(claim), outcome="nothing")).repeated
    assert await queue.places() == (0, 0, 0)


def _token(claim: Claim) -> str:
    return f"episode:{claim.seq}:settle:{claim.fence}:0"
