"""Forgetting a person, a run or a conversation: in what was recorded, in what was learned, and in what is under way."""

from collections.abc import Awaitable, Callable, Sequence

from ted_memory.episodes import Subject, unit_of
from ted_memory.fields import Frozen
from ted_memory.models import PurgeReport
from ted_memory.protocols import ExperienceStore

Purge = Callable[[Sequence[str]], Awaitable[PurgeReport]]


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


async def forget(
    store: ExperienceStore, namespace: str, subject: Subject, purge: Purge
) -> ForgetReport:
    """Forget a subject. ``purge`` takes out what came from sources, and refuses them from then on."""
    log = store.episodes
    runs = set(await log.runs_of(namespace, subject))
    if subject.kind == "thread":  # what was learned from a conversation names its runs
        runs |= {
            one.run_id for one in await log.archived(namespace) if one.unit == unit_of(subject.name)
        }
        sources = [f"run:{run_id}" for run_id in sorted(runs)]
    else:
        sources = [f"{subject.kind}:{subject.name}"]
    # first: nothing of it may be learned meanwhile, and who is interrupted finds what is left
    for source in sources:
        await store.tombstone(namespace, source)
    erased = await log.erase(namespace, subject)
    lessons = await purge(sources)
    drafts = await store.drop_runs(namespace, sources, sorted(runs))
    return ForgetReport(
        lessons=lessons,
        episodes=erased.episodes,
        runs=len(erased.runs),
        words=erased.words,
        drafts=drafts,
        compacted=await store.compact(),
    )
