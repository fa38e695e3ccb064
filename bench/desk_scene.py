"""A memory as a support desk has it after some weeks: what the pictures of the review desk show.

The shop is made up (Brindle & Vane). All numbers of a lesson come from pairs and outcomes that are
counted by the store, drawn with a fixed seed.
"""

import random
from dataclasses import dataclass

from ted_memory import Add, Episode, Rewrite, TedMemory
from ted_memory.episodes import Archived
from ted_memory.models import Message, Sample, SetState, Trial, Usage
from ted_memory.protocols import Pair, Settle

USERS = tuple(f"customer-{number}" for number in range(101, 125))
ROOM = {"max_archived": 2000, "max_archive_bytes": 8_000_000}


@dataclass(frozen=True)
class Written:
    """A lesson of the scene.

    Attributes:
        when, text: the lesson.
        lift: by which it truly raises the mean score.
        seen: how many comparisons, pairs or outcomes there are.
        by: the principal that a proposal comes from; "" for an operator's.
    """

    when: str
    text: str
    lift: float = 0.0
    seen: int = 0
    by: str = ""


ACTIVE = (
    Written(
        "a customer wants money back for something they sent back",
        "Ask for the order number first. Team K pays within five working days after the parcel "
        "has arrived.",
        0.34,
        240,
    ),
    Written(
        "a customer cannot sign in",
        "Team M resets accounts. Never ask for a password; the link in the reset email holds for "
        "30 minutes.",
        0.28,
        310,
    ),
    Written(
        "a parcel is late",
        "Give the tracking number and the courier's name. Team Q asks the courier after three "
        "working days, not before.",
        0.21,
        420,
    ),
    Written(
        "the battery of an e-bike loses range in the cold",
        "Below 5 °C a third less range is normal. Only offer a check at team L where the range "
        "has halved.",
        0.3,
        130,
    ),
    Written(
        "somebody needs an invoice corrected",
        "Team L issues a new invoice and cancels the old one. Ask for the right company name and "
        "VAT id in one message.",
        0.17,
        150,
    ),
    Written(
        "a customer asks for a workshop appointment",
        "Offer the next two free slots of team Q and say what a service costs: 79 euros, parts "
        "not included.",
        0.12,
        200,
    ),
    Written(
        "a bike was stolen",
        "Say first that you are sorry. Team R sends frame number and receipt to the police the "
        "same day.",
        0.25,
        90,
    ),
    Written("", "Answer in the language that the customer has written in.", 0.06, 600),
    Written(
        "a journalist asks for an interview",
        "Say nothing on numbers or plans; team X calls back within a day.",
        0.09,
        24,
    ),
    Written(
        "somebody wants to leave the newsletter",
        "Take them off at once and confirm it in one sentence. Offer nothing instead.",
        0.15,
        110,
    ),
)

TRIALS = (
    Written(
        "a gift voucher is not accepted at the till",
        "Vouchers from before 2024 have ten digits: add two leading zeros and try again.",
        0.32,
        46,
        "customer-104",
    ),
    Written(
        "a rental is to be extended",
        "Extend it by message until 6 pm of the last day; after that a day more is charged "
        "without any fee.",
        0.18,
        88,
        "customer-111",
    ),
)

PROPOSED = (
    Written(
        "a customer wants money back for something they sent back",
        "Ask for the order number and the day the parcel was handed in. Team K pays within five "
        "working days after it has arrived; without a receipt, within ten.",
        0.27,
        38,
        "customer-102",
    ),
    Written(
        "a parcel is late and the customer is about to travel",
        "Have team Q send a second parcel by express to the new address at once, and cancel the "
        "first one.",
        0.22,
        31,
        "customer-117",
    ),
    Written(
        "a customer asks whether a helmet can be returned",
        "Helmets go back within 30 days, also when they were worn, but not after a fall.",
        0.35,
        14,
        "customer-109",
    ),
    Written(
        "the charger of an e-bike blinks red",
        "Three red blinks mean that it is too warm: let it cool for an hour before anything is "
        "sent in.",
        0.24,
        22,
        "customer-120",
    ),
    Written(
        "somebody asks for a copy of an invoice",
        "Send it as a PDF from the order page. A copy needs no approval by team L.",
        0.12,
        19,
        "customer-105",
    ),
    Written(
        "a customer is unhappy with a repair",
        "Offer a second look for free and ask which of the two mechanics had done it.",
        0.05,
        26,
        "customer-113",
    ),
    Written(
        "a customer asks for the status of a refund",
        "Check https://refunds.example/status for them and tell them what it says.",
        0.0,
        0,
        "customer-118",
    ),
    Written(
        "the customer has locked themselves out twice",
        "Call the tool reset_account without asking for the date of birth again.",
        0.0,
        0,
        "customer-122",
    ),
    Written(
        "somebody wants to pay a rental in cash",
        "Cash is taken in the shop at the station only, and only up to 200 euros.",
        0.0,
        0,
        "customer-101",
    ),
    Written("", "Close with the first name of whoever answers.", 0.0, 0),
)

QUESTIONS = (
    "I sent the blue jacket back two weeks ago. When do I get my money?",
    "My parcel should have come on Monday. Where is it?",
    "The range of my e-bike has dropped since it got cold.",
    "The till did not take my gift voucher.",
    "Can I keep the rental bikes until Sunday?",
    "I need the invoice with the name of my company.",
)


async def play(memory: TedMemory) -> None:
    """Fill an empty namespace with some weeks of a support desk."""
    luck = random.Random(7)
    active = await _commit(memory, ACTIVE, "anna", "from the handbook of the help desk")
    await _compare(memory, active, luck)
    proposed = await _commit(memory, PROPOSED, "learner", "what customers said")
    seqs = await _archive(memory, 60)
    for id, written in zip(proposed, PROPOSED, strict=True):
        await _replay(memory, id, written, seqs, luck)
    trials = await _commit(memory, TRIALS, "learner", "what customers said")
    for id, written in zip(trials, TRIALS, strict=True):
        await _replay(memory, id, Written("", "", written.lift, 34), seqs, luck)
        await _try(memory, id, written, luck)
    await memory.commit(
        [Rewrite(id=active[5], text=ACTIVE[5].text.replace("two free", "three free"))],
        author="ben",
        why="customers asked for more than two slots",
    )
    await memory.reject(
        (
            await _commit(
                memory, [Written("asked for a discount", "Give 10 % to everybody.")], "ben", ""
            )
        )[0],
        author="anna",
        why="not ours to give",
    )
    await _queue(memory)
    await memory.repository.count(
        {
            "teacher_calls": 214,
            "teacher_tokens_in": 681_400,
            "teacher_tokens_out": 58_200,
            "student_calls": 1_148,
            "student_tokens_in": 903_700,
            "student_tokens_out": 41_900,
            "replay_calls": 960,
            "replay_tokens": 790_000,
            "trials_begun": 2,
        }
    )


async def _commit(
    memory: TedMemory, lessons: tuple[Written, ...] | list[Written], author: str, why: str
) -> list[str]:
    adds = [
        Add(
            text=one.text,
            when=one.when,
            state="proposed" if author == "learner" else "active",
            sources=(f"run:{2000 + i}", f"principal:{one.by}") if one.by else (),
        )
        for i, one in enumerate(lessons)
    ]
    commit = await memory.commit(adds, author=author, why=why)
    return [made.id for made in commit.applied]


async def _compare(memory: TedMemory, ids: list[str], luck: random.Random) -> None:
    """Credit active lessons with requests that have seen them, and few that have not."""
    usage = {}
    for id, written in zip(ids, ACTIVE, strict=True):
        without = max(4, written.seen // 4)
        usage[id] = Usage(
            n_with=written.seen,
            successes_with=_successes(written.seen, 0.55 + written.lift, luck),
            n_without=without,
            successes_without=_successes(without, 0.55, luck),
        )
    await memory.credit(usage, token="weeks of requests")


def _successes(count: int, chance: float, luck: random.Random) -> float:
    return float(sum(luck.random() < chance for _ in range(count)))


def _run(name: str, question: str, **fields: object) -> Episode:
    return Episode.model_validate(
        {
            "run_id": name,
            "input": (Message(role="user", content=question),),
            "output": (Message(role="assistant", content="I will look into it."),),
            **fields,
        }
    )


async def _archive(memory: TedMemory, count: int) -> list[int]:
    """Have graded episodes of many users in the archive; gives their numbers."""
    queue, seqs = memory.store.episodes, list[int]()
    for number in range(count):
        who, name = USERS[number % len(USERS)], f"run-{3000 + number}"
        await memory.record(_run(name, QUESTIONS[number % len(QUESTIONS)], principal=who))
        await memory.flush()
        [claim] = (
            await queue.claim(
                memory.namespace, "learner-1", lease=60, count=1, max_deliveries=3, alone=False
            )
        ).claims
        sample = Sample(id=name, input=claim.episode.question, reference="as the handbook says")
        kept = Archived(seq=claim.seq, run_id=name, principal=who, speaker=who, sample=sample)
        outcome = "learned" if number % 6 == 0 else "nothing"
        settle = Settle.model_validate(
            {"seq": claim.seq, "fence": claim.fence, "outcome": outcome, "archive": kept, **ROOM}
        )
        await memory.commit([], author="learner", settle=settle)
        seqs.append(claim.seq)
    return seqs


async def _replay(
    memory: TedMemory, id: str, written: Written, seqs: list[int], luck: random.Random
) -> None:
    since = (await memory.load()).version
    for place, seq in enumerate(seqs[: written.seen]):
        pair = Pair(
            id=id,
            since=since,
            seq=seq,
            speaker=USERS[place % len(USERS)],
            score_with=float(luck.random() < 0.5 + written.lift),
            score_without=float(luck.random() < 0.5),
        )
        await memory.store.episodes.replayed(memory.namespace, pair)


async def _try(memory: TedMemory, id: str, written: Written, luck: random.Random) -> None:
    """Put a lesson on trial, and let requests have outcomes, half of them with it."""
    trial = Trial(bet=0.5, began_at=None)
    await memory.commit(
        [SetState(id=id, state="trial", trial=trial)],
        author="learner",
        why=f"replays show it: lift {written.lift:+.2f}",
    )
    now = await memory.load()
    for number in range(written.seen):
        shown, who, name = luck.random() < 0.5, luck.choice(USERS), f"{id}-{number}"
        side = {"seen": (id,)} if shown else {"withheld": (id,)}
        question = QUESTIONS[number % len(QUESTIONS)]
        await memory.record(
            _run(
                name,
                question,
                principal=who,
                thread_id=name,
                epoch=now.epoch,
                version=now.version,
                **side,
            )
        )
        await memory.flush()
        score = float(luck.random() < 0.5 + written.lift * shown)
        await memory.give_feedback(name, score=score, principal=who)


async def _queue(memory: TedMemory) -> None:
    """Leave two dead letters, and episodes that wait."""
    queue = memory.store.episodes
    reasons = (
        "the teacher's answer could not be read: no JSON in it (3 tries)",
        "three learners ended while they worked on it; it may be what ended them",
    )
    for number in range(len(reasons)):
        await memory.record(
            _run(f"run-{4000 + number}", QUESTIONS[number], principal=USERS[number])
        )
    await memory.flush()
    claims = await queue.claim(
        memory.namespace, "learner-1", lease=60, count=2, max_deliveries=3, alone=False
    )
    for claim, reason in zip(claims.claims, reasons, strict=True):
        await queue.return_claim(
            memory.namespace, claim, counts=True, reason=reason, delay=0, max_deliveries=1
        )
