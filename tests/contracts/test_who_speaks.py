"""Whose word an outcome is, and in whose runs somebody has a say."""

import pytest

from tests.contracts.evidence import known, on_trial, version
from tests.contracts.queue import Queue, an_episode


async def test_who_speaks_of_anothers_run_speaks_for_himself(queue: Queue) -> None:
    id = await on_trial(queue)
    now = await version(queue)
    for i in range(3):
        await queue.record(an_episode(f"r{i}", principal=f"p{i}", seen=(id,), version=now))
        await queue.say(f"r{i}", 1.0, principal="supervisor", reviewer=True)
    assert len((await known(queue, id)).evidence.voices) == 1


async def test_a_named_principal_has_no_say_in_the_runs_of_another(queue: Queue) -> None:
    id = await on_trial(queue)
    await queue.record(an_episode("r", principal="anna", seen=(id,), version=await version(queue)))
    assert await queue.say("r", 0.0, correction="evil", principal="mallory") == "foreign"
    assert await queue.count("r", 0.0, speaker="mallory") == "foreign"
    assert await queue.say("r", 1.0, principal="anna") == "credited"
    assert [claim.correction for claim in (await queue.claim()).claims] == [""]
    assert (await known(queue, id)).evidence.total.outcomes == 1


async def test_what_a_stranger_said_before_a_run_was_known_is_not_heard(queue: Queue) -> None:
    assert await queue.say("r", 0.0, correction="evil", principal="mallory") == "unknown"
    assert await queue.say("r", 0.0, correction="right", principal="anna") == "unknown"
    assert await queue.say("r", 0.0, correction="evil", principal="mallory") == "unknown"
    assert await queue.say("s", 1.0, principal="mallory") == "unknown"
    await queue.record(an_episode("r", principal="anna"), an_episode("s"))
    assert [
        [said.correction for said in claim.feedback] for claim in (await queue.claim(1)).claims
    ] == [["right"]]
    [told, of_nobody] = await queue.log.told(queue.namespace, ["r", "s"])
    assert [said.correction for said in told] == ["right"]
    assert [said.score for said in of_nobody] == [1.0], "a run of nobody is anybody's to speak of"


async def test_anonymous_words_and_grades_are_the_word_of_whoever_ran_it(queue: Queue) -> None:
    id = await on_trial(queue)
    now = await version(queue)
    await queue.record(*(an_episode(run, principal="p", seen=(id,), version=now) for run in "abc"))
    await queue.say("a", 1.0, principal="p")
    await queue.say("b", 1.0)
    await queue.count("c", 1.0, first=True)
    evidence = (await known(queue, id)).evidence
    assert evidence.voices == (evidence.total,)
    assert evidence.total.outcomes == 3


async def test_a_correction_is_the_word_of_whoever_makes_it(queue: Queue) -> None:
    tried, active = await on_trial(queue), await queue.lesson()
    given = {"seen": (tried, active), "version": await version(queue), "withhold_share": 0.1}
    await queue.record(*(an_episode(run, principal=f"who-{run}", **given) for run in "abc"))
    for run in "abc":
        await queue.say(run, 1.0)
    before = {id: (await known(queue, id)).evidence for id in (tried, active)}
    for run in "abc":
        await queue.say(run, 0.0, principal="mal", reviewer=True)
    for id in (tried, active):
        evidence = (await known(queue, id)).evidence
        assert evidence.harms(0) > 1 or evidence.turned(0) > 1
        assert evidence.harms(1) == pytest.approx(before[id].harms(0))
        assert evidence.turned(1) == pytest.approx(before[id].turned(0)), (
            "without his word all is as it was"
        )
        assert sum(voice.outcomes + voice.watched for voice in evidence.voices) == 3
        await queue.say("a", 0.0, principal="who-a")
        assert (await known(queue, id)).evidence == evidence, "the same score changes nothing"
