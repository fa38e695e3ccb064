"""Inbox: what waits for a person, one proposal opened beside the list of all."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from ted_memory.episodes import Standing
from ted_memory.experience.comparing import Near, nearest
from ted_memory.learner.standing import standings
from ted_memory.models import ExperienceSet
from ted_memory.web.decisions import decide, decide_many
from ted_memory.web.desk import Desk, desk_of, require
from ted_memory.web.evidence import Known, to_decide
from ted_memory.web.forms import Form, read_form
from ted_memory.web.guard import Refused, is_number

MOST_LISTED = 60  # proposals of the list; the next ones come as these are decided
MOST_READ = 2000  # lessons whose evidence is read


async def show(request: Request) -> Response:
    """Show the list, and the proposal that is asked for, or the first one."""
    return await _render(request, desk_of(request))


async def decided(request: Request) -> Response:
    """Take a decision on one proposal."""
    desk = desk_of(request)
    form = await read_form(request, desk)
    require(form.person, "reviewer")
    return await decide(request, desk, form, request.path_params["id"])


async def decided_many(request: Request) -> Response:
    """Take one decision on all that are ticked."""
    desk = desk_of(request)
    form = await read_form(request, desk)
    require(form.person, "reviewer")
    chosen = _chosen(form)
    said, left = await decide_many(desk, form, chosen)
    if not left:
        return desk.go("/", said)
    return await _render(request, desk, failed=said, chosen=left, reason=form.get("reason"))


async def _render(
    request: Request,
    desk: Desk,
    *,
    failed: str = "",
    chosen: Sequence[str] = (),
    reason: str = "",
) -> Response:
    snapshot = await desk.memory.load()
    known: Sequence[Standing] = (
        await desk.if_allowed(lambda: standings(desk.memory, MOST_READ)) or ()
    )
    sort = "oldest" if request.query_params.get("sort") == "oldest" else "evidence"
    waiting = to_decide(snapshot, known, oldest_first=sort == "oldest")
    place = _place(waiting, request.query_params.get("at", ""))
    current = waiting[place] if waiting else None
    first = max(0, min(place - 5, len(waiting) - MOST_LISTED))
    return desk.page(
        request,
        "inbox.html",
        status=409 if failed else 200,
        waiting=waiting[first : first + MOST_LISTED],
        first=first,
        total=len(waiting),
        current=current,
        place=place,
        next=waiting[(place + 1) % len(waiting)].lesson.id if waiting else "",
        previous=waiting[place - 1].lesson.id if waiting else "",
        near=_near(current, snapshot) if current else None,
        on_trial=len(snapshot.trial),
        active=len(snapshot.active),
        sort=sort,
        failed=failed,
        chosen=chosen,
        reason=reason,
    )


def _place(waiting: Sequence[Known], id: str) -> int:
    return next((i for i, known in enumerate(waiting) if known.lesson.id == id), 0)


def _near(current: Known, snapshot: ExperienceSet) -> Near | None:
    """Find the lesson that agents see already and that is most like this one, else a proposal."""
    return nearest(current.lesson, snapshot.candidates) or nearest(
        current.lesson, snapshot.proposed
    )


def _chosen(form: Form) -> dict[str, int]:
    """Read the ticked boxes: an id and a revision each.

    Raises:
        Refused: one of them is no such pair.
    """
    chosen = {}
    for value in form.chosen:
        id, _, rev = value.partition(":")
        if not is_number(rev):
            raise Refused(400, "a box of this form lacks its revision; nothing was changed")
        chosen[id] = int(rev)
    return chosen
