"""A distillation beside the least time that its calls can take, and how its own work grows."""

from typing import Any

from bench import method
from bench.figures import Figure, Growth, Measured
from bench.measuring import sizes
from ted_memory import open_memory
from ted_memory.testing import in_memory

TITLE = "Distillation"
CAP = 16
SAMPLES = sizes(100, 300, 1000, full=[3000, 10_000])
SETS = (10, 100, 1000)
ROOMY: dict[str, Any] = {"max_experiences": 100_000, "token_budget": 10**7}


async def measure(url: str) -> list[Measured]:
    """Measure wall clock at two latencies; processor time by samples and by the set's size."""
    figures: list[Measured] = []
    for latency, most in ((0.2, 1.05), (0.05, 1.3)):
        async with open_memory(
            url,
            namespace=f"timed-{latency}",
            profile="small",
            selection="all",
            concurrency=CAP,
            trust="always",
        ) as memory:
            run = await method.timed(memory, latency=latency)
        figures.append(
            Figure(
                f"100 samples, {latency * 1000:.0f} ms a call, {CAP} at once",
                run.seconds,
                "s",
                f"{run.calls} calls one behind the other on {CAP} places",
                run.calls * latency / CAP,
                at_most=most,
                note=f"processor {run.cpu_ms:.1f} ms a call",
            )
        )
    return [*figures, await _by_samples(), await _by_sets()]


async def _by_samples() -> Growth:
    points = []
    for count in SAMPLES:
        memory = in_memory(namespace="grown", profile="small", trust="always", **ROOMY)
        run = await method.timed(memory, count, latency=0.0)
        points.append((float(count), run.cpu / count * 1000))
    return Growth(
        "own processor time a sample", "ms", "samples", tuple(points), exponent_at_most=0.2
    )


async def _by_sets() -> Growth:
    points = []
    for size in SETS:
        memory = in_memory(namespace="known", profile="small", trust="always", **ROOMY)
        await memory.commit(method.other_lessons(size), author="bench")
        run = await method.timed(memory, 100, latency=0.0)
        points.append((float(size), run.cpu / 100 * 1000))
    return Growth(
        "own processor time a sample",
        "ms",
        "lessons of the set",
        tuple(points),
        exponent_at_most=0.2,
    )
