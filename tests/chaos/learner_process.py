"""A process that learns with scripted models, keeps a journal, and dies or freezes as it is told.

Usage: python -m tests.chaos.learner_process JSON, with the fields of `Job`; or `start(job)`, which
forks it from a server that has imported everything already.

Each episode is about an item of its own, of which the student knows nothing, and each process words
its lessons in its own way, as models do: what is learned twice, or never, shows.
"""

import asyncio
import contextlib
import hashlib
import json
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from coverage import Coverage
from langchain_core.messages import BaseMessage

from ted_memory import TedMemory, open_memory
from ted_memory.capture.recorder import Recorder
from ted_memory.distill.nodes import critic, recall, student
from ted_memory.episodes import Claim, Episode
from ted_memory.learner import Learner
from ted_memory.models import Message
from ted_memory.storage.redis import scripts
from ted_memory.storage.redis.store import RedisStore
from ted_memory.testing import Script, ScriptedChatModel, asked_for_edits
from tests.chaos.writer_process import SETTINGS

POINTS = {
    "claimed": "an episode is claimed, and not worked on yet",
    "recalled": "the set is loaded",
    "attempted": "the student has answered",
    "criticised": "the critic has answered",
    "sending": "the commit is about to be sent",
    "sent": "the commit took effect, and its reply was not read",
    "settled": "the episode is settled, and its outcome not credited",
    "beating": "a heartbeat took effect, and its reply was not read",
    "handing back": (
        "an episode is given back by a learner that is told to stop, and the reply was not read"
    ),
}
CRASHED, POISONED = 70, 71  # exit codes
SEED = "Say only the code."
FENCE_CHECK = (
    "if settle and holder(at, settle.seq) ~= settle.fence "
    "then return redis.error_reply('TEDFENCED') end"
)

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Job:
    """What a learner does, and what becomes of it."""

    url: str
    namespace: str
    folder: str
    name: str
    lease: float
    trust: str = "always"
    max_deliveries: int = 3
    at_once: int = 4
    pause: float = 0.0
    """Seconds that each call of a model takes."""
    point: str = ""
    """Where it ends or freezes, when it passes there for the `passes`-th time."""
    passes: int = 1
    freezes: bool = False
    """It stops there until it is told to go on, in place of ending."""
    without: str = ""
    """A mechanism that is switched off: "fence", "one step", "isolation"."""

    @property
    def journal(self) -> Path:
        return Path(self.folder) / "journal"

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.chaos.learner_process", json.dumps(asdict(self))]


def start(job: Job) -> ForkServerProcess:
    """Start a learner. Several a second would mostly import, were they begun from nothing."""
    process = _PROCESSES.Process(target=main, args=(job,))
    process.start()
    return process


# --- the world


def episode(number: int, *, seen: tuple[str, ...] = (), poison: bool = False) -> Episode:
    asked = f"What is the code of item {number}?" + (" POISON" if poison else "")
    return Episode(
        run_id=f"run-{number}",
        principal=f"user-{number}",
        input=(Message(role="user", content=asked),),
        output=(Message(role="assistant", content="no idea"),),
        seen=seen,
    )


def item_in(messages: Sequence[BaseMessage]) -> str:
    found = re.findall(
        r"code of item (\d+)\?", "\n".join(str(message.text) for message in messages)
    )
    return str(found[-1])


def attempts(messages: list[BaseMessage]) -> str:
    """Know nothing; one kind of episode is more than the process can bear."""
    if "POISON" in str(messages[-1].text):
        os._exit(POISONED)
    return "no idea"


def teaches(who: str) -> Script:
    """Know the code; as a critic, say that the seed lesson helped, so that credit is counted."""

    def answer(messages: list[BaseMessage]) -> str:
        item = item_in(messages[:2])
        if not asked_for_edits(messages):
            return f"code-{item}"
        helped = re.findall(rf"(\S+) \(lift [^)]*\) {re.escape(SEED)}", str(messages[1].text))
        edit = {"op": "add", "ids": [], "when": f"item {item}", "text": f"say code-{item} ({who})"}
        return json.dumps({"reason": f"item {item}", "edits": [edit], "helped": helped, "hurt": []})

    return answer


# --- the process


@dataclass
class Journal:
    """One line for each thing that happens, whole ones only, whatever becomes of the process."""

    job: Job
    passed: int = 0

    def note(self, what: str, seq: int = 0) -> None:
        line = {"at": time.monotonic(), "who": self.job.name, "what": what, "seq": seq}
        file = os.open(self.job.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, (json.dumps(line) + "\n").encode())
        os.close(file)

    def passes(self, point: str) -> None:
        """End or freeze, if this is the place."""
        if point != self.job.point:
            return
        self.passed += 1
        if self.passed != self.job.passes:
            return
        if self.job.freezes:
            self.note("frozen")
            os.kill(os.getpid(), signal.SIGSTOP)
            self.note("thawed")
        else:
            self.note("crashed")
            os._exit(CRASHED)


def watch(journal: Journal) -> None:
    """Put a hook at each point."""
    begin, one = Learner._begin, Learner._one

    async def begun(self: Learner, space: Any, claim: Claim) -> None:
        journal.note("begun", claim.seq)
        journal.passes("claimed")
        await begin(self, space, claim)

    async def ended(self: Learner, space: Any, claim: Claim) -> None:
        await one(self, space, claim)
        journal.note("ended", claim.seq)

    def around(
        given: Callable[..., Any],
        before: str = "",
        after: str = "",
        when: Callable[..., bool] = lambda *_, **__: True,
    ) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            counts = when(*args, **kwargs)
            if counts and before:
                journal.passes(before)
            answer = await given(*args, **kwargs)
            if counts and after:
                journal.passes(after)
            return answer

        return call

    def settles(*_: Any, day: str = "", **__: Any) -> bool:
        return bool(day)

    def has_claims(_client: Any, _keys: Any, args: Sequence[Any]) -> bool:
        return len(args) > 2  # after learner and lease

    for where, name, hook in (
        (Learner, "_begin", begun),
        (Learner, "_one", ended),
        (scripts, "commit", around(scripts.commit, "sending", "sent", settles)),
        (Recorder, "credit", around(Recorder.credit, "settled")),
        (recall, "recall", around(recall.recall, after="recalled")),
        (student, "attempt", around(student.attempt, after="attempted")),
        (critic, "critique", around(critic.critique, after="criticised")),
        (scripts, "extend_lease", around(scripts.extend_lease, after="beating", when=has_claims)),
        (scripts, "return_claim", around(scripts.return_claim, after="handing back")),
    ):
        setattr(where, name, hook)


def switch_off(mechanism: str, journal: Journal) -> None:
    """Learn without a mechanism, for the controls."""
    if mechanism == "fence":
        assert FENCE_CHECK in scripts._COMMIT
        scripts._COMMIT = known_to_scripts(scripts._COMMIT.replace(FENCE_CHECK, ""))
    if mechanism == "one step":
        RedisStore.commit = _in_two_steps(journal)  # type: ignore[method-assign]
    if mechanism == "isolation":
        Learner._claim = _claim_together  # type: ignore[method-assign]


def known_to_scripts(source: str) -> str:
    scripts._DIGESTS[source] = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return source


def _in_two_steps(journal: Journal) -> Any:
    real = RedisStore.commit

    async def commit(self: RedisStore, namespace: str, request: Any) -> Any:
        if request.settle is None:
            return await real(self, namespace, request)
        done = await real(self, namespace, request.model_copy(update={"settle": None}))
        journal.passes("between")
        then = {"changes": (), "usage": {}, "token": f"{request.token}:end"}
        await real(self, namespace, request.model_copy(update=then))
        return done

    return commit


async def _claim_together(self: Learner, space: Any, *, alone: bool) -> int:
    """Claim what may have killed its learner beside others, as if it were like them."""
    s, log = self.memory.settings, space.memory.store.episodes
    for suspects in (True, False):
        found = await log.claim(
            space.memory.namespace,
            self.id,
            lease=s.lease_seconds,
            count=1,
            max_deliveries=s.max_deliveries,
            alone=suspects,
        )
        for claim in found.claims:
            await self._begin(space, claim)
            return 1
    return 0


@contextlib.asynccontextmanager
async def learning(job: Job, **settings: Any) -> AsyncIterator[TedMemory]:
    """Open the memory that a learner works with."""
    given: dict[str, Any] = {
        "trust": job.trust,
        "lease_seconds": job.lease,
        "max_deliveries": job.max_deliveries,
    }
    given |= {
        "episodes_at_once": job.at_once,
        "rollouts": 1,
        "verify_calls": 0,
        "shown_share": 1.0,
        **settings,
    }
    async with open_memory(job.url, namespace=job.namespace, **SETTINGS, **given) as memory:
        yield memory


async def run(job: Job) -> None:
    journal = Journal(job)
    switch_off(job.without, journal)
    watch(journal)
    async with learning(job) as memory:
        learner = Learner(
            memory,
            student=ScriptedChatModel(script=attempts, delay=job.pause),
            teacher=ScriptedChatModel(script=teaches(job.name), delay=job.pause),
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, learner.stop)
        journal.note("up")
        stops = job.point == "handing back"
        telling = asyncio.create_task(_stop_when_at_work(learner)) if stops else None
        report = await learner.run(grace=0 if stops else None)
        if telling is not None:
            telling.cancel()
        for outcome, count in report.outcomes.items():
            journal.note(f"outcome {outcome}", count)


async def _stop_when_at_work(learner: Learner) -> None:
    while not learner._work:  # noqa: ASYNC110
        await asyncio.sleep(0)
    learner.stop()


def main(job: Job) -> None:
    # what is killed tells nothing of it, and works at half its speed
    if measuring := Coverage.current():
        measuring.stop()
    asyncio.run(run(job))


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
