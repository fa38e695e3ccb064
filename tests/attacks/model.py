"""What the attacked memory must hold, in plain Python: what was said, what waits, what is gone."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from ted_memory.episodes import Exposure, unit_of
from ted_memory.models import Experience, LogEntry, LoggedChange, Restore
from tests.attacks.ledger import Assigned, Ledger

ANONYMOUS = "anonymous"
PEOPLE = ("anna-zq", "bert-zq", "carl-zq", "dora-zq", "emil-zq", "fred-zq", ANONYMOUS)
TOLD = 20  # words on one run that are kept

Verdict = Literal["credited", "corrected", "unknown", "limited", "repeated", "kept", "foreign"]
Outcome = Literal["recorded", "repeated", "limited", "full"]


@dataclass
class Said:
    """One feedback."""

    speaker: str
    reviewer: bool
    score: float | None
    words: frozenset[str]

    def is_heard(self, owner: str) -> bool:
        return self.reviewer or owner in {"", ANONYMOUS} or self.speaker in {owner, ANONYMOUS}


@dataclass
class Request:
    """One request of an agent's user, and what it was shown."""

    run_id: str
    who: str
    thread: str
    shown: Exposure

    @property
    def unit(self) -> str:
        return unit_of(self.thread or self.run_id)


@dataclass
class Record:
    """What is known of one run."""

    run_id: str
    who: str = ""
    thread: str = ""
    assigned: Assigned | None = None
    told: list[Said] = field(default_factory=list)
    words: frozenset[str] = frozenset()
    until: float = float("inf")


@dataclass
class Queued:
    """One episode that is in the queue."""

    run_id: str
    who: str
    thread: str
    words: frozenset[str]


class Model:
    """One namespace. ``ends``: whether what is kept for a time ends by itself."""

    def __init__(self, *, ends: bool, rate_limit: int, run_days: float, max_dead: int) -> None:
        self.ends, self.rate_limit, self.run_days, self.max_dead = (
            ends,
            rate_limit,
            run_days,
            max_dead,
        )
        self.day = 0.0
        self.gone: set[str] = set()
        """Words, names and ids that may stand nowhere any more."""
        self.begin()

    def begin(self) -> None:
        """Know nothing: the namespace is new."""
        self.ledger = Ledger()
        self.held: dict[str, Experience] = {}
        self.version = 0
        self.trusted: set[str] = set()
        """Lessons that are active by an operator's word."""
        self.records: dict[str, Record] = {}
        self.rate: Counter[tuple[str, str, int]] = Counter()
        self.queue: dict[int, Queued] = {}
        self.dead: dict[int, float] = {}
        self.fences: dict[int, int] = {}
        self.forbidden: set[str] = set()
        self.words_of: dict[str, set[str]] = {}
        """By principal: all that was said by one since he was last forgotten."""
        self.retried = 0
        self.archived: dict[int, Queued] = {}

    # --- traffic

    def _spend(self, kind: str, who: str) -> bool:
        key = kind, who, int(self.day) if self.ends else 0
        self.rate[key] += 1
        return self.rate[key] <= self.rate_limit

    def _until(self, days: float) -> float:
        return self.day + days if self.ends else float("inf")

    def acts(self, who: str, *names: str, words: Iterable[str] = ()) -> None:
        """Note that a principal is there (again), and what he says."""
        self.gone -= {who, *names}
        self.words_of.setdefault(who, set()).update(words)

    def record(self, request: Request, words: frozenset[str], *, is_full: bool) -> Outcome:
        """Take in a run; return what must become of it."""
        known = self.records.get(request.run_id)
        if known is not None and known.assigned is not None:
            self._pay(known)  # whoever sends it again looks whether something was said of it before
            return "repeated"
        within = self._spend("e", request.who)
        record = known or Record(request.run_id)
        self.records[request.run_id] = record
        shown = request.shown
        record.who, record.thread, record.words = request.who, request.thread, words
        record.assigned = Assigned(
            request.who,
            request.unit,
            shown.counted,
            shown.withheld,
            shown.version,
            shown.withhold_share,
        )
        record.until = self._until(self.run_days if within else 2.0)
        self.acts(request.who, request.run_id, request.thread, words=words)
        if record.told:
            self._pay(record)
        if not within:
            return "limited"
        return "full" if is_full else "recorded"

    def _pay(self, record: Record) -> None:
        graded = [
            said for said in record.told if said.score is not None and said.is_heard(record.who)
        ]
        if graded:
            self._count(record, graded[-1])

    def _count(self, record: Record, said: Said) -> Verdict:
        assigned, score = record.assigned, said.score
        assert assigned is not None
        if score is None:
            return "kept"
        if assigned.score == score:
            return "repeated"
        first = assigned.score is None
        speaker = record.who if said.speaker == ANONYMOUS else said.speaker
        self.ledger.outcome(assigned, speaker, score, self.held)
        return "credited" if first else "corrected"

    def say(self, run_id: str, said: Said) -> Verdict:
        """Take in feedback; return what must become of it."""
        if not self._spend("o", said.speaker):
            self.gone.discard(said.speaker)
            return "limited"
        record = self.records.get(run_id)
        if record is not None and not said.is_heard(record.who):
            self.gone.discard(said.speaker)
            return "foreign"
        record = self.records.setdefault(run_id, Record(run_id))
        record.told = [*record.told, said][-TOLD:]
        self.acts(said.speaker, run_id, words=said.words)
        record.until = self._until(self.run_days if record.assigned else 2.0)
        return "unknown" if record.assigned is None else self._count(record, said)

    def graded(self, run_id: str, score: float) -> None:
        """Take in a learner's grade: the word of the run's principal, where there is none yet."""
        record = self.records.get(run_id)
        if record is not None and record.assigned is not None and record.assigned.score is None:
            self._count(record, Said("anonymous", False, score, frozenset()))

    def bury(self, seq: int) -> None:
        """Make a dead letter; the oldest make room."""
        self.dead[seq] = self.day
        self.fences.pop(seq, None)
        while len(self.dead) > self.max_dead:
            self.take_out(min(self.dead))

    def take_out(self, seq: int) -> None:
        for place in (self.queue, self.dead, self.fences):
            place.pop(seq, None)

    def jump(self, days: float) -> None:
        """Have so many days pass."""
        self.day += days
        self.records = {id: one for id, one in self.records.items() if one.until > self.day}

    # --- lessons

    def follow(self, entries: Iterable[LogEntry], held: dict[str, Experience]) -> None:
        """Take in what versions have changed, oldest first."""
        for entry in entries:
            by_operator = entry.author not in {"learner", "trials"}
            for change in entry.changes:
                self._change(change, entry.author, by_operator)
            self.version = entry.version
        self.held = held
        self.trusted &= {id for id, e in held.items() if e.state == "active"}

    def _change(self, change: LoggedChange, author: str, by_operator: bool) -> None:
        before, after = {e.id: e for e in change.before}, {e.id: e for e in change.after}
        for id in before.keys() - after.keys():
            self.ledger.forget(id)
        for id, e in after.items():
            old = before.get(id)
            # what a purge brings back says something else, though the log no longer tells
            says_else = old is None or (old.lesson, old.everywhere) != (e.lesson, e.everywhere)
            if says_else or (author in {"purge", "forget"} and isinstance(change.edit, Restore)):
                self.ledger.forget(id)
            elif old is not None and old.state != e.state:
                self.ledger.changed(id, e.state)
            if by_operator and e.state == "active":
                self.trusted.add(id)

    def may_be_shown(self) -> frozenset[str]:
        """Return the lessons that a request may be shown now."""
        return frozenset(e.id for e in self.held.values() if self._may_be_shown(e))

    def _may_be_shown(self, e: Experience) -> bool:
        if e.state == "trial":
            return e.trial is not None and e.trial.bet > 0 and self.ledger.lessons[e.id].is_shown
        from_traffic = any(source.startswith("principal:") for source in e.sources)
        return e.state == "active" and (
            not from_traffic or e.id in self.trusted or self.ledger.lessons[e.id].is_shown
        )

    # --- forgetting

    def forget(self, kind: str, name: str) -> None:
        """Note what must be gone: words that were said, names, and ids."""
        known = [*self.records.values(), *self.queue.values(), *self.archived.values()]
        mine = [one for one in known if self._is(kind, name, one)]
        runs = {one.run_id for one in mine}
        self.forbidden |= {f"run:{id}" for id in runs} if kind == "thread" else {f"{kind}:{name}"}
        self.gone |= {name, *runs}
        for one in mine:
            self.gone.update(one.words)
            for said in one.told if isinstance(one, Record) else ():
                self.gone.update(said.words)
        self._take_out_all(kind, name)
        if kind == "principal":
            self._forget_what_was_said_by(name)
        # a run's id may have been given again, to somebody else
        self.gone -= {*self.records, *(one.run_id for one in self.queue.values())}

    def _take_out_all(self, kind: str, name: str) -> None:
        self.records = {
            id: one for id, one in self.records.items() if not self._is(kind, name, one)
        }
        for seq in [seq for seq, one in self.queue.items() if self._is(kind, name, one)]:
            self.take_out(seq)

    def _forget_what_was_said_by(self, who: str) -> None:
        self.gone |= self.words_of.pop(who, set())
        for record in self.records.values():
            record.told = [said for said in record.told if said.speaker != who]
        for key in [key for key in self.rate if key[1] == who]:
            del self.rate[key]

    @staticmethod
    def _is(kind: str, name: str, one: Record | Queued) -> bool:
        return {"principal": one.who, "run": one.run_id, "thread": one.thread}[kind] == name
