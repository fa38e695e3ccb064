"""Peers, each measured in an environment of its own: nothing of theirs is in the package.

``make bench`` sets that environment up from ``requirements.txt``, once (`bench.peers.__main__`).
Where it cannot, the report leaves them out.
"""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ENVIRONMENT = HERE.parents[1] / ".venv-peers"
LONGEST = 300  # seconds


@cache
def peers(program: str) -> dict[str, Any]:
    """Return what a program of this folder has measured, by the name of the peer.

    Nothing where the environment is missing.
    """
    if not (ENVIRONMENT / "ready").exists():
        return {}
    command = [str(ENVIRONMENT / "bin" / "python"), str(HERE / f"{program}.py")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONGEST)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
