"""OpenTelemetry's SDK in this process, for one test, with all that it was told."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from opentelemetry import _logs as logs
from opentelemetry import metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ted_memory import telemetry
from ted_memory.telemetry import provider

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class Probe:
    """What the SDK was told."""

    def __init__(self) -> None:
        self._spans, self._events = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self._reader = InMemoryMetricReader()
        self.traces, self.logs = TracerProvider(), LoggerProvider()
        self.traces.add_span_processor(SimpleSpanProcessor(self._spans))
        self.logs.add_log_record_processor(SimpleLogRecordProcessor(self._events))
        self.meters = MeterProvider([self._reader])
        self.tracer = self.traces.get_tracer("test")

    def spans(self, name: str | None = None) -> Sequence[ReadableSpan]:
        """The spans that have ended, in their order; of one name, or all."""
        ended = self._spans.get_finished_spans()
        return [span for span in ended if name is None or span.name == name]

    def span(self, name: str) -> ReadableSpan:
        """The one span of this name."""
        [one] = self.spans(name)
        return one

    def events(self) -> Sequence[Any]:
        """The log records that are events."""
        return [one.log_record for one in self._events.get_finished_logs()]

    def points(self, name: str) -> dict[tuple[tuple[str, Any], ...], float]:
        """The points of a metric, by their attributes: a counter's value, a histogram's count."""
        found = {}
        for metric in self._metrics():
            if metric.name == name:
                for point in metric.data.data_points:
                    value = point.count if hasattr(point, "count") else point.value
                    found[tuple(sorted(point.attributes.items()))] = value
        return found

    def units(self) -> dict[str, str]:
        """The units of all metrics of ours, by name."""
        return {metric.name: metric.unit for metric in self._metrics()}

    def labels(self) -> set[tuple[str, Any]]:
        """All attributes of all points."""
        points = (point for metric in self._metrics() for point in metric.data.data_points)
        return {pair for point in points for pair in point.attributes.items()}

    def _metrics(self) -> Iterator[Any]:
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                yield from scope.metrics

    def everything(self) -> str:
        """All that any exporter would send: names, attributes, events and statuses."""
        told = [json.loads(span.to_json()) for span in self.spans()]
        events = [
            {**dict(e.attributes), "body": e.body, "name": e.event_name} for e in self.events()
        ]
        return json.dumps([told, events, sorted(map(str, self.labels()))], ensure_ascii=False)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Probe]:
    """The SDK, configured as a program does, until the test has ended."""
    made = Probe()
    set_providers(monkeypatch, made.traces, made.meters, made.logs)
    yield made
    made.meters.shutdown()
    made.logs.shutdown()
    monkeypatch.undo()
    telemetry.listener.look()
    assert telemetry.listener.found is None


def set_providers(
    monkeypatch: pytest.MonkeyPatch, traces: Any, meters: Any, loggers: Any, *, anew: bool = False
) -> None:
    """Configure these providers (None: nobody has), which a program may do only once.

    With ``anew`` the same ones are taken for others, as in a process that begins.
    """
    held: Mapping[Any, tuple[str, Any]] = {
        trace: ("_TRACER_PROVIDER", traces),
        metrics._internal: ("_METER_PROVIDER", meters),  # type: ignore[attr-defined]
        logs._internal: ("_LOGGER_PROVIDER", loggers),  # type: ignore[attr-defined]
    }
    for module, (name, value) in held.items():
        monkeypatch.setattr(module, name, value)
    if anew:
        monkeypatch.setattr(provider, "_held", None)
    telemetry.listener.look()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes."""
    return dict(span.attributes or {})
