"""What is kept of an episode for replays when it settles, and whose word it rests on."""

from typing import Any

import pytest

from ted_memory import TedMemory, open_memory
from ted_memory.distill.nodes import commit as commit_node
from ted_memory.episodes import Archived, Episode
from ted_memory.grading.judge import Judge
from ted_memory.learner import Learner
from ted_memory.models import Message
from ted_memory.testing import ScriptedChatModel
from tests.conftest import Server
from tests.distill.scripts import CODES, student, teacher
from tests.learner.worlds import archived, episode, propose, replayed, says_nothing

RIGHT = CODES["apples"]


async def kept(
    memory: TedMemory, one: Episode, *said: dict[str, Any], **learner: Any
) -> Archived | None:
    """Record a run and what is said of it, and have it settled; return what is kept of it."""
    await memory.record(one)
    await memory.flush()
    for told in said:
        await memory.give_feedback(
            one.run_id, **{"principal": one.principal, "reviewer": True, **told}
        )
    options = {"teacher": says_nothing(), "replay": "none", **learner}
    await Learner(memory, **options).run(until_empty=True)
    traffic = await memory.store.episodes.traffic(memory.namespace)
    assert (traffic.waiting, traffic.claimed) == (0, 0)
    return next((found for found in await archived(memory) if found.run_id == one.run_id), None)


async def test_a_correction_is_kept_as_the_reference(memory: TedMemory) -> None:
    found = await kept(memory, episode("apples"), {"score": 0.0, "correction": RIGHT})
    assert found is not None
    assert (found.run_id, found.principal, found.speaker) == ("apples-anna-0", "anna", "anna")
    assert (found.sample.text, found.sample.reference) == ("What is the code of apples?", RIGHT)


async def test_an_answer_that_was_right_is_the_reference_and_another_one_is_not(
    memory: TedMemory,
) -> None:
    found = await kept(memory, episode("apples", answer=RIGHT), {"score": 1.0})
    assert found is not None
    assert found.sample.reference == RIGHT
    # the control: what is only half right says nothing of what would be right
    assert await kept(memory, episode("apples", 1, answer=RIGHT), {"score": 0.5}) is None
    assert await kept(memory, episode("apples", 2), {"score": 0.0}) is None


async def test_what_nobody_graded_is_not_kept(memory: TedMemory) -> None:
    assert await kept(memory, episode("apples", answer=RIGHT)) is None
    assert await kept(memory, episode("apples", 1), {"comment": "hm"}) is None
    assert await archived(memory) == ()
    assert (await memory.store.episodes.traffic(memory.namespace)).counts["recorded"] == 2


async def test_an_episode_with_pictures_is_not_kept(memory: TedMemory) -> None:
    blocks: tuple[dict[str, Any], ...] = (
        {"type": "text", "text": "What is the code of apples?"},
        {"type": "image", "blob": "sha256:gone"},
    )
    said = {"score": 0.0, "correction": RIGHT}
    one = episode("apples").model_copy(update={"input": (Message(role="user", content=blocks),)})
    assert await kept(memory, one.model_copy(update={"images": ("sha256:gone",)}), said) is None
    assert await kept(memory, episode("apples", 1), said) is not None, "the control"


def judge() -> Judge:
    """A judge that finds every answer wrong."""
    return Judge(ScriptedChatModel(script=lambda _: '{"reason": "no", "score": 0.0}'))


async def test_where_a_model_grades_the_teachers_solution_stands_for_a_missing_reference(
    memory: TedMemory,
) -> None:
    said = {"score": 0.0, "principal": "bert"}
    found = await kept(memory, episode("apples"), said, grader=judge())
    assert found is not None
    assert found.sample.reference == RIGHT, "which the teacher knows"
    assert found.speaker == "anna", "the teacher's word is nobody else's"
    # the control: with a grader that compares texts, the teacher's word is no measure of right and
    # wrong
    assert await kept(memory, episode("apples", 1), said) is None


async def test_where_a_model_grades_what_nobody_said_anything_of_is_kept_until_somebody_does(
    memory: TedMemory,
) -> None:
    found = await kept(memory, episode("apples"), grader=judge())
    assert found is not None
    assert (found.sample.reference, found.speaker) == (RIGHT, "anna")
    await propose(memory, "apples")
    assert (await replayed(memory, grader=judge())).report.replayed == 1
    await propose(memory, "apples", says="guess")
    await memory.give_feedback(
        found.run_id, score=0.0, correction="c999", principal="bert", reviewer=True
    )
    assert (await replayed(memory, grader=judge())).report.replayed == 0, (
        "his word counts more than the teacher's"
    )
    assert found.run_id not in {one.run_id for one in await archived(memory)}
    assert await kept(memory, episode("apples", 1)) is None, "the control: nobody grades it"


async def test_a_reference_rests_on_the_word_of_who_gave_it(memory: TedMemory) -> None:
    async def speaker(i: int, *said: dict[str, Any], answer: str = "no idea") -> str:
        found = await kept(memory, episode("apples", i, answer=answer), *said)
        assert found is not None
        return found.speaker

    assert await speaker(0, {"correction": RIGHT, "principal": "bert"}) == "bert"
    assert await speaker(1, {"score": 1.0, "principal": "carl"}, answer=RIGHT) == "carl"
    early, late = (
        {"correction": "c999", "principal": "bert"},
        {"correction": RIGHT, "principal": "dora"},
    )
    assert await speaker(2, early, late) == "dora"
    # who gives no name speaks for the one whose run it is, and never for an earlier speaker
    assert await speaker(3, early, {"correction": RIGHT, "principal": "anonymous"}) == "anna"


async def test_the_newest_are_kept_up_to_the_setting(valkey: Server, namespace: str) -> None:
    async with open_memory(valkey.url, namespace=namespace, max_archived=3) as memory:
        for i in range(5):
            await kept(memory, episode("apples", i), {"correction": RIGHT})
        assert [one.run_id for one in await archived(memory)] == [
            f"apples-anna-{i}" for i in (2, 3, 4)
        ]


async def test_an_episode_is_kept_in_the_step_that_settles_it(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"score": 0.0, "correction": RIGHT}
    await kept(
        memory, episode("apples"), said, student=student(), teacher=teacher(), replay="model"
    )
    [found] = await archived(memory)
    [lesson] = await memory.load()
    assert lesson.sources == (f"run:{found.run_id}", "principal:anna")

    # the control: what does not stand in the settling commit is not kept at all
    monkeypatch.setattr(commit_node, "_archived", lambda *_: None)
    assert await kept(memory, episode("apples", 1), said) is None
