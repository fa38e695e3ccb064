"""What happens in the memory, told to OpenTelemetry: spans, events and metrics.

Callers say by one short call what has happened. How that is called in the conventions stands in
`telemetry.names`, and nothing outside this folder names OpenTelemetry.

OpenTelemetry is imported by whoever configures it, never by us: as long as nobody has, all of this
does nothing. What people and lessons say is told only where the environment variable of the
conventions asks for it (`ted_memory.settings.shows_content`). No metric says anything of it.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from ted_memory.episodes import Exposure, Feedback, Verdict
from ted_memory.models import Commit, Edit, ExperienceSet
from ted_memory.telemetry.reports import Evaluation, Learned

if TYPE_CHECKING:
    from ted_memory.telemetry.provider import Telemetry

API = {
    "opentelemetry.trace": "get_tracer_provider",
    "opentelemetry.metrics": "get_meter_provider",
    "opentelemetry._logs": "get_logger_provider",
}
"""The modules in which a program may have configured somebody who listens, and how to ask them."""

now: Callable[[], int] = time.time_ns
"""The time as OpenTelemetry counts it, in nanoseconds."""


def listens(provider: object) -> bool:
    """Tell whether a provider is more than what the API stands in with."""
    return not type(provider).__module__.startswith(tuple(API))


class Listener:
    """Who listens to this process: looked for now and then, since looking takes microseconds."""

    def __init__(self) -> None:
        self.found: Telemetry | None = None
        self.look_every: float = 1.0  # seconds
        self._look_at = 0.0

    def look(self) -> None:
        """Look for the providers of now."""
        self._look_at = time.monotonic() + self.look_every
        self.found = None
        # of what others have imported: to import it here would take as long as all of ours
        modules = [(sys.modules.get(name), ask) for name, ask in API.items()]
        if any(listens(getattr(module, ask)()) for module, ask in modules if module is not None):
            with contextlib.suppress(ImportError):  # the API is too old
                from ted_memory.telemetry import provider

                self.found = provider.current()

    def __call__(self) -> "Telemetry | None":
        """Find what tells OpenTelemetry of us; None where nobody listens."""
        if time.monotonic() >= self._look_at:
            self.look()
        return self.found


listener: Listener = Listener()


def _tell(say: "Callable[[Telemetry], None]") -> None:
    """Tell whoever listens. What their processors raise stops nothing that is told of."""
    if (told := listener()) is not None:
        with contextlib.suppress(Exception):
            say(told)


# --- an agent's call


def searched(
    namespace: str, question: str, shown: Exposure, lessons: ExperienceSet | None, *, began: int
) -> None:
    """A request was shown lessons: a span of its own, and a note on the span of the request.

    Args:
        namespace: of the set.
        question: what the lessons were chosen by.
        shown: what the request sees, and what the coin has kept from it.
        lessons: the set that these come from.
        began: when, by `now`.
    """
    _tell(lambda told: told.searched(namespace, question, shown, lessons, began=began))


def run_began(run_id: str) -> None:
    """A run that is recorded has begun here: what is said of it later belongs to this span."""
    _tell(lambda told: told.runs.begin(run_id))


def run_answered(run_id: str, response_id: str) -> None:
    """A provider has given the answer of a run this id."""
    if response_id:
        _tell(lambda told: told.runs.answer(run_id, response_id))


def reading() -> AbstractContextManager[None]:
    """Stand around a look at the store for changes, beside the agents' calls."""
    told = listener()
    return nullcontext() if told is None else told.metrics.reading()


def recorded(**runs: int) -> None:
    """So many runs were ``recorded``, ``dropped``, or could not be told (``broken``)."""
    _tell(lambda told: told.metrics.recorded(runs))


# --- what runs were worth


def feedback_given(namespace: str, feedback: Feedback, verdict: Verdict) -> None:
    """Somebody has said how good a run was, and the store has answered."""
    _tell(lambda told: told.feedback_given(namespace, feedback, verdict))


def graded(namespace: str, run_id: str, score: float, comment: str) -> None:
    """A learner has graded the answer of a live run."""
    _tell(lambda told: told.evaluated(Evaluation("grade", namespace, run_id, score, comment)))


# --- the set


def committing(
    namespace: str, edits: Sequence[Edit]
) -> AbstractContextManager[Callable[[Commit], None]]:
    """Stand around one commit; what is entered is told how it went.

    A span for each kind of operation among the edits, all of the same length: the store does them
    in one step. The first one is current, for the spans of whoever traces Redis.
    """
    told = listener()
    return nullcontext(_ignore) if told is None else told.committing(namespace, edits)


def dropping(namespace: str) -> AbstractContextManager[None]:
    """Stand around the end of a set."""
    told = listener()
    return nullcontext() if told is None else told.dropping(namespace)


# --- learning


def claimed(episodes: int) -> None:
    """A learner has claimed episodes."""
    _tell(lambda told: told.metrics.claimed(episodes))


def learning(namespace: str, run_id: str) -> AbstractContextManager[Learned]:
    """Stand around the work on one episode; what is entered is told its outcome."""
    told = listener()
    return nullcontext(Learned()) if told is None else told.learning(namespace, run_id)


def replayed(outcome: str) -> None:
    """A lesson was replayed on a recorded question: what became of the pair of answers."""
    _tell(lambda told: told.metrics.replayed(outcome))


def lessons_moved(moves: Mapping[str, int]) -> None:
    """A learner has put lessons on trial, activated, retired or demoted them."""
    _tell(lambda told: told.metrics.moved(moves))


def model_called(role: str, stage: str, *, calls: int, tokens_in: int, tokens_out: int) -> None:
    """A model was asked, by the role and for the stage that pays for it."""
    _tell(
        lambda told: told.metrics.spent(
            role, stage, calls=calls, tokens_in=tokens_in, tokens_out=tokens_out
        )
    )


def _ignore(_commit: Commit) -> None:
    """Nobody listens."""
