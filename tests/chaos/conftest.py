"""A server of a test's own, and what the fault tests measured."""

import gc
import sys
from collections.abc import Iterator

import pytest

from tests.chaos.sizes import FIGURES, FULL
from tests.conftest import Server


@pytest.fixture
def server(own_server: Server) -> Server:
    """A server for one test: its clients are counted, and all of its keys are looked at."""
    return own_server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FULL and FIGURES:
        terminalreporter.section("figures")
        for figure in FIGURES:
            terminalreporter.write_line(figure)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Ignore what redis-py's cluster client leaves unclosed when nodes come and go.

    Collected here, it does not become the warning of a later test.
    """
    yield
    if _is_of_a_cluster(item):
        told, sys.unraisablehook = sys.unraisablehook, lambda _: None
        gc.collect()
        sys.unraisablehook = told


def _is_of_a_cluster(item: pytest.Item) -> bool:
    group = item.get_closest_marker("xdist_group")
    return group is not None and group.args == ("topologies",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FULL and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(3600))
        if _is_of_a_cluster(item):
            item.add_marker(
                pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
            )
