"""What an episode becomes for the graph: a task with a reference, its live run as an attempt."""

import pytest

from ted_memory.episodes import Claim, Episode, Feedback
from ted_memory.learner.samples import to_attempt, to_sample
from ted_memory.llm.messages import TOOL_RESULTS, sample_messages
from ted_memory.models import Message

ASKED = Message(role="user", content="How warm is it?")
SAID = Message(role="assistant", content="It is 20 degrees.")
URL = "data:image/png;base64,AAAA"


def claim(*feedback: Feedback, **fields: object) -> Claim:
    given: dict[str, object] = {"run_id": "r", "input": (ASKED,), "output": (SAID,), **fields}
    return Claim(
        seq=1, fence=1, deliveries=1, episode=Episode.model_validate(given), feedback=feedback
    )


def told(**fields: object) -> Feedback:
    return Feedback.model_validate({"run_id": "r", **fields})


def test_a_correction_is_the_reference_and_else_an_answer_that_was_right() -> None:
    assert to_sample(claim(told(score=0, correction="15")), {}, with_tools=True).reference == "15"
    assert to_sample(claim(told(score=1)), {}, with_tools=True).reference == "It is 20 degrees."
    assert (
        to_sample(
            claim(told(score=1), told(score=0, correction="15")), {}, with_tools=True
        ).reference
        == "15"
    )
    assert to_sample(claim(told(score=0.5)), {}, with_tools=True).reference is None
    assert to_sample(claim(), {}, with_tools=True).reference is None


def test_the_model_answers_over_the_recorded_tool_results_and_an_agent_anew() -> None:
    one = claim(tools=("thermometer() -> 20",))
    assert f"{TOOL_RESULTS}\n- thermometer() -> 20" in to_sample(one, {}, with_tools=True).text
    assert "thermometer" not in to_sample(one, {}, with_tools=False).text


def test_images_come_back_and_one_that_is_gone_is_named() -> None:
    shown = Message(
        role="user",
        content=({"type": "text", "text": "What is it?"}, {"type": "image", "blob": "sha256:a"}),
    )
    one = claim(input=(shown,), images=("sha256:a",))
    [message] = sample_messages(to_sample(one, {"sha256:a": URL.encode()}, with_tools=True))
    assert message.content[1] == {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
    [message] = sample_messages(to_sample(one, {}, with_tools=True))
    assert "gone" in str(message.content[1])


def test_the_live_run_is_an_attempt_with_what_was_said_of_it() -> None:
    attempt = to_attempt(
        claim(told(score=0, comment="no"), told(comment="too warm"), tools=("t() -> 20",))
    )
    assert (attempt.text, attempt.score, attempt.comment) == (
        "It is 20 degrees.",
        0,
        "no; too warm",
    )
    assert attempt.tools == ("t() -> 20",)
    assert (attempt.seen, attempt.eligible) == ((), ()), (
        "it is no part of the comparison between attempts"
    )


def test_a_run_that_failed_is_an_attempt_without_a_score_unless_somebody_gave_one() -> None:
    assert to_attempt(claim(output=(), error="ValueError: no")).error == "ValueError: no"
    assert to_attempt(claim(output=())).error == "it gave no answer"
    rated = to_attempt(claim(told(score=0), output=(), error="ValueError: no"))
    assert (rated.error, rated.score) == ("", 0)


def test_an_episode_without_a_task_cannot_be_learned_from() -> None:
    with pytest.raises(ValueError, match="empty"):
        to_sample(claim(input=()), {}, with_tools=True)
