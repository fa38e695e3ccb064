"""How lessons are made: settings of the distillation, by their names."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ted_memory.errors import InvalidInput
from ted_memory.settings import Settings

_option = partial(typer.Option, rich_help_panel="Learning")

Trust = Annotated[
    str | None,
    _option(
        "--trust",
        help="evidence, review (a person approves as well), always (at once).  [default: evidence]",
    ),
]
Rollouts = Annotated[int | None, _option("--rollouts", help="Attempts a sample.  [default: 5]")]
Profile = Annotated[
    str | None,
    _option(
        "--profile",
        help="Which models it is for: default (capable ones) or small.  [default: default]",
    ),
]
Instructions = Annotated[
    str | None,
    _option(
        "--instructions",
        help="Your word on the domain, for teacher, critic and compactor; or @FILE.",
    ),
]
Prompts = Annotated[
    str | None,
    _option("--prompts", help="Folder with prompts of your own, such as critic.md."),
]
VerifyCalls = Annotated[
    int | None,
    _option(
        "--verify-calls",
        help="Student calls that verify one edit at most; 0: edits are not verified.  "
        "[default: as the profile says]",
    ),
]
CritiqueBatch = Annotated[
    int | None,
    _option("--critique-batch", help="Failed samples that a critic sees at once.  [default: 1]"),
]
MaxRevisions = Annotated[
    int | None,
    _option("--max-revisions", help="Times the critic is asked again at most.  [default: 2]"),
]
Validation = Annotated[
    float | None,
    _option(
        "--validation", help="Held-out share of 200 samples or more; 0: no gate.  [default: 0.2]"
    ),
]
ShownShare = Annotated[
    float | None,
    _option("--shown-share", help="Share of the set that each attempt may see.  [default: 0.8]"),
]
Checkpoints = Annotated[
    int | None,
    _option(
        "--checkpoints", help="Stages of the run that the gate takes the best of.  [default: 1]"
    ),
]
Compaction = Annotated[
    str | None,
    _option("--compaction", help="What goes first when a cap presses: utility, count, age, none."),
]
CompactEvery = Annotated[
    int | None, _option("--compact-every", help="Commits between compactions.  [default: 20]")
]


def instructions_of(given: str | None) -> str | None:
    """Read the instructions, from the file that they name (``@FILE``) or as they are.

    Raises:
        InvalidInput: the file cannot be read.
    """
    if given is None or not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"the instructions {given[1:]} cannot be read: {error}; nothing was begun"
        ) from None


def settings_among(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Choose those of a command's arguments that are settings by their names.

    Where the memory lives is not among them.

    Raises:
        InvalidInput: the instructions name a file that cannot be read.
    """
    names = Settings.model_fields.keys() - {"url", "namespace", "home"}
    settings = {name: value for name, value in arguments.items() if name in names}
    return settings | {"instructions": instructions_of(settings.get("instructions"))}
