"""Ways to show a set are compared on the same samples."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from ted_memory import Add, Sample
from ted_memory.distill.run import showing
from ted_memory.distill.run.asking import Judging
from ted_memory.distill.run.material import Material
from ted_memory.distill.run.showing import FIRST, MOST_SAMPLES, choose_presentation, most_answers
from ted_memory.models import Experience, ExperienceSet, Presentation
from ted_memory.testing import in_memory

Score = Callable[[Presentation, Sample], float]


class Records(dict[str, Any]):
    async def save(self, key: str, record: Any) -> None:
        self[key] = record


class Scripted(Judging):
    """Knows what a student would score, and which answers were asked for."""

    def __init__(self, given: Score, *args: Any) -> None:
        super().__init__(*args)
        self.given, self.asked = given, list[tuple[Presentation, str]]()

    async def score(
        self, sample: Sample, snapshot: ExperienceSet, experiences: Sequence[Experience]
    ) -> float:
        way = snapshot.presentation
        assert way is not None
        self.asked.append((way, sample.id))
        return self.given(way, sample)


async def judging(given: Score, samples: Sequence[Sample], **settings: Any) -> Scripted:
    memory = in_memory(trust="always", **settings)
    await memory.commit([Add(text="a", when="b", example="c")], author="me")
    staged = await memory.load()
    references = {sample.id: "r" for sample in samples}
    material = Material(staged, staged, (), {}, 0, (), (), lambda _: frozenset(), references)
    context: Any = SimpleNamespace(memory=memory, settings=memory.settings)
    return Scripted(given, material, context, Records(), lambda _: None)


def many(count: int) -> list[Sample]:
    return [Sample(id=f"{i}", input=f"q{i}", reference="r") for i in range(count)]


def one_lesson_is_best(way: Presentation, _: Sample) -> float:
    return float(way.selection == "relevant" and way.top_k == 1)


@pytest.mark.parametrize("count", [1, FIRST, 15, 60])
async def test_the_set_without_examples_is_asked_about_what_the_best_way_was_asked_about(
    count: int,
) -> None:
    judge = await judging(one_lesson_is_best, many(count))
    _, shown = await choose_presentation(many(count), judge)
    [best] = [one for one in shown if one.presentation.top_k == 1 and one.presentation.examples]
    [bare] = [one for one in shown if not one.presentation.examples]
    assert bare.answers == best.answers <= MOST_SAMPLES
    assert len(judge.asked) <= most_answers(count)
    asked = {
        way: [id for w, id in judge.asked if w == way]
        for way in (best.presentation, bare.presentation)
    }
    assert asked[best.presentation] == asked[bare.presentation]


async def test_that_other_samples_are_easier_is_no_reason_to_show_no_examples() -> None:
    """The control: where the same samples do better without them, the set is shown without."""
    order = [
        s.id
        for s in showing.in_order(many(60), (await judging(one_lesson_is_best, many(60))).material)
    ]
    hard = set(order[:MOST_SAMPLES:2])

    def later_ones_are_easier(way: Presentation, sample: Sample) -> float:
        return one_lesson_is_best(way, sample) * float(sample.id not in hard)

    way, _ = await choose_presentation(many(60), await judging(later_ones_are_easier, many(60)))
    assert (way.top_k, way.examples) == (1, True)

    def better_without(way: Presentation, sample: Sample) -> float:
        return max(later_ones_are_easier(way, sample), float(way.top_k == 1 and not way.examples))

    way, _ = await choose_presentation(many(60), await judging(better_without, many(60)))
    assert (way.top_k, way.examples) == (1, False)


async def test_what_one_way_got_no_answer_for_speaks_against_no_other_way() -> None:
    """Two of six samples are too hard for both ways.

    One way is not asked about them, as if it had missed nothing.
    """
    hard, missed = {"0", "1"}, "2"

    def score(way: Presentation, sample: Sample) -> float:
        if (way.selection, way.placement) == ("all", "user"):
            if sample.id in hard:
                raise ValueError("the provider refuses this text")
            return float(sample.id != missed)
        return float(
            (way.selection, way.top_k, way.placement) == ("relevant", 3, "user")
            and sample.id not in hard
        )

    way, shown = await choose_presentation(many(FIRST), await judging(score, many(FIRST)))
    assert (way.selection, way.top_k, way.placement) == ("relevant", 3, "user")
    means = {(one.presentation.selection, one.presentation.placement): one.score for one in shown}
    assert means["all", "user"] == 0.75 > 4 / 6, "its own mean is the better one"


async def test_where_all_but_the_examples_is_stated_both_are_asked_about() -> None:
    stated = {"selection": "relevant", "top_k": 1, "placement": "user"}

    def better_bare(way: Presentation, _: Sample) -> float:
        return float(not way.examples)

    way, shown = await choose_presentation(many(30), await judging(better_bare, many(30), **stated))
    assert not way.examples
    assert {one.answers for one in shown} == {MOST_SAMPLES}
    assert len(shown) == 2
