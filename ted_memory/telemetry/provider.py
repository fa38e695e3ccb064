"""Tells the providers that a program has configured for OpenTelemetry.

Imported once somebody else has imported the API (see `ted_memory.telemetry`).
"""

import contextlib
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from opentelemetry import _logs as logs
from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from ted_memory.episodes import Exposure, Feedback, Verdict
from ted_memory.models import Commit, Edit, ExperienceSet
from ted_memory.settings import Content, shows_content
from ted_memory.telemetry import listens, names, now
from ted_memory.telemetry.metrics import Metrics
from ted_memory.telemetry.operations import content_of, operation_of, record, records
from ted_memory.telemetry.reports import Evaluation, Learned
from ted_memory.telemetry.runs import Place, Runs

MOST = 128  # ids, records or reasons that one span lists
REFUSED = frozenset(("foreign", "limited"))
"""Verdicts on feedback that counts for nothing: it is no result of an evaluation."""

Providers = tuple[trace.TracerProvider, metrics.MeterProvider, logs.LoggerProvider]

_held: "Telemetry | None" = None


def current() -> "Telemetry":
    """Find what tells the providers of now."""
    global _held  # noqa: PLW0603 - made anew where a program configures others
    providers = (
        trace.get_tracer_provider(),
        metrics.get_meter_provider(),
        logs.get_logger_provider(),
    )
    if _held is None or _held.providers != providers:
        _held = Telemetry(providers)
    return _held


class Telemetry:
    """What tells one set of providers.

    Attributes:
        providers: of spans, metrics and events.
        runs: where the latest runs stand in traces.
        metrics: the instruments.
    """

    def __init__(self, providers: Providers) -> None:
        self.providers = providers
        self.runs: Runs = Runs()
        tracers, meters, loggers = providers
        told = version("ted-memory")
        self._tracer = tracers.get_tracer(names.SCOPE, told)
        self._logger = loggers.get_logger(names.SCOPE, told)
        # older versions take no events
        takes_events = "event_name" in inspect.signature(self._logger.emit).parameters
        self._has_events = listens(loggers) and takes_events
        self.metrics: Metrics = Metrics(meters.get_meter(names.SCOPE, told))
        self._content: Content = shows_content()

    # --- an agent's call

    def searched(
        self,
        namespace: str,
        question: str,
        shown: Exposure,
        lessons: ExperienceSet | None,
        *,
        began: int,
    ) -> None:
        """Tell of what a request was shown, and of what the coin has kept from it."""
        seen_and_withheld: dict[str, Any] = {names.SEEN: shown.seen, names.VERSION: shown.version}
        if shown.withheld:
            seen_and_withheld[names.WITHHELD] = shown.withheld
        trace.get_current_span().set_attributes(seen_and_withheld)
        attributes = {
            names.OPERATION: names.SEARCH,
            names.STORE: namespace,
            names.RECORD_COUNT: len(shown.seen),
            **seen_and_withheld,
        }
        if self._content.spans:
            known = lessons.by_id if lessons is not None else {}
            seen = records(known[id] for id in shown.seen if id in known)
            attributes |= {names.QUERY: _sendable(question), names.RECORDS: _json(seen)}
        # it is answered from this process
        self._tracer.start_span(
            names.SEARCH, kind=SpanKind.INTERNAL, attributes=attributes, start_time=began
        ).end()
        self.metrics.searched()

    # --- what runs were worth

    def feedback_given(self, namespace: str, feedback: Feedback, verdict: Verdict) -> None:
        """Tell of what somebody has said of a run."""
        self.metrics.feedback(verdict)
        if feedback.score is not None and verdict not in REFUSED:
            self.evaluated(
                Evaluation(
                    name="feedback",
                    namespace=namespace,
                    run_id=feedback.run_id,
                    score=feedback.score,
                    comment=feedback.comment,
                    verdict=verdict,
                )
            )

    def evaluated(self, found: Evaluation) -> None:
        """Emit the result of an evaluation, within the span that its run began in.

        An event is a log record. Where a program keeps none, it is put on the current span.
        """
        place = self.runs.find(found.run_id)
        attributes = self._of_evaluation(found, place)
        if not self._has_events:
            trace.get_current_span().add_event(names.EVALUATION, attributes)
            return
        within = None
        if place is not None and place.span.is_valid:
            within = trace.set_span_in_context(trace.NonRecordingSpan(place.span))
        self._logger.emit(
            timestamp=now(), context=within, event_name=names.EVALUATION, attributes=attributes
        )

    def _of_evaluation(self, found: Evaluation, place: Place | None) -> dict[str, Any]:
        explained = self._content.events if self._has_events else self._content.spans
        attributes = {
            names.EVALUATION_NAME: found.name,
            names.SCORE: float(found.score),
            names.LABEL: found.label,
            names.EXPLANATION: _sendable(found.comment) if explained else "",
            names.RESPONSE: place.response_id if place is not None else "",
            names.STORE: found.namespace,
            names.RUN: found.run_id,
            names.VERDICT: found.verdict,
        }
        return {name: value for name, value in attributes.items() if value != ""}

    # --- the set

    @contextlib.contextmanager
    def committing(
        self, namespace: str, edits: Sequence[Edit]
    ) -> Iterator[Callable[[Commit], None]]:
        """Stand around one commit, with a span for each operation."""
        began, operations = now(), dict[str, list[Edit]]()
        for edit in edits:
            operations.setdefault(operation_of(edit), []).append(edit)
        spans = {
            operation: self._span(
                operation, namespace, {names.RECORD_COUNT: len(of_it)}, SpanKind.CLIENT, began
            )
            for operation, of_it in operations.items()
        }
        failed: BaseException | None = None
        with _first_is_current(spans):
            try:
                yield partial(self._committed, spans)
            except BaseException as error:
                failed = error
                raise
            finally:
                for span in spans.values():
                    _end(span, failed)
                self.metrics.committed(began, failed)

    def _committed(self, spans: dict[str, trace.Span], commit: Commit) -> None:
        with contextlib.suppress(Exception):  # what has been committed is not to look refused
            self._tell_of_commit(spans, commit)

    def _tell_of_commit(self, spans: dict[str, trace.Span], commit: Commit) -> None:
        applied: dict[str, list[tuple[str, Edit]]] = {operation: [] for operation in spans}
        for one in commit.applied:
            applied.setdefault(operation_of(one.edit), []).append((one.id, one.edit))
        refused = [operation_of(one.edit) for one in commit.rejected]
        for operation, span in spans.items():
            if span.is_recording():
                reasons = [
                    rejected.reason
                    for rejected, of in zip(commit.rejected, refused, strict=True)
                    if of == operation
                ]
                span.set_attributes(self._of_edits(applied[operation][:MOST], reasons[:MOST]))
                span.set_attribute(names.VERSION, commit.version)
        done = [operation for operation, of_it in applied.items() for _ in of_it]
        self.metrics.edited(done, commit, refused)

    def _of_edits(
        self, applied: Sequence[tuple[str, Edit]], reasons: Sequence[str]
    ) -> dict[str, Any]:
        """Write what the edits of one operation have changed."""
        told: dict[str, Any] = {names.CHANGED: [id for id, _ in applied]}
        if len(applied) == 1:
            told[names.RECORD] = applied[0][0]
        if reasons:
            told[names.REFUSED] = reasons
        if self._content.spans:
            said = [record(id, content_of(edit)) for id, edit in applied]
            told[names.RECORDS] = _json(said)
        return told

    @contextlib.contextmanager
    def dropping(self, namespace: str) -> Iterator[None]:
        """Stand around the end of a set."""
        span = self._span(names.DELETE_STORE, namespace, {}, SpanKind.CLIENT, now())
        with _ended(span), _current_span(span):
            yield

    # --- learning

    @contextlib.contextmanager
    def learning(self, namespace: str, run_id: str) -> Iterator[Learned]:
        """Stand around the work on one episode."""
        began, learned = now(), Learned()
        of = {names.STORE: namespace, names.RUN: run_id}
        span = self._started(names.LEARN, SpanKind.INTERNAL, of, began)
        try:
            with _ended(span), _current_span(span):
                yield learned
                span.set_attribute(names.OUTCOME, learned.outcome)
        finally:
            self.metrics.learned(began, learned.outcome or "released")

    def _span(
        self, operation: str, namespace: str, more: dict[str, Any], kind: SpanKind, began: int
    ) -> trace.Span:
        attributes = {names.OPERATION: operation, names.STORE: namespace, **more}
        return self._started(operation, kind, attributes, began)

    def _started(
        self, name: str, kind: SpanKind, attributes: dict[str, Any], began: int
    ) -> trace.Span:
        """Start a span; one that nobody sees where a processor of the program's fails."""
        try:
            return self._tracer.start_span(name, kind=kind, attributes=attributes, start_time=began)
        except Exception:  # noqa: BLE001 - the work goes on, whatever a processor does
            return trace.INVALID_SPAN


def _first_is_current(spans: dict[str, trace.Span]) -> contextlib.AbstractContextManager[Any]:
    first = next(iter(spans.values()), None)
    return contextlib.nullcontext() if first is None else _current_span(first)


def _current_span(span: trace.Span) -> contextlib.AbstractContextManager[Any]:
    # an error's message may hold what people say: `_end` tells its class
    return trace.use_span(span, record_exception=False, set_status_on_exception=False)


@contextlib.contextmanager
def _ended(span: trace.Span) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        _end(span, error)
        raise
    _end(span, None)


def _end(span: trace.Span, error: BaseException | None) -> None:
    """End a span. What its processors raise is none of our caller's business."""
    with contextlib.suppress(Exception):
        if error is not None:
            span.set_attribute(names.ERROR, type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR))
        span.end()


def _json(value: list[dict[str, Any]]) -> str:
    return _sendable(json.dumps(value, ensure_ascii=False))


def _sendable(text: str) -> str:
    """Replace halves of characters (lone surrogates), over which an exporter drops a batch."""
    return text.encode("utf-8", "replace").decode()
