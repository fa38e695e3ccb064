"""What a learner tells of its steps, also after more of them than its report keeps."""

from typing import Any

import pytest

from ted_memory.cli import learn
from ted_memory.learner import LearnerReport, beside
from ted_memory.learner.beside import Beside
from ted_memory.learner.report import STEPS
from ted_memory.learner.spaces import Space, Spaces
from ted_memory.testing import in_memory

EACH = STEPS // 2 + 7  # steps of one look


async def looks(report: LearnerReport, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let a learner look at its trials so often, each time with many steps that are due."""

    async def busy(_memory: Any, _holder: str, known: Any, done: list[str]) -> Any:
        first = report.earlier + len(done)
        done += [f"step {i}" for i in range(first, first + EACH)]
        return done, known

    monkeypatch.setattr(beside, "look", busy)
    memory = in_memory()

    def space(memory: Any) -> Space:
        return Space(memory, graph=None, replayer=None)  # type: ignore[arg-type]

    def note(error: BaseException) -> None:
        raise error

    spaces = Spaces(memory, (memory.namespace,), space, budget=None, note=note)
    one = Beside(spaces, "one", report, note, must_pause=lambda: False)
    for _ in range(number):
        await one.look()
    await memory.aclose()


async def test_every_step_is_told_once_though_the_report_keeps_a_thousand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = LearnerReport()
    teller = learn._Teller(report, in_memory())
    for _ in range(5):
        await looks(report, monkeypatch, 1)
        teller.tell_steps()
    assert capsys.readouterr().err.splitlines() == [f"step {i}" for i in range(5 * EACH)]
    assert (len(report.steps), report.earlier) == (STEPS, 5 * EACH - STEPS)
    assert report.steps[-1] == f"step {5 * EACH - 1}"


async def test_who_asks_too_seldom_is_told_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    report = LearnerReport()
    await looks(report, monkeypatch, 1)
    told, number = report.steps_since(0)
    assert (len(told), number) == (EACH, EACH)
    await looks(report, monkeypatch, 4)
    told, number = report.steps_since(number)
    assert (told, number) == (report.steps, 5 * EACH)
    assert report.steps_since(number) == ([], number)
