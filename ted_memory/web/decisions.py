"""Approve, edit, reject: what a person's decision commits, and what is shown if it cannot be.

A decision is made on a revision of a lesson. Where somebody was quicker, the store refuses it, and
the page says what has happened; what was typed stands there again.
"""

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from ted_memory.errors import CommitRefused
from ted_memory.experience.edits import tidy_when
from ted_memory.experience.rendering import tidy_text, tidy_turn
from ted_memory.models import Experience, LogEntry
from ted_memory.web.desk import Desk
from ted_memory.web.forms import Form
from ted_memory.web.guard import Refused

LOOKED_THROUGH = 100  # versions in which the other one's decision is looked for
LONGEST_REASON = 500  # characters
_DONE = {"approve": "approved", "reject": "rejected", "edit": "changed", "edit_approve": "approved"}


async def decide(request: Request, desk: Desk, form: Form, id: str) -> Response:
    """Commit one decision, and go on to the next proposal, or to where the form came from."""
    try:
        version = await _commit(desk, form, id)
    except CommitRefused as refused:
        return await _beaten(request, desk, form, id, str(refused))
    done = _DONE[form.get("do")]
    said = f"{id} {done}, version {version}"
    if form.get("from") == "lesson":
        return desk.go(f"/lessons/{id}", said)
    return desk.go("/", said, at=form.get("next"), sort=form.get("sort") or "evidence")


async def _commit(desk: Desk, form: Form, id: str) -> int:
    """Make the version that a decision asks for; gives its number."""
    do, rev = form.get("do"), form.number("rev")
    if do == "reject":
        terms = _terms_of(form)
        return (await desk.memory.reject(id, revs={id: rev}, token=form.token(), **terms)).version
    if do not in _DONE:
        raise CommitRefused(f"nothing was changed: there is no decision {do!r}")
    edited = None if do == "approve" else await _save_words(desk, form, id)
    if do == "edit":
        return rev if edited is None else edited
    return await _approve(desk, form, id, edited)


def _terms_of(form: Form) -> dict[str, str]:
    why = form.get("reason")[:LONGEST_REASON] or "by hand"
    return {"author": form.person.name, "why": why}


async def _save_words(desk: Desk, form: Form, id: str) -> int | None:
    """Save what was typed; gives the version, or None where the words are as they were."""
    if not await _has_other_words(desk, form, id):
        return None
    edited = await desk.memory.edit(
        id,
        form.get("text"),
        when=form.get("when"),
        example=form.get("example"),
        rev=form.number("rev"),
        token=f"{form.token()}-words",
        **_terms_of(form),
    )
    return edited.version


async def _approve(desk: Desk, form: Form, id: str, edited: int | None) -> int:
    """Approve a lesson as it was looked at, or as its words were saved; gives the version."""
    revs = {id: form.number("rev") if edited is None else edited}
    try:
        approved = await desk.memory.approve(id, revs=revs, token=form.token(), **_terms_of(form))
    except CommitRefused as refused:
        if edited is None:
            raise
        raise CommitRefused(
            f"the words were saved as version {edited}, and the lesson was not approved: {refused}"
        ) from refused
    return approved.version


async def _has_other_words(desk: Desk, form: Form, id: str) -> bool:
    """Tell whether words were changed, or are not those of this revision: the store says then."""
    lesson = (await desk.memory.load()).by_id.get(id)
    if lesson is None or lesson.rev != form.number("rev"):
        return True
    typed = form.get("example")
    words = (
        tidy_text(form.get("text")),
        tidy_when(form.get("when")),
        tidy_turn(typed) if lesson.task else tidy_text(typed),
    )
    return words != (lesson.text, lesson.when, lesson.example)


async def _beaten(request: Request, desk: Desk, form: Form, id: str, told: str) -> Response:
    """Tell what has become of the lesson meanwhile, with all that was typed."""
    now = (await desk.memory.load()).by_id.get(id)
    return desk.page(
        request,
        "beaten.html",
        status=409,
        told=told,
        id=id,
        lesson=now,
        last=await last_change(desk, id),
        form=form,
        was_rev=form.number("rev"),
    )


async def decide_many(
    desk: Desk, form: Form, chosen: Mapping[str, int]
) -> tuple[str, Sequence[str]]:
    """Approve or reject several lessons in one version.

    Gives what to say; and the ids that are still chosen, since nothing was changed.
    """
    if form.get("do") not in {"approve", "reject"}:
        raise Refused(400, "the form names no decision; nothing was changed")
    ids = tuple(chosen)
    act = desk.memory.reject if form.get("do") == "reject" else desk.memory.approve
    why = form.get("reason")[:LONGEST_REASON] or "by hand"
    if not ids:
        return "nothing was chosen: tick the boxes of proposals first", ()
    try:
        commit = await act(*ids, author=form.person.name, why=why, revs=chosen, token=form.token())
    except CommitRefused as refused:
        return str(refused), ids
    done = "rejected" if form.get("do") == "reject" else "approved"
    return f"{len(ids)} lessons {done}, version {commit.version}", ()


async def last_change(desk: Desk, id: str) -> LogEntry | None:
    """Find the latest version that changed a lesson; None where the log does not know."""
    return next(iter(await history_of(desk, id)), None)


async def history_of(desk: Desk, id: str) -> list[LogEntry]:
    """List the versions that changed a lesson, newest first, with these changes alone."""
    found = []
    for entry in await desk.memory.log(LOOKED_THROUGH):
        changes = tuple(c for c in entry.changes if id in _ids((*c.before, *c.after)))
        if changes:
            found.append(entry.model_copy(update={"changes": changes}))
    return found


def _ids(lessons: Sequence[Experience]) -> set[str]:
    return {lesson.id for lesson in lessons}
