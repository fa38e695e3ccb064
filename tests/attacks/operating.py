"""The rest of the attacked machine: decisions, what an operator does, and days that pass."""

from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from ted_memory.errors import CommitRefused
from ted_memory.learner.trials import look
from ted_memory.memory import exchange
from ted_memory.models import Add, Edit, Merge, Rewrite, SetState
from tests.attacks.audit import audit, check
from tests.attacks.learning import Learning
from tests.attacks.machine import PEOPLE, everybody, people, places
from tests.attacks.places import Clock, Dice

OPERATOR = (
    "approve",
    "add",
    "remove",
    "send back",
    "send back",
    "rewrite",
    "merge",
    "roll back",
    "decide",
    "decide",
)
STATES: dict[str, Any] = {"approve": "active", "send back": "proposed", "remove": "retired"}
KINDS: Any = st.sampled_from(["principal", "principal", "run", "thread"])


class Machine(Learning):
    """All that may happen to one namespace, and what holds after each step."""

    # --- decisions

    @initialize(
        who=everybody,
        stage=st.sampled_from(["none", "proposed", "trial", "trial", "active", "active"]),
        deliveries=st.integers(1, 2),
        luck=st.integers(0, 2**16),
    )
    def it_has_begun(self, who: list[str], stage: str, deliveries: int, luck: int) -> None:
        """Begin most examples where there is something to attack: a lesson that all praised."""
        Dice.luck.seed(luck)
        self.deliveries = deliveries
        if stage != "none":
            self._run(self._graded(who, proposes=True))
        if stage in {"trial", "active"}:
            self._run(self._replay(self._lesson(0) or "", 1.0, 9))
            self._run(self._decide())
        if stage == "active":
            self._run(self._crowd([*PEOPLE[:-1]], self._lesson(0, "trial"), for_it=True))
            self._run(self._decide())

    async def _decide(self) -> None:
        before = dict(self.model.held)
        _, self.known = await look(self.memory, "the learner", self.known)
        now = await self.memory.load()
        entries = await self.memory.store.log(
            self.memory.namespace, range(self.model.version + 1, now.version + 1)
        )
        made = audit(entries, before, now.by_id, self.model, self.memory.settings)
        type(self).done.update(made)
        await self._follow()
        # the next look makes room for these, also for what waits for a person from now on
        back = sum(made[f"{state} to proposed"] for state in ("active", "trial", "proposed"))
        assert len(now.proposed) <= self.memory.settings.max_proposed + back

    # --- an operator

    @rule(steps=st.lists(st.tuples(st.sampled_from(OPERATOR), places), min_size=1, max_size=4))
    def operate(self, steps: list[tuple[str, int]]) -> None:
        for what, n in steps:
            self._run(self._step(what, n))

    async def _step(self, what: str, n: int) -> None:
        one, other = self._lesson(n), self._lesson(n + 1)
        if what == "decide":
            await self._decide()
        elif what == "roll back":
            await self._roll_back(max(0, self.model.version - n))
        elif what == "add":
            await self._operate(Add(text=f"The operator says {self._word()}."))
        elif what == "merge" and one and other and one != other:
            await self._operate(Merge(ids=(one, other), text=f"Both at once {self._word()}."))
        elif what == "rewrite" and one:
            await self._operate(Rewrite(id=one, text=f"In other words {self._word()}."))
        elif one and what in STATES:
            await self._operate(SetState(id=one, state=STATES[what]))

    async def _operate(self, edit: Edit) -> None:
        await self._export()
        await self.memory.commit([edit], author="operator")
        await self._follow()

    async def _roll_back(self, version: int) -> None:
        oldest = (await self.memory.load()).oldest
        if version < oldest - 1:
            return
        try:
            await self.memory.rollback(version)
        except CommitRefused:
            self._count("rollback refused")
        await self._follow()

    @rule(n=places, retries=st.booleans())
    def dead_letters(self, n: int, retries: bool) -> None:
        if self.model.dead:
            seq = sorted(self.model.dead)[n % len(self.model.dead)]
            self._run(self._dead_letters(seq, retries))

    async def _dead_letters(self, seq: int, retries: bool) -> None:
        if retries:
            assert await self.log.retry_dead(self.memory.namespace, [seq]) == 1
            del self.model.dead[seq]
            self.model.retried += 1
        else:
            assert await self.log.drop_dead(self.memory.namespace, [seq]) == 1
            self.model.take_out(seq)

    # --- forgetting

    @rule(kind=KINDS, n=places)
    def forget(self, kind: Literal["principal", "run", "thread"], n: int) -> None:
        named = {
            "principal": list(PEOPLE[:-1]),
            "run": [one.run_id for one in self.finished] or ["run0-zq"],
            "thread": ["thr1-zq", "thr2-zq"],
        }[kind]
        self._run(self._forget(kind, named[n % len(named)]))

    async def _forget(self, kind: Literal["principal", "run", "thread"], name: str) -> None:
        await self._export()
        await self.memory.forget(kind, name)
        self.model.forget(kind, name)
        self._count(f"forgot a {kind}")
        await self._follow()

    @rule(who=people)
    def purge(self, who: str) -> None:
        """Take out what was learned of somebody; what was recorded of him stays."""
        self._run(self._purge(f"principal:{who}"))

    async def _purge(self, source: str) -> None:
        await self._export()
        await self.memory.purge(source)
        self.model.forbidden.add(source)
        await self._follow()

    async def _export(self) -> None:
        """Keep a copy of what there is, before something goes."""
        self.exports = [*self.exports, await self.memory.export()][-3:]

    @rule(n=places)
    def import_again(self, n: int) -> None:
        """Take in what was exported before lessons were taken out, some of them for good."""
        if self.exports:
            self._run(self._import(self.exports[n % len(self.exports)]))

    async def _import(self, text: str) -> None:
        exported = exchange.parse(text)
        purged = {
            e.id for e in exported.experiences if not self.model.forbidden.isdisjoint(e.sources)
        }
        report = await self.memory.import_set(text, merge=True)
        assert purged.isdisjoint(report.added)
        asked = purged - {*report.unchanged, *report.duplicates, *report.conflicts}
        assert asked == {id for id, reason in report.refused if reason == "purged"}
        await self._follow()
        for id in report.added:
            self.model.ledger.lessons[id].before = exported.usage.get(
                id, self.model.ledger.lessons[id].before
            )
            self._count("imported")
        self._count("import of what was purged") if asked else None

    @precondition(lambda self: self.model.version > 9)
    @rule()
    def drop(self) -> None:
        """Forget the namespace and begin again. Learners and agents go on with what they hold."""
        self._run(self._drop())

    async def _drop(self) -> None:
        await self.memory.store.drop(self.memory.namespace)
        left = [
            key for key in self.place.look().keys if key not in {"ted:namespaces", "ted:traffic"}
        ]
        assert not left, f"left of a dropped namespace: {left}"
        everything = {
            *self.model.gone,
            *(word for words in self.model.words_of.values() for word in words),
        }
        self.model.begin()
        self.model.gone = everything
        self.finished, self.under_way, self.exports = [], [], []
        await self.memory.load()
        await self.place.agent.load()
        self._count("dropped")

    # --- time

    @rule(days=st.sampled_from([0.5, 1.0, 3.0, 12.0, 31.0]))
    def time_passes(self, days: float) -> None:
        self.place.jump(days)
        Clock.ahead += days
        self.model.jump(days)

    # --- what holds

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        self._count("checks")
        self.look = self._run(check(self.place, self.model))
        self.model.archived = {
            seq: one for seq, one in self.model.archived.items() if seq in self.look.archive
        }

    def teardown(self) -> None:
        self._run(self.memory.aclose())
        self._run(self.place.agent.aclose())
        self.runner.close()
        self.place.close()
