"""What must hold after each step of an attack: `check` compares a namespace with the model."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from ted_memory.experience import trials
from ted_memory.experience.assignment import LONGEST_TRIAL
from ted_memory.experience.evidence import Sums
from ted_memory.models import Experience, ExperienceSet, LogEntry
from ted_memory.protocols import Shown
from ted_memory.settings import Settings
from tests.attacks.ledger import (
    HARMS,
    HELPS,
    LENGTH,
    LIVE,
    OUTCOMES,
    PAIRS,
    TURNED,
    USELESS,
    Lesson,
    Row,
    least_count,
    least_wealth,
    total,
)
from tests.attacks.model import Model
from tests.attacks.places import DAY, Look, Place, settings_of

SPEAKS = re.compile(r"\bW\d+zq|\b[a-z]+\d*-zq")  # words, names and ids of the machine
PERMANENT = {
    *(
        "meta",
        "experiences",
        "usage",
        "usage_before",
        "ranking",
        "uncommitted",
        "log",
        "vectors",
        "purged",
    ),
    *(
        "evidence",
        "archive",
        "archived",
        "traffic",
        "episodes",
        "waiting",
        "claimed",
        "holders",
        "dead",
    ),
}
ENDS = {"progress": 30, "applied": 7, "credited": 7, "run": 10, "image": 10, "rate": 2, "spend": 8}
"""Days after which a key of each kind ends by itself; `run_days` is 10 here."""
SECONDS = {"lease": 60, "learners": 60}
LONGEST_LIST, MOST_TOLD = 8000, 20
CLOSE = 1e-6


async def check(place: Place, model: Model) -> Look:
    """Compare all that is stored with what must be there; return it."""
    look, memory = place.look(), place.memory
    snapshot = await memory.load()
    assert set(snapshot.by_id) == set(model.held)
    nothing_of_the_forgotten(look, model)
    keys_have_owners_and_ends(look)
    bounds_hold(look, snapshot, settings_of(place), model)
    queue_is_whole(look, model)
    nothing_is_left_of_lessons_that_are_gone(look, model)
    known = await memory.store.episodes.evidence(memory.namespace, list(model.held))
    usage = await memory.store.usage(memory.namespace)
    for id in model.held:
        lesson = model.ledger.lessons[id]
        evidence_is_what_was_said(id, known.get(id, Shown()), lesson)
        told = usage.get(id)
        counted = (
            (told.n_with, told.successes_with, told.n_without, told.successes_without)
            if told
            else (0.0,) * 4
        )
        assert _near(counted, lesson.usage()), (
            f"usage of {id}: {counted}, said was {lesson.usage()}"
        )
    await tombstones_hold(place, model, snapshot)
    return look


def nothing_of_the_forgotten(look: Look, model: Model) -> None:
    for where, text in (*look.texts.items(), *((key, key) for key in look.texts)):
        left = model.gone.intersection(SPEAKS.findall(text))
        assert not left, f"{sorted(left)} are forgotten and stand in {where}: {text[:400]}"


def keys_have_owners_and_ends(look: Look) -> None:
    """Nothing lies there that nobody owns, and nothing stays longer than `docs/limits.md` says."""
    for key, left in look.keys.items():
        if key in {"ted:namespaces", "ted:traffic"}:
            continue
        head, _, name = key.partition("}:")
        assert head.startswith("ted:{"), f"a key that no namespace owns: {key}"
        kind = name.partition(":")[0]
        assert kind in {*PERMANENT, *ENDS, *SECONDS}, f"a key of no known kind: {key}"
        most = ENDS[kind] * DAY if kind in ENDS else SECONDS.get(kind, math.inf)
        assert kind in PERMANENT or 0 <= left <= most * 1000 or left == -2, (
            f"{key} stays for {left} ms"
        )


def bounds_hold(look: Look, snapshot: ExperienceSet, s: Settings, model: Model) -> None:
    alive = {seq: size for seq, size in look.episodes.items() if seq not in look.dead}
    # what a person takes up again comes on top
    assert len(alive) <= s.max_episodes + min(model.retried, s.max_dead)
    assert sum(alive.values()) <= s.max_episode_bytes or model.retried
    assert len(look.dead) <= s.max_dead
    assert len(look.archive) <= s.max_archived
    assert sum(look.archive.values()) <= s.max_archive_bytes
    assert len(look.versions) <= s.history_versions
    assert len(snapshot.active) <= s.max_experiences
    assert look.most_said <= MOST_TOLD
    for name, text in look.texts.items():
        if name.endswith(":evidence"):
            assert all(len(part) <= LONGEST_LIST + 20 for part in text.split("'"))


def queue_is_whole(look: Look, model: Model) -> None:
    """Every unsettled episode is in exactly one place of the queue, and the byte counts add up.

    An episode leaves the queue when it is settled, dropped or forgotten.
    """
    assert set(look.episodes) == set(model.queue), (
        f"episodes {sorted(look.episodes)}, the model {sorted(model.queue)}"
    )
    assert look.dead == set(model.dead)
    for one, other in (
        (look.waiting, look.claimed),
        (look.waiting, look.dead),
        (look.claimed, look.dead),
    ):
        assert not one & other
    assert look.waiting | look.claimed | look.dead == set(look.episodes)
    assert look.holders <= look.waiting | look.claimed
    assert look.told_bytes == sum(look.episodes.values())
    assert set(look.archive) == look.archived
    assert look.told_archive == sum(look.archive.values())
    assert all(seqs and seqs <= set(look.episodes) for seqs in look.images.values())
    assert set(look.runs) == {
        id for id, record in model.records.items() if record.assigned is not None
    }


def nothing_is_left_of_lessons_that_are_gone(look: Look, model: Model) -> None:
    for where, ids in look.ids.items():
        # the next commit tidies these
        spare = {*model.held} if where not in {"ranking", "uncommitted"} else ids
        assert ids <= spare, f"{where} holds {sorted(ids - spare)}, which are no lessons"


def evidence_is_what_was_said(id: str, shown: Shown, lesson: Lesson) -> None:
    """The stored sums are what was said: in total, for each speaker, and added up over them."""
    rows = lesson.rows()
    expected, found = total(list(rows.values())), _row(shown.evidence.total)
    assert _near(found, expected), f"{id}:\n{_told(found)}\n{_told(expected)} is what was said"
    begun = shown.evidence.total.begun
    voices = [
        _row(voice, [a == b for a, b in zip(voice.begun, begun, strict=True)])
        for voice in shown.evidence.voices
    ]
    assert _near(total(voices), found), f"{id}: what each said does not add up"
    for one, other in zip(_spoken(voices), _spoken(list(rows.values())), strict=True):
        assert _near(one, other), f"{id}:\n{_told(one)}\n{_told(other)} is what one speaker said"
    assert shown.done == lesson.done


def _row(sums: Sums, goes_on: Sequence[bool] = (True,) * 3) -> Row:
    numbers = sums.numbers[:LENGTH]
    turned = [number if now else 0.0 for number, now in zip(numbers[TURNED], goes_on, strict=True)]
    return [*numbers[: TURNED.start], *turned]


def _spoken(rows: Sequence[Row]) -> list[Row]:
    return sorted(
        (row for row in rows if not _near(row, (0.0,) * LENGTH)),
        key=lambda row: [round(n, 5) for n in row],
    )


def _near(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(abs(a - b) < CLOSE for a, b in zip(one, other, strict=True))


def _told(row: Row) -> str:
    return " ".join(f"{n:.4g}" for n in row)


async def tombstones_hold(place: Place, model: Model, snapshot: ExperienceSet) -> None:
    """What was purged or forgotten is in no lesson, no version of the log, no archived episode."""
    if not model.forbidden:
        return
    memory = place.memory
    for e in snapshot:
        assert model.forbidden.isdisjoint(e.sources), f"{e.id} comes from what was purged"
    for entry in await memory.store.log(memory.namespace, range(1, snapshot.version + 1)):
        for change in entry.changes:
            for e in (*change.before, *change.after):
                assert model.forbidden.isdisjoint(e.sources), (
                    f"version {entry.version} tells of what was purged"
                )
    for one in await memory.store.episodes.archived(memory.namespace):
        assert model.forbidden.isdisjoint(one.sources), (
            f"the archive holds {one.run_id}, which was purged"
        )


# --- decisions


def audit(
    entries: Sequence[LogEntry],
    before: Mapping[str, Experience],
    after: Mapping[str, Experience],
    model: Model,
    s: Settings,
) -> Counter[str]:
    """Check that no decision hangs on fewer than `min_principals` speakers; count each kind.

    Each must stand whichever `min_principals` - 1 of the speakers had said nothing.
    """
    made: Counter[str] = Counter()
    for entry in entries:
        assert entry.author == "trials"
        for change in entry.changes:
            [old] = change.before
            to = change.after[0].state if change.after else "gone"
            made[f"{old.state} to {to}"] += 1
            _stands(entry.why, old, to, model.ledger.lessons[old.id].rows(), s)
            if to == "trial" and old.state == "proposed":
                model.ledger.lessons[old.id].is_shown = True
    _floods_push_out_themselves(entries, before, after)
    return made


def _stands(why: str, old: Experience, to: str, rows: Mapping[str, Row], s: Settings) -> None:
    few = s.min_principals - 1
    least = {
        "replays show it": (HELPS, trials.ENOUGH_OF_A_LARGE_LIFT),
        "of no use": (USELESS, trials.ENOUGH),
        "it hurts": (HARMS, trials.ENOUGH),
        "it has come to hurt": (TURNED, trials.TURNED),
    }
    counts = {
        "no result: ": (PAIRS, trials.MOST_PAIRS),
        "no result in": (OUTCOMES, trials.MOST_OUTCOMES),
    }
    if old.state == "active" and to == "gone":  # it makes room for another one
        assert any(source.startswith("principal:") for source in old.sources), (
            "a person's lesson makes no room"
        )
        return
    for begins, (part, wealth) in least.items():
        if why.startswith(begins):
            left = least_wealth(rows, part, few)
            assert left >= wealth - CLOSE, (
                f"{old.id} from {old.state} to {to} ({why}): {left} without {few} of {rows}"
            )
    for begins, (place, count) in counts.items():
        if why.startswith(begins) and "30 days" not in why:
            assert least_count(rows, place, few) >= count or _lasted(why), (
                f"{old.id} to {to}: {why}, by few"
            )
    if to == "trial":
        assert why.startswith("replays show it")
        assert "evil.example" not in old.text, "it leads out of the conversation"
    if to == "active":
        assert why.startswith("its trial is passed")
        helps = min(least_wealth(rows, HELPS, few), trials.ENOUGH)
        product, passed = (
            helps * least_wealth(rows, LIVE, few),
            bool(old.trial and old.trial.passed),
        )
        assert passed or product >= trials.ENOUGH * trials.ENOUGH_OUTCOMES - CLOSE, (
            f"{old.id} is active: {product} of {rows}"
        )


def _lasted(why: str) -> bool:
    days = re.search(r"(\d+) days", why)
    return days is not None and int(days[1]) >= LONGEST_TRIAL.days


def _floods_push_out_themselves(
    entries: Sequence[LogEntry], before: Mapping[str, Experience], after: Mapping[str, Experience]
) -> None:
    """Whoever proposed less loses nothing to one who proposed more."""
    going = {
        e.id
        for entry in entries
        if entry.why.startswith("more than")
        for c in entry.changes
        for e in c.before
    }
    moved = {e.id for entry in entries for change in entry.changes for e in change.before} - going
    waiting = [e for e in before.values() if e.state == "proposed" and e.id not in moved]
    place, counts = dict[str, int](), Counter[str]()
    for e in sorted(waiting, key=lambda e: e.order):
        who = [source for source in e.sources if source.startswith("principal:")]
        counts.update(who)
        place[e.id] = max((counts[one] for one in who), default=0)
    staying = [place[id] for id in after if id in place]
    assert not going or max(staying, default=0) <= min(place[id] for id in going), (
        "a flood pushed out others"
    )
