"""``ted-memory acl``: users of the server that may do no more than they need."""

from typing import Annotated

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.wiring import acl_commands


def acl(
    namespace: place.Namespace = None,
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role",
            help="agent, recorder, learner, reviewer, admin; may be repeated.  [default: all]",
        ),
    ] = None,
    json: place.Json = False,
) -> None:
    """Print commands that make least-privilege users.

    One ACL SETUSER for each role, with a fresh password.

    With TED_MEMORY_DURABILITY=fsync they allow WAITAOF, too (Redis 7.2 and newer, Valkey).

    Keys of --json: the roles; each has its command.

    Examples:
        ted-memory acl --namespace support --role agent --role learner
    """
    settings = place.settings_of(namespace)
    commands = acl_commands(settings.namespace, role or (), durability=settings.durability)
    if json:
        output.print_json(commands)
        return
    for command in commands.values():
        output.out.print(command, markup=False)
