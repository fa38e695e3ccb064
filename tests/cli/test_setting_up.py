"""Commands for who sets a memory up: doctor, namespaces, add, drop; as they are typed."""

import json
from pathlib import Path

import pytest
import redis

from ted_memory import Episode, open_memory
from ted_memory.storage.redis import acl, examining
from tests.command_line import run_cli
from tests.conftest import Server


def run(cwd: Path, *args: str, code: int = 0) -> str:
    done = run_cli(*args, cwd=cwd)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout if done.stdout else done.stderr


def findings(url: str, cwd: Path, *args: str, code: int = 0) -> dict[str, tuple[str, str]]:
    told = json.loads(run(cwd, "doctor", "--url", url, "--json", *args, code=code))["findings"]
    return {one["of"]: (one["state"], one["told"]) for one in told}


def test_a_lesson_is_added_by_hand_listed_and_dropped_with_its_namespace(
    valkey: Server, tmp_path: Path
) -> None:
    there = ("--url", valkey.url)
    run(
        tmp_path,
        "add",
        "--text",
        "Be brief.",
        "--when",
        "asked twice",
        *there,
        "--namespace",
        "by-hand",
    )
    run(tmp_path, "add", "--text", "Be loud.", "--proposed", *there, "--namespace", "by-hand")
    listed = json.loads(run(tmp_path, "namespaces", *there, "--json"))["namespaces"]
    assert listed["by-hand"] == {"version": 2, "active": 1, "all": 2}
    assert "by-hand: version 2, 1 active of 2 lessons" in run(tmp_path, "namespaces", *there)
    dropped = run_cli("drop", "by-hand", *there, "--yes", cwd=tmp_path)
    assert (dropped.stdout, dropped.stderr) == ("deleted\n", ""), "it does not warn of itself"
    assert "there was no namespace 'by-hand'" in run(tmp_path, "drop", "by-hand", *there, "--yes")
    assert "by-hand" not in run(tmp_path, "namespaces", *there)


def test_where_all_is_well_the_doctor_says_so(tmp_path: Path) -> None:
    run(tmp_path, "add", "--text", "Be brief.")
    told = run(tmp_path, "doctor")
    assert told.count("ok ") >= 8
    for line in (
        "writes an append-only file",
        "version 1: 1 active lessons",
        "nothing was recorded here",
    ):
        assert line in told


async def test_the_doctor_finds_what_would_lose_data_and_who_waits(
    own_server: Server, tmp_path: Path
) -> None:
    with redis.Redis(port=own_server.port) as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
    async with open_memory(own_server.url, namespace="desk") as memory:
        await memory.record(Episode(run_id="r", principal="anna"))
        await memory.flush()
        log = memory.store.episodes
        [claim] = (
            await log.claim("desk", "x", lease=9, count=1, max_deliveries=1, alone=False)
        ).claims
        await log.return_claim("desk", claim, counts=True, reason="no", delay=0, max_deliveries=1)
    told = findings(own_server.url, tmp_path, "--namespace", "desk", code=1)
    assert told["memory"][0] == "problem"
    assert "set noeviction" in told["memory"][1]
    assert told["persistence"][0] == "warning"
    assert told["set"] == ("warning", "namespace 'desk' is empty; is it the right one?")
    assert told["dead letters"][0] == "warning"
    assert told["durability=fsync"][0] == "unknown"


async def test_with_an_agents_rights_it_says_what_it_cannot_see(
    own_server: Server, tmp_path: Path
) -> None:
    with redis.Redis(port=own_server.port) as client:
        client.execute_command(acl.set_user("agent", "default", password="agent"))
    told = findings(own_server.url.replace("//", "//ted-default-agent:agent@"), tmp_path)
    assert told["answers"][0] == "ok"
    assert {
        told[of][0]
        for of in ("server", "persistence", "memory", "clock", "durability=fsync", "traffic")
    } == {"unknown"}


def test_where_nobody_answers_one_line_says_so(tmp_path: Path) -> None:
    assert "no answer from the memory at" in run(
        tmp_path, "doctor", "--url", "redis://127.0.0.1:1/0", code=1
    )


@pytest.mark.parametrize(
    ("version", "state"), [("6.2.7", "problem"), ("7.0.0", "ok"), ("10.1", "ok")]
)
def test_an_old_server_is_a_problem(version: str, state: str) -> None:
    assert examining._version({"redis_version": version}).state == state


def test_snapshots_alone_are_a_warning_either_way() -> None:
    saved = {"aof_enabled": 0, "rdb_last_bgsave_status": "ok", "rdb_changes_since_last_save": 0}
    assert [examining._persistence(given).state for given in (saved, {"aof_enabled": 0})] == [
        "warning"
    ] * 2
