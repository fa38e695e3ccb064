"""An agent's calls with OpenTelemetry's SDK, whose exporter does nothing, and without.

The request is within a span of its own, as under a web framework.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from ted_memory.telemetry import listener


class Nowhere(SpanExporter):
    """An exporter that does nothing."""

    def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002
        """Take spans."""
        return SpanExportResult.SUCCESS


class Side:
    """An agent that is asked within a span, with a memory that tells of it or does not."""

    def __init__(self, agent: Any, tracer: trace.Tracer, listens: Any) -> None:
        self._agent, self._tracer, self._listens = agent, tracer, listens

    async def ainvoke(self, given: Any) -> Any:
        """Ask it."""
        listener.found = self._listens
        with self._tracer.start_as_current_span("request"):
            return await self._agent.ainvoke(given)


@contextlib.asynccontextmanager
async def sides(**agents: Any) -> AsyncIterator[dict[str, Any]]:
    """Configure the SDK for this process, and give each agent with spans and without.

    While they take turns nobody else is looked for.
    """
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    before, listener.look_every = listener.look_every, float("inf")
    listener.look()
    tracer, listens = provider.get_tracer("bench"), listener.found
    found: dict[str, Any] = {}
    for name, agent in agents.items():
        found |= {
            name: Side(agent, tracer, None),
            f"{name}, with spans": Side(agent, tracer, listens),
        }
    try:
        yield found
    finally:
        listener.found, listener.look_every = None, before
        provider.shutdown()
