"""The desk as an ASGI application: which address is which page, and what a failure looks like."""

from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ted_memory.errors import (
    InvalidInput,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    TedMemoryError,
    reason_of,
)
from ted_memory.llm.spend import Prices
from ted_memory.memory.client import TedMemory
from ted_memory.web.access import SERVER_ROLES, SESSION_SECONDS, Access, Doorkeeper
from ted_memory.web.desk import Answering, Desk, desk_of
from ted_memory.web.forms import TOKEN, TYPED, Form
from ted_memory.web.guard import Guard, Refused
from ted_memory.web.pages import health, inbox, lesson, lessons, playground, versions

STATIC = Path(__file__).parent / "static"


def create_app(
    memory: TedMemory,
    access: Access | None = None,
    *,
    answering: Answering | None = None,
    prices: Prices | None = None,
    on_new_link: Callable[[str], None] | None = None,
) -> Starlette:
    """Make the desk of a memory. The caller opens the memory before, and closes it after.

    ``on_new_link`` is told the token of the next link when one was used. The token of the first is
    ``app.state.desk.doorkeeper.link_token``; a link is ``/enter?token=...``.
    """
    doorkeeper = Doorkeeper(access or Access())
    desk = Desk(memory, doorkeeper, answering=answering, prices=prices)
    tell = on_new_link or (lambda _: None)

    async def enter(request: Request) -> Response:
        return _enter(request, desk, tell)

    def refuse(request: Request, refused: Refused) -> ASGIApp:
        return trouble(request, desk, refused.status, _title(refused.status), str(refused))

    app = Starlette(
        routes=[
            Route("/enter", enter),
            Route("/", inbox.show),
            Route("/decide", inbox.decided_many, methods=["POST"]),
            Route("/decide/{id}", inbox.decided, methods=["POST"]),
            Route("/set", lessons.show),
            Route("/lessons/{id}", lesson.show),
            Route("/lessons/{id}/decide", lesson.decided, methods=["POST"]),
            Route("/playground", playground.show),
            Route("/playground/ask", playground.ask, methods=["POST"]),
            Route("/versions", versions.show),
            Route("/versions/compare", versions.compare),
            Route("/versions/rollback", versions.confirm),
            Route("/versions/rollback/do", versions.roll_back, methods=["POST"]),
            Route("/health", health.show),
            Route("/health/dead-letters", health.dead_letters, methods=["POST"]),
            Route("/forget", health.confirm_forget),
            Route("/forget/do", health.forget, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC), name="static"),
        ],
        middleware=[Middleware(Guard, doorkeeper=doorkeeper, refuse=refuse)],
        exception_handlers={
            Refused: _refused,
            HTTPException: _not_found,
            TedMemoryError: _failed,
        },
    )
    app.state.desk = desk
    return app


def _enter(request: Request, desk: Desk, tell: Callable[[str], None]) -> Response:
    """Exchange the token of a link for a session, and take it out of the address."""
    doorkeeper = desk.doorkeeper
    if request.method == "HEAD":  # a preview of a link does not use it up
        return Response()
    session = doorkeeper.open_with(request.query_params.get("token", ""))
    if session is None:
        told = "this link was used already, or is not of this desk. Its terminal shows a new one"
        return trouble(request, desk, 401, "This link does not open the desk", told)
    tell(doorkeeper.link_token)
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(
        doorkeeper.cookie,
        session,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


def trouble(
    request: Request, desk: Desk, status: int, title: str, told: str, *, again: bool = False
) -> Response:
    """Show what went wrong, and all that a person had typed; ``again``: it may be sent again."""
    form: Form | None = getattr(request.state, "form", None)
    return desk.page(
        request,
        "trouble.html",
        status=status,
        title=title,
        told=told,
        form=form,
        again=again and form is not None,
        labels=TYPED,
        form_field=TOKEN,
    )


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, Refused) else 400
    return trouble(request, desk_of(request), status, _title(status), str(error))


async def _not_found(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    told = "there is no such page at this desk"
    return trouble(request, desk_of(request), status, _title(status), told)


async def _failed(request: Request, error: Exception) -> Response:
    """Show what an error of ours says, with what was kept."""
    desk = desk_of(request)
    told = reason_of(error)
    if isinstance(error, StoreUnavailable):
        title = "The memory cannot be reached"
        return trouble(request, desk, 503, title, told, again=True)
    if isinstance(error, StoreRefused):
        role = SERVER_ROLES[request.state.person.role]
        told = (
            f"{told}. This desk connects as a user who may not do this: it needs one with the "
            f"role {role} of `ted-memory acl`, or a desk with less (--role)"
        )
        return trouble(request, desk, 403, "The server refuses this", told, again=True)
    if isinstance(error, InvalidInput):
        return trouble(request, desk, 400, "This cannot be stored", told)
    status = 500 if isinstance(error, StoreError) else 400
    return trouble(request, desk, status, "This did not work", told, again=True)


def _title(status: int) -> str:
    return {
        401: "Sign in",
        403: "Not allowed",
        404: "Not found",
        413: "Too large",
        421: "Wrong name",
    }.get(status, "This did not work")
