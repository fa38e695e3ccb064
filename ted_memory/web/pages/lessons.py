"""Set: all lessons, searched, filtered, sorted by lift, a page at a time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ted_memory.derived import Derived
from ted_memory.experience.lift import Utility, observed
from ted_memory.models import Experience, Usage
from ted_memory.web.desk import desk_of
from ted_memory.web.guard import number_or

A_PAGE = 50
LONGEST_SEARCH = 200  # characters
STATES = ("active", "trial", "proposed")
SORTS = {"lift": "highest lift", "harm": "lowest lift", "newest": "newest", "oldest": "oldest"}


@dataclass(frozen=True)
class Row:
    """A lesson with its lift, if it was ever compared."""

    lesson: Experience
    lift: Utility | None


@dataclass(frozen=True)
class Asked:
    """What of the set is asked for; ``state`` is "" for all."""

    words: str
    state: str
    sort: str
    page: int

    @classmethod
    def of(cls, request: Request) -> "Asked":
        """Read it from the address; what is not known there is left out."""
        query = request.query_params
        state, sort = query.get("state", ""), query.get("sort", "")
        return cls(
            words=query.get("q", "")[:LONGEST_SEARCH],
            state=state if state in STATES else "",
            sort=sort if sort in SORTS else "lift",
            page=max(1, number_or(1, query.get("page", ""))),
        )

    def matches(self, lesson: Experience) -> bool:
        """Tell whether a lesson is asked for."""
        is_there = not self.state or lesson.state == self.state
        return is_there and _has(lesson, self.words.casefold().split())


async def show(request: Request) -> Response:
    """Show a page of the lessons that are asked for."""
    desk, asked = desk_of(request), Asked.of(request)
    snapshot = await desk.memory.load()
    usage = await desk.if_allowed(desk.memory.usage)
    found = [e for e in snapshot if asked.matches(e)]
    rows = _sorted(found, snapshot.usage if usage is None else usage, asked.sort)
    pages = max(1, -(-len(rows) // A_PAGE))
    page = min(asked.page, pages)
    return desk.page(
        request,
        "set.html",
        rows=rows[(page - 1) * A_PAGE : page * A_PAGE],
        found=len(rows),
        total=len(snapshot),
        counts=Counter(e.state for e in snapshot),
        caps=snapshot.caps,
        tokens=sum(e.tokens for e in snapshot.active),
        version=snapshot.version,
        words=asked.words,
        state=asked.state,
        sort=asked.sort,
        sorts=SORTS,
        page=page,
        pages=pages,
    )


def _sorted(found: Sequence[Experience], usage: Mapping[str, Usage], sort: str) -> list[Row]:
    rows = [Row(e, observed(usage[e.id]) if e.id in usage else None) for e in found]
    if sort in {"newest", "oldest"}:
        return sorted(rows, key=lambda row: row.lesson.order, reverse=sort == "newest")
    sign = 1.0 if sort == "harm" else -1.0

    def place(row: Row) -> tuple[bool, float, int]:
        return row.lift is None, sign * row.lift.mean if row.lift else 0.0, row.lesson.order

    return sorted(rows, key=place)


_TEXTS: Derived[str] = Derived()


def _has(lesson: Experience, words: Sequence[str]) -> bool:
    """Tell whether a lesson has all these words, anywhere."""
    if not words:
        return True
    said = _TEXTS.get(lesson)
    if said is None:
        sources = "\n".join(lesson.sources)
        text = "\n".join((lesson.id, *lesson.lesson, lesson.index_terms, sources))
        said = _TEXTS.put(lesson, text.casefold())
    return all(word in said for word in words)
