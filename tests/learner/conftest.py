"""Learners of these tests do not wait for long."""

import pytest


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ted_memory.learner.learner.RETRY_AFTER", 0.01)
    monkeypatch.setattr("ted_memory.learner.learner.POLL", 0.02)
    monkeypatch.setattr("ted_memory.learner.beside.TICK", 0.05)
