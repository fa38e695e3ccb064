"""What a run did."""

from ted_memory.fields import Frozen
from ted_memory.llm.spend import Spend
from ted_memory.models import Presentation


class SetSize(Frozen):
    """Active experiences, and tokens of their rendered block."""

    active: int
    tokens: int


class SetAside(Frozen):
    """One sample that nothing was learned from, though there was something to learn."""

    sample: str
    reason: str


class RejectedLesson(Frozen):
    """A lesson that was proposed and refused, by its verification or by the validation gate."""

    lesson: str
    reason: str


class Point(Frozen):
    """One stage of a learning curve: mean score with the set at a version of the run."""

    version: int
    experiences: int
    score: float


class LessonVerdict(Frozen):
    """What the gate found of one lesson, in words, and whether it went live.

    ``pairs`` and ``lift`` (mean sign of the difference, in [-1, 1]) are of the pairs that tested it
    by itself.
    """

    lesson: str
    kept: bool
    reason: str
    pairs: int = 0
    lift: float = 0.0


class Gate(Frozen):
    """The validation gate (see `ted_memory.distill.run.gate`).

    ``before`` and ``after`` are mean scores in ``pairs`` pairs of answers to ``samples`` samples,
    with the set from before and with what the run learned from others. ``verdict`` (``helps``,
    ``hurts``, ``useless``, ``open``) and ``wealth`` are of the test of the whole set; ``lessons``
    says what became of each lesson. ``passed``: something new went live. ``failures`` are the
    samples that could not be asked. ``curve`` holds the stages that were compared, the set before
    the run first, at version 0.
    """

    samples: int
    before: float
    after: float
    passed: bool
    pairs: int = 0
    verdict: str = ""
    wealth: float = 1.0
    lessons: tuple[LessonVerdict, ...] = ()
    failures: tuple[SetAside, ...] = ()
    curve: tuple[Point, ...] = ()


class Shown(Frozen):
    """One way to show the set, and the student's mean score with it on so many samples."""

    presentation: Presentation
    answers: int
    score: float


class SolvedTasks(Frozen):
    """Training samples that were tried as solved tasks beside what had passed the gate.

    ``before`` and ``after``: mean scores on fresh answers, in so many ``pairs``; none where it did
    not come to that. ``kept``: they are live. ``reason``: why, or why not.
    """

    offered: int
    pairs: int = 0
    before: float = 0.0
    after: float = 0.0
    wealth: float = 1.0
    kept: bool = False
    reason: str = ""


class Carried(Frozen):
    """A lesson that another student had learned, tested with this one.

    ``verdict``: ``held`` (it helps), ``hurt`` (it went back to a proposal), ``useless``, or ``not
    shown`` either way.
    """

    id: str
    lesson: str
    verdict: str
    pairs: int
    lift: float


class JoinedLessons(Frozen):
    """A change that was proposed to make the set smaller, in words.

    ``kept``: it was proved to lose nothing.
    """

    edit: str
    kept: bool
    reason: str


class Report(Frozen):
    """The outcome of `distill`.

    ``seconds`` are of this process; ``spend`` is of the whole run, resumed or not. ``samples`` were
    trained on: ``learned`` changed the set, ``set_aside`` should have and did not, the others had
    nothing to teach. ``resumed`` were done by an earlier, interrupted process. ``collapsed`` groups
    gave the same attempt every time: if answers are long, the setting ``temperature`` is too low,
    or a cache is at work. ``joined`` are the merges, rewrites and removals of compactions,
    ``shown`` the ways to show the set that were compared; the best one goes live with it.
    ``carried``: what became of lessons that a student of another name had learned.
    ``solved_tasks``: of training samples beside the lessons, where that was tried. ``stopped`` says
    why samples were left out.
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
    joined: tuple[JoinedLessons, ...] = ()
    shown: tuple[Shown, ...] = ()
    carried: tuple[Carried, ...] = ()
    solved_tasks: SolvedTasks | None = None
    stopped: str = ""
