"""Playground: what a question would be shown and why; with a model, its answer with and without."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from ted_memory.episodes import Exposure
from ted_memory.errors import TedMemoryError, reason_of
from ted_memory.experience.rendering import count_tokens
from ted_memory.llm.calls import Calls
from ted_memory.llm.messages import sample_messages, show_lessons
from ted_memory.llm.spend import Spend
from ted_memory.models import Experience, ExperienceSet, Sample
from ted_memory.retrieval.reasons import Reason, reasons
from ted_memory.web.desk import Desk, desk_of, require
from ted_memory.web.forms import read_form

LONGEST_QUESTION = 8000  # characters
MOST_LISTED = 20  # lessons that were found and are not shown
MOST_SHOWN = 50  # lessons of the prompt that are listed one by one
PATIENCE = 120.0  # seconds for both answers


@dataclass(frozen=True)
class Found:
    """A lesson that the question is about, or that is shown for another reason.

    ``rank`` is its place among those that were found; None: it applies always, or is in the prompt
    whatever is asked.
    """

    reason: Reason
    rank: int | None
    shown: bool

    @property
    def lesson(self) -> Experience:
        """The lesson itself."""
        return self.reason.lesson


@dataclass(frozen=True)
class Answer:
    """What the model said, or why it said nothing."""

    text: str = ""
    failed: str = ""
    cost: Spend = field(default_factory=Spend)


async def show(request: Request) -> Response:
    """Show what a question would be shown."""
    question = request.query_params.get("q", "")[:LONGEST_QUESTION]
    return await _render(request, desk_of(request), question)


async def ask(request: Request) -> Response:
    """Have the model answer a question, with the lessons and without them."""
    desk = desk_of(request)
    form = await read_form(request, desk)
    require(form.person, "reviewer")
    question = form.get("question")[:LONGEST_QUESTION]
    exposure = await desk.memory.present(question)
    answers = await _answers(desk, question, exposure) if question and desk.answering else ()
    return await _render(request, desk, question, answers)


async def _render(
    request: Request, desk: Desk, question: str, answers: Sequence[Answer] = ()
) -> Response:
    snapshot = await desk.memory.load()
    exposure = await desk.memory.present(question) if question.strip() else None
    found = await _found(desk, snapshot, question) if question.strip() else None
    return desk.page(
        request,
        "playground.html",
        question=question,
        found=found,
        exposure=exposure,
        tokens=count_tokens(exposure.block) if exposure else 0,
        presentation=desk.memory.presentation(snapshot),
        answering=desk.answering,
        answers=answers,
        retrieval=desk.memory.settings.retrieval,
    )


@dataclass(frozen=True)
class Findings:
    """Lessons of a prompt and others that were found; ``more`` of the prompt's are not listed."""

    listed: Sequence[Found]
    more: int


async def _found(desk: Desk, snapshot: ExperienceSet, question: str) -> Findings:
    """List those that are shown, in the prompt's order, then what was found besides."""
    memory = desk.memory
    shown = await memory.show(snapshot, question)
    ranked = (await memory.rank(snapshot.active, question)).ids or ()
    places = {id: place for place, id in enumerate(ranked, start=1)}
    seen = {e.id for e in shown}
    others = [snapshot.by_id[id] for id in ranked if id not in seen][:MOST_LISTED]
    # of all, since how rare a word is depends on all
    listed = (*shown[:MOST_SHOWN], *others)
    said = reasons(snapshot.active, question, listed, language=memory.settings.language)
    found = [
        Found(reason, places.get(reason.lesson.id), reason.lesson.id in seen) for reason in said
    ]
    return Findings(found, max(0, len(shown) - MOST_SHOWN))


async def _answers(desk: Desk, question: str, exposure: Exposure) -> tuple[Answer, Answer]:
    """Ask the model twice at a time: with the lessons, and without."""
    plain = sample_messages(Sample(id="playground", input=question))
    calls = Calls(2)
    with_lessons, without = await asyncio.gather(
        _answer(desk, calls, show_lessons(plain, exposure)), _answer(desk, calls, plain)
    )
    return with_lessons, without


async def _answer(desk: Desk, calls: Calls, messages: Sequence[object]) -> Answer:
    if desk.answering is None:
        return Answer()
    try:
        async with asyncio.timeout(PATIENCE):
            said, cost = await calls.invoke("student", desk.answering.model, list(messages))  # type: ignore[arg-type]
    except TedMemoryError as error:
        return Answer(failed=reason_of(error))
    except TimeoutError:
        return Answer(failed=f"no answer within {PATIENCE:.0f} s")
    except Exception as error:  # noqa: BLE001 - whatever a provider's client raises is told
        return Answer(failed=reason_of(error))
    return Answer(text=str(said.text), cost=cost)
