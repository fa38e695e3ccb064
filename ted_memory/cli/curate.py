"""Commands by which people look after a set."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ted_memory.cli import options, output
from ted_memory.errors import InvalidInput
from ted_memory.memory.client import TedMemory
from ted_memory.memory.commits import REASONS, refuse_unless_whole
from ted_memory.models import Add, Commit, Edit, PurgeReport, Rewrite
from ted_memory.wiring import acl_commands

Ids = Annotated[
    list[str], typer.Argument(help="Ids, as `ted-memory show` prints them.", metavar="ID...")
]
Author = Annotated[str, typer.Option("--author", help="Who does this; stands in the log.")]


def diff(
    old: Annotated[int, typer.Argument(min=0, help="The older version.")],
    new: Annotated[int | None, typer.Argument(min=0, help="The newer one.  [default: now]")] = None,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Show what changed between two versions."""

    async def run() -> None:
        async with options.memory_of(url, namespace, home) as memory:
            changes = await memory.diff(old, new)
            if json:
                told = [change.model_dump(mode="json") for change in changes]
                output.print_json(
                    {"namespace": memory.namespace, "old": old, "new": new, "changes": told}
                )
                return
            for change in changes:
                output.print_difference(change.before, change.after)
            if not changes:
                output.out.print("no difference")

    asyncio.run(run())


def edit(
    id: Annotated[str, typer.Argument(help="The lesson, as `ted-memory show` prints it.")],
    text: Annotated[str, typer.Option("--text", help="What to do.")],
    when: Annotated[
        str | None, typer.Option("--when", help="Where it applies.  [default: as it was]")
    ] = None,
    example: Annotated[
        str | None, typer.Option("--example", help="One worked example.  [default: as it was]")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", help="What the example answers: both become an earlier turn."),
    ] = None,
    index_terms: Annotated[
        str | None,
        typer.Option(
            help="Words by which it is found besides --when.  [default: as they were, none with a new --when]"
        ),
    ] = None,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    author: Author = "cli",
    json: options.Json = False,
) -> None:
    """Give a lesson another text."""
    rewrite = Rewrite(
        id=id, text=text, when=when, example=example, task=task, index_terms=index_terms
    )
    asyncio.run(_change([rewrite], namespace, url, home, author=author, json=json))


def add(
    text: Annotated[str, typer.Option("--text", help="What to do then.")],
    when: Annotated[
        str, typer.Option("--when", help="The situation it is for; none: every task.")
    ] = "",
    example: Annotated[str, typer.Option("--example", help="One short example.")] = "",
    proposed: Annotated[
        bool, typer.Option("--proposed", help="Have it wait for a person or evidence.")
    ] = False,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    author: Author = "cli",
    json: options.Json = False,
) -> None:
    """Add a lesson by hand; every agent sees it from now on."""
    lesson = Add(text=text, when=when, example=example, state="proposed" if proposed else "active")
    asyncio.run(_change([lesson], namespace, url, home, author=author, json=json))


def approve(
    ids: Ids,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    author: Author = "cli",
    json: options.Json = False,
) -> None:
    """Make lessons active: every agent sees them from now on."""

    async def run() -> None:
        async with options.memory_of(url, namespace, home) as memory:
            _print_changed(memory, await memory.approve(*ids, author=author), json=json)

    asyncio.run(run())


def reject(
    ids: Ids,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    author: Author = "cli",
    json: options.Json = False,
) -> None:
    """Retire lessons.

    They leave the set; the log keeps them, and a rollback may bring them back.
    """

    async def run() -> None:
        async with options.memory_of(url, namespace, home) as memory:
            _print_changed(memory, await memory.reject(*ids, author=author), json=json)

    asyncio.run(run())


async def _change(
    edits: list[Rewrite] | list[Add],
    namespace: str | None,
    url: str | None,
    home: str | None,
    *,
    author: str,
    json: bool,
) -> None:
    async with options.memory_of(url, namespace, home) as memory:
        commit = await memory.commit(list[Edit](edits), author=author, why="by hand", atomic=True)
        _print_changed(memory, refuse_unless_whole(commit), json=json)


def _print_changed(memory: TedMemory, commit: Commit, *, json: bool) -> None:
    if json:
        ids = [applied.id for applied in commit.applied]
        output.print_json(
            {"namespace": memory.namespace, "version": commit.version, "changed": ids}
        )
    else:
        output.out.print(f"namespace {memory.namespace!r} is at version {commit.version}")


def purge(
    source: Annotated[
        str, typer.Option("--source", help="As in --json output, such as principal:anna or run:17.")
    ],
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: options.Json = False,
) -> None:
    """Take out for good what came from one source.

    Also what went through rewrites and merges, and in the log. What it was merged with comes back.
    """
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Take out all that came from {source!r}? It cannot come back", abort=True)

    async def run() -> None:
        async with options.memory_of(url, namespace, home) as memory:
            report = await memory.purge(source)
            if json:
                output.print_json({"namespace": memory.namespace, **report.model_dump(mode="json")})
                return
            output.out.print(
                f"version {report.version}: {len(report.removed)} lessons removed, {len(report.restored)} put back as "
                f"they were before this source, {len(report.blanked)} versions of the log emptied of it, "
                f"{report.archived} archived episodes forgotten"
            )
            if report == PurgeReport(version=report.version):
                output.out.print(
                    f"  nothing here came from {source!r}. Sources stand in `ted-memory show --json`, such as "
                    "principal:anna, run:17, author:cli, dataset:tickets#12",
                    markup=False,
                )
            if report.waiting:
                output.out.print(
                    f"  proposed only, for want of room: {', '.join(report.waiting)}", markup=False
                )
            if report.unknown:
                output.out.print(
                    f"  what these had been made from is no longer in the history: {', '.join(report.unknown)}",
                    markup=False,
                )

    asyncio.run(run())


def forget(
    principal: Annotated[str | None, typer.Option("--principal", help="Forget a person.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Forget one run, by its id.")] = None,
    thread: Annotated[
        str | None, typer.Option("--thread", help="Forget one conversation, by its thread id.")
    ] = None,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: options.Json = False,
) -> None:
    """Forget a person, a run or a conversation: what was recorded of it, and what was learned from it, for good."""
    named: dict[Literal["principal", "run", "thread"], str | None]
    named = {"principal": principal, "run": run, "thread": thread}
    given = [(kind, name) for kind, name in named.items() if name]
    if len(given) != 1:
        raise InvalidInput("say whom or what to forget: one of --principal, --run, --thread")
    [(kind, name)] = given
    if not yes and sys.stdin.isatty():
        typer.confirm(
            f"Forget all that was recorded of {kind} {name!r} and learned from it? Nothing brings it back",
            abort=True,
        )

    async def work() -> None:
        async with options.memory_of(url, namespace, home) as memory:
            report = await memory.forget(kind, name)
            if json:
                output.print_json({"namespace": memory.namespace, **report.model_dump(mode="json")})
                return
            lessons = report.lessons
            output.out.print(
                f"{report.episodes} episodes that waited, {report.runs} runs, {report.words} words of feedback, "
                f"{lessons.archived} archived episodes forgotten; version {lessons.version}: {len(lessons.removed)} "
                f"lessons removed, {len(lessons.restored)} put back as they were before"
            )
            if lost := (*lessons.waiting, *lessons.unknown):
                output.out.print(
                    f"  not as they were before, for want of room or of history: {', '.join(lost)}",
                    markup=False,
                )
            if report.drafts:
                output.out.print(
                    f"  {report.drafts} runs of distill that held some of it begin anew"
                )
            if not report.compacted:
                output.out.print(
                    "  the server is yours: its append-only file and its backups hold what was deleted until they are "
                    "rewritten (BGREWRITEAOF)"
                )

    asyncio.run(work())


def export(
    file: Annotated[
        Path | None, typer.Argument(help="Where to write; - is standard output.  [default: -]")
    ] = None,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
) -> None:
    """Write a set as JSON Lines that another installation can import."""

    async def run() -> str:
        async with options.memory_of(url, namespace, home) as memory:
            return await memory.export()

    text = asyncio.run(run())
    if file is None or str(file) == "-":
        sys.stdout.write(text)
        return
    unfinished = file.with_name(f"{file.name}.part")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(file)  # whole or not at all
    except OSError as error:
        raise InvalidInput(
            f"{file} cannot be written ({error.strerror}); nothing was exported"
        ) from error
    output.err.print(f"{text.count(chr(10)) - 1} experiences written to {file}", markup=False)


def import_(
    file: Annotated[
        Path, typer.Argument(help="What `ted-memory export` wrote.", exists=True, dir_okay=False)
    ],
    merge: Annotated[
        bool, typer.Option("--merge", help="Add to a set that is not empty what it lacks.")
    ] = False,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Take in an exported set. Without --merge: into an empty one, all or nothing."""

    async def run() -> None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{file} cannot be read ({error}); nothing was imported") from error
        async with options.memory_of(url, namespace, home) as memory:
            report = await memory.import_set(text, merge=merge, name=str(file))
            if json:
                output.print_json({"namespace": memory.namespace, **report.model_dump(mode="json")})
                return
            output.out.print(
                f"namespace {memory.namespace!r} is at version {report.version}: {len(report.added)} added, "
                f"{len(report.unchanged)} were there, {len(report.duplicates)} are there under another id, "
                f"{len(report.conflicts)} say something else here and were left out, {len(report.refused)} refused"
            )
            for id, reason in report.refused:
                output.out.print(f"  {id}: {REASONS.get(reason, reason)}", markup=False)

    asyncio.run(run())


def acl(
    namespace: options.Namespace = None,
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role",
            help="agent, recorder, learner, reviewer, admin; may be repeated.  [default: all]",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Print commands that make least-privilege users.

    One ACL SETUSER for each role, with a fresh password.

    With TED_MEMORY_DURABILITY=fsync they allow WAITAOF, too (Redis 7.2 and newer, Valkey).
    """
    settings = options.settings_of(namespace)
    commands = acl_commands(settings.namespace, role or (), durability=settings.durability)
    if json:
        output.print_json(commands)
        return
    for command in commands.values():
        output.out.print(command, markup=False)
