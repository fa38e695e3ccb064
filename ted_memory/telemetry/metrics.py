"""The instruments. What stands in their attributes is always one of a few words of ours.

No namespace does: a program may have thousands, and they may name customers. Spans have it, and
the Prometheus endpoint of a learner.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation

from ted_memory.models import Commit
from ted_memory.telemetry import names

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""The bounds of what takes one look at a cache or at the store."""
OF_MODELS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""The bounds, in seconds, of what asks models."""
REASONS = frozenset(
    ("conflict", "unknown", "cap", "unchanged", "too long", "empty", "purged", "aborted")
)
"""Why edits are refused, as far as a metric tells it (see `models.Rejected`)."""


class Metrics:
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._read = self._duration("read", "Looks at the store beside agents' calls.", SECONDS)
        self._commit = self._duration("commit", "Commits to a set.", SECONDS)
        self._episode = self._duration("episode", "A learner's work on an episode.", OF_MODELS)
        self._searches = 0
        meter.create_observable_counter(
            "ted_memory.searches",
            [self._observe_searches],
            unit="{search}",
            description="Requests that were shown lessons.",
        )
        self._edits = self._counter("edits", "edit", "Edits of commits.")
        self._runs = self._counter("runs", "run", "Runs of agents that were sent to the store.")
        self._feedback = self._counter("feedback", "feedback", "What was said of runs.")
        self._claimed = self._counter("claims", "episode", "Episodes that a learner claimed.")
        self._pairs = self._counter("pairs", "pair", "Replays of a lesson on a question.")
        self._moves = self._counter("lesson.moves", "lesson", "Lessons that a learner moved.")
        self._calls = self._counter("model.calls", "call", "Calls of models.")
        self._tokens = self._counter("model.tokens", "token", "Tokens of these calls.")

    def _counter(self, name: str, unit: str, description: str) -> Counter:
        return self._meter.create_counter(
            f"ted_memory.{name}", unit=f"{{{unit}}}", description=description
        )

    def _duration(self, name: str, description: str, bounds: Sequence[float]) -> "Duration":
        return Duration(self._meter, name, description, bounds)

    def searched(self) -> None:
        """A request was shown lessons. On its path nothing is done but to count."""
        self._searches += 1

    def _observe_searches(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(self._searches)]

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Stand around a look at the store."""
        began = time.time_ns()
        try:
            yield
        except Exception as error:
            self._read.since(began, error)
            raise
        self._read.since(began, None)

    def committed(self, began: int, error: BaseException | None) -> None:
        """A commit has ended."""
        self._commit.since(began, error)

    def edited(self, operations: Sequence[str], commit: Commit, refused: Sequence[str]) -> None:
        """A commit has applied edits, by their operations, and refused others."""
        for operation in operations:
            self._edits.add(1, {names.OPERATION: operation, names.OUTCOME: "applied"})
        for operation, rejected in zip(refused, commit.rejected, strict=True):
            reason = rejected.reason if rejected.reason in REASONS else "other"
            self._edits.add(1, {names.OPERATION: operation, names.OUTCOME: reason})

    def recorded(self, runs: Mapping[str, int]) -> None:
        """Runs were sent."""
        self._add(self._runs, names.OUTCOME, runs)

    def feedback(self, verdict: str) -> None:
        """Something was said of a run."""
        self._feedback.add(1, {names.VERDICT: verdict})

    def claimed(self, episodes: int) -> None:
        """A learner has claimed episodes."""
        self._claimed.add(episodes)

    def learned(self, began: int, outcome: str) -> None:
        """A learner is done with an episode."""
        self._episode.histogram.record((time.time_ns() - began) / 1e9, {names.OUTCOME: outcome})

    def replayed(self, outcome: str) -> None:
        """A lesson was replayed."""
        self._pairs.add(1, {names.OUTCOME: outcome.replace(" ", "_")})

    def moved(self, moves: Mapping[str, int]) -> None:
        """Lessons were moved."""
        self._add(self._moves, names.MOVE, moves)

    def spent(self, role: str, stage: str, *, calls: int, tokens_in: int, tokens_out: int) -> None:
        """A model was asked."""
        of = {names.ROLE: role, names.STAGE: stage}
        self._calls.add(calls, of)
        self._tokens.add(tokens_in, {**of, names.TOKEN_TYPE: "input"})
        self._tokens.add(tokens_out, {**of, names.TOKEN_TYPE: "output"})

    @staticmethod
    def _add(counter: Counter, label: str, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            if count:
                counter.add(count, {label: name})


class Duration:
    """A histogram of seconds."""

    def __init__(self, meter: Meter, name: str, description: str, bounds: Sequence[float]) -> None:
        self.histogram: Histogram = meter.create_histogram(
            f"ted_memory.{name}.duration",
            unit="s",
            description=description,
            explicit_bucket_boundaries_advisory=bounds,
        )

    def since(self, began: int, error: BaseException | None) -> None:
        """Note how long something took, and the class of its error."""
        took = (time.time_ns() - began) / 1e9
        self.histogram.record(took, {names.ERROR: type(error).__qualname__} if error else None)
