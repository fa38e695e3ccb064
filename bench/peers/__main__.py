"""``python -m bench.peers``: set up the environment of the peers, where that can be done."""

import subprocess
import sys
import venv

from bench.peers import ENVIRONMENT, HERE

READY = ENVIRONMENT / "ready"


def main() -> None:
    """Install what ``requirements.txt`` names, unless that was done before."""
    wanted = (HERE / "requirements.txt").read_text(encoding="utf-8")
    if READY.exists() and READY.read_text(encoding="utf-8") == wanted:
        return
    print("installing the peers that are measured beside, into .venv-peers ...")
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "install", "--quiet", "--requirement", str(HERE / "requirements.txt")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(f"they cannot be installed, so the report leaves them out: {done.stderr[-300:]}")
        sys.exit(0)
    READY.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
