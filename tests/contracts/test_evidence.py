"""Evidence from traffic: every backend counts it as `ted_memory.experience.evidence` says."""

import asyncio

import pytest

from ted_memory.experience.evidence import (
    Evidence,
    Sums,
    add_outcome,
    add_pair,
    add_silent,
    live_steps,
    pair_against,
    watch,
)
from ted_memory.models import Add, Edit, Merge, Remove, Rewrite, SetState, Trial
from ted_memory.protocols import Shown
from ted_memory.storage.redis.clients import Clients
from ted_memory.storage.redis.store import RedisStore
from tests.contracts.evidence import BET, archive, known, on_trial, replay, same, version
from tests.contracts.queue import Queue, an_episode

# --- pairs


async def test_a_pair_counts_once_for_a_lesson_and_an_episode(queue: Queue) -> None:
    one, other = await queue.lesson("One.", "proposed"), await queue.lesson("Two.", "proposed")
    [seq] = await archive(queue, "a")
    assert await replay(queue, one, seq, 1, 0.5) == "counted"
    assert await replay(queue, one, seq, 1, 0.5) == "repeated"
    assert await replay(queue, other, seq, 0, 0.5) == "counted"
    shown = await known(queue, one)
    assert same(shown.evidence.total, add_pair(Sums(), 1, 0.5))
    assert shown.done == {seq}
    assert same((await known(queue, other)).evidence.total, add_pair(Sums(), 0, 0.5))


async def test_pairs_on_recorded_tool_results_that_were_scored_alike_say_nothing(
    queue: Queue,
) -> None:
    lesson = await queue.lesson(state="proposed")
    seqs = await archive(queue, *"abc")
    alike, unlike, plain = (0.5, 0.5, True), (1, 0.5, True), (0.5, 0.5, False)
    for seq, (with_it, without, on_tools) in zip(seqs, (alike, unlike, plain), strict=True):
        assert await replay(queue, lesson, seq, with_it, without, on_tools=on_tools) == "counted"
    shown = await known(queue, lesson)
    assert same(shown.evidence.total, add_pair(add_pair(add_silent(Sums()), 1, 0.5), 0.5, 0.5))
    assert shown.done == set(seqs)
    active = await queue.lesson()
    [seq] = await archive(queue, "d")
    assert await replay(queue, active, seq, 0.5, 0.5, on_tools=True) == "counted"
    total = (await known(queue, active)).evidence.total
    assert (total.silent, total.watched) == (0, 1), (
        "an active one is watched: there it counts that nothing got worse"
    )


async def test_two_learners_that_count_the_same_pair_at_once_count_it_once(
    queue: Queue, backend_url: str | None
) -> None:
    lessons = [await queue.lesson(f"Lesson {i}.", "proposed") for i in range(3)]
    seqs = await archive(queue, *"abcd")
    since = await version(queue)
    beside = (
        queue.store
        if backend_url is None
        else RedisStore(Clients(backend_url, None, read_timeout=1.0))
    )
    calls = [
        replay(Queue(store, queue.writer), lesson, seq, 1, 0.5, since=since)
        for lesson in lessons
        for seq in seqs
        for store in (queue.store, beside)
    ]
    verdicts = await asyncio.gather(*calls)
    await beside.aclose()
    assert sorted(verdicts) == ["counted"] * 12 + ["repeated"] * 12
    expected = Sums()
    for _ in seqs:
        expected = add_pair(expected, 1, 0.5)
    for lesson in lessons:
        shown = await known(queue, lesson)
        assert same(shown.evidence.total, expected)
        assert shown.evidence.voices == (shown.evidence.total,), "all of it is one principal's"


async def test_each_principal_speaks_for_himself_and_the_loudest_can_be_left_out(
    queue: Queue,
) -> None:
    lesson = await queue.lesson(state="proposed")
    seqs = await archive(queue, *"abcdef")
    for i, seq in enumerate(seqs):
        await replay(queue, lesson, seq, 1, 0, speaker="loud" if i < 4 else f"p{i}")
    evidence = (await known(queue, lesson)).evidence
    assert len(evidence.voices) == 3
    assert evidence.helps(0) > evidence.helps(1) > evidence.helps(2) > 1
    assert evidence.helps(3) == pytest.approx(1)


async def test_a_pair_for_a_lesson_that_has_changed_meanwhile_does_not_count(queue: Queue) -> None:
    lesson = await queue.lesson(state="proposed")
    first, second = await archive(queue, "a", "b")
    assert await replay(queue, lesson, first, 1, 0) == "counted"
    before = await version(queue)
    await queue.writer.commit(Rewrite(id=lesson, text="Another one."))
    assert await replay(queue, lesson, second, 1, 0, since=before) == "changed"
    assert (await known(queue, lesson)).evidence.total.pairs == 0, (
        "what was known was known of another text"
    )
    assert await replay(queue, lesson, first, 1, 0) == "counted", (
        "of the new one nothing was counted yet"
    )
    await queue.writer.commit(Remove(id=lesson))
    assert await replay(queue, lesson, second, 1, 0) == "changed"
    assert await known(queue, lesson) == Shown()


async def test_a_pair_of_a_lesson_or_an_episode_that_is_not_there_does_not_count(
    queue: Queue,
) -> None:
    lesson = await queue.lesson(state="proposed")
    [seq] = await archive(queue, "a")
    assert await replay(queue, "nobody", seq, 1, 0) == "changed"
    assert await replay(queue, lesson, seq + 1, 1, 0) == "changed"
    assert await known(queue, lesson) == await known(queue, "nobody") == Shown()


async def test_of_lessons_that_come_and_go_nothing_is_left(queue: Queue) -> None:
    [seq] = await archive(queue, "a")
    for start in range(0, 200, 50):
        texts = [f"Lesson {i}." for i in range(start, start + 50)]
        commit = await queue.writer.commit(*(Add(text=text, state="proposed") for text in texts))
        ids = [applied.id for applied in commit.applied]
        now = await queue.writer.now()
        await asyncio.gather(
            *(replay(queue, id, seq, 1, 0, since=now.version, speaker=f"p-{id}") for id in ids)
        )
        assert all([(await known(queue, id)).evidence.total.pairs for id in ids])
        gone: list[Edit] = [Remove(id=id) for id in ids[:20]]
        gone += [SetState(id=id, state="retired") for id in ids[20:40]]
        gone += [Merge(ids=(ids[40], ids[41]), text=f"Of both, {start}.")]
        gone += [Rewrite(id=id, text=f"Another {i}, {start}.") for i, id in enumerate(ids[42:])]
        assert not (await queue.writer.commit(*gone, base=now)).rejected
        assert (
            await queue.log.evidence(queue.namespace, [e.id for e in await queue.writer.now()])
            == {}
        )


async def test_only_changes_are_read_again(queue: Queue) -> None:
    one, other = await queue.lesson("One.", "proposed"), await queue.lesson("Two.", "proposed")
    first, second = await archive(queue, "a", "b")
    for id in (one, other):
        await replay(queue, id, first, 1, 0)
    before = await queue.log.evidence(queue.namespace, [one, other])
    await replay(queue, other, second, 1, 0)
    after = await queue.log.evidence(queue.namespace, [one, other], before)
    assert after[one] == before[one]
    assert after[other].change > before[other].change
    assert after[other].evidence.total.pairs == 2


# --- live outcomes


async def test_outcomes_of_a_trial_are_counted_by_the_side_that_the_coin_gave(queue: Queue) -> None:
    id = await on_trial(queue)
    sums = Sums()
    for i, (shown, score) in enumerate([(True, 1.0), (False, 0.0), (True, 0.25), (False, 1.0)]):
        sides = {"seen": (id,)} if shown else {"withheld": (id,)}
        await queue.record(
            an_episode(f"r{i}", principal=f"p{i}", version=await version(queue), **sides)
        )
        assert await queue.say(f"r{i}", score) == "credited"
        steps = live_steps(score, shown=shown, chance=0.5, guess=sums.guess, bet=BET, refuted=0.0)
        sums = add_outcome(sums, score, steps)
    evidence = (await known(queue, id)).evidence
    assert same(evidence.total, sums)
    assert len(evidence.voices) == 4


async def test_a_corrected_score_takes_its_old_factor_back(queue: Queue) -> None:
    id = await on_trial(queue)
    now = await version(queue)
    for run in "ab":
        await queue.record(an_episode(run, seen=(id,), version=now))
    await queue.say("a", 1.0)
    await queue.say("b", 1.0)
    await queue.say("a", 0.0)
    first = live_steps(0.0, shown=True, chance=0.5, guess=Sums().guess, bet=BET, refuted=0.0)
    # what was expected of the second was expected after the first
    after_one = add_outcome(Sums(), 1.0, first)
    second = live_steps(1.0, shown=True, chance=0.5, guess=after_one.guess, bet=BET, refuted=0.0)
    total = (await known(queue, id)).evidence.total
    assert total.live == pytest.approx(first.live + second.live)
    assert total.harms == pytest.approx(
        [a + b for a, b in zip(first.harms, second.harms, strict=True)]
    )
    assert (total.outcomes, total.score) == (2, 1)


async def test_the_rule_of_a_trial_says_what_its_outcomes_refute(queue: Queue) -> None:
    strict, quick = await on_trial(queue), await on_trial(queue, rule="quick", bet=0.7)
    await queue.record(an_episode("a", seen=(strict, quick), version=await version(queue)))
    await queue.say("a", 0.75)
    for id, bet, refuted in ((strict, BET, 0.0), (quick, 0.7, -0.1)):
        steps = live_steps(0.75, shown=True, chance=0.5, guess=0.5, bet=bet, refuted=refuted)
        assert same((await known(queue, id)).evidence.total, add_outcome(Sums(), 0.75, steps))


async def test_an_outcome_shows_nothing_of_a_trial_that_has_not_begun(queue: Queue) -> None:
    id = await on_trial(queue, bet=0.0)
    await queue.record(an_episode("a", seen=(id,), version=await version(queue)))
    assert await queue.say("a", 1.0) == "credited"
    assert await known(queue, id) == Shown()
    assert (await queue.usage(id)).n_with == 1


async def test_an_outcome_counts_for_what_its_run_was_assigned_under_only(queue: Queue) -> None:
    id = await on_trial(queue)
    for run in ("late", "corrected"):
        await queue.record(an_episode(run, seen=(id,), version=await version(queue)))
    await queue.say("corrected", 0.0)
    await queue.writer.commit(SetState(id=id, state="proposed", trial=Trial(ended="no result")))
    await queue.writer.commit(SetState(id=id, state="trial", trial=Trial(bet=BET)))
    before = (await known(queue, id)).evidence.total
    assert await queue.say("late", 1.0) == "credited"
    assert await queue.say("corrected", 1.0) == "corrected"
    assert (await known(queue, id)).evidence.total == before


async def test_a_trial_begins_with_no_outcomes_of_an_earlier_one(queue: Queue) -> None:
    """They were bets against another rule, or have ended it. What replays showed stays."""
    id = await queue.lesson(state="proposed")
    [seq] = await archive(queue, "replayed")
    await replay(queue, id, seq, 1, 0)
    await queue.writer.commit(SetState(id=id, state="trial", trial=Trial(bet=BET, rule="quick")))
    shown = (await known(queue, id)).evidence
    await queue.record(an_episode("one", principal="p", seen=(id,), version=await version(queue)))
    await queue.say("one", 1.0)
    assert (await known(queue, id)).evidence.total.outcomes == 1
    await queue.writer.commit(SetState(id=id, state="proposed"))
    await queue.writer.commit(SetState(id=id, state="trial", trial=Trial(bet=BET)))
    again = (await known(queue, id)).evidence
    assert (again.total, again.live(0), again.harms(0)) == (shown.total, 1.0, 1.0)
    assert sum(voice.outcomes for voice in again.voices) == 0
    assert again.helps(0) == pytest.approx(shown.helps(0)) != 1


async def test_of_one_conversation_one_outcome_is_evidence(queue: Queue) -> None:
    """Its coin fell once. Later outcomes count as usage, and corrections of them, too."""
    for id in (await on_trial(queue), await queue.lesson()):
        given = {
            "seen": (id,),
            "version": await version(queue),
            "withhold_share": 0.1,
            "thread_id": "talk",
        }
        await queue.record(
            *(an_episode(f"{run}-{id}", principal=f"p-{run}", **given) for run in "abc")
        )
        await queue.record(
            an_episode(f"d-{id}", principal="p-d", **given | {"thread_id": "another"})
        )
        await queue.say(f"b-{id}", 1.0)
        first = (await known(queue, id)).evidence
        await queue.say(f"a-{id}", 0.0)
        await queue.say(f"c-{id}", 0.0)
        assert await queue.say(f"a-{id}", 0.5) == "corrected"
        assert (await known(queue, id)).evidence == first
        usage = (await queue.store.usage(queue.namespace))[id]
        assert (usage.n_with, usage.successes_with) == (3, 1.5)
        assert await queue.say(f"b-{id}", 0.0) == "corrected"
        corrected = (await known(queue, id)).evidence
        assert corrected != first
        await queue.say(f"d-{id}", 1.0)
        assert (await known(queue, id)).evidence != corrected


# --- active lessons


async def test_since_when_an_active_lesson_is_watched_is_known_until_it_becomes_active_again(
    queue: Queue,
) -> None:
    id = await queue.lesson(state="proposed")
    seqs = await archive(queue, *"abcd")
    await replay(queue, id, seqs[0], 1, 0, floor=7)
    assert (await known(queue, id)).floor is None, "it is not active yet"
    await queue.writer.commit(SetState(id=id, state="active"))
    await replay(queue, id, seqs[1], 1, 0, floor=seqs[0])
    await replay(queue, id, seqs[2], 1, 0, floor=seqs[1])
    assert (await known(queue, id)).floor == seqs[0]
    await queue.writer.commit(SetState(id=id, state="proposed"))
    await queue.writer.commit(SetState(id=id, state="active"))
    assert (await known(queue, id)).floor is None


async def test_an_active_lesson_is_watched_and_what_spoke_against_it_is_over_when_nothing_does(
    queue: Queue,
) -> None:
    id = await queue.lesson(state="proposed")
    seqs = await archive(queue, *"abcd")
    await replay(queue, id, seqs[0], 1, 0)
    await queue.writer.commit(SetState(id=id, state="active"))
    for seq, scores in zip(seqs[1:], [(0, 1), (1, 0), (0, 1)], strict=True):
        await replay(queue, id, seq, *scores, speaker=f"p{seq}")
    evidence = (await known(queue, id)).evidence
    sums = Sums()
    for scores in [(0, 1), (1, 0), (0, 1)]:
        sums, _ = watch(sums, pair_against(*scores))
    assert evidence.total.turned == pytest.approx(sums.turned)
    assert evidence.total.watched == 3
    assert evidence.total.pairs == 1, "what it has shown before stays"
    assert evidence.turned(0) > evidence.turned(1)


async def test_what_a_voice_said_before_a_new_beginning_is_over(queue: Queue) -> None:
    id = await queue.lesson()
    seqs = await archive(queue, *"abcde")
    told = [
        ("old", (0, 1)),
        ("good", (1, 0)),
        ("good", (1, 0)),
        ("old", (0, 0.5)),
        ("new", (0, 0.5)),
    ]
    for seq, (who, scores) in zip(seqs, told, strict=True):
        await replay(queue, id, seq, *scores, speaker=who)
    evidence, half = (await known(queue, id)).evidence, pair_against(0, 0.5)
    assert evidence.total.turned == pytest.approx([2 * step for step in half])
    assert evidence.turned(1) == pytest.approx(Evidence(Sums(turned=tuple(half))).turned(0)), (
        "each speaks for one half"
    )
    assert evidence.turned(2) == pytest.approx(1)


async def test_withheld_requests_speak_of_an_active_lesson_with_their_chance(queue: Queue) -> None:
    id = await queue.lesson()
    now = await version(queue)
    given = {"version": now, "withhold_share": 0.1}
    await queue.record(an_episode("a", principal="a", seen=(id,), **given))
    await queue.record(an_episode("b", principal="b", withheld=(id,), **given))
    await queue.say("a", 0.0)
    await queue.say("b", 1.0)
    sums, _ = watch(
        Sums(), live_steps(0, shown=True, chance=0.9, guess=0.5, bet=0, refuted=0).harms
    )
    sums, _ = watch(sums, live_steps(1, shown=False, chance=0.9, guess=0.5, bet=0, refuted=0).harms)
    evidence = (await known(queue, id)).evidence
    assert evidence.total.turned == pytest.approx(sums.turned)
    assert evidence.turned(0) > 1


async def test_a_corrected_outcome_of_an_active_lesson_counts_as_if_it_had_been_right_at_once(
    queue: Queue,
) -> None:
    id = await queue.lesson()
    given = {"seen": (id,), "version": await version(queue), "withhold_share": 0.1}
    await queue.record(*(an_episode(run, principal=run, **given) for run in "ab"))
    for run, score in (("a", 0.0), ("b", 1.0), ("b", 0.25), ("b", 0.0)):
        await queue.say(run, score)
    harm = live_steps(0, shown=True, chance=0.9, guess=0.5, bet=0, refuted=0).harms
    sums, _ = watch(Sums(), harm)
    sums, _ = watch(sums, harm)
    evidence = (await known(queue, id)).evidence
    assert evidence.total.turned == pytest.approx(sums.turned), (
        "nothing is begun anew by a correction"
    )
    assert (evidence.total.watched, evidence.total.begun) == (2, sums.begun)
    assert evidence.turned(1) < evidence.turned(0)
    assert evidence.turned(2) == pytest.approx(1)


async def test_a_correction_changes_nothing_in_what_was_begun_anew(queue: Queue) -> None:
    id = await queue.lesson()
    given = {"version": await version(queue), "withhold_share": 0.1}
    for run, side in (("a", "seen"), ("b", "seen"), ("c", "seen")):
        await queue.record(an_episode(run, **{side: (id,)}, **given))
    await queue.say("a", 0.0)
    await queue.say("b", 1.0)
    await queue.say("c", 0.0)
    before = (await known(queue, id)).evidence.total
    await queue.say("a", 1.0)
    after = (await known(queue, id)).evidence.total
    closed = [now != then for now, then in zip(before.begun, (1.0, 1.0, 1.0), strict=True)]
    for i, is_closed in enumerate(closed):
        assert (after.turned[i] == pytest.approx(before.turned[i])) is is_closed


async def test_a_lesson_that_becomes_active_again_has_nothing_against_it(queue: Queue) -> None:
    id = await queue.lesson()
    seqs = await archive(queue, "a", "b")
    for seq in seqs:
        await replay(queue, id, seq, 0, 1)
    assert (await known(queue, id)).evidence.turned(0) > 1
    await queue.writer.commit(SetState(id=id, state="proposed", trial=Trial(ended="it hurts")))
    await queue.writer.commit(SetState(id=id, state="active"))
    assert (await known(queue, id)).evidence.turned(0) == pytest.approx(1)


# --- names


async def test_no_name_of_a_lesson_or_a_principal_reaches_anothers_evidence(queue: Queue) -> None:
    names = iter(["#", "a", "a;b", "0", "done", "a|1", "ä"])
    queue.writer.make_id = lambda: next(names)
    ids = [await on_trial(queue) for _ in range(7)]
    now = await version(queue)
    for run, who in (("r1", "a #"), ("r2", "done"), ("r3", "ü|;")):
        await queue.record(an_episode(run, principal=who, seen=tuple(ids), version=now))
        assert await queue.say(run, 1.0, principal=who) == "credited"
    for score in (0.5, 0.0):
        assert await queue.say("r2", score) == "corrected"
    first = await known(queue, ids[0])
    assert (first.evidence.total.outcomes, first.evidence.total.score) == (3, 2)
    assert len(first.evidence.voices) == 3
    for id in ids:
        assert (await known(queue, id)).evidence == first.evidence
    await queue.writer.commit(Remove(id="a"))
    assert [(await known(queue, id)).evidence.total.outcomes for id in ids] == [3, 0, 3, 3, 3, 3, 3]
