"""An older commit of the package, this one, and a newer one as it may come, on one server.

The older one is real code out of the repository's history. The newer one is this one, with a field
more in all that it stores. What docs/upgrades.md says is what is seen.
"""

import asyncio
import json
import os
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from ted_memory import Add, TedMemory, open_memory
from ted_memory.models import LogEntry
from ted_memory.storage.redis.keys import Keys
from ted_memory.testing import wait_until
from tests.chaos import version_process
from tests.chaos.checks import check_acknowledged, check_history, whole_log
from tests.chaos.sizes import FULL, VERSIONS_SECONDS, report, size
from tests.chaos.version_process import REFRESH, SEED, SETTINGS, Job, has_picture, is_poison
from tests.conftest import Server, assert_only_known_keys

ROOT = Path(__file__).parents[2]
OLDER = "8496c4dce7a23369ef991b10fb5cc30ad8a3ed58"
"""An older commit that stores in the format of today.

Before it images were under `blob:`, dead letters counted with what waits, and agents ran scripts:
all rows of the table in docs/upgrades.md.
"""
PATIENCE = 600.0  # seconds; a machine with too much to do is no failure
SENT = 36  # runs of each agent, at least
WITHIN = REFRESH + 1.0  # seconds in which an agent knows a version, in 99 of 100 looks
FIELD = next(iter(version_process.NEWER))

pytestmark = pytest.mark.timeout(size(0, VERSIONS_SECONDS) + 3 * PATIENCE)


def older_tree(folder: Path) -> Path:
    """A folder with the older package. Skips the test where history does not reach back to it."""
    command = ["git", "archive", OLDER, "ted_memory"]
    try:
        packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(
            f"NO OLDER VERSION TO RUN BESIDE THIS ONE: "
            f"commit {OLDER[:8]} is not in this copy's history ({error})"
        )
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@dataclass
class World:
    """Processes of several versions, and what they wrote down."""

    jobs: Mapping[Job, Path]
    """With the tree that each of them runs."""
    processes: dict[Job, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def lines(self, *what: str) -> list[dict[str, Any]]:
        """Return what was written down until now, whole lines only."""
        found = []
        for job in self.jobs:
            written = job.journal.read_text(encoding="utf-8") if job.journal.exists() else ""
            for raw in written.split("\n")[:-1]:
                line = json.loads(raw)
                if line["what"] in what:
                    found.append({**line, "who": job.name})
        return found

    def count(self, what: str) -> int:
        return len(self.lines(what))

    def ask_for(self, file: str) -> None:
        (Path(next(iter(self.jobs)).folder) / file).touch()

    def of(self, role: str) -> list[Job]:
        return [job for job in self.jobs if role in job.roles]

    def nobody_died(self) -> None:
        dead = [job for job, process in self.processes.items() if process.poll() not in {None, 0}]
        told = {
            job.name: job.errors.read_text(encoding="utf-8").strip().split("\n")[-1] for job in dead
        }
        assert not told, f"ended with an error: {told}"

    async def until_all(self, what: str, count: int) -> None:
        def is_so() -> bool:
            self.nobody_died()
            return self.count(what) >= count

        await wait_until(is_so, timeout=PATIENCE, what=f"{count} times {what!r}")

    @cached_property
    def sent(self) -> dict[str, dict[str, Any]]:
        """All runs, by id."""
        return {line["run"]: line for line in self.lines("sent")}


def _start(job: Job, tree: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-P", str(Path(version_process.__file__)), json.dumps(asdict(job))]
    with job.errors.open("wb") as errors:
        return subprocess.Popen(
            command, cwd=job.folder, env={**os.environ, "PYTHONPATH": str(tree)}, stderr=errors
        )


@asynccontextmanager
async def running(jobs: Mapping[Job, Path]) -> AsyncIterator[World]:
    """Start processes, and let them go when all are up."""
    world = World(jobs)
    try:
        for job, tree in jobs.items():
            world.processes[job] = _start(job, tree)
        await world.until_all("up", len(jobs))
        for line in world.lines("up"):
            [tree] = [tree for job, tree in jobs.items() if job.name == line["who"]]
            assert Path(line["package"]) == tree / "ted_memory", (
                "it runs the version that it is to run"
            )
        world.ask_for("go")
        yield world
    finally:
        for process in world.processes.values():
            process.kill()
            process.wait()


def jobs_of(
    server: Server, namespace: str, folder: Path, versions: Sequence[tuple[str, Path]]
) -> dict[Job, Path]:
    """Return what processes of these versions do; at full size each role has one of its own."""
    roles: Any = ("agent", "learner", "operator")
    names = [name for name, _ in versions]
    made = {}
    for i, (name, tree) in enumerate(versions):
        given = {"grown": name == "newer", "strict": name == "strict", "beside": names[i - 1]}
        for each in [(role,) for role in roles] if FULL else [roles]:
            called = name if "agent" in each else f"{name}-{each[0]}"
            job = Job(server.url, namespace, str(folder), called, each, **given)  # type: ignore[arg-type]
            made[job] = tree
    return made


async def live(world: World, memory: TedMemory, seconds: float) -> int:
    """Have all of them work for a while, and come to an end; return the set's last version."""
    agents, began = len(world.of("agent")), time.monotonic()
    await world.until_all("sent", SENT * agents)
    while time.monotonic() < began + seconds:
        world.nobody_died()
        await asyncio.sleep(1)
    world.ask_for("quiet")
    await world.until_all("quiet", agents)
    await world.until_all("put down", len(world.of("operator")))

    async def nothing_waits() -> bool:
        world.nobody_died()
        traffic = await memory.store.episodes.traffic(memory.namespace)
        return traffic.waiting == traffic.claimed == 0

    await wait_until(nothing_waits, timeout=PATIENCE + seconds, what="the end of the queue")
    last = (await memory.load()).version

    def all_have_seen_it() -> bool:
        newest = {line["who"]: line["version"] for line in world.lines("saw")}
        return len(newest) == agents and set(newest.values()) == {last}

    await wait_until(
        all_have_seen_it, timeout=PATIENCE, what=f"version {last} in every agent's sight"
    )
    world.ask_for("end")
    await world.until_all("down", len(world.jobs))
    assert {process.wait() for process in world.processes.values()} == {0}
    return last


# --- what must hold


def check_learned(world: World, log: Sequence[LogEntry]) -> None:
    """Each run was learned from once, or is a dead letter that is to be one; nothing else was."""
    edits = [change.edit for entry in log for change in entry.changes]
    learned = Counter(
        s for edit in edits if isinstance(edit, Add) for s in edit.sources if s.startswith("run:")
    )
    wanted = Counter(f"run:{run}" for run in world.sent if not is_poison(run))
    twice, lost = learned - wanted, wanted - learned
    assert not twice, f"{len(twice)} episodes learned twice, such as {sorted(twice)[:5]}"
    assert not lost, f"{len(lost)} episodes never learned, such as {sorted(lost)[:5]}"


async def check_traffic(world: World, memory: TedMemory, client: "Redis") -> None:
    """Counters agree with what was handed in; dead letters are the intended ones, and whole."""
    keys, traffic = Keys(memory.namespace), await memory.store.episodes.traffic(memory.namespace)
    poison = {run for run in world.sent if is_poison(run)}
    counts = {
        name: traffic.counts[name]
        for name in ("recorded", "learned", "nothing", "set_aside", "dead", "dropped")
    }
    learned = len(world.sent) - len(poison)
    empty = {"nothing": 0, "set_aside": 0, "dropped": 0}
    assert counts == {
        "recorded": len(world.sent),
        "learned": learned,
        "dead": len(poison),
        **empty,
    }, counts
    letters = await memory.store.episodes.dead_letters(memory.namespace, 10**6)
    assert {letter.run_id for letter in letters} == poison
    stored = {
        seq: body.partition("|") for seq, body in (await client.hgetall(keys.episodes)).items()
    }
    bodies = {json.loads(body)["run_id"]: json.loads(body) for _, _, body in stored.values()}
    assert set(bodies) == poison
    grown = {run for run, body in bodies.items() if FIELD in body}
    assert grown == {run for run in poison if run.startswith("newer-")}, (
        "a stored episode stays as it was recorded"
    )
    head = await client.hgetall(keys.traffic)
    assert int(head["bytes"]) == sum(int(size) for size, _, _ in stored.values()), (
        "the bytes are those of what is there"
    )
    await check_pictures(
        world, keys, client, {name[7:] for name in head if name.startswith("images ")} - set(stored)
    )
    counted = [json.loads(raw).get("counted") for raw in (await client.hgetall(keys.dead)).values()]
    assert int(head.get("dead_now", 0)) == sum(map(bool, counted)), (
        "an older version's dead letters count with the rest"
    )


async def check_pictures(world: World, keys: Keys, client: "Redis", forgotten: set[str]) -> None:
    """Names of pictures stay only where an older learner settled an episode of the new format."""
    shown = [run for run in world.sent if has_picture(run) and not run.startswith("older-")]
    seqs = {await client.hget(keys.run(run), "seq") for run in shown}
    assert forgotten <= seqs, "of other episodes nothing stays"
    assert not forgotten or "older" in {job.name for job in world.jobs}


async def check_feedback(world: World, memory: TedMemory, client: "Redis") -> None:
    """A score counts once for what its run saw or missed, whichever version recorded or spoke."""
    last = {line["run"]: line["score"] for line in world.lines("said") if line["run"] in world.sent}
    seed = next(e.id for e in await memory.load() if e.text == SEED)
    usage = (await memory.usage())[seed]
    seen = {run: score for run, score in last.items() if seed in world.sent[run]["seen"]}
    missed = {run: score for run, score in last.items() if seed in world.sent[run]["withheld"]}
    assert (usage.n_with, usage.n_without) == (len(seen), len(missed)), usage
    assert usage.successes_with == pytest.approx(sum(seen.values()))
    assert usage.successes_without == pytest.approx(sum(missed.values()))
    said, tries = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for line in world.lines("said"):
        said[line["run"], line["who"]] += 1
        tries[line["run"], line["who"]] += line["tries"]
    for (run, speaker), times in said.items():
        record = await client.hgetall(Keys(memory.namespace).run(run))
        told = [
            json.loads(record[place])
            for place in record
            if place[:1] == "f" and place[1:].isdigit()
        ]
        # what was sent again, since no answer came, may stand there twice
        assert times <= len({one["at"] for one in told}) <= tries[run, speaker], f"{run}: {told}"
        assert {FIELD in one for one in told} == {speaker == "newer"}, (
            "feedback stays as it was handed in"
        )


async def check_lessons(memory: TedMemory, log: Sequence[LogEntry], client: "Redis") -> int:
    """A lesson has a newer version's field only if that version wrote it last; gives the number."""
    held, grown = await memory.load(), 0
    by_version = {entry.version: entry for entry in log}
    for id, item in (await client.hgetall(Keys(memory.namespace).experiences)).items():
        body = json.loads("{" + item.partition("|{")[2])
        author = by_version[held.by_id[id].rev].author
        if author == "learner":  # of any version: what it wrote last nobody has touched
            continue
        assert (FIELD in body) == (author == "newer-operator" or author == "newer"), (
            f"{author} wrote {body}"
        )
        grown += FIELD in body
    return grown


def lags(world: World, log: Sequence[LogEntry]) -> list[float]:
    """Return for each look how long the oldest version was there that the agent did not know."""
    at = [entry.at.timestamp() for entry in log]
    looks = world.lines("saw")
    return sorted(
        max(0.0, look["since"] - at[look["version"]]) if look["version"] < len(at) else 0.0
        for look in looks
    )


async def check(world: World, memory: TedMemory, client: "Redis") -> None:
    log = await whole_log(memory)
    check_history(log, await memory.load())
    check_learned(world, log)
    await check_traffic(world, memory, client)
    await check_feedback(world, memory, client)
    acknowledged = {
        line["token"]: line["version"] for line in world.lines("committed") if line["applied"]
    }
    begun = {line["token"] for line in world.lines("begun")}
    others = {entry.token for entry in log if entry.token not in begun}
    check_acknowledged(log, acknowledged, begun | others)
    troubles = {line["error"] for line in world.lines("health", "learned")}
    assert not [told for told in troubles if "cannot be read" in told], (
        f"somebody could not read: {troubles}"
    )
    grown = await check_lessons(memory, log, client)
    waits = lags(world, log)
    say(world, log, waits, grown)
    if FULL:
        assert waits[len(waits) * 99 // 100] <= WITHIN


def say(world: World, log: Sequence[LogEntry], waits: Sequence[float], grown: int) -> None:
    verdicts = Counter(line["verdict"] for line in world.lines("said"))
    settled = {line["who"]: dict(line["outcomes"]) for line in world.lines("learned")}
    report(
        f"two versions: {len(world.sent)} runs, "
        f"{dict(Counter(run.rpartition('-')[0] for run in world.sent))}; "
        f"0 lost, 0 learned twice; settled {settled}; feedback {dict(verdicts)}; "
        f"{len(log)} versions of the set, "
        f"{grown} lessons with a newer field at the end"
    )
    report(
        f"two versions: a look missed a version for {waits[len(waits) // 2]:.2f} s in the middle, "
        f"{waits[len(waits) * 99 // 100]:.2f} s at the 99th percentile, "
        f"{waits[-1]:.2f} s at most; {len(waits)} looks"
    )


async def side_by_side(
    server: Server, namespace: str, folder: Path, versions: Sequence[tuple[str, Path]]
) -> None:
    """Have these versions live on one server, and check what came of it."""
    seconds = size(0, VERSIONS_SECONDS)
    async with (
        Redis.from_url(server.url, decode_responses=True) as client,
        open_memory(server.url, namespace=namespace, **SETTINGS) as memory,
    ):
        await memory.commit([Add(text=SEED)], author="operator")
        async with running(jobs_of(server, namespace, folder, versions)) as world:
            await live(world, memory, seconds)
        await check(world, memory, client)
    await assert_only_known_keys(server.url)


async def test_older_present_and_newer_processes_share_one_server(
    server: Server, namespace: str, tmp_path: Path
) -> None:
    # to what is stored the newer one is the present one, and more
    beside = size((), (("present", ROOT),))
    older = older_tree(tmp_path / "older")
    await side_by_side(server, namespace, tmp_path, [("older", older), *beside, ("newer", ROOT)])


async def test_a_version_that_refuses_unknown_fields_is_found_out(
    server: Server, namespace: str, tmp_path: Path
) -> None:
    """The control."""
    with pytest.raises(AssertionError, match=r"ended with an error: \{'strict"):
        await side_by_side(server, namespace, tmp_path, [("strict", ROOT), ("newer", ROOT)])
    died = tmp_path / size("strict.errors", "strict-operator.errors")
    assert "Was it written by a newer ted-memory" in died.read_text(encoding="utf-8")
