"""With and without, in pairs."""

import importlib
import itertools
import math
import random
import sys
from statistics import fmean, stdev

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Add, Remove, Sample, TedMemory
from ted_memory.distill import Judge
from ted_memory.errors import InvalidInput
from ted_memory.evaluation import compare_with_training, evaluate
from ted_memory.evaluation.compare import bootstrap, mcnemar
from ted_memory.evaluation.results import Difference
from ted_memory.experience.rendering import count_tokens
from ted_memory.llm.spend import Prices
from ted_memory.testing import ScriptedChatModel, in_memory
from tests.distill.scripts import (
    CODES,
    SlowChatModel,
    follows,
    knows,
    prompt_of,
    sample,
    samples,
    student,
    thing_in,
)


async def _teach(memory: TedMemory, *things: str) -> None:
    await memory.commit(
        [Add(text=f"say {CODES[t]}", when=f"asked about {t}") for t in things], author="me"
    )


async def test_the_same_samples_are_answered_without_and_with(scratch: TedMemory) -> None:
    await _teach(scratch, "apples", "bananas", "cherries")
    answering = student()
    result = await evaluate(samples(), student=answering, memory=scratch)
    assert (result.samples, result.without.accuracy, result.with_.accuracy) == (12, 0.0, 0.75)
    assert result.difference.mean == 0.75
    assert 0.4 < result.difference.low < 0.75 < result.difference.high <= 1.0
    assert result.mcnemar_p == pytest.approx(2 / 2**9)
    assert result.spend.student.calls == len(answering.asked) == 24
    assert sum("Lessons" in str(messages[0].content) for messages in answering.asked) == 12


async def test_its_json_has_the_names_of_the_command_line(scratch: TedMemory) -> None:
    fields = (await evaluate(samples(1), student=student(), memory=scratch)).to_json()
    assert {"samples", "without", "with", "difference", "mcnemar_p", "spend"} <= set(fields)
    assert set(fields["with"]) == set(fields["without"]) == {"accuracy", "tokens", "prompt_tokens"}
    assert set(fields["difference"]) == {"mean", "low", "high"}
    assert "with_" not in fields
    assert fields["examples"] is None, "nobody asked for it"


async def test_what_a_lesson_gains_is_told_by_lesson_and_by_tokens(scratch: TedMemory) -> None:
    await _teach(scratch, "apples", "bananas", "cherries")
    result = await evaluate(samples(), student=student(), memory=scratch)
    block = count_tokens(await scratch.render())
    assert (result.active, result.without.tokens, result.with_.tokens) == (3, 0.0, block)
    assert result.gain_per_lesson == pytest.approx(0.75 / 3)
    assert result.gain_per_100_tokens == pytest.approx(75 / block)
    assert result.with_.prompt_tokens == pytest.approx(result.without.prompt_tokens + block, abs=1)
    both = result.with_.prompt_tokens + result.without.prompt_tokens
    assert result.spend.student.tokens_in == pytest.approx(12 * both)


async def test_where_there_are_no_lessons_none_gains_anything(scratch: TedMemory) -> None:
    result = await evaluate(samples(1), student=student(), memory=scratch)
    assert (result.active, result.gain_per_lesson, result.gain_per_100_tokens) == (0, None, None)


async def test_what_fails_is_left_out_of_both_sides_and_listed(scratch: TedMemory) -> None:
    await _teach(scratch, "apples")

    def chokes(messages: list[BaseMessage]) -> str:
        if "bananas" in str(messages[-1].text) and len(messages) > 1:
            raise RuntimeError("I choke on this")
        return follows(messages)

    result = await evaluate(
        [sample("apples"), sample("bananas")], student=student(chokes), memory=scratch
    )
    assert (result.samples, result.with_.accuracy) == (1, 1.0)
    assert [(f.sample, f.reason) for f in result.failures] == [("bananas-0", "I choke on this")]


async def test_samples_without_a_reference_are_not_measured(scratch: TedMemory) -> None:
    given = [sample("apples"), Sample(id="x", input="Tell me: the code of figs?")]
    assert (await evaluate(given, student=student(), memory=scratch)).samples == 1
    with pytest.raises(InvalidInput, match="no sample has a reference"):
        await evaluate(given[1:], student=student(), memory=scratch)


async def test_when_nothing_can_be_scored_the_reason_is_told(scratch: TedMemory) -> None:
    def broken(messages: list[BaseMessage]) -> str:
        raise RuntimeError("out of order")

    with pytest.raises(InvalidInput, match="out of order"):
        await evaluate(samples(1), student=student(broken), memory=scratch)


def test_mcnemar_is_the_exact_test() -> None:
    def p(better: int, worse: int, same: int = 0) -> float:
        return mcnemar([(0.0, 1.0)] * better + [(1.0, 0.0)] * worse + [(1.0, 1.0)] * same)

    assert p(0, 0, 9) == 1.0
    assert p(5, 5) == 1.0
    assert p(1, 0) == 1.0
    assert p(6, 0) == pytest.approx(0.03125)
    assert p(10, 2) == p(2, 10) == pytest.approx(0.03857421875)
    assert p(10, 2, 100) == p(10, 2), "pairs that agree say nothing"


def test_the_interval_is_the_same_every_time_and_covers_the_mean() -> None:
    differences = [1.0] * 12 + [0.0] * 30 + [-1.0] * 4
    first = bootstrap(differences)
    assert bootstrap(differences) == first
    assert first.mean == pytest.approx(8 / 46)
    assert first.low < first.mean < first.high
    exact = bootstrap([0.25] * 10)
    assert (exact.low, exact.mean, exact.high) == (0.25, 0.25, 0.25)


def _answers(lines: list[str]) -> ScriptedChatModel:
    """A student that gives these answers one after the other."""
    given = iter(lines)
    return student(lambda _: next(given))


async def test_repeats_count_once_with_their_mean(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", concurrency=1)
    right, wrong = CODES["apples"], "no idea"
    # without, with; the second round begins with the other side: with, without; then without, with
    answering = _answers([wrong, right, right, wrong, right, wrong])
    result = await evaluate([sample("apples")], student=answering, memory=memory, repeats=3)
    assert (result.samples, result.repeats) == (1, 3)
    assert result.without.accuracy == pytest.approx(1 / 3)
    assert result.with_.accuracy == pytest.approx(2 / 3)
    assert (
        result.difference.mean
        == result.difference.low
        == result.difference.high
        == pytest.approx(1 / 3)
    )
    assert result.spend.student.calls == 6


async def test_repeats_do_not_narrow_the_interval_of_a_student_that_repeats_itself(
    scratch: TedMemory,
) -> None:
    await _teach(scratch, "apples", "bananas")
    once = await evaluate(samples(), student=student(), memory=scratch)
    often = await evaluate(samples(), student=student(), memory=scratch, repeats=4)
    assert (often.difference, often.mcnemar_p, often.samples) == (
        once.difference,
        once.mcnemar_p,
        once.samples,
    )
    assert often.spend.student.calls == 4 * once.spend.student.calls


async def test_a_side_is_right_for_mcnemar_from_half_of_its_repeats_on(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", concurrency=1)
    right, wrong = CODES["apples"], "no idea"
    result = await evaluate(
        [sample("apples")], student=_answers([wrong, right, wrong, wrong]), memory=memory, repeats=2
    )
    assert (result.without.accuracy, result.with_.accuracy) == (0.0, 0.5)
    assert result.mcnemar_p == mcnemar([(0.0, 1.0)]) == 1.0
    assert mcnemar([(0.49, 0.5)] * 6) == mcnemar([(0.0, 1.0)] * 6) == pytest.approx(0.03125)
    assert mcnemar([(0.5, 1.0)] * 6) == 1.0


async def test_both_sides_of_a_sample_are_asked_in_turn_and_neither_is_always_first(
    namespace: str,
) -> None:
    memory = in_memory(namespace=namespace, trust="always", concurrency=1)
    await _teach(memory, "apples", "bananas", "cherries")
    answering = student()
    await evaluate(samples(2), student=answering, memory=memory, repeats=2)
    asked = [(thing_in(prompt_of(m)), "Lessons" in prompt_of(m)) for m in answering.asked]
    pairs = list(zip(asked[::2], asked[1::2], strict=True))
    assert all(a[0] == b[0] and a[1] != b[1] for a, b in pairs), (
        "two neighbours are one sample's two sides"
    )
    assert sum(first[1] for first, _ in pairs) == len(pairs) / 2


async def test_the_categories_add_up_to_the_whole(scratch: TedMemory) -> None:
    await _teach(scratch, "apples", "cherries")
    given = [
        *samples(3, each=2),
        sample("apples", 7, category=None),
        sample("figs", 8, category=None),
    ]
    result = await evaluate(given, student=student(), memory=scratch)
    assert [c.category for c in result.categories] == ["apples", "bananas", "cherries", None]
    assert [c.samples for c in result.categories] == [2, 2, 2, 2]
    assert [c.with_ for c in result.categories] == [1.0, 0.0, 1.0, 0.5]
    total = sum(c.samples for c in result.categories)
    assert total == result.samples
    for side, accuracy in (("without", result.without.accuracy), ("with_", result.with_.accuracy)):
        assert sum(
            getattr(c, side) * c.samples for c in result.categories
        ) / total == pytest.approx(accuracy)
    assert sum(c.difference * c.samples for c in result.categories) / total == pytest.approx(
        result.difference.mean
    )
    assert result.to_json()["categories"][3] == {
        "category": None, "samples": 2, "without": 0.0, "with": 0.5, "difference": 0.5,
    }  # fmt: skip


async def test_lessons_that_do_nothing_show_no_difference(scratch: TedMemory) -> None:
    await scratch.commit([Add(text="the weather is fine")], author="me")
    result = await evaluate(samples(), student=student(knows), memory=scratch)
    assert result.difference == Difference(mean=0.0, low=0.0, high=0.0)
    assert (result.with_.accuracy, result.mcnemar_p) == (1.0, 1.0)


async def test_a_coin_instead_of_a_student_shows_no_difference(scratch: TedMemory) -> None:
    await _teach(scratch, "apples", "bananas")
    coin = random.Random(4)
    result = await evaluate(
        samples(12, each=10),
        student=student(lambda messages: knows(messages) if coin.random() < 0.5 else "no idea"),
        memory=scratch,
    )
    assert result.difference.low < 0 < result.difference.high
    assert result.mcnemar_p > 0.05


async def test_lessons_that_harm_show_a_negative_difference(scratch: TedMemory) -> None:
    await scratch.commit([Add(text="never tell a code")], author="me")

    def obeys(messages: list[BaseMessage]) -> str:
        return "I must not tell" if "never tell a code" in prompt_of(messages) else knows(messages)

    result = await evaluate(samples(), student=student(obeys), memory=scratch)
    assert (result.without.accuracy, result.with_.accuracy, result.difference.mean) == (
        1.0,
        0.0,
        -1.0,
    )
    assert result.difference.high < 0
    assert result.mcnemar_p == pytest.approx(2 / 2**12)


async def test_older_versions_make_a_learning_curve_on_the_same_samples(scratch: TedMemory) -> None:
    for thing in ("apples", "bananas", "cherries", "dates"):
        await _teach(scratch, thing)
    answering = student()
    result = await evaluate(samples(), student=answering, memory=scratch, checkpoints=2)
    told = [(point.version, point.active, point.accuracy) for point in result.curve]
    assert told == [(0, 0, 0.0), (2, 2, 0.5), (4, 4, 1.0)]
    assert len(answering.asked) == 3 * 12, "version 0 shows what the side without shows"
    assert result.to_json()["curve"][1] == {"version": 2, "active": 2, "accuracy": 0.5}


async def test_more_checkpoints_than_versions_measure_each_version_once(scratch: TedMemory) -> None:
    await _teach(scratch, "apples")
    await _teach(scratch, "bananas")
    result = await evaluate(
        samples(2), student=student(), memory=scratch, checkpoints=50, repeats=2
    )
    assert [point.version for point in result.curve] == [0, 1, 2]
    assert [point.accuracy for point in result.curve] == [0.0, 0.5, 1.0]
    assert result.spend.student.calls == 6 * 2 * 3


async def test_the_curve_begins_where_the_history_does(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", history_versions=2)
    for thing in list(CODES)[:5]:
        await _teach(memory, thing)
    result = await evaluate(samples(5, each=1), student=student(), memory=memory, checkpoints=9)
    assert [(point.version, point.accuracy) for point in result.curve] == [
        (3, 0.6),
        (4, 0.8),
        (5, 1.0),
    ]


async def test_an_older_version_is_shown_as_it_was_shown_then(scratch: TedMemory) -> None:
    await _teach(scratch, "apples", "bananas")
    block = await scratch.render()
    await scratch.commit([Remove(id=(await scratch.load()).experiences[0].id)], author="me")
    answering = student()
    result = await evaluate([sample("figs")], student=answering, memory=scratch, checkpoints=2)
    assert [point.active for point in result.curve] == [0, 2, 1]
    assert sum(block in prompt_of(messages) for messages in answering.asked) == 1


async def test_a_new_memory_has_no_curve(scratch: TedMemory) -> None:
    assert (
        await evaluate(samples(1), student=student(), memory=scratch, checkpoints=3)
    ).curve == ()


async def test_a_sample_that_an_older_version_fails_on_is_left_out_everywhere(
    scratch: TedMemory,
) -> None:
    await _teach(scratch, "apples")
    await _teach(scratch, "bananas")

    def chokes(messages: list[BaseMessage]) -> str:
        prompt = prompt_of(messages)
        if (
            "code of bananas?" in prompt
            and "about apples:" in prompt
            and "about bananas:" not in prompt
        ):
            raise RuntimeError("I choke on version 1")
        return follows(messages)

    result = await evaluate(
        [sample("apples"), sample("bananas")],
        student=student(chokes),
        memory=scratch,
        checkpoints=2,
    )
    assert result.samples == 1
    assert [point.accuracy for point in result.curve] == [0.0, 1.0, 1.0]
    assert [f.sample for f in result.failures] == ["bananas-0"]


async def test_calls_in_flight_stay_under_the_cap_with_repeats_and_checkpoints(
    namespace: str,
) -> None:
    memory = in_memory(namespace=namespace, trust="always", concurrency=3)
    await _teach(memory, "apples")
    await _teach(memory, "bananas")
    slow = SlowChatModel(script=follows, pause=lambda _: 0.001)
    steps: list[int] = []
    await evaluate(
        samples(4), student=slow, memory=memory, repeats=2, checkpoints=2,
        on_progress=lambda progress: steps.append(progress.done),
    )  # fmt: skip
    assert max(slow.flight) == 3
    assert steps == list(range(13)), "one step a sample"


async def test_a_judge_is_under_the_same_cap_and_its_cost_counts(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", concurrency=2)
    verdict = '{"reason": "right", "score": 1.0}'
    slow = SlowChatModel(script=follows, pause=lambda _: 0.001)
    judging = SlowChatModel(script=lambda _: verdict, pause=lambda _: 0.001)
    judging.flight, judging.gauge = slow.flight, slow.gauge  # calls of both are watched together
    result = await evaluate(samples(2), student=slow, memory=memory, grader=Judge(judging))
    assert max(slow.flight) == 2
    assert (result.without.accuracy, result.spend.student.calls, result.spend.teacher.calls) == (
        1.0,
        12,
        12,
    )


async def test_two_samples_with_one_id_both_count(scratch: TedMemory) -> None:
    await _teach(scratch, "apples")
    given = [sample("apples"), sample("bananas").model_copy(update={"id": "apples-0"})]
    result = await evaluate(given, student=student(), memory=scratch)
    assert (result.samples, result.with_.accuracy) == (2, 0.5)


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"checkpoints": -1}])
async def test_impossible_numbers_of_answers_are_refused(
    scratch: TedMemory, wrong: dict[str, int]
) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        await evaluate(samples(1), student=student(), memory=scratch, **wrong)


async def test_the_cost_is_told_where_prices_are(scratch: TedMemory) -> None:
    prices = Prices(student_in=2.0, student_out=8.0, currency="EUR")
    result = await evaluate(samples(1), student=student(), memory=scratch, prices=prices)
    spent = result.spend.student
    assert result.cost == pytest.approx((2.0 * spent.tokens_in + 8.0 * spent.tokens_out) / 1e6)
    assert result.cost > 0
    assert result.currency == "EUR"
    assert (await evaluate(samples(1), student=student(), memory=scratch)).cost is None


@pytest.mark.parametrize(
    ("learning", "ratio"), [(4.0, 5.0), (40.0, 0.5), (20.0, 1.0), (0.0, None), (5e-324, None)]
)
def test_learning_is_put_beside_training(learning: float, ratio: float | None) -> None:
    result = compare_with_training(learning, 10, 2.0)
    assert (result.training_cost, result.times_cheaper) == (20.0, ratio)
    assert (result.learning_cost, result.gpu_hours, result.gpu_hour_price) == (learning, 10, 2.0)


@pytest.mark.parametrize(
    ("cost", "hours", "price", "named"),
    [
        (1.0, 0, 2.0, "gpu_hours"), (1.0, -1, 2.0, "gpu_hours"), (1.0, math.nan, 2.0, "gpu_hours"),
        (1.0, 8, 0.0, "gpu_hour_price"), (1.0, 8, -2.0, "gpu_hour_price"),
        (1.0, 8, math.inf, "gpu_hour_price"),
        (-1.0, 8, 2.0, "learning_cost"), (math.nan, 8, 2.0, "learning_cost"),
        (1.0, 1e200, 1e200, "more than"),
    ],
)  # fmt: skip
def test_hours_and_prices_that_cannot_be_are_refused(
    cost: float, hours: float, price: float, named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        compare_with_training(cost, hours, price)


def test_mcnemar_agrees_with_counting_all_outcomes() -> None:
    for better in range(6):
        for worse in range(6):
            n = better + worse
            # under no effect each pair that differs goes either way; as far from the middle as this
            # one, or farther
            far = abs(better - worse)
            outcomes = [
                abs(2 * sum(ways) - n) >= far for ways in itertools.product((0, 1), repeat=n)
            ]
            pairs = [(0.0, 1.0)] * better + [(1.0, 0.0)] * worse
            assert mcnemar(pairs) == pytest.approx(sum(outcomes) / len(outcomes)), (better, worse)


def test_the_interval_of_many_samples_is_nearly_the_normal_one() -> None:
    draw = random.Random(7)
    for values in (
        [draw.choice((-1.0, 0.0, 0.0, 1.0, 1.0)) for _ in range(4000)],
        [draw.random() for _ in range(900)],
    ):
        mean, deviation = fmean(values), stdev(values)
        half = 1.959964 * deviation / math.sqrt(len(values))
        result = bootstrap(values)
        assert result.mean == pytest.approx(mean)
        assert result.low == pytest.approx(mean - half, abs=0.06 * half)
        assert result.high == pytest.approx(mean + half, abs=0.06 * half)


def test_the_interval_needs_no_package_that_the_base_does_not_bring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`make demo` installs no more than the base and what serves its models: no numpy."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError):
        importlib.import_module("numpy")
    interval = bootstrap([0.0, 1.0, 1.0, 0.0])
    assert (interval.mean, interval.low, interval.high) == (0.5, 0.0, 1.0)
