"""Progress of a fetch: a bar on a terminal, plain lines in a pipe; on standard error."""

import sys

_last: list[str] = []


def show_progress(what: str, done: int, total: int) -> None:
    """Say that `done` of `total` steps of `what` are done."""
    if sys.stderr.isatty():
        _draw(what, done, total)
    else:
        print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)
