"""Forgetting a person, a run or a conversation, in all that was recorded and learned."""

from ted_memory.episodes import Subject, unit_of
from ted_memory.fields import Frozen
from ted_memory.memory.purging import purge
from ted_memory.memory.repository import SetRepository
from ted_memory.models import PurgeReport
from ted_memory.retrieval.ranker import Ranker


class ForgetReport(Frozen):
    """What `forget` did: to the lessons and the archive, and to what was recorded.

    ``episodes`` waited to be learned from or were dead letters; ``runs`` are run records; ``words``
    is feedback. ``drafts`` are runs of `distill` under way that held some of it, and begin anew.
    ``compacted``: the server's files no longer hold it either; False where that is the server's
    owner's to see to.
    """

    lessons: PurgeReport
    episodes: int = 0
    runs: int = 0
    words: int = 0
    drafts: int = 0
    compacted: bool = False


async def forget(lessons: SetRepository, ranker: Ranker, subject: Subject) -> ForgetReport:
    """Forget a subject; see `TedMemory.forget`."""
    store, namespace, queue = lessons.store, lessons.namespace, lessons.store.episodes
    runs = set(await queue.runs_of(namespace, subject))
    if subject.kind == "thread":  # what was learned from a conversation names its runs
        unit, archive = unit_of(subject.name), await queue.archived(namespace)
        runs |= {episode.run_id for episode in archive if episode.unit == unit}
        sources = [f"run:{run_id}" for run_id in sorted(runs)]
    else:
        sources = [f"{subject.kind}:{subject.name}"]
    # first: nothing of it may be learned meanwhile, and who is interrupted finds what is left
    await store.tombstone(namespace, *sources)
    erased = await queue.erase(namespace, subject)
    purged = await purge(lessons, ranker, sources, author="forget")
    drafts = await store.drop_runs(namespace, sources, sorted(runs))
    return ForgetReport(
        lessons=purged,
        episodes=erased.episodes,
        runs=len(erased.runs),
        words=erased.words,
        drafts=drafts,
        compacted=await store.compact(),
    )
