"""The command line: parse, call, print. No logic."""

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ted_memory.cli import curate, doctor, learn, measure, output, plan, sets, status, traffic
from ted_memory.errors import TedMemoryError


def _tell(what: str) -> None:
    print(f"ted-memory: {what}", file=sys.stderr)  # noqa: T201


class _Commands(TyperGroup):
    """Says in one line what typer would end in silence, or in a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _tell("interrupted; the same command goes on where it stopped")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            raise
        except OSError as error:  # a disk that is full, a file that may not be written
            _tell(f"{error.strerror or error}; what was kept before stays")
            raise typer.Exit(1) from None


app = typer.Typer(
    name="ted-memory",
    cls=_Commands,
    help="A memory that makes LangChain agents better at their own job, without training.\n\n"
    "The memory is at --url or TED_MEMORY_URL; without one it is an embedded server with its data in ./.ted-memory "
    "(TED_MEMORY_HOME).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ted-memory {version('ted-memory')}")
        raise typer.Exit


@app.callback()
def _options(
    shown: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None: ...


app.command()(learn.distill)
app.command("eval")(measure.evaluate)
app.command()(sets.show)
app.command()(sets.log)
app.command()(sets.namespaces)
app.command()(sets.drop)
app.command()(sets.rollback)
app.command()(curate.diff)
app.command()(curate.add)
app.command()(curate.edit)
app.command()(curate.approve)
app.command()(curate.reject)
app.command()(curate.purge)
app.command()(curate.forget)
app.command()(curate.export)
app.command("import")(curate.import_)
app.command()(curate.acl)
app.command()(traffic.learn)
app.command()(status.status)
app.command()(status.explain)
app.command()(plan.plan)
app.command()(doctor.doctor)
app.command()(traffic.feedback)
app.add_typer(traffic.dead, name="dead")


def main() -> None:
    """Run the command line; a known error is one line on standard error and exit code 1."""
    try:
        app()
    except TedMemoryError as error:
        print(f"ted-memory: {output.visible(' '.join(str(error).split()))}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except BrokenPipeError:  # the reader has seen enough: `ted-memory log | head`
        sys.stderr.close()
        sys.exit(0)
