"""Serve the two models until Ctrl-C: `python -m examples.local_models`."""

import contextlib
import signal
from typing import Annotated

import typer

from examples.local_models import STUDENT, TEACHER, FetchError, ServeError, serve


def main(
    slots: Annotated[
        int, typer.Option(help="Requests that each server works on at a time.", min=1)
    ] = 2,
) -> None:
    """Fetch the two small models if need be, serve them on 127.0.0.1 and print their URLs."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            contextlib.suppress(KeyboardInterrupt),
            serve(STUDENT, TEACHER, slots=slots) as (student, teacher),
        ):
            typer.echo(f"--student {STUDENT.name} --student-base-url {student}")
            typer.echo(f"--teacher {TEACHER.name} --teacher-base-url {teacher}")
            typer.echo("Ctrl-C ends both.", err=True)
            signal.pause()
    except (FetchError, ServeError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
