"""The archive of graded episodes as a data set for `distill`: for traffic too small for trials."""

from ted_memory.episodes import Archived
from ted_memory.errors import InvalidInput
from ted_memory.memory.client import TedMemory
from ted_memory.models import Sample


async def archived_samples(
    memory: TedMemory,
    *,
    limit: int | None = None,
    up_to: str | None = None,
) -> list[Sample]:
    """Return the graded episodes that the memory keeps, as samples, oldest first.

    The id of each is its run's. Its reference is the correction that somebody gave, or the answer
    that was scored 1, or with a judge the teacher's. Its ``sources`` name the run and the
    principals whose words it holds: lessons from it carry them, so that ``TedMemory.purge`` finds
    them. What `distill` makes active is shown to everybody without a trial. Whoever calls it with
    these samples answers for them.

    Args:
        memory: whose archive; a `Learner` fills it.
        limit: only the newest so many.
        up_to: the id of the newest run to take: the same samples again, while newer ones come in.

    Raises:
        InvalidInput: nothing is archived, or not this run.
        StoreError: the store cannot be reached.
    """
    archived = await memory.store.episodes.archived(memory.namespace)
    by_run = {one.run_id: one for one in archived}
    if not by_run:
        raise InvalidInput(
            f"no graded episode of {memory.namespace!r} is archived; ted-memory learn keeps those "
            "that it settles and that have a reference: a correction, an answer that was scored 1, "
            "with a judge the teacher's"
        )
    if up_to is not None and up_to not in by_run:
        raise InvalidInput(
            f"run {up_to!r} is not in the archive of {memory.namespace!r}; leave --up-to out"
        )
    newest = by_run[up_to].seq if up_to is not None else archived[-1].seq
    found = [one for one in by_run.values() if one.seq <= newest]
    found.sort(key=lambda one: one.seq)
    return [_as_sample(one) for one in found[-limit if limit else None :]]


def _as_sample(archived: Archived) -> Sample:
    principals = dict.fromkeys((archived.principal, archived.speaker))
    sources = (f"run:{archived.run_id}", *(f"principal:{who}" for who in principals))
    return archived.sample.model_copy(update={"sources": sources})
