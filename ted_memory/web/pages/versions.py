"""Versions: who changed what, when and why; two versions side by side; going back."""

from starlette.requests import Request
from starlette.responses import Response

from ted_memory.errors import CommitRefused, HistoryTrimmed
from ted_memory.web.desk import Desk, desk_of, require
from ted_memory.web.forms import read_form
from ted_memory.web.guard import Refused, number_or

A_PAGE = 20
MOST_CHANGES = 200  # that one page lists


async def show(request: Request) -> Response:
    """Show a page of the log, newest first."""
    desk = desk_of(request)
    page = max(1, number_or(1, request.query_params.get("page", "")))
    now = await desk.memory.load()
    entries = await desk.memory.log(page * A_PAGE + 1)
    begin = (page - 1) * A_PAGE
    return desk.page(
        request,
        "versions.html",
        entries=entries[begin : begin + A_PAGE],
        now=now,
        page=page,
        has_more=len(entries) > begin + A_PAGE,
    )


async def compare(request: Request) -> Response:
    """Show what changed from one version to another."""
    desk, asked = desk_of(request), request.query_params
    now = await desk.memory.load()
    old, new = number_or(0, asked.get("old", "")), number_or(now.version, asked.get("new", ""))
    try:
        changes = await desk.memory.diff(old, new)
    except HistoryTrimmed as error:
        raise Refused(404, str(error)) from None
    return desk.page(
        request,
        "compare.html",
        old=old,
        new=new,
        now=now,
        changes=changes[:MOST_CHANGES],
        total=len(changes),
    )


async def confirm(request: Request) -> Response:
    """Show what going back would change, and ask."""
    desk = desk_of(request)
    require(request.state.person, "admin")
    return await _confirm(request, desk, number_or(-1, request.query_params.get("to", "")))


async def roll_back(request: Request) -> Response:
    """Restore an older version as a new one."""
    desk = desk_of(request)
    form = await read_form(request, desk)
    require(form.person, "admin")
    version = form.number("to")
    try:
        commit = await desk.memory.rollback(
            version, author=form.person.name, since=form.number("since")
        )
    except (CommitRefused, HistoryTrimmed) as refused:
        return await _confirm(request, desk, version, failed=str(refused))
    if not commit.applied:
        return desk.go("/versions", f"nothing changed: the set is as version {version} was")
    return desk.go("/versions", f"version {commit.version} restores version {version}")


async def _confirm(request: Request, desk: Desk, version: int, *, failed: str = "") -> Response:
    now = await desk.memory.load()
    try:
        # from now to then: what a rollback takes away and brings back
        changes = await desk.memory.diff(now.version, version)
    except HistoryTrimmed as error:
        raise Refused(404, str(error)) from None
    return desk.page(
        request,
        "rollback.html",
        status=409 if failed else 200,
        version=version,
        now=now,
        changes=changes[:MOST_CHANGES],
        total=len(changes),
        failed=failed,
    )
