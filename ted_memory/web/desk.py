"""What every page needs: the memory, the templates, who is there."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ted_memory.errors import StoreRefused
from ted_memory.experience.comparing import spelled_out, word_diff
from ted_memory.llm.spend import Prices
from ted_memory.memory.client import TedMemory
from ted_memory.web import pictures
from ted_memory.web.access import Doorkeeper, Person, Role
from ted_memory.web.guard import Refused

T = TypeVar("T")


def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("ted_memory.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters.update(
        raw_text=lambda text: Markup(escape(text)),  # noqa: S704 - escaped here
        ago=_ago,
        day=lambda at: f"{at:%Y-%m-%d}" if at else "",
        minute=lambda at: f"{at:%Y-%m-%d %H:%M} UTC" if at else "",
        thousands=lambda number: f"{number:,}",
    )
    made.globals.update(word_diff=word_diff, pictures=pictures)
    return made


def _shown(value: Any) -> Any:
    """Spell out what nobody would see: what a reviewer approves is what the reviewer sees."""
    return (
        spelled_out(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
    )


def _ago(at: datetime | None) -> str:
    """Write how long something is past, in the largest unit that it has two of."""
    if at is None:
        return ""
    seconds = max(0.0, (datetime.now(UTC) - at).total_seconds())
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name} ago"
    return "just now"


@dataclass(frozen=True)
class Answering:
    """A model that the playground may ask; ``name`` is what the page calls it."""

    model: Any
    name: str


@dataclass(frozen=True)
class Desk:
    """The desk of one memory."""

    memory: TedMemory
    doorkeeper: Doorkeeper
    answering: Answering | None = None
    prices: Prices | None = None
    templates: Environment = field(default_factory=_templates)

    def page(
        self, request: Request, template: str, *, status: int = 200, **context: Any
    ) -> Response:
        """Render a page for who is there."""
        person: Person | None = getattr(request.state, "person", None)
        said = request.query_params.get("said", "")
        text = self.templates.get_template(template).render(
            person=person,
            token=self.doorkeeper.form_token(person) if person else "",
            said=self.doorkeeper.message_of(said),
            here=request.url.path,
            query=dict(request.query_params),
            # a page of another site may read what is told to somebody who has not come in
            namespace=self.memory.namespace if person else "review desk",
            **context,
        )
        return HTMLResponse(text, status_code=status)

    def go(self, path: str, said: str = "", **query: str) -> Response:
        """Send the browser to another page, which begins with what was done."""
        if said:
            query["said"] = self.doorkeeper.message(said)
        target = f"{path}?{urlencode(query)}" if query else path
        return RedirectResponse(target, status_code=303)

    async def if_allowed(self, read: Callable[[], Awaitable[T]]) -> T | None:
        """Read what the server may refuse its user; None where it does."""
        try:
            return await read()
        except StoreRefused:
            return None


def desk_of(request: Request) -> Desk:
    """Give the desk that a request is at."""
    desk: Desk = request.app.state.desk
    return desk


def require(person: Person, role: Role) -> None:
    """Turn away who may not do what needs this role.

    Raises:
        Refused: the person's role is less.
    """
    if not person.may(role):
        raise Refused(
            403,
            f"this needs a desk that was started with --role {role}; this one is a desk for a "
            f"{person.role}. Nothing was changed",
        )
