"""Learners of these tests do not wait for long."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import SERVERS, Server


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ted_memory.learner.learner.RETRY_AFTER", 0.01)
    monkeypatch.setattr("ted_memory.learner.learner.POLL", 0.02)
    monkeypatch.setattr("ted_memory.learner.beside.TICK", 0.05)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """One whose namespaces are all this test's."""
    assert SERVERS["valkey"] is not None
    started = Server(SERVERS["valkey"], tmp_path)
    yield started
    started.stop()
