"""Lesson: all that is known of one, why it is where it is, and its history."""

from starlette.requests import Request
from starlette.responses import Response

from ted_memory.episodes import Standing
from ted_memory.learner.overview import departure, pace
from ted_memory.learner.standing import explain
from ted_memory.models import ExperienceSet
from ted_memory.web.decisions import decide, history_of
from ted_memory.web.desk import Desk, desk_of, require
from ted_memory.web.evidence import known_of
from ted_memory.web.forms import read_form
from ted_memory.web.guard import Refused


async def show(request: Request) -> Response:
    """Show one lesson, also one that has left the set."""
    desk, id = desk_of(request), request.path_params["id"]
    snapshot = await desk.memory.load()
    lesson = snapshot.by_id.get(id)
    if lesson is None:
        return await _gone(request, desk, id)
    standing = await desk.if_allowed(lambda: explain(desk.memory, id))
    usage = await desk.if_allowed(desk.memory.usage)
    return desk.page(
        request,
        "lesson.html",
        known=known_of(lesson, standing, snapshot.usage if usage is None else usage),
        usage=(snapshot.usage if usage is None else usage).get(id),
        pace=pace(standing) if standing else None,
        children=_made_from(snapshot, id),
        history=await history_of(desk, id),
        sides=_sides(standing),
    )


async def decided(request: Request) -> Response:
    """Take a decision on this lesson."""
    desk = desk_of(request)
    form = await read_form(request, desk)
    require(form.person, "reviewer")
    return await decide(request, desk, form, request.path_params["id"])


async def _gone(request: Request, desk: Desk, id: str) -> Response:
    """Show how a lesson has left the set.

    Raises:
        Refused: nobody knows it.
    """
    gone = await departure(desk.memory, id)
    if gone is None:
        raise Refused(404, f"there is no lesson {id!r} in this set, and the log knows of none")
    return desk.page(request, "gone.html", gone=gone, history=await history_of(desk, id))


def _made_from(snapshot: ExperienceSet, id: str) -> list[str]:
    """List the lessons that this one was merged into."""
    return [lesson.id for lesson in snapshot if id in lesson.parents]


def _sides(standing: Standing | None) -> list[tuple[str, float, float]]:
    """Put the wealths into rows: what is bet on, how far it is, what decides."""
    if standing is None:
        return []
    active = standing.experience.state == "active"
    rows = [
        ("it helps, by replayed pairs", standing.helps, standing.needed["helps"]),
        ("it is of no use, by replayed pairs", standing.useless, standing.needed["useless"]),
        ("it helps, by live outcomes", standing.live, standing.needed["live"]),
        ("it hurts, by live outcomes", standing.harms, standing.needed["harms"]),
    ]
    turned = ("it has come to hurt, since it is active", standing.turned, standing.needed["turned"])
    return [*rows, turned] if active else rows
