"""Least-privilege users: each does its work over the real memory, and no more, nor in Lua."""

import asyncio
import contextlib
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from ted_memory import Add, Remove, Rewrite, TedMemory, open_memory
from ted_memory.episodes import Archived, Episode
from ted_memory.errors import InvalidInput, StoreError, StoreRefused
from ted_memory.models import Sample, SetState, Usage
from ted_memory.protocols import Pair, Settle, VectorHead
from ted_memory.storage.redis import acl
from ted_memory.storage.redis.keys import NAMESPACES, Keys
from ted_memory.storage.redis.vectors import SPARE
from ted_memory.testing import wait_until
from ted_memory.wiring import acl_commands
from tests.conftest import SERVERS, Server

NS, OTHER = "support", "billing"


@pytest.fixture(scope="module", params=[name for name, binary in SERVERS.items() if binary])
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that knows the roles for one namespace; passwords are their names."""
    binary = SERVERS[request.param]
    assert binary is not None
    started = Server(binary, Path(tmp_path_factory.mktemp(f"acl-{request.param}")))
    with redis.Redis(port=started.port) as admin:
        for role in acl.ROLES:
            assert admin.execute_command(acl.set_user(role, NS, password=role))
        admin.set("elsewhere", "x")
    yield started
    started.stop()


@pytest.fixture
async def filled(guarded: Server) -> Server:
    """The same with one lesson in two namespaces, as the server's owner puts them there."""
    with redis.Redis(port=guarded.port) as admin:
        admin.flushall()
        admin.set("elsewhere", "x")
    for namespace in (NS, OTHER):
        async with open_memory(guarded.url, namespace=namespace) as memory:
            await memory.commit(
                [Add(text=f"Lesson of {namespace}.", sources=("principal:eve",))], author="owner"
            )
    return guarded


def as_role(server: Server, role: str, namespace: str = NS, refresh: float = 1.0) -> TedMemory:
    return open_memory(
        f"redis://ted-{NS}-{role}:{role}@127.0.0.1:{server.port}/0",
        namespace=namespace,
        read_timeout=2.0,
        refresh=refresh,
    )


async def test_an_agent_reads_and_renders(filled: Server) -> None:
    async with as_role(filled, "agent") as memory:
        assert "Lesson of support." in await memory.render()
        held = await memory.load()
        assert await memory.load() is held


@pytest.mark.parametrize("role", ["learner", "reviewer", "admin"])
async def test_who_writes_can_do_all_of_its_work(filled: Server, role: str) -> None:
    async with as_role(filled, role) as memory:
        commit = await memory.commit(
            [Add(text="New.", state="proposed")], author=role, token=uuid.uuid4().hex
        )
        id = commit.applied[0].id
        await memory.commit(
            [SetState(id=id, state="active"), Rewrite(id=id, text="Newer.")], author=role
        )
        await memory.rollback(1)
        await memory.log()
        assert await memory.namespaces() == (OTHER, NS)
        if role != "reviewer":
            await memory.credit({id: Usage(helped=1)}, token=uuid.uuid4().hex)
            staging = memory.staging("run")
            await staging.commit([Add(text="Staged.")], author=role)
            await staging.store.save_progress(staging.namespace, "k", {"a": 1})
            await staging.store.drop(staging.namespace)
        if role == "admin":
            await memory.purge("principal:eve")
            await memory.forget("principal", "eve")
            await memory.store.drop(NS)


@pytest.mark.parametrize("listens", acl.ROLES)
@pytest.mark.parametrize("commits", ["learner", "reviewer", "admin"])
async def test_each_role_hears_of_what_each_that_writes_commits(
    filled: Server, listens: str, commits: str
) -> None:
    agent = as_role(filled, listens, refresh=600.0)
    async with as_role(filled, commits) as writer:
        await agent.render()
        await wait_until(lambda: agent.health().pushed)
        await writer.commit([Add(text="New.", state="proposed")], author=commits)
        await wait_until(lambda: agent.health().version == 2)
    await agent.aclose()


async def test_a_recorder_hands_in_what_it_did_and_a_learner_learns_from_it(filled: Server) -> None:
    async with as_role(filled, "recorder") as memory:
        [lesson] = await memory.load()
        data = {"sha256:a": b"data:image/png;base64,AA=="}
        given = {"principal": "anna", "seen": (lesson.id,), "version": 1, "withhold_share": 0.1}
        one = Episode(run_id="r1", images=tuple(data), **given)
        memory.recorder.put("r1", lambda: (one, data))
        await memory.flush()
        for score, verdict in ((1.0, "credited"), (0.0, "corrected")):
            assert await memory.give_feedback("r1", score=score, principal="anna") == verdict
        await refused(memory.commit([Add(text="Mine.")], author="recorder"))
        await refused(memory.purge("principal:eve"))
        await refused(memory.forget("principal", "eve"))
    async with as_role(filled, "learner") as memory:
        log = memory.store.episodes
        assert (await memory.usage())[lesson.id].n_with == 1
        assert (await log.evidence(NS, [lesson.id]))[lesson.id].evidence.total.watched == 1
        [claim] = (
            await log.claim(NS, "me", lease=9, count=1, max_deliveries=3, alone=False)
        ).claims
        assert await log.images(NS, claim.episode.images) == data
        assert await log.extend_lease(NS, "me", [claim], lease=9) == frozenset()
        assert await memory.store.tombstoned(NS, ["principal:eve", "run:r"]) == frozenset()
        settle = Settle(
            seq=claim.seq, fence=claim.fence, outcome="learned", counters={"learned": 1}
        )
        await memory.commit([Add(text="New.")], author="learner", settle=settle)
        assert (await log.traffic(NS)).counts["learned"] == 1
        assert await memory.store.hold(NS, "trials", "me", 0)
        await log.count(NS, {"failed": 1})
        assert await log.dead_letters(NS, 5) == ()
        assert await log.retry_dead(NS, [1]) == 0


async def archived_by(memory: TedMemory, run: str, room: int) -> int:
    """Record a run and settle it into the archive; return its seq."""
    log = memory.store.episodes
    await memory.record(Episode(run_id=run, principal="eve"))
    await memory.flush()
    [claim] = (await log.claim(NS, "me", lease=9, count=1, max_deliveries=3, alone=False)).claims
    kept = Archived(
        seq=claim.seq,
        run_id=run,
        principal="eve",
        speaker="eve",
        sample=Sample(id=run, input="What?"),
    )
    bounds = {"max_archived": room, "max_archive_bytes": 10**6}
    await memory.commit(
        [],
        author="me",
        settle=Settle(seq=claim.seq, fence=claim.fence, outcome="nothing", archive=kept, **bounds),
    )
    return claim.seq


async def test_a_learner_replays_a_reviewer_decides_on_it_and_an_admin_purges_it(
    filled: Server,
) -> None:
    async with as_role(filled, "learner") as memory:
        log = memory.store.episodes
        commit = await memory.commit(
            [Add(text=f"New, {i}.", state="proposed") for i in range(2)], author="learner"
        )
        ids = [applied.id for applied in commit.applied]
        gone, seq = [await archived_by(memory, run, 1) for run in ("r1", "r2")]
        assert [one.seq for one in await log.archived(NS)] == [seq], "the older one had to go"
        for id in ids:
            pair = {
                "id": id,
                "since": commit.version,
                "speaker": "eve",
                "score_with": 1,
                "score_without": 0,
            }
            assert await log.replayed(NS, Pair(seq=gone, **pair)) == "changed"
            assert await log.replayed(NS, Pair(seq=seq, **pair)) == "counted"
    async with as_role(filled, "reviewer") as memory:
        log = memory.store.episodes
        assert (await log.evidence(NS, ids[:1]))[ids[0]].evidence.total.pairs == 1
        commit = await memory.commit(
            [SetState(id=ids[0], state="active"), Rewrite(id=ids[1], text="Another.")], author="me"
        )
        assert not commit.rejected
        assert list(await log.evidence(NS, ids)) == ids[:1], "of another text nothing is known"
        await refused(log.archived(NS))
        await refused(log.forget_archived(NS, [seq]))
        await refused(log.replayed(NS, Pair(seq=seq, **pair)))
    for role in ("agent", "recorder"):
        async with as_role(filled, role) as memory:
            await refused(memory.store.episodes.evidence(NS, ids))
            await refused(memory.store.episodes.archived(NS))
            await refused(memory.store.episodes.replayed(NS, Pair(seq=seq, **pair)))
    async with as_role(filled, "admin") as memory:
        assert (await memory.purge("principal:eve")).archived == 1
        assert await memory.store.episodes.archived(NS) == ()


# role -> what it may do with evidence, archive and the list of what is archived
HASH = ("HGET", "HMGET", "HGETALL", "HSET", "HDEL", "HSTRLEN")
LIST = ("ZADD", "ZRANGE", "ZRANGEBYSCORE", "ZREM", "ZCARD")
REACH: dict[str, tuple[set[str], set[str], set[str]]] = {
    "agent": (set(), set(), set()),
    "recorder": ({"HGET", "HSET"}, set(), set()),
    "learner": ({*HASH}, {*HASH}, {*LIST}),
    "reviewer": ({*HASH} - {"HSTRLEN"}, set(), set()),
    "admin": ({*HASH, "DEL"}, {*HASH, "DEL"}, {*LIST, "DEL"}),
}
MORE = {
    "HSET": ("f", "v"),
    "HMGET": ("f",),
    "HDEL": ("f",),
    "HGET": ("f",),
    "HSTRLEN": ("f",),
    "ZADD": ("1", "m"),
}
MORE |= {"ZRANGE": ("0", "1"), "ZRANGEBYSCORE": ("0", "1"), "ZREM": ("m",)}


@pytest.mark.parametrize("role", acl.ROLES)
def test_each_role_reaches_evidence_and_archive_as_far_as_its_work_needs(
    filled: Server, role: str
) -> None:
    keys = Keys(NS)
    with redis.Redis(port=filled.port, decode_responses=True) as owner:

        def allowed(key: str, commands: tuple[str, ...]) -> set[str]:
            asked = {name: (name, key, *MORE.get(name, ())) for name in (*commands, "DEL")}
            user = f"ted-{NS}-{role}"
            return {
                name
                for name, call in asked.items()
                if owner.execute_command("ACL DRYRUN", user, *call) == "OK"
            }

        found = (
            allowed(keys.evidence, HASH),
            allowed(keys.archive, HASH),
            allowed(keys.archived, LIST),
        )
        assert found == REACH[role]


@pytest.mark.parametrize("role", ["learner", "reviewer", "admin"])
async def test_who_writes_keeps_vectors_and_an_agent_only_reads_them(
    filled: Server, role: str
) -> None:
    head = VectorHead(model="m", dimension=1)
    async with as_role(filled, role) as memory:
        vectors = memory.store.vectors(NS)
        many = {f"{i:04x}": b"1" for i in range(SPARE + 9)}
        await vectors.save(head, many, many.keys())
        await vectors.save(head, {"k": b"1"}, {"k"})
        assert await vectors.load(["k", "0000"]) == {"k": b"1"}
        if role == "admin":
            await memory.forget_vectors()
            await vectors.save(head, {"k": b"1"}, {"k"})
        else:
            await refused(memory.forget_vectors())
    async with as_role(filled, "agent") as memory:
        vectors = memory.store.vectors(NS)
        assert (await vectors.head(), await vectors.load(["k"])) == (head, {"k": b"1"})
        await refused(vectors.save(head, {"l": b"1"}, {"k"}))
        await refused(memory.store.vectors(OTHER).head())


async def refused(call) -> None:
    with pytest.raises(StoreRefused, match="refuses us"):
        await call


@pytest.mark.parametrize("role", ["agent", "reviewer", "learner"])
async def test_nobody_but_the_admin_purges_and_an_agent_does_not_write(
    filled: Server, role: str
) -> None:
    async with as_role(filled, role) as memory:
        await refused(memory.purge("principal:eve"))
        [lesson] = await memory.load()
        if role == "agent":
            await refused(memory.commit([Add(text="Mine.")], author="agent"))
            await refused(memory.commit([Remove(id=lesson.id)], author="agent"))
            await refused(memory.credit({lesson.id: Usage(helped=1)}, token="t"))
            await refused(memory.usage())
            await refused(memory.rollback(0))
        if role == "reviewer":
            await refused(memory.credit({lesson.id: Usage(helped=1)}, token="t"))
            await refused(memory.staging("run").commit([Add(text="Staged.")], author="me"))
    async with open_memory(filled.url, namespace=NS) as owner:
        assert [e.text for e in await owner.load()] == ["Lesson of support."]


@pytest.mark.parametrize("role", acl.ROLES)
async def test_no_role_reaches_another_namespace(filled: Server, role: str) -> None:
    memory = as_role(filled, role, OTHER)
    await refused(memory.load())
    await refused(memory.commit([Add(text="Mine.")], author="me"))
    assert await memory.render() == ""
    await memory.aclose()


FORBIDDEN = [
    ("GET", "elsewhere"),
    ("SET", "elsewhere", "y"),
    ("HGETALL", Keys(OTHER).experiences),
    ("HSET", Keys(OTHER).meta, "version", "9"),
    ("DEL", Keys(OTHER).meta),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("RANDOMKEY",),
    ("DBSIZE",),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "FLUSH"),
    ("SELECT", "1"),
    ("SWAPDB", "0", "1"),
    ("CONFIG", "GET", "*"),
    ("CLIENT", "LIST"),
    ("CLIENT", "TRACKING", "ON"),
    ("MONITOR",),
    ("ACL", "LIST"),
    ("DEBUG", "SLEEP", "0"),
    ("SHUTDOWN", "NOSAVE"),
    ("REPLICAOF", "NO", "ONE"),
    ("PUBLISH", "c", "m"),
    ("PUBLISH", Keys(NS).commits, "e 9"),
    ("SPUBLISH", Keys(OTHER).commits, "e 9"),
    ("SUBSCRIBE", Keys(NS).commits),
    ("SSUBSCRIBE", Keys(OTHER).commits),
    ("PSUBSCRIBE", "*"),
    ("RENAME", Keys(NS).meta, Keys(OTHER).meta),
    ("COPY", Keys(OTHER).log, Keys(NS).log),
]
OF_ROLE = {
    "agent": [
        ("HSET", Keys(NS).meta, "version", "9"),
        ("HDEL", Keys(NS).experiences, "x"),
        ("HGETALL", Keys(NS).usage),
        ("GET", Keys(NS).applied("t")),
        ("SADD", NAMESPACES, "x"),
        ("SADD", Keys(NS).purged, "x"),
        ("HGET", Keys(NS).evidence, "x"),
        ("HGETALL", Keys(NS).archive),
        ("SPUBLISH", Keys(NS).commits, "e 9"),
    ],
    "recorder": [
        ("SPUBLISH", Keys(NS).commits, "e 9"),
        ("HSET", Keys(NS).meta, "version", "9"),
        ("HDEL", Keys(NS).experiences, "x"),
        ("HSET", Keys(NS).experiences, "x", "1|1|active|1|{}"),
        ("HSET", Keys(NS).log, "1", "x"),
        ("SET", Keys(NS).applied("t"), "x"),
        ("DEL", Keys(NS).episodes),
        ("HGETALL", Keys(NS).episodes),
        ("HGET", Keys(NS).episodes, "1"),
        ("HDEL", Keys(NS).evidence, "x"),
        ("HGETALL", Keys(NS).evidence),
        ("HSET", Keys(NS).archive, "1", "x"),
        ("HGET", Keys(NS).archive, "1"),
        ("ZREM", Keys(NS).waiting, "1"),
        ("SADD", NAMESPACES, "x"),
        ("SADD", Keys(NS).purged, "x"),
    ],
    "learner": [("SADD", Keys(NS).purged, "x"), ("DEL", Keys(NS).purged)],
    "reviewer": [
        ("SADD", Keys(NS).purged, "x"),
        ("HGET", Keys(NS).archive, "1"),
        ("ZADD", Keys(NS).archived, "1", "1"),
        ("DEL", Keys(NS).meta),
        ("HSET", Keys(NS).progress, "a", "b"),
        ("SET", Keys(NS).credited("t"), "1"),
        ("HGETALL", Keys(f"{NS}~run").experiences),
    ],
    "admin": [],
}


@pytest.mark.parametrize("role", acl.ROLES)
def test_a_role_may_do_nothing_else_and_lua_is_no_way_round(filled: Server, role: str) -> None:
    with redis.Redis(port=filled.port, username=f"ted-{NS}-{role}", password=role) as client:
        for command in [*FORBIDDEN, *OF_ROLE[role]]:
            # to forget somebody it looks for all that there is of him
            if role == "admin" and command[0] == "SCAN":
                continue
            with pytest.raises(
                (redis.exceptions.NoPermissionError, redis.exceptions.ResponseError)
            ) as caught:
                client.execute_command(*command)
            said = str(caught.value).lower()
            assert "permission" in said or "not allowed" in said, (command, said)
            eval_ = "EVAL_RO" if role == "agent" else "EVAL"
            for names in ([], [part for part in command[1:] if part.startswith("ted:")]):
                script = "return redis.call(unpack(ARGV))"
                with pytest.raises(redis.exceptions.RedisError) as caught:
                    client.execute_command(eval_, script, len(names), *names, *command)
                said = str(caught.value).lower()
                assert re.search("permission|can't (run|access|publish)|not allowed", said), (
                    command,
                    said,
                )
    with redis.Redis(port=filled.port) as admin:
        assert admin.get("elsewhere") == b"x"


ENDLESS = "while true do end"


def test_an_agent_cannot_stop_the_server(filled: Server) -> None:
    with redis.Redis(port=filled.port, username=f"ted-{NS}-agent", password="agent") as client:
        for command in (
            ("EVAL_RO", ENDLESS, "0"),
            ("EVAL", ENDLESS, "0"),
            ("EVALSHA_RO", "0" * 40, "0"),
            ("FCALL_RO", "f", "0"),
            ("SCRIPT", "LOAD", ENDLESS),
            ("FUNCTION", "LIST"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


async def test_an_agent_that_may_run_no_script_reads_whole_sets_while_they_change(
    filled: Server,
) -> None:
    """Each one is of one version: its lessons are those that were there then."""
    options: dict[str, Any] = {"namespace": NS, "trust": "always", "history_versions": 1000}
    async with open_memory(filled.url, **options) as owner, as_role(filled, "agent") as agent:
        read = [await agent.load()]

        async def write() -> None:
            for i in range(30):
                await owner.commit([Add(text=f"Number {i}.")], author="me")
                if i % 3 == 2:
                    newest = (await owner.load()).active[-1]
                    await owner.commit([Remove(id=newest.id)], author="me")
                await asyncio.sleep(0.01)

        writing = asyncio.create_task(write())
        while not writing.done():
            # it changed too often meanwhile: an agent goes on with the last one
            with contextlib.suppress(StoreError):
                read.append(await agent.load())
        await writing
        read.append(await agent.load())
        assert read[-1].version == (await owner.load()).version
        assert await agent.load() is read[-1], "nothing new: nothing is read"
        for snapshot in {one.version: one for one in read}.values():
            then = await owner.at(snapshot.version)
            assert [e.text for e in snapshot] == [e.text for e in then]
    assert len({one.version for one in read}) > 3


def test_the_owner_may_do_what_the_roles_may_not(filled: Server) -> None:
    """The control: the commands above are refused for want of permission, not for being wrong."""
    with redis.Redis(port=filled.port) as owner:
        for command in FORBIDDEN[:8]:
            owner.execute_command(*command)


def test_the_printed_commands_have_fresh_passwords_and_refuse_what_would_be_a_glob() -> None:
    first, second = acl_commands(NS), acl_commands(NS)
    assert list(first) == ["agent", "recorder", "learner", "reviewer", "admin"]
    assert all(first[role] != second[role] for role in first)
    assert list(acl_commands(NS, ["agent"])) == ["agent"]
    for bad in ("*", "a*", "a}:x", "a b"):
        with pytest.raises(InvalidInput):
            acl_commands(bad)
    assert "+waitaof" not in str(acl_commands(NS))
    assert "+waitaof" in acl_commands(NS, ["learner"], durability="fsync")["learner"]
    with pytest.raises(InvalidInput, match="role"):
        acl_commands(NS, ["root"])
