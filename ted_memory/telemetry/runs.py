"""Where a run stands in its program's traces: what is said of it later is shown there."""

import threading
from dataclasses import dataclass

from opentelemetry import trace

MOST_RUNS = 4096  # that are remembered; the oldest go


@dataclass
class Place:
    """The span in which a run began, and the id that a provider gave to its answer."""

    span: trace.SpanContext
    response_id: str = ""


class Runs:
    """The latest runs of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[str, Place] = {}

    def begin(self, run_id: str) -> None:
        """Remember the current span as the one that a run belongs to."""
        span = trace.get_current_span().get_span_context()
        with self._lock:
            self._places.pop(run_id, None)
            self._places[run_id] = Place(span)
            if len(self._places) > MOST_RUNS:
                del self._places[next(iter(self._places))]

    def answer(self, run_id: str, response_id: str) -> None:
        """Remember the id of a run's answer."""
        if (place := self._places.get(run_id)) is not None:
            place.response_id = response_id

    def find(self, run_id: str) -> Place | None:
        """Tell where a run began; None where that was elsewhere, or long ago."""
        return self._places.get(run_id)
