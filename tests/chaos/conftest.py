"""A server of a test's own, and what the fault tests measured."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.sizes import FIGURES, FULL
from tests.conftest import SERVERS, Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One that nobody else uses: its clients are counted, all its keys looked at, thousands of them left."""
    assert SERVERS["valkey"] is not None
    started = Server(SERVERS["valkey"], tmp_path)
    yield started
    started.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FULL and FIGURES:
        terminalreporter.section("figures")
        for figure in FIGURES:
            terminalreporter.write_line(figure)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if FULL:
        for item in items:
            item.add_marker(pytest.mark.timeout(3600))
