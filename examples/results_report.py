"""The report of `examples.results`, from the figures that its runs left."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Figures = dict[str, Any]


def write(folder: Path, names: Sequence[str]) -> None:
    """Write ``README.md`` from the runs that are there, in this order."""
    paths = [folder / "runs" / f"{name}.json" for name in names]
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    (folder / "README.md").write_text(report(runs), encoding="utf-8")


def report(runs: Sequence[Figures]) -> str:
    """Return the report."""
    return "\n".join(run["name"] for run in runs) + "\n"
