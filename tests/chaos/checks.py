"""What must be true of a set after any fault; a check that fails says what is wrong."""

from collections import Counter
from collections.abc import Iterable, Mapping

from ted_memory import TedMemory
from ted_memory.models import Experience, ExperienceSet, LogEntry

AT_ONCE = 500  # entries of the log in one request


async def whole_log(memory: TedMemory) -> tuple[LogEntry, ...]:
    """Return all entries of the log, oldest first."""
    newest = (await memory.load()).version
    entries: list[LogEntry] = []
    for start in range(1, newest + 1, AT_ONCE):
        entries += await memory.store.log(
            memory.namespace, range(start, min(start + AT_ONCE, newest + 1))
        )
    return tuple(entries)


def replayed(log: Iterable[LogEntry]) -> dict[str, Experience]:
    """Return the experiences that the log makes of an empty set."""
    experiences: dict[str, Experience] = {}
    for change in (change for entry in log for change in entry.changes):
        for old in change.before:
            assert experiences.pop(old.id, None) == old, f"the log changes {old.id} as it never was"
        experiences.update({new.id: new for new in change.after})
    return experiences


def check_history(log: tuple[LogEntry, ...], held: ExperienceSet) -> None:
    """No gap, no token twice, and the log makes the set."""
    versions = [entry.version for entry in log]
    assert versions == list(range(1, held.version + 1)), (
        f"gaps in the log: {missing(versions, held.version)}"
    )
    doubled = [token for token, count in Counter(entry.token for entry in log).items() if count > 1]
    assert not doubled, f"committed twice under one token: {doubled[:5]}"
    assert replayed(log) == dict(held.by_id), "the log does not make the set"


def missing(versions: Iterable[int], newest: int) -> list[int]:
    """The first few versions that a log lacks, or has twice, or should not have."""
    wanted = Counter(range(1, newest + 1))
    wanted.subtract(Counter(versions))
    return [version for version, count in wanted.items() if count][:10]


def check_acknowledged(
    log: Iterable[LogEntry], acknowledged: Mapping[str, int], attempted: Iterable[str]
) -> None:
    """Every acknowledged commit is in the log under the version that was told; no unsent one is."""
    logged = {entry.token: entry.version for entry in log}
    lost = lost_of(logged, acknowledged)
    assert not lost, f"{len(lost)} acknowledged commits lost, such as {lost[:5]}"
    unknown = set(logged) - set(attempted)
    assert not unknown, f"commits that nobody sent: {sorted(unknown)[:5]}"


def lost_of(logged: Mapping[str, int], acknowledged: Mapping[str, int]) -> list[str]:
    """Return the tokens whose commit is not in the log as the version that was told."""
    return [token for token, version in acknowledged.items() if logged.get(token) != version]


def check_texts(held: Iterable[Experience], wanted: Iterable[str]) -> None:
    """Each wanted text stands there once, and no other."""
    there, wanted_once = Counter(e.text for e in held), Counter(wanted)
    doubled = [text for text, count in there.items() if count > 1]
    assert not doubled, f"{len(doubled)} lessons doubled, such as {doubled[:5]}"
    lost, extra = wanted_once - there, there - wanted_once
    assert not lost, f"{len(lost)} lessons lost, such as {list(lost)[:5]}"
    assert not extra, f"{len(extra)} lessons too many, such as {list(extra)[:5]}"
