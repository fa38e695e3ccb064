"""With and without, in pairs."""

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Add, Sample, TedMemory
from ted_memory.errors import InvalidInput
from ted_memory.evaluation import evaluate
from ted_memory.evaluation.compare import bootstrap, mcnemar
from tests.distill.scripts import CODES, follows, sample, samples, student


async def _teach(memory: TedMemory, *things: str) -> None:
    await memory.commit([Add(text=f"say {CODES[t]}", when=f"asked about {t}") for t in things], author="me")


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
    assert set(fields["with"]) == set(fields["without"]) == {"accuracy"}
    assert set(fields["difference"]) == {"mean", "low", "high"}
    assert "with_" not in fields


async def test_what_fails_is_left_out_of_both_sides_and_listed(scratch: TedMemory) -> None:
    await _teach(scratch, "apples")

    def chokes(messages: list[BaseMessage]) -> str:
        if "bananas" in str(messages[-1].text) and len(messages) > 1:
            raise RuntimeError("I choke on this")
        return follows(messages)

    result = await evaluate([sample("apples"), sample("bananas")], student=student(chokes), memory=scratch)
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
