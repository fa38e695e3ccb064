"""How far learning from one namespace's traffic has come, from episodes to active lessons, and its pace."""

import math
from datetime import UTC, datetime

from ted_memory.episodes import Standing
from ted_memory.experience.assignment import principals
from ted_memory.experience.trials import is_replayed
from ted_memory.fields import Frozen
from ted_memory.llm.spend import RoleSpend, Spend, counted_spend
from ted_memory.memory.client import TedMemory
from ted_memory.models import Experience
from ted_memory.protocols import Shown

DAY = 86_400.0  # seconds


class Funnel(Frozen):
    """The way from an episode to an active lesson, by count.

    Attributes:
        recorded: episodes so far.
        waiting: of them, and ``claimed``, ``dead``: those that are not learned from yet, or could
            not be.
        learned_from: episodes that a learner has settled; ``taught`` of them led to a proposal.
        archived: graded episodes that lessons are replayed on.
        proposed: lessons that wait for replays.
        pairs: of answers, counted for the lessons that are there.
        replay_calls: student calls of today, of ``replay_calls_a_day``.
        trial: lessons on trial, with so many live ``outcomes``.
        for_a_person: lessons that wait for a person's word.
        active: lessons from traffic that every agent sees, watched in so many ``comparisons``.
        trials_begun: lessons that learners put on trial today, ``activated``: that passed one,
            ``retired``: that were of no use, did harm or had to make room, ``demoted``: active ones
            that had come to hurt. What people approve or reject is not among them.
        learning: what learning from episodes has cost today.
        replays: what replays have cost today.
    """

    recorded: int = 0
    waiting: int = 0
    claimed: int = 0
    dead: int = 0
    learned_from: int = 0
    taught: int = 0
    archived: int = 0
    proposed: int = 0
    pairs: int = 0
    replay_calls: int = 0
    replay_calls_a_day: int = 0
    trial: int = 0
    outcomes: int = 0
    for_a_person: int = 0
    active: int = 0
    comparisons: int = 0
    trials_begun: int = 0
    activated: int = 0
    retired: int = 0
    demoted: int = 0
    learning: Spend = Spend()
    replays: Spend = Spend()


class Pace(Frozen):
    """How fast the evidence on a lesson grows: pairs or outcomes a day so far, and days until it needs no more.

    Pairs of a proposed lesson since it was proposed, outcomes of one on trial since that began.
    None where that is not known.
    """

    a_day: float | None = None
    days: float | None = None


class Departure(Frozen):
    """How a lesson has left the set, as the log keeps it.

    Attributes:
        experience: the lesson as it was; without words where it was purged.
        version: of the set without it, made ``at`` this time by ``author``.
        why: in the author's words; "" where nobody gave a reason.
        into: the lessons that it was merged into.
    """

    experience: Experience
    version: int
    at: datetime
    author: str
    why: str = ""
    into: tuple[str, ...] = ()


async def funnel(memory: TedMemory) -> Funnel:
    """Return how far learning from this namespace's traffic has come.

    Raises:
        StoreError: the store cannot be reached.
    """
    log = memory.store.episodes
    snapshot, traffic = await memory.load(), await log.traffic(memory.namespace)
    known = await log.evidence(memory.namespace, [e.id for e in snapshot])
    evidence = {e.id: known.get(e.id, Shown()).evidence for e in snapshot}
    replayed = [e for e in snapshot.proposed if principals(e) and not (e.trial and e.trial.ended)]
    passed = [e for e in snapshot.trial if e.trial and e.trial.passed]
    active = [e for e in snapshot.active if principals(e)]
    counts, today = traffic.counts, traffic.today
    calls, tokens = today.get("replay_calls", 0.0), today.get("replay_tokens", 0.0)
    learning, replays = _apart(counted_spend(today), calls, tokens)

    def total(name: str) -> int:
        return int(sum(getattr(evidence[e.id].total, name) for e in snapshot))

    return Funnel(
        recorded=counts.get("recorded", 0),
        waiting=traffic.waiting,
        claimed=traffic.claimed,
        dead=traffic.dead,
        learned_from=sum(counts.get(name, 0) for name in ("learned", "nothing", "set_aside")),
        taught=counts.get("learned", 0),
        archived=traffic.archived,
        proposed=len(replayed),
        pairs=total("pairs"),
        replay_calls=int(calls),
        replay_calls_a_day=memory.settings.replay_calls,
        trial=len(snapshot.trial) - len(passed),
        outcomes=total("outcomes"),
        for_a_person=len(passed) + len(snapshot.proposed) - len(replayed),
        active=len(active),
        comparisons=total("watched"),
        trials_begun=int(today.get("trials_begun", 0)),
        activated=int(today.get("activated", 0)),
        retired=int(today.get("retired", 0)),
        demoted=int(today.get("demoted", 0)),
        learning=learning,
        replays=replays,
    )


def pace(standing: Standing, now: datetime | None = None) -> Pace:
    """Return how fast the evidence on a lesson grows; nothing where none is waited for, or there is none yet."""
    e = standing.experience
    since, seen = None, standing.pairs
    if e.state == "trial" and e.trial is not None:
        since, seen = e.trial.began_at, standing.outcomes
    elif e.state == "proposed" and is_replayed(e):
        since = e.created_at
    if since is None or not seen:
        return Pace()
    seconds = ((now or datetime.now(UTC)) - since).total_seconds()
    a_day = seen / max(seconds, 1.0) * DAY  # clocks may differ
    return Pace(a_day=a_day, days=None if standing.left is None else standing.left / a_day)


async def departure(memory: TedMemory, id: str) -> Departure | None:
    """Return how a lesson has left the set, the latest time; None where the log does not know.

    Raises:
        StoreError: the store cannot be reached.
    """
    for entry in await memory.log((await memory.load()).version):
        for change in entry.changes:
            gone = {e.id: e for e in change.before}
            left = tuple(e.id for e in change.after if e.state != "retired")
            if id in gone and id not in left:
                told = {
                    "version": entry.version,
                    "at": entry.at,
                    "author": entry.author,
                    "why": entry.why,
                }
                return Departure(experience=gone[id], into=left, **told)
    return None


def _apart(spent: Spend, calls: float, tokens: float) -> tuple[Spend, Spend]:
    """Return what learning and what replays have cost: of a replay's tokens only the sum is counted."""
    student = spent.student
    share = min(1.0, tokens / max(1, student.tokens_in + student.tokens_out))
    replays = RoleSpend(
        calls=min(int(calls), student.calls),
        tokens_in=math.floor(student.tokens_in * share),
        tokens_out=math.floor(student.tokens_out * share),
    )
    rest = RoleSpend(
        calls=student.calls - replays.calls,
        tokens_in=student.tokens_in - replays.tokens_in,
        tokens_out=student.tokens_out - replays.tokens_out,
    )
    return Spend(student=rest, teacher=spent.teacher), Spend(student=replays)
