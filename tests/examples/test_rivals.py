"""Rivals of the method with scripted models: what they learn, and what they leave out."""

import pytest

from bench import grpo
from examples.experiments import Experiment, run
from examples.rivals import ace
from examples.rivals.replies import read_json
from ted_memory import Sample
from ted_memory.testing import ScriptedChatModel
from tests.examples.test_results import MUSEUM, Scripted, follows, teaches


def always(answer: str) -> ScriptedChatModel:
    return ScriptedChatModel(script=lambda _: answer)


def exact(sample: Sample, text: str) -> float:
    return float(text == sample.reference)


async def test_ace_keeps_what_is_new_and_survives_what_is_no_json() -> None:
    samples = MUSEUM.read().train[:4]
    learner = ace.Ace(ScriptedChatModel(script=follows), ScriptedChatModel(script=teaches), exact)
    await learner.run([samples[0], samples[0]])
    assert learner.lessons == [f"answer {samples[0].reference}"]
    deaf = ace.Ace(always("?"), always("I cannot write JSON."), exact)
    await deaf.run(samples)
    assert (deaf.lessons, deaf.lost) == ([], 4)


async def test_ace_does_not_reflect_on_what_is_right() -> None:
    [sample, *_] = MUSEUM.read().train
    learner = ace.Ace(always(sample.reference or ""), always("unused"), exact)
    await learner.run([sample])
    assert learner.spend.teacher.calls == 0


async def test_ace_cuts_its_playbook_to_its_budget() -> None:
    learner = ace.Ace(always("?"), always("unused"), exact)
    learner.playbook = [ace.Bullet("facts", f"{i} " + "long " * 300) for i in range(8)]
    learner.playbook[0].helpful = 2
    learner.playbook[7].harmful = 1
    learner._cut()
    kept = [bullet.content[0] for bullet in learner.playbook]
    assert kept[0] == "0"
    assert "7" not in kept
    assert len(ace.render_playbook(learner.playbook)) <= ace.BUDGET * 4


async def test_grpo_makes_the_passes_that_it_is_published_with() -> None:
    once = grpo.Grpo(always("office B"), always("nothing"), MUSEUM.score)
    samples = list(MUSEUM.read()[0][:2])
    await once.run(samples)
    figures = await run(Experiment("one", "museum", "grpo", limit=2), Scripted())
    assert (
        figures["learning"]["spend"]["student"]["calls"] == once.spend.student.calls * grpo.PASSES
    )


async def test_grpo_modifies_and_merges_by_number_and_survives_what_is_no_json() -> None:
    learner = grpo.Grpo(always("?"), always("?"), exact)
    learner.experiences = ["a", "b", "c"]
    learner._apply(
        [
            {"option": "merge", "ids": [0, 1], "experience": "ab"},
            {"option": "add", "experience": "c"},
        ]
    )
    assert learner.experiences == ["c", "ab"]
    assert learner._operations("nothing of that kind") == []
    assert learner.lost == 1


async def test_grpo_leaves_out_groups_that_nothing_sets_apart() -> None:
    learner = grpo.Grpo(always("?"), always("unused"), exact)
    await learner.run(MUSEUM.read().train[:3])
    assert learner.left_out == 3
    assert learner.spend.teacher.calls == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Sure: {"a": 1} and more', {"a": 1}),
        ("```json\n[1, 2]\n```", [1, 2]),
        ("{broken", None),
        ("nothing", None),
        ("{" * 5000, None),
    ],
)
def test_json_is_found_in_what_stands_around_it(text: str, expected: object) -> None:
    assert read_json(text) == expected
