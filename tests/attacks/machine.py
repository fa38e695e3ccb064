"""What agents and their users do to one namespace, on a memory and on a model of it."""

import asyncio
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from ted_memory.episodes import Claim, Episode
from ted_memory.models import Message
from ted_memory.protocols import KnownEvidence
from tests.attacks.model import ANONYMOUS, PEOPLE, Model, Queued, Request, Said
from tests.attacks.places import Clock, Look, Place

T = TypeVar("T")

IMAGES = {hashlib.sha256(data).hexdigest(): data for data in (b"one", b"another")}

people = st.sampled_from(PEOPLE)
crowds = st.lists(st.sampled_from(PEOPLE[:-1]), min_size=1, max_size=6, unique=True)
everybody = crowds | st.just(list(PEOPLE[:-1]))
threads = st.sampled_from(["", "thr1-zq", "thr2-zq"])
scores = st.sampled_from([0.0, 0.5, 1.0])
places = st.integers(0, 9)
TRAFFIC = (
    *(
        "ask",
        "chat",
        "chat",
        "chat",
        "late",
        "late",
        "image",
        "long",
        "end",
        "end",
        "early",
        "again",
        "stolen",
    ),
    *("say", "mine", "mine", "mine", "correct", "comment", "review"),
)
CROWDS = ("twice", "twice", "late", "one conversation", "one for all")


class Attacked(RuleBasedStateMachine):
    """One namespace, attacked."""

    make: ClassVar[Callable[[], Place]]
    done: ClassVar[Counter[str]] = Counter()
    """What was seen to happen, so that a test can tell that it did."""

    def __init__(self) -> None:
        super().__init__()
        Clock.ahead = 0.0
        self.numbers = itertools.count(1)
        self.runner = asyncio.Runner()
        self.place = self._run(self._made())
        s = self.place.memory.settings
        self.model = Model(
            ends=self.place.ends, rate_limit=s.rate_limit, run_days=s.run_days, max_dead=s.max_dead
        )
        self.look = Look()
        self.deliveries = 2
        self.under_way: list[Request] = []
        self.finished: list[Request] = []
        self.claims: list[Claim] = []
        self.exports: list[str] = []
        self.known: KnownEvidence = {}
        self.allowed: dict[tuple[str, int], frozenset[str]] = {}
        self.coins: dict[tuple[str, str, str, int], bool] = {}

    async def _made(self) -> Place:
        return type(self).make()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def _word(self) -> str:
        """Return a word that nobody has said before."""
        return f"W{next(self.numbers)}zq"

    def _count(self, what: str) -> None:
        type(self).done[what] += 1

    @property
    def memory(self) -> Any:
        return self.place.memory

    @property
    def log(self) -> Any:
        return self.place.memory.store.episodes

    def _lesson(self, n: int, *states: str) -> str | None:
        ids = [e.id for e in self.model.held.values() if not states or e.state in states]
        return ids[n % len(ids)] if ids else None

    async def _follow(self) -> list[Any]:
        """Have the model take in what was committed; return these versions."""
        now = await self.memory.load()
        entries = await self.memory.store.log(
            self.memory.namespace, range(self.model.version + 1, now.version + 1)
        )
        assert len(entries) == now.version - self.model.version, "no version is missing"
        self.model.follow(entries, dict(now.by_id))
        self.allowed[now.epoch, now.version] = self.model.may_be_shown()
        return list(entries)

    # --- agents and their users

    @rule(
        steps=st.lists(
            st.tuples(st.sampled_from(TRAFFIC), places, people, threads, scores),
            min_size=3,
            max_size=8,
        )
    )
    def traffic(self, steps: list[tuple[str, int, str, str, float]]) -> None:
        """Anybody asks, and speaks of any run, also of one that is still under way."""
        for what, n, who, thread, score in steps:
            self._run(self._traffic(what, n, who, thread, score))

    async def _traffic(self, what: str, n: int, who: str, thread: str, score: float) -> None:
        if what == "chat":
            await self._say(await self._ask(who, thread), who, score)
        elif what in {"ask", "late", "image", "long"}:
            await self._ask(who, thread, how=what, looks=bool(score))
        elif what == "end" and self.under_way:
            request = self.under_way.pop(n % len(self.under_way))
            await self._record(request)
            await self._say(request, request.who, score)
        elif what == "early" and self.under_way:
            await self._say(self.under_way[n % len(self.under_way)], who, score)
        elif what not in {"end", "early"} and self.finished:
            await self._about(self.finished[-1 - n % len(self.finished)], what, who, score)

    async def _about(self, request: Request, what: str, who: str, score: float) -> None:
        """Do something with a run that has ended."""
        if what in {"again", "stolen"}:
            taken = Request(request.run_id, who, request.thread, request.shown)
            await self._record(request if what == "again" else taken)
        elif what in {"say", "mine"}:
            await self._say(request, request.who if what == "mine" else who, score)
        elif what == "comment":
            await self._say(request, request.who, None, corrects=True)
        else:
            speaker = request.who if what == "correct" else who
            await self._say(request, speaker, score, corrects=True, reviewer=what == "review")

    async def _ask(
        self, who: str, thread: str = "", *, how: str = "", looks: bool = True
    ) -> Request:
        if looks:
            await self.place.agent.load()
        run_id = f"run{next(self.numbers)}-zq"
        shown = await self.place.agent.expose("What is it?", unit=thread or run_id, principal=who)
        request = Request(run_id, who, thread, shown)
        self._check_shown(request)
        if how == "late":
            self.under_way.append(request)
        else:
            await self._record(request, image=how == "image", long=how == "long")
        return request

    def _check_shown(self, request: Request) -> None:
        """Nobody is shown what may not be shown, and a conversation has one coin.

        Not to be shown: proposals, what is gone, and on trial what the user said himself.
        """
        shown = request.shown
        if not shown.version:
            assert not shown.seen
            return
        allowed = self.allowed[shown.epoch, shown.version]
        assert {*shown.seen, *shown.withheld} <= allowed, (
            f"shown {shown.seen}, allowed were {sorted(allowed)}"
        )
        assert {*(shown.counted)} <= {*shown.seen}
        for id in {*shown.seen, *shown.withheld}:
            e = self.model.held.get(id)
            if e is None or e.state != "trial" or e.rev > shown.version or not e.trial:
                continue
            assert request.who == ANONYMOUS or f"principal:{request.who}" not in e.sources
            coin = shown.epoch, request.unit, id, e.rev
            assert self.coins.setdefault(coin, id in shown.seen) == (id in shown.seen), (
                "a coin fell twice"
            )
            self._count("tried")

    async def _record(self, request: Request, *, image: bool = False, long: bool = False) -> None:
        word, kept = self._word(), list(IMAGES)[: 1 if image else 0]
        fields = request.shown.model_dump(exclude={"block", "placement", "turns"})
        episode = Episode(
            run_id=request.run_id,
            principal=request.who,
            thread_id=request.thread,
            input=(
                Message(
                    role="user", content=f"What is {word}?" + " Tell me." * (300 if long else 0)
                ),
            ),
            output=(Message(role="assistant", content=f"{word} is so."),),
            images=tuple(kept),
            **fields,
        )
        waiting = len(self.model.queue) - len(self.model.dead)
        full = waiting >= self.memory.settings.max_episodes
        expected = self.model.record(request, frozenset({word}), is_full=full)
        self.memory.recorder.put(
            request.run_id, lambda: (episode, {digest: IMAGES[digest] for digest in kept})
        )
        await self.memory.flush()
        if expected == "repeated":
            return
        self._remember(request)
        seq = self.place.seq_of(request.run_id)
        large = long or any(size > 2000 for size in self.look.episodes.values())
        assert bool(seq) == (expected == "recorded") or (expected == "recorded" and large), (
            f"{expected}: {seq}"
        )
        self._count(expected if seq or expected != "recorded" else "full")
        if seq:
            self.model.queue[seq] = Queued(
                request.run_id, request.who, request.thread, frozenset({word})
            )

    async def _say(
        self,
        request: Request,
        who: str,
        score: float | None,
        *,
        corrects: bool = False,
        reviewer: bool = False,
    ) -> None:
        words = frozenset({self._word()}) if corrects else frozenset()
        said = " ".join(words)
        expected = self.model.say(request.run_id, Said(who, reviewer, score, words))
        verdict = await self.memory.give_feedback(
            request.run_id, score=score, principal=who, correction=said, reviewer=reviewer
        )
        assert verdict == expected, f"{who} on {request}: {verdict}, the model says {expected}"
        self._count(verdict)

    @rule(
        who=everybody,
        n=places,
        for_it=st.booleans(),
        how=st.sampled_from(CROWDS),
        change=st.sampled_from(["", "before", "after"]),
        meanwhile=st.sampled_from(["", "decide", "decide", "decide", "approve", "rewrite"]),
    )
    def crowd(
        self, who: list[str], n: int, for_it: bool, how: str, change: str, meanwhile: str
    ) -> None:
        """Few or all accounts do what they can for or against one lesson, and take it back."""
        self._run(self._crowding(who, n, for_it, how, change, meanwhile))

    async def _crowding(
        self, who: list[str], n: int, for_it: bool, how: str, change: str, meanwhile: str
    ) -> None:
        said = await self._crowd(who, self._lesson(n, "trial", "active"), for_it, how)
        if change == "before":
            await self._take_back(said)
        await self._step(meanwhile, n)
        if change == "after" and how != "late":
            await self._take_back(said)
        while change == "after" and self.under_way:
            await self._traffic("end", 0, "", "", float(for_it))

    async def _crowd(
        self, who: list[str], id: str | None, for_it: bool, how: str = "twice"
    ) -> list[Request]:
        said = []
        for one in who * 2 if how == "twice" else who:
            asks = "late" if how == "late" else "ask"
            request = await self._ask(one, "thr1-zq" if how == "one conversation" else "", how=asks)
            score = float((id in request.shown.seen) == for_it)
            if how == "one for all":
                await self._say(request, who[0], score, reviewer=True)
            elif how != "late":
                await self._say(request, one, score)
                said.append(request)
        return said

    async def _take_back(self, said: list[Request]) -> None:
        for request in said[:6]:
            record = self.model.records.get(request.run_id)
            if record and record.assigned and record.assigned.score is not None:
                await self._say(request, request.who, 1.0 - record.assigned.score)

    def _remember(self, request: Request) -> None:
        """Keep the latest runs to speak of: last those that say something of a lesson."""

        def tells(one: Request) -> bool:
            return bool(one.shown.counted or one.shown.withheld)

        known = [*self.finished, request]
        self.finished = [
            *[r for r in known if not tells(r)][-3:],
            *[r for r in known if tells(r)][-9:],
        ]

    @rule(
        how=st.sampled_from(["mine", "mine", "say", "review", "end", "end"]),
        who=people,
        score=scores,
        most=places,
    )
    def speak(self, how: str, who: str, score: float, most: int) -> None:
        """Runs under way end, or somebody says something else of runs that have ended."""
        for n in range(min(most + 1, len(self.under_way if how == "end" else self.finished))):
            self._run(self._traffic(how, n, who, "", score))

    async def _step(self, what: str, n: int) -> None:
        """Have a learner or an operator change the set."""
        raise NotImplementedError
