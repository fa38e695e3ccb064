"""What a run did."""

from ted_memory.llm.spend import Spend
from ted_memory.models import Frozen


class SetSize(Frozen):
    """Active experiences, and tokens of their rendered block."""

    active: int
    tokens: int


class SetAside(Frozen):
    """One sample that nothing was learned from, though there was something to learn."""

    sample: str
    reason: str


class RejectedLesson(Frozen):
    """A lesson that was proposed and refused, by its try or by the validation gate."""

    lesson: str
    reason: str


class Point(Frozen):
    """One stage of a learning curve: mean score on the held-out samples with the set at a version of the run."""

    version: int
    experiences: int
    score: float


class Gate(Frozen):
    """The validation gate: mean scores on the held-out samples, with the set before and the best one of the run.

    ``failures`` are the samples that could not be scored with every set, and count for none.
    ``curve`` holds the stages that were compared, the set before the run first, at version 0.
    """

    samples: int
    before: float
    after: float
    passed: bool
    failures: tuple[SetAside, ...] = ()
    curve: tuple[Point, ...] = ()


class Report(Frozen):
    """The outcome of `distill`. ``seconds`` are of this process; ``spend`` is of the whole run, resumed or not.

    ``samples`` were trained on: ``learned`` changed the set, ``set_aside`` should have and did not, the others had
    nothing to teach. ``resumed`` were done by an earlier, interrupted process. ``collapsed`` groups gave the same
    attempt every time: if answers are long, the setting ``temperature`` is too low, or a cache is at work. ``stopped``
    says why samples were left out.
    """

    namespace: str
    version: int
    samples: int
    learned: int
    set_aside: int
    experiences: SetSize
    spend: Spend
    seconds: float
    promoted: bool
    gate: Gate | None
    resumed: int
    collapsed: int
    reasons: tuple[SetAside, ...] = ()
    conflicts: tuple[str, ...] = ()
    rejected: tuple[RejectedLesson, ...] = ()
    stopped: str = ""
