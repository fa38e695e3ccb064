"""Which code a run has measured."""

import shutil
import subprocess
from pathlib import Path


def code_version() -> str:
    """The commit that is measured; "" where this is no checkout."""
    git = shutil.which("git")
    told = git and subprocess.run(
        [git, "rev-parse", "--short=7", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() if told else ""
