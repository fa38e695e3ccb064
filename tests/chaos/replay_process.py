"""A learner process that only replays, with a student of known answers, and that dies or freezes.

Whether the student is right depends on the number of the question and on whether the lesson about
its thing stands in the prompt: so what the sums must be can be worked out from which episodes a
lesson has met.
"""

import asyncio
import re
import signal
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from typing import Any

from coverage import Coverage
from langchain_core.messages import BaseMessage

from ted_memory import open_memory
from ted_memory.episodes import Archived
from ted_memory.experience.evidence import Sums, add_pair
from ted_memory.experience.trials import Step
from ted_memory.learner import Learner, beside, replay
from ted_memory.learner.allowance import Allowance
from ted_memory.learner.replay import Replayer
from ted_memory.storage.redis import scripts
from ted_memory.testing import Script, ScriptedChatModel
from tests.chaos.learner_process import _PROCESSES, Job, Journal, known_to_scripts
from tests.chaos.writer_process import SETTINGS
from tests.distill.scripts import CODES, prompt_of, thing_in
from tests.learner.worlds import says_nothing

POINTS = {
    "reserved": "the calls of a round are booked, and no model was asked",
    "answered": "a pair has its answers, and is not counted yet",
    "counted": "a pair was counted, and the reply was not read",
    "paid": "what a round has cost is booked",
}
ONCE = "if is_done(evidence, id, seq) then return 'repeated' end"


def start(job: Job) -> ForkServerProcess:
    process = _PROCESSES.Process(target=main, args=(job,))
    process.start()
    return process


def right_in(text: str, *, with_it: bool) -> bool:
    """Whether the student answers this question rightly, with or without the lesson on its thing.

    The lessons do harm: what replays have shown to help is replayed no further.
    """
    number = int(re.findall(r"\((\d+)\)", text)[-1])
    return number % 5 == 0 if with_it else number % 3 != 0


def answers(journal: Journal | None = None) -> Script:
    def answer(messages: list[BaseMessage]) -> str:
        if journal is not None:
            journal.note("asked")
        asked = str(messages[-1].text)
        thing = thing_in(asked)
        return (
            CODES[thing]
            if right_in(asked, with_it=f"say {CODES[thing]}" in prompt_of(messages))
            else "no idea"
        )

    return answer


def wanted(thing: str, met: Sequence[Archived]) -> Sums:
    """The sums of a lesson about a thing for the episodes it has met, each pair counted once."""
    sums = Sums()
    for archived in met:
        text = archived.sample.text
        sums = add_pair(
            sums, right_in(text, with_it=thing_in(text) == thing), right_in(text, with_it=False)
        )
    return sums


def look_at_no_trials() -> None:
    """Keep what is replayed proposed, whatever its wealth: the test is about the sums alone."""

    async def nothing(
        _memory: Any, _holder: str, known: Any, done: list[Step]
    ) -> tuple[list[Step], Any]:
        return done, known or {}

    beside.look = nothing  # type: ignore[assignment]


def _watch(journal: Journal) -> None:
    reserve, pay = Allowance.reserve, Allowance.pay
    send, counted = Replayer._send, scripts.replayed

    async def reserved(self: Allowance, pairs: int) -> None:
        await reserve(self, pairs)
        if pairs:
            journal.passes("reserved")

    async def answered(self: Replayer, pair: Any) -> Any:
        journal.passes("answered")
        return await send(self, pair)

    async def took_effect(*args: Any) -> str:
        verdict = await counted(*args)
        journal.note(verdict)
        journal.passes("counted")
        return verdict

    async def paid(self: Allowance) -> None:
        owed = bool(self._owed)
        await pay(self)
        if owed:
            journal.passes("paid")

    Allowance.reserve, Allowance.pay = reserved, paid  # type: ignore[method-assign]
    Replayer._send = answered  # type: ignore[method-assign]
    scripts.replayed = took_effect


async def run(job: Job) -> None:
    journal = Journal(job)
    if job.without == "once":
        assert ONCE in scripts._REPLAYED
        scripts._REPLAYED = known_to_scripts(scripts._REPLAYED.replace(ONCE, ""))
    _watch(journal)
    look_at_no_trials()
    replay.SECONDS = job.lease
    given: dict[str, Any] = {
        "trust": "evidence",
        "replay_calls": 10**6,
        "episodes_at_once": job.at_once,
    }
    async with open_memory(job.url, namespace=job.namespace, **SETTINGS, **given) as memory:
        learner = Learner(
            memory,
            student=ScriptedChatModel(script=answers(journal), delay=job.pause),
            teacher=says_nothing(),
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, learner.stop)
        journal.note("up")
        await learner.run()


def main(job: Job) -> None:
    if measuring := Coverage.current():
        measuring.stop()
    asyncio.run(run(job))
