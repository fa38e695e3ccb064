"""Learners on Celery: as many as the queues of episodes ask for, on the workers that are there.

    celery -A examples.learners_on_celery worker --concurrency 4
    celery -A examples.learners_on_celery beat          # one, for all workers

``TED_MEMORY_URL`` is the Redis or Valkey of the memory, and Celery's broker, too.
``TED_MEMORY_TEACHER`` and ``TED_MEMORY_STUDENT`` name the models, as in ``graphs/``. All settings
of the memory may stand beside them (``TED_MEMORY_LEASE_SECONDS``, ...).

Episodes wait in the memory, and not in Celery's queue: a message only says "come and look". So one
that is lost, late or double does no harm, and Celery need not acknowledge late or ask again.

* Every few seconds beat has ``look`` count what waits, and call learners by that. A call that no
  worker took until the next look has expired: nothing piles up behind busy workers.
* A worker that gets SIGTERM takes no further task, and lets its learners end. Each claims for
  ``SECONDS`` at most, then finishes what it holds, or after ``lease_seconds`` gives it back.
* What a killed worker held is another's after ``lease_seconds``, whoever comes to look next.

Each process of a worker has one event loop, in which its tasks run one after the other. With a loop
for each task (`asyncio.run`) the HTTP client that LangChain keeps for a model would come into the
second task with connections of a closed loop. The memory is opened and closed in each task, since
nothing of it runs while the loop stands still between two.
"""

import asyncio
import math
import os
from functools import cache
from typing import Any

from celery import Celery
from celery.signals import worker_process_shutdown

from ted_memory import open_memory
from ted_memory.learner import Learner
from ted_memory.wiring import make_chat_model

EVERY = float(os.environ.get("LOOK_EVERY", "5"))  # seconds
SECONDS = float(os.environ.get("LEARN_SECONDS", "60"))
EPISODES_EACH, LEARNERS = 20, 8  # waiting episodes that call one more; most for a namespace

app = Celery("learners", broker=os.environ.get("TED_MEMORY_URL", "redis://localhost:6379/0"))
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    worker_disable_prefetch=True,  # a busy worker must not hold what an idle one could begin
    beat_schedule={"look": {"task": "look", "schedule": EVERY, "options": {"expires": EVERY}}},
)


@cache
def loop() -> asyncio.Runner:
    """Return the event loop of this process; none is made before a worker has forked."""
    return asyncio.Runner()


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def close_loop(**_: Any) -> None:
    loop().close()


@app.task(name="look")  # type: ignore[untyped-decorator]
def look() -> None:
    """Call as many learners to each namespace as its queue asks for."""
    for namespace, waiting in loop().run(queue_lengths()).items():
        # at least one: trials and replays go on where no episode waits
        for _ in range(min(LEARNERS, max(1, math.ceil(waiting / EPISODES_EACH)))):
            learn.apply_async((namespace,), expires=EVERY)


async def queue_lengths() -> dict[str, int]:
    async with open_memory() as memory:
        names = await memory.namespaces(with_traffic=True)
        return {name: (await memory.for_namespace(name).traffic()).waiting for name in names}


@app.task(name="learn")  # type: ignore[untyped-decorator]
def learn(namespace: str) -> dict[str, int]:
    """Learn for a namespace until its queue is empty, or for `SECONDS`."""
    return loop().run(learn_for(namespace))


async def learn_for(namespace: str) -> dict[str, int]:
    async with open_memory(namespace=namespace) as memory:
        learner = Learner(memory, teacher=model("TEACHER"), student=model("STUDENT"))
        timer = asyncio.get_running_loop().call_later(SECONDS, learner.stop)
        try:
            report = await learner.run(until_empty=True)
        finally:
            timer.cancel()
    return dict(report.outcomes)


def model(role: str) -> Any:
    name = f"TED_MEMORY_{role}"
    return make_chat_model(os.environ[name], base_url=os.environ.get(f"{name}_BASE_URL"))
