"""What the commands are tried with: models behind a scripted server, and a data set."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.helpdesk import FILE_LINES, serve_in_thread


@pytest.fixture(scope="package")
def models() -> Iterator[str]:
    """The base URL of a server with a student, a teacher and a judge."""
    with serve_in_thread() as url:
        yield url


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "colours.jsonl"
    path.write_text("\n".join(FILE_LINES), encoding="utf-8")
    return path
