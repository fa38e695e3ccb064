"""A run takes little longer than its models: wall clock and our own work, at 200 ms a call."""

import pytest

from bench import method
from ted_memory.testing import in_memory
from tests.chaos.sizes import FULL, report, size


async def test_a_run_takes_hardly_longer_than_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "LATENCY", size(0.01, 0.2))
    memory = in_memory(
        namespace="timed",
        profile="small",
        selection="all",
        trust="always",
        concurrency=method.CAP,
    )
    run = await method.timed(memory, size(20, 100))
    report(
        f"{run.calls} calls in {run.seconds:.1f} s: {run.ratio:.3f} of the least, "
        f"{run.cpu_ms:.1f} ms of ours a call"
    )
    assert run.report.samples == size(20, 100)
    assert run.report.spend.student.calls + run.report.spend.teacher.calls == run.calls
    if FULL:
        assert run.ratio <= 1.10
        assert run.cpu_ms <= 10
