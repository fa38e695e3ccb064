"""Any changes by two clients that hold old sets and crash: the set is what a plain model says."""

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ted_memory import TedMemory, open_memory
from ted_memory import models as m
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.memory import commits as committing
from ted_memory.models import Add, Commit, Edit, ExperienceSet, Merge, Remove, Rewrite, SetState
from ted_memory.testing import in_memory
from tests.chaos.plain_model import BUDGET, MAX_ACTIVE, Model, view
from tests.chaos.sizes import report, size
from tests.conftest import Server, assert_only_known_keys

T = TypeVar("T")

STEPS = size(10, 15)
_numbers = itertools.count()

texts = st.sampled_from(
    ["One.", "Two.", "Three four five six.", "A lesson of some length that takes its share."]
)
whens = st.sampled_from(["", "asked", "it is late"])
states = st.sampled_from(["proposed", "trial", "active"])
clients = st.integers(0, 1)
places = st.integers(0, 5)
fresh = st.sampled_from([True, True, False])
"""Whether a client looks at the set before it changes it."""


class TwoClients(RuleBasedStateMachine):
    """Two clients of one set on a real server, and the model."""

    url: ClassVar[str]
    forgets_removes: ClassVar[bool] = False
    steps: ClassVar[int] = 0
    versions: ClassVar[int] = 0
    outlived: ClassVar[int] = 0
    """Commits that took effect although their sender crashed before it had the answer."""
    """Rollbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.namespace = f"machine-{next(_numbers)}"
        self.opened: list[TedMemory] = []
        self.observer = self._open()
        self.clients = [self._open(), self._open()]
        self.bases = [self._run(client.load()) for client in self.clients]
        self.model = Model(forgets_removes=self.forgets_removes)
        self.sent: list[tuple[tuple[Edit, ...], str, Commit]] = []
        self.credits = 0

    def _open(self) -> TedMemory:
        made = open_memory(
            self.url,
            namespace=self.namespace,
            max_experiences=MAX_ACTIVE,
            token_budget=BUDGET,
            read_timeout=1.0,
        )
        self.opened.append(made)
        return made

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def _id(self, client: int, place: int) -> str:
        ids = [e.id for e in self.bases[client]] or ["nobody"]
        return ids[place % len(ids)]

    def _look(self, client: int, looks: bool) -> None:
        if looks:
            self.bases[client] = self._run(self.clients[client].load())

    def _send(
        self, client: int, edits: tuple[Edit, ...], token: str, base: ExperienceSet, atomic: bool
    ) -> Commit:
        return self._run(self._sending(client, edits, token, base, atomic))

    def _sending(self, client: int, *sent: Any) -> Coroutine[Any, Any, Commit]:
        edits, token, base, atomic = sent
        return self.clients[client].commit(
            edits, author="me", token=token, base=base, atomic=atomic
        )

    def _commit(
        self, client: int, *edits: Edit, atomic: bool = False, crash: int | None = None
    ) -> None:
        base, token = self.bases[client], f"t{len(self.sent)}-{self.namespace}"
        if crash is not None:
            self._send_and_crash(client, crash, edits, token, base, atomic)
            client = 1 - client
        commit = self._send(client, edits, token, base, atomic)
        assert crash is not None or not commit.repeated
        type(self).outlived += commit.repeated
        made = [done.id for done in commit.applied if isinstance(done.edit, Add | Merge)]
        expected = self.model.commit(edits, base, made, atomic)
        left = list(commit.rejected)
        reasons = []
        for edit in edits:  # answers are in the order of the edits
            reasons.append(left.pop(0).reason if left and left[0].edit == edit else "")
        assert len(edits) == len(commit.applied) + len(commit.rejected)
        assert reasons == expected, f"{edits}: {reasons}, the model says {expected}"
        assert commit.version == self.model.version
        self.sent.append((edits, token, commit))

    def _send_and_crash(self, client: int, steps: int, *sent: Any) -> None:
        """Send a commit and end without an answer, after so many steps of the loop."""

        async def crash() -> None:
            task = asyncio.ensure_future(self._sending(client, *sent))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        self._run(crash())
        self.crash(client)

    @rule(client=clients, looks=fresh, text=texts, when=whens, state=states)
    def add(self, client: int, looks: bool, text: str, when: str, state: Any) -> None:
        self._look(client, looks)
        self._commit(client, Add(text=text, when=when, state=state))

    @rule(client=clients, looks=fresh, place=places, text=texts)
    def rewrite(self, client: int, looks: bool, place: int, text: str) -> None:
        self._look(client, looks)
        self._commit(client, Rewrite(id=self._id(client, place), text=text))

    @rule(client=clients, looks=fresh, place=places, text=texts)
    def merge(self, client: int, looks: bool, place: int, text: str) -> None:
        self._look(client, looks)
        one, other = self._id(client, place), self._id(client, place + 1)
        if one != other:
            self._commit(client, Merge(ids=(one, other), text=text))

    @rule(client=clients, looks=fresh, place=places)
    def remove(self, client: int, looks: bool, place: int) -> None:
        self._look(client, looks)
        self._commit(client, Remove(id=self._id(client, place)))

    @rule(client=clients, looks=fresh, place=places, state=states | st.just("retired"))
    def set_state(self, client: int, looks: bool, place: int, state: Any) -> None:
        self._look(client, looks)
        self._commit(client, SetState(id=self._id(client, place), state=state))

    @rule(client=clients, looks=fresh, place=places, text=texts, atomic=st.booleans())
    def two_edits(self, client: int, looks: bool, place: int, text: str, atomic: bool) -> None:
        self._look(client, looks)
        self._commit(client, Add(text=text), Remove(id=self._id(client, place)), atomic=atomic)

    @rule(client=clients, place=places)
    def rollback(self, client: int, place: int) -> None:
        version = max(0, self.model.version - place)
        commit = self._run(self.clients[client].rollback(version))
        self.model.rollback(version)
        assert commit.version == self.model.version

    @rule(client=clients, place=places, again=st.booleans())
    def credit(self, client: int, place: int, again: bool) -> None:
        id, token = self._id(client, place), f"c{self.credits}-{self.namespace}"
        self.credits += 1
        usage = {id: m.Usage(n_with=1)}
        assert self._run(self.clients[client].credit(usage, token=token))
        if again:
            assert not self._run(self.clients[1 - client].credit(usage, token=token))
        if id in self.model.items:
            self.model.usage[id] = self.model.usage.get(id, 0) + 1

    @rule(client=clients)
    def crash(self, client: int) -> None:
        """Drop a client without closing it; a new one takes its place and knows nothing."""
        self.clients[client] = self._open()
        self.bases[client] = self._run(self.clients[client].load())

    @rule(client=clients, place=places, text=texts, adds=st.booleans(), steps=st.integers(1, 12))
    def crash_after_send(self, client: int, place: int, text: str, adds: bool, steps: int) -> None:
        edit: Edit = Add(text=text) if adds else Rewrite(id=self._id(client, place), text=text)
        self._commit(client, edit, crash=steps)

    @rule(client=clients, place=places)
    def send_again(self, client: int, place: int) -> None:
        if self.sent:
            edits, token, first = self.sent[-1 - place % len(self.sent)]
            again = self._send(client, edits, token, self.bases[client], False)
            assert again.repeated
            assert (again.version, again.applied, again.rejected) == (
                first.version,
                first.applied,
                first.rejected,
            )

    @invariant()
    def the_set_is_what_the_model_says(self) -> None:
        type(self).steps += 1
        self._run(self._check())

    async def _check(self) -> None:
        store, name, model = self.observer.store, self.namespace, self.model
        now = await store.read(name)
        if now is None:
            assert model.version == 0
            return
        assert view(now) == model.items
        assert list(view(now)) == sorted(model.items, key=lambda id: model.items[id].place)
        assert now.version == model.version
        assert {e.id: e.rev for e in now} == model.revs
        assert len(now.active) <= MAX_ACTIVE
        assert not now.active or FRAME_TOKENS + sum(e.tokens for e in now.active) <= BUDGET
        assert {
            id: u.n_with for id, u in (await store.usage(name)).items() if u.n_with
        } == model.usage
        for client, base in zip(self.clients, self.bases, strict=True):
            caught_up = await client.store.read(name, base if base.version else None)
            assert caught_up is not None
            assert (caught_up, caught_up.usage) == (now, now.usage)
        self._undo(await store.log(name, range(1, now.version + 1)), now)

    def _undo(self, log: tuple[m.LogEntry, ...], now: ExperienceSet) -> None:
        assert [entry.version for entry in log] == list(range(1, now.version + 1)), "no gaps"
        experiences = dict(now.by_id)
        for entry in reversed(log):
            for change in reversed(entry.changes):
                for new in change.after:
                    assert experiences.pop(new.id) == new
                experiences.update({old.id: old for old in change.before})
            assert view(list(experiences.values())) == self.model.versions[entry.version - 1]

    def teardown(self) -> None:
        type(self).versions += self.model.version
        for opened in self.opened:
            self._run(opened.aclose())
        self.runner.close()


def play(machine: type[TwoClients], server: Server, examples: int, *phases: Phase) -> None:
    machine.url = server.url
    machine.steps = machine.versions = machine.outlived = 0
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=phases or (Phase.generate, Phase.shrink),
        ),
    )


def test_two_clients_that_crash_and_look_at_old_sets_leave_what_the_model_says(
    server: Server,
) -> None:
    examples = size(60, 1000)
    play(TwoClients, server, examples)
    assert TwoClients.outlived > 0
    report(
        f"state machine: {examples} examples, {TwoClients.steps} checks, "
        f"{TwoClients.versions} versions, "
        f"{TwoClients.outlived} commits outlived their sender, "
        "no difference from the model"
    )
    asyncio.run(assert_only_known_keys(server.url))


async def test_a_rollback_needs_no_more_room_than_the_version_that_it_restores() -> None:
    memory = in_memory(max_experiences=1)
    await memory.commit([Add(text="One."), Add(text="Two.", state="proposed")], author="me")
    one, two = await memory.load()
    for edit in (
        Rewrite(id=two.id, text="2."),
        SetState(id=one.id, state="proposed"),
        SetState(id=two.id, state="active"),
    ):
        assert (await memory.commit([edit], author="me")).applied
    assert (await memory.rollback(1)).version == 5
    assert [e.text for e in (await memory.load()).active] == ["One."]


def test_a_model_that_forgets_removes_is_found_out(server: Server) -> None:
    class Forgetful(TwoClients):
        forgets_removes = True

    with pytest.raises(AssertionError):
        play(Forgetful, server, 100, Phase.generate)
    asyncio.run(assert_only_known_keys(server.url))


def test_a_client_that_expects_no_rev_is_found_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = committing.plan

    def careless(*args: Any, **options: Any) -> Any:
        return tuple(
            change.model_copy(update={"expects": ()}) for change in planned(*args, **options)
        )

    class Careless(TwoClients):
        pass

    monkeypatch.setattr(committing, "plan", careless)
    # a crash falls differently when Hypothesis plays a failure again: then it says so, and is right
    # about the failure
    with pytest.raises((AssertionError, FlakyFailure)):
        play(Careless, server, 200, Phase.generate)
    asyncio.run(assert_only_known_keys(server.url))
