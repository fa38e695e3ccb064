"""Weeks of traffic in minutes: forty days later the server holds what it is to keep, not more."""

import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ted_memory import Add, open_memory
from ted_memory.storage.redis import scripts
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.vectors import SPARE
from ted_memory.testing import wait_until
from tests.chaos.learner_process import known_to_scripts
from tests.chaos.moved_clock import DAY, AsIf, MovedClock, faked_server, restored
from tests.chaos.sizes import FULL, SOAK_SECONDS, report, size
from tests.chaos.soak import SEEDS, SETTINGS, Agents, Weights, learn_as_two, run_id, upkeep, weigh
from tests.chaos.soak_faults import Resident, check_flat, faults
from tests.chaos.writer_process import with_retries
from tests.conftest import PERMANENT, Server

ROOT = Path(__file__).parents[2]
RATE = size(0, 200)  # episodes a second; 0: as fast as it goes
# episodes: until every bound is reached, and then
WARM, SOAKED = size((300, 400), (2000, 200 * SOAK_SECONDS))
FAULTS, LOOKS = size((0.2, 0.02), (1.0, 5.0))  # seconds between faults, and looks at memory
LISTS = {"ted:namespaces", "ted:traffic"}
AT_TIMES = {"uncommitted"}  # from a credit to the next commit
ENDS = {  # kinds that traffic makes, and that have an end
    *("run", "applied", "credited", "rate", "spend", "dead", "episodes", "image", "learners"),
    *(
        "~meta",
        "~experiences",
        "~log",
        "~usage",
        "~uncommitted",
        "~progress",
        "~applied",
        "~credited",
    ),
}
LESSONS = len(SEEDS) + SETTINGS["max_proposed"]
MOST = {  # bytes of what stays, at most: its bound, and what one of it takes (docs/limits.md)
    **{"meta": 500, "traffic": 500, "ted:namespaces": 200, "ted:traffic": 200},
    **{
        "experiences": LESSONS * 600,
        "usage": LESSONS * 100,
        "ranking": LESSONS * 100,
        "uncommitted": LESSONS * 100,
    },
    **{"log": SETTINGS["history_versions"] * 1200, "archive": SETTINGS["max_archived"] * 1100},
    **{"archived": SETTINGS["max_archived"] * 100, "vectors": (2 * LESSONS + SPARE) * 200},
    **{"evidence": len(SEEDS) * (43_665 + 16_000), "purged": 2 * 200},
}
PATIENCE = 600.0  # seconds; a machine with too much to do is no failure
USED = 1_000_000  # bytes of the server that are nobody's keys: buffers, tables


@pytest.fixture(autouse=True)
def _clocks_are_put_back() -> Iterator[None]:
    with restored():
        yield


@dataclass
class Soak:
    """One server, whose clock moves."""

    server: Server
    client: "Redis"
    namespace: str
    clock: MovedClock
    handed_in: Counter[str] = field(default_factory=Counter)
    resident: Resident = field(default_factory=Resident)
    apart: bool = FULL
    """Learners are processes of their own; a control's script is patched in this process alone."""

    async def traffic(self, first: int, count: int) -> None:
        """Have agents served and learners learn, and all end. On the way a person is forgotten."""
        settings, self.resident = {**SETTINGS, "rate_limit": count // 30}, Resident()
        async with (
            open_memory(self.server.url, namespace=self.namespace, **settings) as memory,
            learners(self) as those,
        ):
            await memory.commit(
                [Add(text=text) for text in SEEDS if not (await memory.load()).active], author="me"
            )
            agents, began, half = Agents(memory, RATE), time.monotonic(), count // 2
            async with (
                faults(self.client, FAULTS) as gone_wrong,
                self.resident.watched(those.running, LOOKS),
            ):
                await agents.serve(first, half)
                await those.lose_one()
                await with_retries(lambda: memory.forget("principal", f"nobody-{first}"))
                await agents.serve(first + half, count - half)
            took = time.monotonic() - began
            grown = {name: f"{more / 1e6:.1f}" for name, more in self.resident.grown().items()}
            report(f"soak: faults {dict(gone_wrong)}; processes grew by (MB) {grown}")
            waiting = (await memory.store.episodes.traffic(self.namespace)).waiting
            report(
                f"soak: {count} episodes in {took:.0f} s, {count / took:.0f} a second; "
                f"then {waiting} waited"
            )
            self.handed_in += agents.counts

    async def days_pass(self, *, looks: int = 3) -> None:
        """Move the clock by forty days; in the first thirty a learner looks in now and then."""
        for _ in range(looks):
            await self.clock.move(30 // looks * DAY)
            await upkeep(self.server.url, self.namespace)
        await self.clock.move(10 * DAY)

    async def weighs(self) -> Weights:
        return await weigh(self.client)

    async def check_counts(self) -> None:
        """Every run was recorded or limited, and what was recorded came to an end."""
        async with open_memory(self.server.url, namespace=self.namespace, **SETTINGS) as memory:
            told = await memory.store.episodes.traffic(self.namespace)
        counts = told.counts
        assert counts["recorded"] + counts["limited"] == self.handed_in["runs"], counts
        assert counts["learned"] + counts["nothing"] + counts["dead"] == counts["recorded"], counts
        assert (told.waiting, told.claimed, told.dead, told.bytes) == (0, 0, 0, 0), told


@dataclass
class Learners:
    """Those who learn beside the agents, where they are processes of their own."""

    soak: Soak
    processes: dict[str, "asyncio.subprocess.Process"] = field(default_factory=dict)
    lost: int = 0

    async def begin(self, who: str) -> None:
        soak = self.soak
        told = (soak.server.url, soak.namespace, str(soak.clock.seconds), str(soak.clock.ahead))
        self.processes[f"{who} {self.lost}"] = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "tests.chaos.soak", who, *told],
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )

    def running(self) -> list[tuple[str, int]]:
        return [(name, one.pid) for name, one in self.processes.items()]

    async def lose_one(self) -> None:
        """Kill the real learner, and begin another one."""
        if real := self.processes.pop(f"real {self.lost}", None):
            real.kill()
            await real.communicate()
            self.lost += 1
            await self.begin("real")

    async def end(self) -> None:
        for name, process in self.processes.items():
            process.terminate()
            told = json.loads((await process.communicate())[0])
            done = sum(told["counts"].get(outcome, 0) for outcome in ("learned", "nothing", "dead"))
            each = done / told["seconds"]
            report(f"soak: {name} settled {done} in {told['seconds']:.0f} s, {each:.0f} a second")


@asynccontextmanager
async def learners(soak: Soak) -> AsyncIterator[Learners]:
    """Have two stand-ins learn until nothing waits.

    At full size they are processes of their own, beside a real learner.
    """
    those = Learners(soak)
    if not soak.apart:
        given = (soak.server.url, soak.namespace)
        async with open_memory(given[0], namespace=given[1], **SETTINGS) as memory:
            stopped = asyncio.Event()
            learning = asyncio.create_task(learn_as_two(memory, stopped))
            yield those
            stopped.set()
            await learning
        return
    try:
        for who in ("real", "two"):
            await those.begin(who)
        await wait_until(lambda: _both_are_up(soak), timeout=PATIENCE, what="the learners")
        yield those
        await those.end()
    finally:
        for process in those.processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _both_are_up(soak: Soak) -> bool:
    return bool(await soak.client.zcard(Keys(soak.namespace).learners) >= 3)


# --- what must hold


def check_seen(soaked: Weights) -> None:
    """Every kind of key that has an end was there: else nothing is shown of it."""
    assert set(soaked.keys) >= ENDS, f"never there: {ENDS - set(soaked.keys)}"


def check_end(start: Weights, end: Weights) -> None:
    """What traffic made is gone; what stays is what was there before, within its bounds."""
    left = {kind: count for kind, count in end.keys.items() if kind not in {*PERMANENT, *LISTS}}
    assert not left, f"keys are left that have an end: {left}"
    more = {kind: count for kind, count in (end.keys - start.keys).items() if kind not in AT_TIMES}
    assert not more, f"other keys than before: {more}"
    gone = {kind: count for kind, count in (start.keys - end.keys).items() if kind not in AT_TIMES}
    assert not gone, f"keys that were there before: {gone}"
    grown = {kind: (start.bytes[kind], now) for kind, now in end.bytes.items() if now > MOST[kind]}
    assert not grown, f"grown: {grown}"


async def check_used(soak: Soak, start: Weights) -> int:
    """The server's memory is as it was once its tables have shrunk; gives the growth in bytes."""
    grown = 0

    async def is_back() -> bool:
        nonlocal grown
        grown = (await soak.client.info("memory"))["used_memory"] - start.used
        return grown < USED

    await wait_until(
        is_back, timeout=PATIENCE, what=f"the server's memory as it was, up to {USED} bytes"
    )
    return grown


def documented(kind: str) -> list[int]:
    """Return the bytes that docs/limits.md tells of a kind, line by line."""
    lines = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    found = re.search(
        rf"^\| `[^|]*:{kind}[^|]*` \| ([\d,]+).*\n(?:\| \| ([\d,]+))?", lines, re.MULTILINE
    )
    assert found, kind
    return [int(number.replace(",", "")) for number in found.groups() if number]


async def sizes_of_runs(soak: Soak, first: int, count: int) -> tuple[float, float]:
    """The median bytes of a run that nobody spoke of, and of one with one feedback."""
    plain, told = [], []
    for number in range(first, first + count):
        name = Keys(soak.namespace).run(run_id(number))
        said = await soak.client.hget(name, "told")
        if weight := await soak.client.memory_usage(name, samples=0):
            (told if said == "1" else plain if said is None else []).append(weight)
    return sorted(plain)[len(plain) // 2], sorted(told)[len(told) // 2]


async def compare(soak: Soak, start: Weights, soaked: Weights) -> None:
    """Tell bytes beside those of docs/limits.md; what a run takes is not more than twice that."""
    plain, told = await sizes_of_runs(soak, WARM, min(SOAKED, 500))
    of_docs = documented("run:")
    grown = (soaked.used - start.used) / SOAKED
    for what, found, said in (
        ("a run that nobody spoke of", plain, of_docs[0]),
        ("a run with one feedback", told, of_docs[1]),
        ("a commit's answer", soaked.each("applied"), documented("applied")[0]),
        ("a credit's token", soaked.each("credited"), documented("credited")[0]),
        (
            "an archived episode",
            soaked.bytes["archive"] / SETTINGS["max_archived"],
            documented("archive")[0],
        ),
    ):
        report(f"soak: {what} takes {found:.0f} bytes (docs/limits.md: {said})")
        assert found <= 2 * said, what
    report(f"soak: the server's memory grew by {grown:.0f} bytes a run, feedback and all")


async def soaked_and_aged(soak: Soak) -> None:
    await soak.traffic(0, WARM)
    await soak.days_pass()
    await soak.check_counts()
    start = await soak.weighs()
    await soak.traffic(WARM, SOAKED)
    check_flat(soak.resident)
    soaked = await soak.weighs()
    check_seen(soaked)
    await compare(soak, start, soaked)
    await soak.days_pass()
    await soak.check_counts()
    end = await soak.weighs()
    check_end(start, end)
    grown = await check_used(soak, start)
    report(
        f"soak: {start.keys.total()} keys, {start.bytes.total()} bytes before; "
        f"{soaked.keys.total()} keys, {soaked.bytes.total() / 1e6:.1f} MB after {SOAKED} episodes; "
        f"{end.keys.total()} keys, {end.bytes.total()} "
        f"bytes forty days later; the server's memory grew by {grown} bytes"
    )


async def test_forty_days_after_a_soak_the_server_holds_what_it_held_before(
    server: Server, namespace: str
) -> None:
    async with Redis.from_url(server.url, decode_responses=True) as client:
        await soaked_and_aged(Soak(server, client, namespace, AsIf(server)))


async def test_the_same_on_a_server_whose_own_clock_moves(namespace: str, tmp_path: Path) -> None:
    if not FULL:
        pytest.skip("at full size alone: a moved clock is told to a server once a second")
    server, clock = faked_server(tmp_path)
    try:
        async with Redis.from_url(server.url, decode_responses=True) as client:
            await soaked_and_aged(Soak(server, client, namespace, clock))
    finally:
        server.stop()


WITHOUT = {  # what is kept too long: the script, its text, what takes its place
    "run": (
        "_RECORD",
        "redis.call('PEXPIRE', run, outcome == 'limited' and request.early_ttl or request.ttl)",
        "",
    ),
    "applied": (
        "_COMMIT",
        "redis.call('SET', applied, answer, 'PX', ttl)",
        "redis.call('SET', applied, answer)",
    ),
    "credited": ("_CREDIT", "'NX', 'PX', ttl)", "'NX')"),
    "spend": ("_COMMIT", "redis.call('PEXPIRE', spend, settle.ttl)", ""),
    "dead": ("_CLAIM", "  let_go_of_dead(at, max_dead, dead_kept)\n", ""),
    "~meta": ("_COMMIT", "if ends ~= '0' then", "if false then"),
    "~progress": ("_KEEP", "redis.call('EXPIRE', name, ARGV[3])", "1"),
}


@pytest.mark.parametrize("kind", size(("run", "applied", "dead", "~meta"), tuple(WITHOUT)))
async def test_a_kind_of_key_that_has_lost_its_end_is_found_out(
    server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The control."""
    name, text, instead = WITHOUT[kind]
    source = getattr(scripts, name)
    assert text in source
    monkeypatch.setattr(scripts, name, known_to_scripts(source.replace(text, instead)))
    async with Redis.from_url(server.url, decode_responses=True) as client:
        soak = Soak(server, client, namespace, AsIf(server), apart=False)
        start = await soak.weighs()
        await soak.traffic(0, 160)
        await soak.days_pass(looks=1)
        with pytest.raises(
            AssertionError,
            match=f"(keys are left that have an end|other keys than before): .*'{kind}'",
        ):
            check_end(start, await soak.weighs())


async def test_agents_that_hold_what_they_have_recorded_are_found_out(
    server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    plain, held = Agents._one, list[bytes]()

    async def one(self: Agents, number: int) -> None:
        held.append(bytes(200_000))
        await plain(self, number)

    monkeypatch.setattr(Agents, "_one", one)
    async with Redis.from_url(server.url, decode_responses=True) as client:
        soak = Soak(server, client, namespace, AsIf(server), apart=False)
        await soak.traffic(0, 400)
    with pytest.raises(AssertionError, match=r"processes that grew: .*agents"):
        check_flat(soak.resident)
