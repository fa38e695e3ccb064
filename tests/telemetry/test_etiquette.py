"""A library that nobody listens to does nothing, and never imports OpenTelemetry by itself."""

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import SpanProcessor

from ted_memory import TedMemory, telemetry
from ted_memory.episodes import Episode
from ted_memory.telemetry import provider
from tests.conftest import Server
from tests.telemetry.conftest import CONTENT, Probe, attributes, set_providers
from tests.telemetry.worlds import with_lessons

ALONE = """
import asyncio, sys
from ted_memory import Add, open_memory

async def main():
    async with open_memory(sys.argv[1], namespace="etiquette") as memory:
        await memory.commit([Add(text="Say so.")], author="test")
        print(len(await memory.render()) > 0)

asyncio.run(main())
print([name for name in sys.modules if name.startswith(("opentelemetry", "ted_memory.telemetry."))])
"""

MISSING = """
import sys
sys.modules["opentelemetry"] = None
"""
CONFIGURED = """
from opentelemetry import metrics, trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
"""
OLD = (
    CONFIGURED
    + """
del metrics.Observation
"""
)


def run(program: str, url: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("before", ["", MISSING], ids=["installed", "missing"])
def test_a_program_without_opentelemetry_is_not_given_it(before: str, valkey: Server) -> None:
    shown, modules = run(before + ALONE, valkey.url)
    assert shown == "True"
    assert "ted_memory.telemetry.provider" not in modules


def test_an_api_that_is_too_old_stops_nothing(valkey: Server) -> None:
    shown, modules = run(OLD + ALONE, valkey.url)
    assert shown == "True"
    assert "ted_memory.telemetry.provider" not in modules


def test_a_program_that_has_it_is_heard(valkey: Server) -> None:
    """The control."""
    _, modules = run(CONFIGURED + ALONE, valkey.url)
    assert "ted_memory.telemetry.provider" in modules


async def test_without_a_provider_nothing_is_made(memory: TedMemory) -> None:
    telemetry.listener.look()
    assert telemetry.listener() is None
    await with_lessons(memory)
    await memory.present("?")


async def test_who_configures_a_provider_later_is_heard(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_lessons(memory)
    telemetry.listener.look()
    assert telemetry.listener() is None
    monkeypatch.setattr(telemetry.listener, "_look_at", 0.0)
    probe = Probe()
    set_providers(monkeypatch, probe.traces, None, None, anew=False)
    await memory.present("?")
    assert probe.spans("search_memory")
    monkeypatch.undo()
    telemetry.listener.look()


async def test_a_provider_of_spans_alone_is_enough(
    probe: Probe, memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_providers(monkeypatch, probe.traces, None, None)
    await with_lessons(memory)
    assert probe.spans("create_memory")
    set_providers(monkeypatch, None, probe.meters, None)
    await with_lessons(memory)
    assert len(probe.spans("create_memory")) == 1
    assert sum(probe.points("ted_memory.commit.duration").values()) == 1


def test_the_providers_of_the_api_itself_do_not_listen() -> None:
    assert not telemetry.listens(provider.trace.NoOpTracerProvider())
    assert not telemetry.listens(provider.trace.ProxyTracerProvider())
    assert not telemetry.listens(provider.metrics.NoOpMeterProvider())
    assert telemetry.listens(Probe().traces)


class Broken(SpanProcessor):
    """A processor of somebody's that fails, at the beginning of a span or at its end."""

    def __init__(self, at: str) -> None:
        self.at = at

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if self.at == "start":
            raise RuntimeError("it fails")

    def on_end(self, span: Any) -> None:
        if self.at == "end":
            raise RuntimeError("it fails")


@pytest.mark.parametrize("at", ["start", "end"])
async def test_a_processor_that_fails_stops_no_agent(
    probe: Probe, memory: TedMemory, at: str
) -> None:
    [id] = await with_lessons(memory)
    probe.traces.add_span_processor(Broken(at))
    for _ in range(2):
        assert (await memory.present("?")).seen == (id,)
    assert (await memory.expose("?", unit="u")).seen == (id,)


@pytest.mark.parametrize("at", ["start", "end"])
async def test_a_commit_is_not_refused_for_its_span(
    probe: Probe, memory: TedMemory, at: str
) -> None:
    probe.traces.add_span_processor(Broken(at))
    assert await with_lessons(memory)
    with telemetry.learning(memory.namespace, "run") as learned:
        learned.outcome = "taught"
    with telemetry.dropping(memory.namespace):
        pass
    with pytest.raises(RuntimeError):  # the control: others are not spared
        probe.tracer.start_span("request").end()


class BrokenLogs(LogRecordProcessor):
    """A processor of somebody's that takes no event."""

    def on_emit(self, log_record: Any) -> None:
        raise RuntimeError("it fails")

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


async def test_feedback_that_was_kept_is_not_refused_for_its_event(
    probe: Probe, memory: TedMemory
) -> None:
    probe.logs.add_log_record_processor(BrokenLogs())
    await memory.record(Episode(run_id="r"))
    await memory.flush()
    assert await memory.give_feedback("r", score=1.0) == "credited"
    with pytest.raises(RuntimeError):  # the control
        probe.logs.get_logger("test").emit(event_name="request")


async def test_half_a_character_does_not_lose_a_batch(
    probe: Probe, memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONTENT, "true")
    set_providers(monkeypatch, probe.traces, probe.meters, probe.logs, anew=True)
    await memory.present("half \ud83d of it")
    assert attributes(probe.span("search_memory"))["gen_ai.memory.query.text"] == "half ? of it"
