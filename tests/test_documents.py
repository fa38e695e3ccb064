"""What the documents say of files is so: paths and links lead somewhere, records have no gap."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    *(
        ROOT / name
        for name in (
            "README.md",
            "CONTRIBUTING.md",
            "CHANGELOG.md",
            "AGENTS.md",
            "examples/README.md",
        )
    ),
    *(path for path in (ROOT / "docs").rglob("*.md") if "results" not in path.parts),
]
CODE = re.compile(r"`([\w./-]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
FOLDERS = {path.name for path in (ROOT / "ted_memory").iterdir() if path.is_dir()}
TOP = {"ted_memory", "tests", "docs", "examples", "bench", "graphs"}
A_FILE = re.compile(r"\.(py|md|lua|toml|json|png)$")


def paths_in(text: str) -> Iterator[str]:
    """What is written as a path of this project: it begins with its folder, or is a Python file."""
    for name in CODE.findall(text):
        first = name.split("/")[0]
        if ("/" in name and first in TOP | FOLDERS) or (
            A_FILE.search(name) and first in TOP | FOLDERS
        ):
            yield name


def is_there(name: str, page: Path) -> bool:
    places = (ROOT, ROOT / "ted_memory", page.parent)
    return any((place / name).exists() or any(place.glob(name)) for place in places)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_and_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lost = [name for name in paths_in(text) if not is_there(name.rstrip("/"), page)]
    links = (
        target
        for target, _ in LINK.findall(text)
        if "://" not in target and not target.startswith("mailto:")
    )
    lost += [target for target in links if not (page.parent / target).exists()]
    assert lost == []


def test_a_path_that_leads_nowhere_would_be_found() -> None:
    text = "see `storage/keys.py`, `experience/trials.py`, `input/output`, `tests/nothing.py`"
    found = list(paths_in(text))
    assert found == ["storage/keys.py", "experience/trials.py", "tests/nothing.py"]
    assert [is_there(name, ROOT / "README.md") for name in found] == [False, True, False]


def test_decision_records_are_numbered_without_a_gap() -> None:
    numbers = sorted(int(path.name[:3]) for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
