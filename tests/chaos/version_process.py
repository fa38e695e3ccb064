"""A process of one version of the package, beside others: agents, a learner, an operator.

Usage: python version_process.py JSON, with the fields of `Job`, and with the version's sources on
PYTHONPATH. Of ours it imports the package alone, and of that what every version has.
"""

import asyncio
import contextlib
import hashlib
import inspect
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import ted_memory
from ted_memory import Add, Episode, TedMemory, open_memory
from ted_memory.episodes import Archived, Claim, Feedback
from ted_memory.errors import StoreUnavailable
from ted_memory.learner import Learner
from ted_memory.learner import learner as learner_module
from ted_memory.models import Experience, Message, Remove, Rewrite, SetState
from ted_memory.settings import Settings
from ted_memory.testing import ScriptedChatModel, asked_for_edits

try:
    from ted_memory.storage.redis import codec
except ModuleNotFoundError:  # where an older version has it
    from ted_memory.storage import codec  # type: ignore[attr-defined, no-redef]

T = TypeVar("T")
NEWER = {"of_a_newer_package": {"a": [1, 2]}}
SEED = "Say only the code."
REFRESH = 0.5  # seconds
SETTINGS: dict[str, Any] = {
    **{
        "trust": "always",
        "verify_calls": 0,
        "max_experiences": 10**5,
        "token_budget": 10**7,
        "history_versions": 10**7,
    },
    **{
        "refresh": REFRESH,
        "read_timeout": 1.0,
        "lease_seconds": 60.0,
        "max_deliveries": 2,
        "rate_limit": 10**9,
    },
    "episodes_at_once": 2,
}
LOOKS_AT = "say code-"  # what lessons from traffic begin with
# one run in so many ...
POISON, PICTURES, TELLS, CORRECTS, EARLY = 23, 17, 3, 6, 9
BEHIND, BEHIND_OTHERS, AHEAD = 4, 21, 3  # no run is spoken of by both
PEOPLE = 20


@dataclass(frozen=True)
class Job:
    """What a process does until the files "quiet" and "end" are in its folder.

    ``beside`` is the version about whose runs its users speak, too. ``grown``: it is a newer
    version, which stores a field more. ``strict``: the fault that tolerance is against, it refuses
    fields that it does not know.
    """

    url: str
    namespace: str
    folder: str
    name: str
    roles: tuple[str, ...] = ("agent", "learner", "operator")
    beside: str = ""
    grown: bool = False
    strict: bool = False
    pause: float = 0.1
    """Seconds between two runs of the agent."""

    @property
    def journal(self) -> Path:
        return Path(self.folder) / f"{self.name}.journal"

    @property
    def errors(self) -> Path:
        return Path(self.folder) / f"{self.name}.errors"

    def is_there(self, file: str) -> bool:
        return (Path(self.folder) / file).exists()

    async def until(self, file: str) -> None:
        while not self.is_there(file):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def note(self, what: str, **told: Any) -> None:
        with self.journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps({"at": time.time(), "what": what, **told}) + "\n")


def run_of(name: str, number: int) -> str:
    return f"{name}-{number}"


def who(number: int) -> str:
    return f"user-{number % PEOPLE}"


def is_poison(run_id: str) -> bool:
    return int(run_id.rpartition("-")[2]) % POISON == 0


def has_picture(run_id: str) -> bool:
    return int(run_id.rpartition("-")[2]) % PICTURES == 0


async def with_retries(call: Callable[[], Awaitable[T]]) -> tuple[T, int]:
    """Make a call until it is answered; return the answer, and how often it was made.

    A machine with too much to do may outlast the memory's own patience.
    """
    tries = 1
    while True:
        try:
            return await call(), tries
        except StoreUnavailable as error:
            print(error, file=sys.stderr)
            tries += 1


# --- agents and those who speak to them


async def be_an_agent(job: Job, memory: TedMemory) -> None:
    number = 0
    while not job.is_there("quiet"):
        number += 1
        await _one_run(job, memory, number)
        await _say_something(job, memory, number)
        await asyncio.sleep(job.pause)
    await with_retries(memory.flush)
    job.note("quiet")
    while not job.is_there("end"):
        await _look(job, memory, "afterwards")
        await asyncio.sleep(job.pause)
    counted = memory.health()
    job.note("health", recorded=counted.recorded, dropped=counted.dropped, error=counted.last_error)


async def _look(
    job: Job, memory: TedMemory, unit: str, question: str = "", principal: str = "x"
) -> Any:
    at = time.time()
    shown = await memory.expose(question, unit=unit, principal=principal)
    job.note("saw", since=at, version=shown.version)
    return shown


async def _one_run(job: Job, memory: TedMemory, number: int) -> None:
    run_id = run_of(job.name, number)
    question = f"What is the code of item {run_id}?"
    shown = await _look(job, memory, run_id, question, who(number))
    pictures = {}
    if has_picture(run_id):
        data = f"a picture of {run_id}".encode() * 50
        pictures = {hashlib.sha256(data).hexdigest(): data}
    one = Episode(
        run_id=run_id,
        principal=who(number),
        input=(Message(role="user", content=question),),
        output=(Message(role="assistant", content="no idea"),),
        seen=shown.seen,
        withheld=shown.withheld,
        withhold_share=shown.withhold_share,
        epoch=shown.epoch,
        version=shown.version,
        images=tuple(pictures),
    )
    memory.recorder.put(run_id, lambda: (one, pictures))
    job.note("sent", run=run_id, seen=shown.seen, withheld=shown.withheld)


async def _say_something(job: Job, memory: TedMemory, number: int) -> None:
    """Speak of one's own runs and of another version's, some of which have not come yet."""
    about = None
    if number % TELLS == 0 and number > BEHIND:
        about = job.name, number - BEHIND
    elif number % TELLS == 1 and number > BEHIND_OTHERS and job.beside:
        about = job.beside, number + AHEAD if number % EARLY == 1 else number - BEHIND_OTHERS
    if about is None:
        return
    run_id = run_of(*about)
    # never 1: from what was right nothing is learned
    for score in (0.75, 0.25) if number % CORRECTS == 0 else (0.5,):
        fix = f"code-{run_id}" if score < 0.75 else ""
        said = {"score": score, "principal": who(about[1]), "comment": "Wrong.", "correction": fix}
        verdict, tries = await with_retries(partial(memory.give_feedback, run_id, **said))
        job.note("said", run=run_id, score=score, verdict=verdict, tries=tries)


# --- learners


def teaches(messages: list[Any]) -> str:
    item = re.findall(r"code of item (\S+)\?", "\n".join(str(m.text) for m in messages[:2]))[-1]
    if not asked_for_edits(messages):
        return f"code-{item}"
    edit = {"op": "add", "ids": [], "when": f"item {item}", "text": f"{LOOKS_AT}{item}"}
    return json.dumps({"reason": f"item {item}", "edits": [edit], "helped": [], "hurt": []})


def fail_on_poison() -> None:
    """Have no learner of this process learn from poison; an older version's does by a method."""
    is_older = hasattr(Learner, "_learn")
    place, name = (Learner, "_learn") if is_older else (learner_module, "learn_from")
    learn = getattr(place, name)

    async def learn_or_fail(*given: Any, **named: Any) -> str:
        [claim] = [each for each in given if isinstance(each, Claim)]
        if is_poison(claim.episode.run_id):
            raise ValueError("nobody can learn from this")
        return cast(str, await learn(*given, **named))

    setattr(place, name, learn_or_fail)


async def be_a_learner(job: Job, memory: TedMemory) -> None:
    fail_on_poison()
    teacher = ScriptedChatModel(script=teaches)
    # as an older version says
    name = "replay" if "replay" in inspect.signature(Learner).parameters else "rollouts"
    learner = Learner(memory, teacher=teacher, grade_live=False, **{name: "none"})
    learning = asyncio.create_task(learner.run())
    await job.until("end")
    learner.stop()
    report = await learning
    job.note("learned", outcomes=report.outcomes, error=report.last_error)


# --- operators


async def be_an_operator(job: Job, memory: TedMemory) -> None:
    """Add, rewrite, demote, promote and remove lessons, also others'; tidy what was learned."""
    number = 0
    while not job.is_there("quiet"):
        number += 1
        now, _ = await with_retries(memory.load)
        token = run_of(f"{job.name}-operator", number)
        edits = _edits(job, number, now)
        job.note("begun", token=token)
        done, _ = await with_retries(
            partial(memory.commit, edits, author=job.name, token=token, base=now)
        )
        job.note("committed", token=token, version=done.version, applied=len(done.applied))
        await asyncio.sleep(2 * job.pause)
    job.note("put down")


def _edits(job: Job, number: int, now: Any) -> list[Any]:
    by_hand = [e for e in now if e.text != SEED and not e.text.startswith(LOOKS_AT)]
    of_others = [e for e in by_hand if f"author:{job.name}" not in e.sources]
    match number % 5:
        case 0 if of_others:
            one = of_others[number % len(of_others)]
            return [Rewrite(id=one.id, text=f"{one.text[:60]} {number}")]
        case 1 if of_others:
            one = of_others[number % len(of_others)]
            return [SetState(id=one.id, state="active" if one.state == "proposed" else "proposed")]
        case 2 if len(by_hand) > 12:
            return [Remove(id=by_hand[0].id)]
        case 3 if learned := [e for e in now if e.text.startswith(LOOKS_AT)]:
            return [Remove(id=e.id) for e in learned]
    return [Add(text=f"{job.name} says {number}.", when=f"topic {number}")]


# --- versions


def grow() -> None:
    """Be a newer version, which stores a field more."""

    def more(encode: Any) -> Any:
        return lambda one: json.dumps(
            {**json.loads(encode(one)), **NEWER}, ensure_ascii=False, sort_keys=True
        )

    for name in ("encode_body", "encode_episode", "encode_feedback", "encode_archived"):
        setattr(codec, name, more(getattr(codec, name)))


def be_strict() -> None:
    """Refuse what is not known, as at the front door."""
    for kind in (Experience, Episode, Feedback, Archived):
        for name in ("model_validate", "model_validate_json"):
            real = getattr(kind, name)
            setattr(kind, name, lambda data, *, extra=None, real=real, **more: real(data, **more))


def _as_named_here(settings: dict[str, Any]) -> dict[str, Any]:
    """Name settings as this version of the package does."""
    if "lease_seconds" in Settings.model_fields:
        return settings
    before = {"history_versions": "history", "lease_seconds": "lease"}
    named = {before.get(name, name): value for name, value in settings.items()}
    return named | {"trust": "operator"}  # now "always"


async def main(job: Job) -> None:
    if job.grown:
        grow()
    if job.strict:
        be_strict()
    roles = {"agent": be_an_agent, "learner": be_a_learner, "operator": be_an_operator}
    async with contextlib.AsyncExitStack() as stack:
        memories = [
            await stack.enter_async_context(
                open_memory(job.url, namespace=job.namespace, **_as_named_here(SETTINGS))
            )
            for _ in job.roles
        ]
        job.note("up", package=str(Path(ted_memory.__file__).parent))
        await job.until("go")
        await asyncio.gather(
            *(roles[role](job, memory) for role, memory in zip(job.roles, memories, strict=True))
        )
    job.note("down")


if __name__ == "__main__":
    asyncio.run(main(Job(**json.loads(sys.argv[1]))))
