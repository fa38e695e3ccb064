"""``make weight``: how many packages an installation brings, and how many megabytes they take.

Each is made anew in a folder that is removed afterwards. Nothing is asserted here.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
EXTRAS = ("", "langchain", "langchain,embeddings")
TOOLS = {"pip", "setuptools", "wheel"}  # of the venv itself


def weigh(extras: str, folder: Path) -> tuple[int, float, bool]:
    """How many packages there are beside ours, their size in MB, and whether numpy is one."""
    venv.create(folder, clear=True, with_pip=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    target = f"{ROOT}[{extras}]" if extras else str(ROOT)
    subprocess.run([*pip, "install", "--quiet", "--no-compile", target], check=True)
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(
        subprocess.run(
            [str(python), "-c", asked], check=True, capture_output=True, text=True
        ).stdout.strip()
    )
    names = {path.name.partition("-")[0].lower() for path in site.glob("*.dist-info")}
    files = [path for path in site.rglob("*") if path.is_file()]
    ours = [path for path in files if path.relative_to(site).parts[0] not in TOOLS]
    size = sum(path.stat().st_size for path in ours) / 1e6
    return len(names - TOOLS - {"ted_memory"}), size, "numpy" in names


def main() -> None:
    """Print a table."""
    table = Table(
        "installation",
        "packages",
        "MB",
        "numpy",
        title=f"Python {sys.version_info[0]}.{sys.version_info[1]}",
    )
    for extras in EXTRAS:
        with tempfile.TemporaryDirectory() as folder:
            packages, size, has_numpy = weigh(extras, Path(folder))
        told = f"ted-memory[{extras}]" if extras else "ted-memory"
        table.add_row(
            told.replace("[", "\\["), str(packages), f"{size:.0f}", "yes" if has_numpy else "no"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
