"""What every `EpisodeQueue` promises of feedback: it is kept, and counts once for its run."""

import asyncio

import pytest

from ted_memory.episodes import Feedback
from ted_memory.models import Add, Remove, SetState, Usage
from tests.contracts.queue import BEGUN, LONG, Queue, an_episode

KNOWN = Usage(
    n_with=8,
    successes_with=4,
    n_without=2,
    successes_without=1,
    weight=1,
    weighted_difference=-1,
    helped=2,
)


def with_it(n: float, successes: float) -> Usage:
    return Usage(n_with=n, successes_with=successes)


def without_it(n: float, successes: float) -> Usage:
    return Usage(n_without=n, successes_without=successes)


# --- what is counted


async def test_an_outcome_counts_for_what_its_run_saw_and_for_what_was_withheld(
    queue: Queue,
) -> None:
    seen, withheld, neither = [
        await queue.lesson(text) for text in ("Seen.", "Withheld.", "Neither.")
    ]
    await queue.record(an_episode("a", seen=(seen,), withheld=(withheld,)))
    assert await queue.say("a", 0.75) == "credited"
    assert await queue.store.usage(queue.namespace) == {
        seen: with_it(1, 0.75),
        withheld: without_it(1, 0.75),
    }
    await queue.record(an_episode("b", seen=(seen, withheld)))
    assert await queue.say("b", 0.0) == "credited"
    assert await queue.usage(seen) == with_it(2, 0.75)
    assert await queue.usage(withheld) == Usage(n_with=1, n_without=1, successes_without=0.75)
    assert await queue.usage(neither) == Usage()


async def test_of_what_was_seen_only_what_is_said_to_count_does(queue: Queue) -> None:
    one, two = [await queue.lesson(text) for text in ("One.", "Two.")]
    await queue.record(
        an_episode("a", seen=(one, two), counted=(two,)),
        an_episode("b", seen=(one, two), counted=()),
    )
    for run_id in "ab":
        assert await queue.say(run_id, 1.0) == "credited"
    assert await queue.store.usage(queue.namespace) == {two: with_it(1, 1)}


async def test_a_run_counts_once_and_a_later_score_takes_the_place_of_the_earlier(
    queue: Queue,
) -> None:
    seen, withheld = [await queue.lesson(text) for text in ("Seen.", "Withheld.")]
    await queue.record(an_episode("a", seen=(seen,), withheld=(withheld,)))
    for score, verdict in (
        (1.0, "credited"),
        (0.25, "corrected"),
        (0.25, "repeated"),
        (0.0, "corrected"),
    ):
        assert await queue.say("a", score) == verdict
        assert await queue.usage(seen) == with_it(1, score)
        assert await queue.usage(withheld) == without_it(1, score)
    assert await queue.say("a", 0.5, principal="another") == "corrected", "whoever says it"
    assert await queue.count("a", 0.5) == "repeated"
    assert await queue.usage(seen) == with_it(1, 0.5)


async def test_many_that_say_the_same_at_once_count_once(queue: Queue) -> None:
    seen = await queue.lesson()
    await queue.record(*(an_episode(f"r{i}", seen=(seen,)) for i in range(5)))
    verdicts = await asyncio.gather(*(queue.say(f"r{i % 5}", 0.5) for i in range(40)))
    assert sorted(verdicts) == ["credited"] * 5 + ["repeated"] * 35
    assert await queue.usage(seen) == with_it(5, 2.5)


async def test_a_score_that_counts_only_where_there_is_none_never_takes_anothers_place(
    queue: Queue,
) -> None:
    seen = await queue.lesson()
    await queue.record(*(an_episode(name, seen=(seen,)) for name in ("told", "graded")))
    assert await queue.say("told", 1.0) == "credited"
    assert await queue.count("told", 0.0, first=True) == "repeated"
    assert await queue.usage(seen) == with_it(1, 1)
    assert await queue.count("graded", 0.25, first=True) == "credited"
    assert await queue.count("graded", 0.5, first=True) == "repeated"
    assert await queue.usage(seen) == with_it(2, 1.25)
    assert await queue.say("graded", 0.0) == "corrected", (
        "what a user says counts more than a grade"
    )
    assert await queue.usage(seen) == with_it(2, 1)


async def test_words_without_a_score_are_kept_and_count_nothing(queue: Queue) -> None:
    seen = await queue.lesson()
    await queue.record(an_episode("a", seen=(seen,)))
    assert await queue.say("a", comment="hm") == "kept"
    assert await queue.count("a", None) == "kept"
    assert await queue.store.usage(queue.namespace) == {}
    assert await queue.say("a", 0.0) == "credited", "a score of 0 is one"
    assert await queue.say("a", correction="12") == "kept"
    assert await queue.usage(seen) == with_it(1, 0)
    assert await queue.latest_score("a") == 0.0


async def test_feedback_on_a_run_that_is_not_known_is_kept_for_it(queue: Queue) -> None:
    seen = await queue.lesson()
    assert await queue.say("a", 0.5, comment="first", principal="p") == "unknown"
    assert await queue.count("a", 1.0) == "unknown"
    assert await queue.latest_score("a") == 0.5
    await queue.record(an_episode("a", seen=(seen,)))
    assert queue.early == ("a",)
    assert await queue.store.usage(queue.namespace) == {}, "who recorded it is told, and counts it"
    assert await queue.count("a", 0.5) == "credited"
    assert (await queue.claim_one()).feedback == (
        Feedback(run_id="a", score=0.5, comment="first", principal="p", at=BEGUN),
    )


async def test_outcomes_are_counted_wherever_their_episode_is(queue: Queue) -> None:
    seen = await queue.lesson()
    await queue.kill("dead")
    await queue.record(*(an_episode(name, seen=(seen,)) for name in ("settled", "claimed")))
    settled, _claimed = (await queue.claim(2)).claims
    await queue.settle(settled)
    await queue.record(an_episode("waits", seen=(seen,)), wait=LONG)
    for number, run_id in enumerate(("settled", "claimed", "waits"), start=1):
        assert await queue.say(run_id, 1.0) == "credited"
        assert await queue.usage(seen) == with_it(number, number)
    assert await queue.say("dead", 1.0) == "credited"
    assert await queue.places() == (1, 1, 1)


# --- what it is counted for


async def test_lessons_that_left_the_set_are_passed_over(queue: Queue) -> None:
    stays, leaves = [await queue.lesson(text) for text in ("Stays.", "Leaves.")]
    await queue.record(
        *(an_episode(name, seen=(stays, leaves, "nobody"), withheld=("no-one",)) for name in "ab")
    )
    await queue.say("a", 1.0)
    await queue.writer.commit(Remove(id=leaves))
    assert await queue.say("a", 0.5) == "corrected"
    assert await queue.say("b", 1.0) == "credited"
    assert await queue.store.usage(queue.namespace) == {stays: with_it(2, 1.5)}


async def test_outcomes_are_kept_apart_from_those_of_another_namespace(queue: Queue) -> None:
    beside = queue.beside()
    queue.writer.make_id = beside.writer.make_id = lambda: "same"
    for one in (queue, beside):
        await one.lesson()
        await one.record(an_episode("a", seen=("same",)))
    await queue.say("a", 1.0)
    assert await beside.usage("same") == Usage()
    assert await beside.say("a", 0.5) == "credited"
    assert await queue.usage("same") == with_it(1, 1)


async def test_an_outcome_makes_no_version_and_the_next_one_carries_it_into_the_ranking(
    queue: Queue,
) -> None:
    seen, withheld = [await queue.lesson(text) for text in ("Seen.", "Withheld.")]
    held = await queue.writer.now()
    await queue.record(an_episode("a", seen=(seen,), withheld=(withheld,)))
    await queue.say("a", 1.0)
    assert await queue.store.read(queue.namespace, held) is held, (
        "what stands in a prompt changes with a version only"
    )
    await queue.writer.commit(Add(text="More."))
    changed = await queue.store.read(queue.namespace, held)
    assert changed is not None
    assert changed.usage == {seen: with_it(1, 1), withheld: without_it(1, 1)}
    await queue.say("a", 0.5)
    held = await queue.writer.now()
    assert held.usage == changed.usage
    await queue.writer.commit(Add(text="Even more."))
    changed = await queue.store.read(queue.namespace, held)
    assert changed is not None
    assert (
        changed.usage
        == (await queue.writer.now()).usage
        == {seen: with_it(1, 0.5), withheld: without_it(1, 0.5)}
    )


async def test_only_of_active_lessons_the_older_outcomes_fade(queue: Queue) -> None:
    seen = {state: await queue.lesson(f"Seen, {state}.", state) for state in ("active", "trial")}
    withheld = {
        state: await queue.lesson(f"Withheld, {state}.", state) for state in ("active", "trial")
    }
    ids = (*seen.values(), *withheld.values())
    await queue.store.credit(queue.namespace, dict.fromkeys(ids, KNOWN), "known")
    await queue.record(
        an_episode("a", seen=tuple(seen.values()), withheld=tuple(withheld.values()))
    )
    assert await queue.say("a", 1.0, kept=0.5) == "credited"
    half = {name: value / 2 for name, value in KNOWN}
    assert await queue.usage(seen["active"]) == Usage(**{**half, "n_with": 5, "successes_with": 3})
    assert await queue.usage(withheld["active"]) == Usage(
        **{**half, "n_without": 2, "successes_without": 1.5}
    )
    assert await queue.usage(seen["trial"]) == KNOWN.model_copy(
        update={"n_with": 9, "successes_with": 5}
    )
    assert await queue.usage(withheld["trial"]) == KNOWN.model_copy(
        update={"n_without": 3, "successes_without": 2}
    )


async def test_nothing_counts_for_a_lesson_that_no_request_is_shown(queue: Queue) -> None:
    proposed, active = await queue.lesson("Proposed.", "proposed"), await queue.lesson("Active.")
    await queue.record(
        an_episode("a", seen=(proposed, active)), an_episode("b", withheld=(proposed,))
    )
    for run_id in "ab":
        assert await queue.say(run_id, 1.0) == "credited"
    assert await queue.store.usage(queue.namespace) == {active: with_it(1, 1)}
    await queue.writer.commit(SetState(id=proposed, state="active"))
    assert await queue.say("a", 0.5) == "corrected"
    assert await queue.usage(proposed) == Usage(), "what was not counted is not corrected"


async def test_a_correction_fades_nothing(queue: Queue) -> None:
    seen = await queue.lesson()
    await queue.record(an_episode("a", seen=(seen,)))
    await queue.say("a", 1.0, kept=0.5)
    await queue.store.credit(queue.namespace, {seen: KNOWN}, "known")
    known = await queue.usage(seen)
    assert await queue.say("a", 1.0, kept=0.5) == "repeated"
    assert await queue.usage(seen) == known
    assert await queue.say("a", 0.0, kept=0.5) == "corrected"
    assert await queue.usage(seen) == known.model_copy(
        update={"successes_with": known.successes_with - 1}
    )


# --- how much one principal has to say


async def test_a_principal_has_a_daily_share_of_feedback(queue: Queue) -> None:
    seen = await queue.lesson()
    await queue.record(an_episode("a", seen=(seen,)), an_episode("b", principal="loud"), wait=LONG)
    assert await queue.say("a", 1.0, principal="loud", rate_limit=2) == "credited"
    assert await queue.say("nobody", 1.0, principal="loud", rate_limit=2) == "unknown"
    assert await queue.say("a", 0.0, principal="loud", rate_limit=2) == "limited"
    assert await queue.say("b", 0.0, principal="loud", rate_limit=2) == "limited"
    assert await queue.usage(seen) == with_it(1, 1)
    assert await queue.latest_score("a") == 1.0, "it is not kept either"
    assert await queue.latest_score("b") is None
    assert [claim.episode.run_id for claim in (await queue.claim(10)).claims] == ["a"], (
        "nor does it wake anything"
    )
    assert await queue.say("a", 0.5, principal="quiet", rate_limit=2) == "corrected"
    assert await queue.count("a", 0.25, rate_limit=0) == "corrected", (
        "what is no feedback is nobody's share"
    )


async def test_the_share_of_feedback_is_another_one_than_that_of_episodes(queue: Queue) -> None:
    await queue.record(*(an_episode(f"r{i}", principal="p") for i in range(3)), rate_limit=3)
    assert await queue.say("r0", 1.0, principal="p", rate_limit=1) == "credited"
    assert await queue.say("r1", 1.0, principal="p", rate_limit=1) == "limited"
    assert (await queue.record(an_episode("r3", principal="p"), rate_limit=4)).recorded == 1


@pytest.mark.parametrize("known", [True, False])
async def test_what_is_sent_once_more_since_its_reply_was_lost_stands_and_counts_once(
    queue: Queue, known: bool
) -> None:
    if known:
        await queue.record(an_episode("r", principal="anna"))
    said = {"comment": "wrong", "principal": "anna", "rate_limit": 2}
    first, *again = [await queue.say("r", 0.0, **said) for _ in range(4)]
    assert (first, set(again)) == (
        ("credited", {"repeated"}) if known else ("unknown", {"unknown"})
    )
    assert await queue.say("r", 0.0, **said | {"comment": "really"}) != "limited", (
        "another word is another word"
    )
    assert await queue.say("r", 0.0, **said | {"comment": "at last"}) == "limited"
    await queue.record(an_episode("r", principal="anna"))
    [told] = await queue.log.told(queue.namespace, ["r"])
    assert [one.comment for one in told] == ["wrong", "really"]
