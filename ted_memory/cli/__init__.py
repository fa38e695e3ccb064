"""The command line: parse, call, print. No logic.

Each command has a file named like it, with the function that typer makes a command of. Options and
printing that several share are in `options` and `output`.
"""

import inspect
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any, ClassVar

import typer

from ted_memory.cli import (
    acl,
    add,
    approve,
    dead,
    desk,
    diff,
    distill,
    doctor,
    drop,
    edit,
    eval,
    explain,
    export,
    feedback,
    forget,
    import_,
    learn,
    log,
    namespaces,
    output,
    plan,
    purge,
    reject,
    rollback,
    show,
    status,
)
from ted_memory.cli.output.help import Command, Commands
from ted_memory.cli.output.usage import WrongUsage, tell_usage
from ted_memory.errors import TedMemoryError

COMMANDS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Learn from a data set": {
        "distill": distill.distill,
        "eval": eval.evaluate,
    },
    "Learn from live traffic": {
        "plan": plan.plan,
        "learn": learn.learn,
        "status": status.status,
        "explain": explain.explain,
        "feedback": feedback.feedback,
        "dead": dead.app,
    },
    "See and decide in a browser": {
        "desk": desk.desk,
    },
    "Look at a set": {
        "show": show.show,
        "log": log.log,
        "diff": diff.diff,
        "export": export.export,
    },
    "Change a set": {
        "add": add.add,
        "edit": edit.edit,
        "approve": approve.approve,
        "reject": reject.reject,
        "rollback": rollback.rollback,
        "import": import_.import_,
    },
    "Delete for good": {
        "purge": purge.purge,
        "forget": forget.forget,
        "drop": drop.drop,
    },
    "Look after a memory": {
        "namespaces": namespaces.namespaces,
        "doctor": doctor.doctor,
        "acl": acl.acl,
    },
}
"""All commands, in the groups and in the order of ``ted-memory --help``."""


def _tell(what: str) -> None:
    output.print_error("ted-memory", what)


class _CommandLine(Commands):
    """Says in one line what typer would end in silence, or in a traceback."""

    groups: ClassVar = {group: tuple(commands) for group, commands in COMMANDS.items()}

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


app: typer.Typer = typer.Typer(
    name="ted-memory",
    cls=_CommandLine,
    help="A memory that makes LangChain agents better at their own job, without training.\n\n"
    "Each command takes --url (or TED_MEMORY_URL), where the memory is; without one it is an "
    "embedded server with its data in ./.ted-memory (TED_MEMORY_HOME).\n\n"
    "Exit codes: 0 done; 1 it could not be done, or what was looked for is there (a problem, "
    "nothing learned), and the last line says what was kept and what to do; 2 the command was "
    "written wrongly, and nothing was done; 130 interrupted.\n\n"
    "Examples:\n"
    "    ted-memory distill train.jsonl --student openai:gpt-5-nano --teacher openai:gpt-5\n"
    "    ted-memory show\n"
    "    ted-memory eval test.jsonl --student openai:gpt-5-nano",
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


def help_of(command: Callable[..., None]) -> str:
    """Read a command's help: its docstring, and that of its file below the first line.

    A command with many options fills a page with them alone.
    """
    _, _, more = (sys.modules[command.__module__].__doc__ or "").partition("\n\n")
    return f"{inspect.getdoc(command)}\n\n{more}".rstrip()


for _group in COMMANDS.values():
    for _name, _command in _group.items():
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, name=_name)
        else:
            app.command(_name, cls=Command, help=help_of(_command))(_command)


def main() -> None:
    """Run the command line; an error is a line or two on standard error, and an exit code."""
    try:
        sys.exit(app(prog_name="ted-memory", standalone_mode=False))
    except TedMemoryError as error:
        _tell(str(error))
        sys.exit(1)
    except typer.Abort:
        _tell("not confirmed; nothing was changed")
        sys.exit(1)
    except WrongUsage as error:
        tell_usage(error)
        sys.exit(2)
    except BrokenPipeError:  # the reader has seen enough: `ted-memory log | head`
        sys.stderr.close()
        sys.exit(0)
