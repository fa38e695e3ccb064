"""Archived episodes, replayed pairs and lessons on trial, the way learners make them."""

from typing import Any

import pytest

from ted_memory.episodes import Archived
from ted_memory.experience.evidence import Sums
from ted_memory.models import Commit, Edit, Sample, SetState, Trial
from ted_memory.protocols import Pair, PairVerdict, Settle, Shown
from tests.contracts.queue import Queue, an_episode

BET = 0.4
ROOM = {"max_archived": 100, "max_archive_bytes": 10**6}


async def settle_and_archive(
    queue: Queue, run: str, *edits: Edit, **options: Any
) -> tuple[int, Commit]:
    """Record a run, claim it, and settle it with these edits; return its seq and the commit.

    `options` are bounds of the archive, fields of the archived episode, or options of the commit.
    """
    principal = options.pop("principal", f"who-{run}")
    await queue.record(an_episode(run, principal=principal))
    claim = await queue.claim_one()
    bounds = {name: options.pop(name, value) for name, value in ROOM.items()}
    kept = Archived(
        seq=claim.seq,
        run_id=run,
        principal=principal,
        speaker=options.pop("speaker", principal),
        sample=Sample(
            id=run, input="What is the code?", reference=options.pop("reference", "c001")
        ),
    )
    fence = options.pop("fence", claim.fence)
    told = Settle(seq=claim.seq, fence=fence, outcome="nothing", archive=kept, **bounds)
    return claim.seq, await queue.writer.commit(*edits, settle=told, **options)


async def archive(queue: Queue, *runs: str, **options: Any) -> list[int]:
    """Settle graded episodes; return their seqs."""
    return [(await settle_and_archive(queue, run, **options))[0] for run in runs]


async def archived_runs(queue: Queue) -> list[str]:
    return [one.run_id for one in await queue.log.archived(queue.namespace)]


async def replay(
    queue: Queue, id: str, seq: int, with_it: float, without: float, **more: Any
) -> PairVerdict:
    """Count a pair of answers; `since` and `speaker` are the pair's."""
    told = {"since": (await queue.writer.now()).version, "speaker": "anna", **more}
    pair = Pair(id=id, seq=seq, score_with=with_it, score_without=without, **told)
    return await queue.log.replayed(queue.namespace, pair)


async def known(queue: Queue, id: str) -> Shown:
    """Return what is known of a lesson, read anew."""
    return (await queue.log.evidence(queue.namespace, [id])).get(id, Shown())


def same(left: Sums, right: Sums) -> bool:
    return left.numbers == pytest.approx(right.numbers, abs=1e-9)


async def on_trial(queue: Queue, **trial: Any) -> str:
    """Put a new lesson on trial; return its id."""
    id = await queue.lesson(state="proposed")
    await queue.writer.commit(SetState(id=id, state="trial", trial=Trial(**{"bet": BET, **trial})))
    return id


async def version(queue: Queue) -> int:
    return (await queue.writer.now()).version
