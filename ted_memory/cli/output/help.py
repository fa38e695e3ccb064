"""How ``--help`` looks: options and commands in groups, and examples as they are typed."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent, indent
from typing import Any, ClassVar

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

_EXAMPLES = "\n\nExamples:\n"
"""What begins the examples in a command's docstring: the lines below it are printed as they are."""


class _WithExamples:
    """A mixin before a Typer class: examples of the docstring are printed below the options."""

    help: str | None
    examples: str = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.help, _, self.examples = (self.help or "").partition(_EXAMPLES)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - of click
        """Write the examples."""
        if self.examples:
            with formatter.section("Examples"):
                formatter.write(indent(dedent(self.examples).rstrip(), "  ") + "\n")


class Command(_WithExamples, TyperCommand):
    """A command whose options stand under the names of their groups (``rich_help_panel``)."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write what belongs to this command alone first, then the groups as they come."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(_group_of(param), []).append(record)
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


def _group_of(param: Any) -> str:
    if isinstance(param, TyperArgument):
        return "Arguments"
    named = param.rich_help_panel if isinstance(param, TyperOption) else None
    return named or "Options"


class Commands(_WithExamples, TyperGroup):
    """Commands in groups."""

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """The names of the groups, each with the commands in it; without them there is one group."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - of click
        """Write a line for each command, under the name of its group."""
        longest = max(map(len, self.commands))
        room = formatter.width - 6 - longest
        for group, names in (self.groups or {"Commands": tuple(self.commands)}).items():
            rows = [
                (name.ljust(longest), self.commands[name].get_short_help_str(room))
                for name in names
            ]
            with formatter.section(group):
                formatter.write_dl(rows)
