"""Health: the queue, who learns, dead letters, trials and what they wait for, spend, the store."""

from collections.abc import Sequence
from typing import Literal, cast, get_args

from starlette.requests import Request
from starlette.responses import Response

from ted_memory.errors import InvalidInput
from ted_memory.learner.overview import Funnel, funnel, pace
from ted_memory.learner.standing import standings
from ted_memory.web.desk import Desk, desk_of, require
from ted_memory.web.forms import read_form
from ted_memory.web.guard import Refused, is_number

MOST_TRIALS, MOST_DEAD = 50, 50
Kind = Literal["principal", "run", "thread"]
Stages = Sequence[tuple[str, int, str]]


async def show(request: Request) -> Response:
    """Show how the memory is."""
    desk = desk_of(request)
    memory = desk.memory
    now = await memory.load()
    way = await desk.if_allowed(lambda: funnel(memory))
    known = await desk.if_allowed(lambda: standings(memory, MOST_TRIALS)) or []
    trials = [(s, pace(s)) for s in known if s.experience.state == "trial"]
    return desk.page(
        request,
        "health.html",
        now=now,
        traffic=await desk.if_allowed(memory.traffic),
        letters=await desk.if_allowed(lambda: memory.dead_letters(MOST_DEAD)) or (),
        way=way,
        stages=_stages(way) if way else (),
        trials=trials,
        findings=await desk.if_allowed(memory.examine) or (),
        prices=desk.prices,
    )


async def dead_letters(request: Request) -> Response:
    """Put dead letters back into the queue, or forget them."""
    desk = desk_of(request)
    form = await read_form(request, desk)
    require(form.person, "admin")
    seqs = [int(seq) for seq in form.chosen if is_number(seq)]
    if not seqs:
        return desk.go("/health", "nothing was chosen: tick the boxes of dead letters first")
    if form.get("do") == "drop":
        gone = await desk.memory.drop_dead_letters(seqs)
        return desk.go("/health", f"{gone} dead letters are forgotten")
    back = await desk.memory.retry_dead_letters(seqs)
    return desk.go("/health", f"{back} dead letters wait again")


async def confirm_forget(request: Request) -> Response:
    """Ask before somebody is forgotten."""
    desk = desk_of(request)
    require(request.state.person, "admin")
    asked = request.query_params
    return desk.page(
        request,
        "forget.html",
        kind=_kind(asked.get("kind", "principal")),
        name=asked.get("name", ""),
        failed="",
    )


async def forget(request: Request) -> Response:
    """Forget a person, a run or a conversation for good."""
    desk = desk_of(request)
    form = await read_form(request, desk)
    require(form.person, "admin")
    kind, name = _kind(form.get("kind")), form.get("name")
    if name != form.get("again"):
        return _ask_again(request, desk, kind, name, "the two names differ; nothing was forgotten")
    try:
        report = await desk.memory.forget(kind, name)
    except InvalidInput as error:
        return _ask_again(request, desk, kind, name, str(error))
    removed, restored = len(report.lessons.removed), len(report.lessons.restored)
    return desk.go(
        "/health",
        f"forgotten: {report.episodes} episodes, {report.runs} runs, "
        f"{removed} lessons; {restored} lessons put back as they were before",
    )


def _ask_again(request: Request, desk: Desk, kind: Kind, name: str, failed: str) -> Response:
    return desk.page(request, "forget.html", status=409, kind=kind, name=name, failed=failed)


def _kind(value: str) -> Kind:
    if value not in get_args(Kind):
        raise Refused(400, f"{value!r} cannot be forgotten; use principal, run or thread")
    return cast(Kind, value)


def _stages(way: Funnel) -> Stages:
    """List the way from episodes to active lessons: a number, and what it counts."""
    return (
        ("recorded", way.recorded, "episodes"),
        ("learned from", way.learned_from, "episodes"),
        ("led to a proposal", way.taught, "episodes"),
        ("archived for replays", way.archived, "episodes"),
        ("proposed", way.proposed, "lessons"),
        ("replayed", way.pairs, "pairs of answers"),
        ("on trial", way.trial, "lessons"),
        ("live outcomes", way.outcomes, "of trials"),
        ("for a person", way.for_a_person, "lessons"),
        ("active from traffic", way.active, "lessons"),
    )
