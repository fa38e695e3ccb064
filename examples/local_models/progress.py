"""Progress of a fetch, on standard error: a bar on a terminal, plain lines in a pipe."""

from rich.console import Console

WIDTH = 30  # characters of the bar


def show_progress(what: str, done: int, total: int) -> None:
    """Say that `done` of `total` steps of `what` are done."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        console.print(f"{what}: {done} of {total}", markup=False, soft_wrap=True)
        return
    filled = WIDTH * done // total
    bar = f"[green]{'━' * filled}[/][dim]{'━' * (WIDTH - filled)}[/]"
    console.print(
        f"\r{what} {bar} {done} of {total}", end="\n" if done == total else "", soft_wrap=True
    )
