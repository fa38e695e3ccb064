"""A learner whose server user lacks rights says so before the first model call."""

import asyncio
import re
from typing import Any

import pytest
import redis
from langchain_core.messages import BaseMessage

from ted_memory import TedMemory, open_memory
from ted_memory.errors import InvalidInput, StoreRefused, StoreUnavailable
from ted_memory.learner import Learner, learner
from ted_memory.storage.redis import acl, failures, rights
from ted_memory.storage.redis.keys import Keys
from ted_memory.testing import in_memory, wait_until
from tests.conftest import Server
from tests.distill.scripts import calls_of, follows, student, teacher
from tests.learner.worlds import complain, episode

MOST = 3  # deliveries
CHEAP: dict[str, Any] = {
    "trust": "always",
    "rollouts": 1,
    "verify_calls": 0,
    "max_deliveries": MOST,
}
PATIENCE = 30.0  # seconds in which a run is to have ended


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(learner, "LONGEST_PAUSE", 0.2)


def set_user(
    server: Server, namespace: str, role: acl.Role = "learner", *, lacks: str = ""
) -> None:
    """Make the user of a role, without the rights on one key."""
    command = acl.set_user(role, namespace, password="p")
    if lacks:
        narrower = re.sub(rf" (%R)?~{re.escape(lacks)}(?=[ )])", "", command)
        assert narrower != command
        command = narrower
    with redis.Redis.from_url(server.url) as owner:
        owner.execute_command(command)


def as_role(
    server: Server, namespace: str, role: acl.Role = "learner", **options: Any
) -> TedMemory:
    url = f"redis://ted-{namespace}-{role}:p@127.0.0.1:{server.port}/0"
    return open_memory(url, namespace=namespace, **{**CHEAP, **options})


async def complained(server: Server, namespace: str) -> None:
    async with open_memory(server.url, namespace=namespace, **CHEAP) as memory:
        await complain(memory, [episode("apples")])


async def counts(server: Server, namespace: str) -> tuple[int, int, int]:
    async with open_memory(server.url, namespace=namespace) as memory:
        traffic = await memory.store.episodes.traffic(namespace)
        return traffic.waiting, traffic.claimed, traffic.dead


def nothing_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the proof see nothing."""

    async def lacking(*_: Any) -> list[str]:
        return []

    monkeypatch.setattr(rights, "lacking", lacking)


async def run_until_empty(one: Learner) -> None:
    await asyncio.wait_for(one.run(until_empty=True), PATIENCE)


# --- before the first call


async def test_a_right_that_lacks_is_told_before_the_first_model_call(
    server: Server, namespace: str
) -> None:
    await complained(server, namespace)
    set_user(server, namespace, lacks=Keys(namespace).log)
    asked, answering = teacher(), student()
    async with as_role(server, namespace) as memory:
        with pytest.raises(StoreRefused, match=r"log.*ted-memory acl"):
            await run_until_empty(Learner(memory, student=answering, teacher=asked))
    assert asked.asked == answering.asked == []
    assert await counts(server, namespace) == (1, 0, 0), (
        "the episode waits for a learner that may do its work"
    )


async def test_without_the_proof_it_would_be_paid_for(
    server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    nothing_lacks(monkeypatch)
    asked = teacher()
    monkeypatch.setattr("tests.learner.test_refused_learners.teacher", lambda: asked)
    with pytest.raises(BaseException, match="DID NOT RAISE"):
        await test_a_right_that_lacks_is_told_before_the_first_model_call(server, namespace)
    assert asked.asked


@pytest.mark.parametrize("role", ["agent", "recorder", "reviewer"])
@pytest.mark.parametrize("named", [True, False])
async def test_no_other_role_learns_and_is_told_so(
    own_server: Server, role: acl.Role, named: bool
) -> None:
    await complained(own_server, "ns")
    set_user(own_server, "ns", role)
    asked, answering = teacher(), student()
    async with as_role(own_server, "ns", role) as memory:
        one = Learner(
            memory, student=answering, teacher=asked, namespaces="own" if named else "all"
        )
        with pytest.raises(StoreRefused, match="refuses"):
            await run_until_empty(one)
    assert asked.asked == answering.asked == []


async def test_a_found_namespace_without_rights_is_left_out_and_others_are_learned_from(
    own_server: Server,
) -> None:
    for name in ("a", "b"):
        await complained(own_server, name)
    set_user(own_server, "b")
    async with as_role(own_server, "b") as memory:
        one = Learner(memory, student=student(), teacher=teacher(), namespaces="all")
        await run_until_empty(one)
        assert one.report.outcomes == {"learned": 1}
        assert "'a'" in one.report.last_error
    assert await counts(own_server, "a") == (1, 0, 0)


async def test_every_key_that_a_learner_needs_is_missed(own_server: Server) -> None:
    """One after the other is taken from its user."""
    given = acl.set_user("learner", "ns").split()
    patterns = sorted(
        {part.rstrip(")").partition("~")[2] for part in given if "~ted:{ns}:" in part}
    )
    # no live learner needs them
    unasked = {Keys("ns").vectors, Keys("ns").credited("*"), Keys("ns").progress}
    asked_by = Keys("ns").meta  # without this one nothing can be asked, and nothing more is told
    for pattern in sorted({*patterns} - unasked):
        told = "refuses us" if pattern == asked_by else re.escape(pattern.removesuffix("*"))
        set_user(own_server, "ns", lacks=pattern)
        memory = as_role(own_server, "ns")
        with pytest.raises(StoreRefused, match=told):
            await memory.store.prove("ns", to_learn=True)
        await memory.aclose()


@pytest.mark.parametrize("trust", ["always", "evidence"])
async def test_who_may_do_just_what_is_proved_can_learn(own_server: Server, trust: str) -> None:
    """So nothing is missing in the proof: neither for episodes nor for replays and trials."""
    start, selectors = "+hello +ping +client|setname", []
    for command, *args in rights.needed_to_learn("ns", "none"):
        keys = [arg.replace(f":{rights.SOME}", ":*") for arg in args if arg.startswith("ted:")]
        selectors.append(f"(+{command} {' '.join(f'~{key}' for key in keys)})")
    with redis.Redis.from_url(own_server.url) as owner:
        owner.execute_command(
            f"ACL SETUSER ted-ns-learner reset on >p -@all {start} {' '.join(selectors)}"
        )
    async with open_memory(own_server.url, namespace="ns", **CHEAP) as memory:
        await complain(memory, [episode("apples", i, principal=f"user-{i}") for i in range(8)])
    async with as_role(own_server, "ns", trust=trust) as memory:
        one = Learner(memory, student=student(), teacher=teacher())
        await run_until_empty(one)
        assert one.report.last_error == ""
        assert one.report.outcomes.keys() <= {"learned", "nothing", "set_aside"}
        assert one.report.outcomes.total() == 8
        assert bool(one.report.replayed) == (trust == "evidence")


# --- what no proof can see


async def refused_at_the_end(server: Server, namespace: str) -> tuple[Learner, int]:
    """Run a learner whose settlements are refused; return it with the deliveries that were paid."""
    await complained(server, namespace)
    set_user(server, namespace, lacks=Keys(namespace).log)
    asked = teacher()
    async with as_role(server, namespace) as memory:
        one = Learner(memory, student=student(), teacher=asked)
        running = asyncio.create_task(one.run(until_empty=True))
        await wait_until(
            lambda: running.done() or calls_of(asked, "critic") > 2 * MOST, what="an end"
        )
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return one, calls_of(asked, "critic")


async def test_what_no_proof_sees_costs_no_more_deliveries_than_any_failure(
    server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_lacks(monkeypatch)
    one, deliveries = await refused_at_the_end(server, namespace)
    assert deliveries == MOST
    assert one.report.outcomes == {"failed": MOST - 1, "dead": 1}
    assert await counts(server, namespace) == (0, 0, 1)


async def test_were_a_refusal_an_absence_it_would_be_free_for_ever(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    nothing_lacks(monkeypatch)
    monkeypatch.setattr(failures, "StoreRefused", StoreUnavailable)
    one, deliveries = await refused_at_the_end(valkey, namespace)
    assert deliveries > 2 * MOST
    assert one.report.outcomes.keys() == {"released"}


async def test_a_right_that_is_taken_away_meanwhile_ends_the_learner(
    valkey: Server, namespace: str
) -> None:
    """It is found out by one settlement, not by one for each episode."""
    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await complain(memory, [episode(thing) for thing in ("apples", "bananas", "cherries")])

    def takes_away(messages: list[BaseMessage]) -> str:
        set_user(valkey, namespace, lacks=Keys(namespace).log)
        return follows(messages)

    set_user(valkey, namespace)
    asked = teacher()
    async with as_role(valkey, namespace, episodes_at_once=1) as memory:
        one = Learner(memory, student=student(takes_away), teacher=asked)
        with pytest.raises(StoreRefused, match="log"):
            await asyncio.wait_for(one.run(), PATIENCE)
    assert one.report.outcomes == {"failed": 1}
    assert calls_of(asked, "critic") == 1
    assert await counts(valkey, namespace) == (2, 1, 0), (
        "the others wait; the one that failed may be begun again"
    )


def test_a_word_that_names_no_namespaces_says_how_to_name_one() -> None:
    memory = in_memory()
    with pytest.raises(
        InvalidInput,
        match=r"namespaces='support': give 'own', 'all', or a list of names, \['support'\]",
    ):
        Learner(memory, teacher=teacher(), replay="none", namespaces="support")
    Learner(memory, teacher=teacher(), replay="none", namespaces=["support"])
