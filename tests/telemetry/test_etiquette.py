"""A library that nobody listens to does nothing, and never imports OpenTelemetry by itself."""

import subprocess
import sys

import pytest

from ted_memory import TedMemory, telemetry
from ted_memory.telemetry import provider
from tests.conftest import Server
from tests.telemetry.conftest import Probe, set_providers
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
