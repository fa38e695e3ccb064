"""How far learning from one namespace's traffic has come, and how fast: for people who ask.

`funnel` counts the way from episodes to active lessons, `pace` says how fast the evidence on one
lesson grows, `departure` how a lesson left the set.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ted_memory.episodes import Standing
from ted_memory.experience.assignment import principals
from ted_memory.experience.evidence import Sums
from ted_memory.experience.trials import is_replayed
from ted_memory.fields import Frozen
from ted_memory.llm.spend import RoleSpend, Spend, counted_spend
from ted_memory.memory.client import TedMemory
from ted_memory.models import Experience, ExperienceSet
from ted_memory.protocols import Shown

DAY = 86_400.0  # seconds


class Funnel(Frozen):
    """The way from an episode to an active lesson, by count. Today is that of UTC.

    Attributes:
        recorded: episodes that were taken in, ever.
        waiting, claimed, dead: episodes now in the queue, at work, given up.
        learned_from: episodes that a learner has settled, ever.
        taught: those of them that led to a proposal.
        archived: graded episodes that are kept to replay lessons on.
        proposed: lessons that wait for replays.
        pairs: of answers, before they were active, over all lessons that are in the set now.
        replay_calls: of the student, for replays, today.
        replay_calls_a_day: as many as there may be.
        trial: lessons on trial whose trial is not passed yet.
        outcomes: live ones of trials, over all lessons that are in the set now.
        for_a_person: lessons that wait for a person's word.
        active: lessons from traffic that every agent sees.
        comparisons: pairs and outcomes by which lessons were watched since they are active.
        trials_begun: lessons that learners put on trial today.
        activated: that passed a trial today.
        retired: that learners took out today: of no use, harmful, or to make room.
        demoted: active ones that had come to hurt today. What people approve or reject is not among
            these four.
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
    """How fast the evidence on a lesson grows; None where that is not known.

    Attributes:
        a_day: pairs a day since the lesson was proposed, or outcomes a day since its trial began.
        days: until it needs no more, if it goes on like this.
    """

    a_day: float | None = None
    days: float | None = None


class Departure(Frozen):
    """How a lesson has left the set, as the log keeps it.

    Attributes:
        experience: the lesson as it was; without words where it was purged.
        version: the first one of the set without it.
        at: when that version was made.
        author: who made it.
        why: in the author's words; "" where nobody gave a reason.
        into: ids of the lessons that it was merged into.
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
    totals = _added_up([known.get(e.id, Shown()).evidence.total for e in snapshot])
    lessons = _lessons(snapshot)
    counts, today = defaultdict(int, traffic.counts), defaultdict(float, traffic.today)
    spent = counted_spend(traffic.today)
    learning, replays = _apart(spent, today["replay_calls"], today["replay_tokens"])
    return Funnel(
        recorded=counts["recorded"],
        waiting=traffic.waiting,
        claimed=traffic.claimed,
        dead=traffic.dead,
        learned_from=counts["learned"] + counts["nothing"] + counts["set_aside"],
        taught=counts["learned"],
        archived=traffic.archived,
        replay_calls=int(today["replay_calls"]),
        replay_calls_a_day=memory.settings.replay_calls,
        trials_begun=int(today["trials_begun"]),
        activated=int(today["activated"]),
        retired=int(today["retired"]),
        demoted=int(today["demoted"]),
        learning=learning,
        replays=replays,
        **totals,
        **lessons,
    )


def _added_up(sums: Sequence[Sums]) -> Mapping[str, int]:
    """Return the evidence on all lessons together, by the names of `Funnel`."""
    return {
        "pairs": int(sum(one.pairs for one in sums)),
        "outcomes": int(sum(one.outcomes for one in sums)),
        "comparisons": int(sum(one.watched for one in sums)),
    }


def _lessons(snapshot: ExperienceSet) -> Mapping[str, int]:
    """Return how many lessons are where on their way, by the names of `Funnel`."""
    replayed = [e for e in snapshot.proposed if principals(e) and not (e.trial and e.trial.ended)]
    passed = [e for e in snapshot.trial if e.trial and e.trial.passed]
    return {
        "proposed": len(replayed),
        "trial": len(snapshot.trial) - len(passed),
        "for_a_person": len(passed) + len(snapshot.proposed) - len(replayed),
        "active": sum(1 for e in snapshot.active if principals(e)),
    }


def pace(standing: Standing, now: datetime | None = None) -> Pace:
    """Return how fast the evidence on a lesson grows that it waits for, if there is any yet."""
    e = standing.experience
    since, seen = None, 0
    if e.state == "trial" and e.trial is not None:
        since, seen = e.trial.began_at, standing.outcomes
    elif e.state == "proposed" and is_replayed(e):
        since, seen = e.created_at, standing.pairs
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
                return Departure(
                    experience=gone[id],
                    version=entry.version,
                    at=entry.at,
                    author=entry.author,
                    why=entry.why,
                    into=left,
                )
    return None


def _apart(spent: Spend, calls: float, tokens: float) -> tuple[Spend, Spend]:
    """Return what learning and what replays have cost, of what was spent in all.

    Of the replays' tokens only the sum is counted, so it is taken in the proportion of all tokens.
    """
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
