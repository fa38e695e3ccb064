"""A command that was written wrongly: two lines, where typer prints five."""

from typing import Any

import typer

from ted_memory.cli.output.terminal import err, print_error

# click's, which newer versions of typer have within themselves
WrongUsage: Any = typer.BadParameter.__base__


def tell_usage(error: Any) -> None:
    """Say what is wrong with a command's words, and where to read what they may be."""
    if type(error).show is not WrongUsage.show:  # without a command there is help
        error.show()
        return
    command = error.ctx.command_path if error.ctx else "ted-memory"
    # typer reads a choice with pydantic, whose words these are
    message = error.format_message().rstrip(".").replace("Value error, ", "")
    print_error(command, message[:1].lower() + message[1:])
    err.print(f"nothing was done; `{command} --help` tells what it takes", markup=False)
