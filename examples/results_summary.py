"""What the runs of `examples.results` say in short: a table, and which aims were reached."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

Figures = dict[str, Any]

BY_HAND = "right lessons by hand"
TASKS = {
    "museum": "letters to a made-up museum, ten offices, two training letters each",
    "townhall": "requests to a town hall, six desks",
    "helpdesk": "tickets to a help desk, six teams",
    "intents": "intents of utterances, other authors' data",
    "replies": "replies by house conventions, graded in four parts",
    "loglines": "lines in a house format, graded in four parts",
    "machines": "machines with a hidden rule, other authors' data",
}


def families(runs: dict[str, Figures]) -> dict[str, Figures]:
    """The runs that belong to a family: no ablation, no compaction, no traffic."""
    others = ("ablation-", "compaction-", "traffic")
    return {name: run for name, run in runs.items() if not name.startswith(others)}


def grouped(runs: dict[str, Figures]) -> dict[str, list[Figures]]:
    """The runs of each family."""
    by_family: dict[str, list[Figures]] = {}
    for run in families(runs).values():
        by_family.setdefault(run["family"], []).append(run)
    return by_family


def side_by_side(by_family: dict[str, list[Figures]]) -> str:
    """A short table for people who have not seen the project: accuracy, tokens in the prompt."""
    columns = (
        "without",
        "learned",
        "by hand",
        "retrieved examples",
        "learned from a teacher that is always right",
    )
    lines = [f"| task, held out | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name, task in TASKS.items():
        if name not in by_family:
            continue
        arms = _accuracies(by_family[name])
        retrieved = [arm for arm in arms if " retrieved, " in arm]
        best = max(retrieved, key=lambda arm: fmean(arms[arm])) if retrieved else ""
        cells = [
            _short(by_family[name], arms, arm)
            for arm in ("none", "ted", BY_HAND, best, "ted, right teacher")
        ]
        lines.append(f"| {task} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _short(runs: Sequence[Figures], arms: dict[str, list[float]], arm: str) -> str:
    if arm not in arms:
        return ""
    found, several = fmean(arms[arm]), ""
    if len(arms[arm]) > 1 and arm.startswith("ted"):
        several = f"; {len(arms[arm])} runs, {min(arms[arm]):.3f} to {max(arms[arm]):.3f}"
    shown = f"**{found:.3f}**" if arm == "ted" else f"{found:.3f}"
    tokens = [run["arms"][a]["tokens"] for run in runs for a in run["arms"] if label(run, a) == arm]
    return shown if arm == "none" else f"{shown} ({fmean(tokens):.0f} tokens{several})"


def means_of(runs: Sequence[Figures]) -> dict[str, float]:
    """Each arm's mean accuracy."""
    return {arm: fmean(values) for arm, values in _accuracies(runs).items()}


def _accuracies(runs: Sequence[Figures]) -> dict[str, list[float]]:
    """Each arm's accuracy in all runs that have it."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for arm, figures in run["arms"].items():
            found.setdefault(label(run, arm), []).append(figures["accuracy"])
    return found


def label(run: Figures, arm: str) -> str:
    """An arm's name in tables, where lessons of a right teacher are told from a real one's."""
    is_right_teacher = arm == "ted" and run["teacher"] == "program"
    return "ted, right teacher" if is_right_teacher else arm


REAL, RIGHT = 0.5, 0.9  # of the lift of right lessons by hand: what each teacher is to reach
# families on which lessons are to be at least as good as retrieved examples, and better
AS_GOOD, BETTER = 3, 2


@dataclass
class _Compared:
    """On which families lessons are better than retrieved examples, and on which they are worse."""

    count: int = 0
    better: list[str] = field(default_factory=list)
    worse: list[str] = field(default_factory=list)

    def add(self, family: str, lessons: float, retrieved: float) -> None:
        self.count += 1
        if lessons > retrieved:
            self.better.append(family)
        elif lessons < retrieved:
            self.worse.append(family)

    def __str__(self) -> str:
        return (
            "\nWith the real teacher lessons are at least as good as the best retrieved examples, "
            f"whatever the tokens of these, on {self.count - len(self.worse)} of {self.count} "
            f"families, and better on {len(self.better)}; aimed at were {AS_GOOD} and {BETTER}. "
            f"Worse: {', '.join(self.worse) or 'none'}. Means are compared."
        )


def aims(by_family: dict[str, list[Figures]]) -> str:
    """For each family in which right lessons help, whether both teachers reached what was aimed at.

    A share is that of the worst run in the lift of right lessons by hand.
    """
    lines = [
        f"| family | lift by hand | real teacher, aim {REAL:.2f} of it "
        f"| right teacher, aim {RIGHT:.2f} of it | best retrieved examples | real teacher |",
        "|---" * 6 + "|",
    ]
    compared, without = _Compared(), list[str]()
    for name, runs in by_family.items():
        by_hand = [run["arms"][BY_HAND]["difference"] for run in runs if BY_HAND in run["arms"]]
        if not by_hand:
            continue
        if by_hand[0]["low"] <= 0:
            without.append(name)
            continue
        cells = _reached(runs, by_hand[0]["mean"]) + _beside_retrieved(name, runs, compared)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    told = str(compared)
    if without:
        told += (
            f"\nRight lessons by hand do not help for sure on {', '.join(without)}: "
            "nothing was aimed at there."
        )
    return "\n".join(lines) + "\n" + told + "\n"


def _reached(runs: Sequence[Figures], lift: float) -> list[str]:
    """The lift of right lessons by hand, and what each teacher reached of it."""
    cells = [f"{lift:+.3f}"]
    for teacher, aim in (("real", REAL), ("program", RIGHT)):
        means = [run["arms"]["ted"]["difference"]["mean"] for run in taught(runs, teacher)]
        cells.append(_met([mean / lift for mean in means], aim))
    return cells


def _beside_retrieved(name: str, runs: Sequence[Figures], compared: _Compared) -> list[str]:
    """The accuracy of the best retrieved examples, and that of the real teacher's lessons."""
    means = means_of(runs)
    retrieved = [value for arm, value in means.items() if " retrieved, " in arm]
    if retrieved and "ted" in means:
        compared.add(name, means["ted"], max(retrieved))
    return [
        f"{max(retrieved):.3f}" if retrieved else "",
        f"{means['ted']:.3f}" if "ted" in means else "not run",
    ]


def taught(runs: Sequence[Figures], teacher: str) -> list[Figures]:
    """The runs of our method with the family's program as the teacher, or with a model."""
    ours = [run for run in runs if run["method"] == "ted"]
    return [run for run in ours if (run["teacher"] == "program") == (teacher == "program")]


def _met(reached: Sequence[float], aim: float) -> str:
    if not reached:
        return "not run"
    worst = min(reached)
    of = f", worst of {len(reached)}" if len(reached) > 1 else ""
    return f"{worst:.2f}{of}: {'reached' if worst >= aim else 'missed'}"


def plain(text: str) -> str:
    """A lesson on one line of Markdown, its first three hundred characters."""
    return " ".join(text.split())[:300].replace("<", "\\<").replace("|", "\\|")
