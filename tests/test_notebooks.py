"""The notebooks run from top to bottom, and print what is kept in them."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
LARGEST = 40_000  # bytes


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def printed(notebook: Any) -> list[str]:
    """What each cell of code has printed; whatever else it left is an error."""
    texts = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert all(output.output_type == "stream" for output in cell.outputs), cell.outputs
            assert all(output.name == "stdout" for output in cell.outputs), cell.outputs
            texts.append("".join(output.text for output in cell.outputs))
    return texts


def run(notebook: Any, folder: Path) -> Any:
    # its kernel listens on a port of this machine, and says so as a warning
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    return client.execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_prints_what_is_kept_in_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    kept = printed(read(path))
    assert any(kept)
    assert printed(run(read(path), tmp_path)) == kept
    assert path.stat().st_size < LARGEST


def test_a_cell_that_fails_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cell = nbformat.v4.new_code_cell("from ted_memory import open_memroy")
    with pytest.raises(CellExecutionError, match="open_memroy"):
        run(nbformat.v4.new_notebook(cells=[cell]), tmp_path)


def test_there_is_one() -> None:
    assert [path.name for path in NOTEBOOKS] == ["ted_memory.ipynb"]
