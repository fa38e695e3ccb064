"""The report of `examples.results`, from the figures that its runs left."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Figures = dict[str, Any]

INTRODUCTION = """\
# What it reached with real models

Made by `make results`, unattended, on two processor cores; every figure on this page comes from the files in `runs/`.
Student: {student}. Teacher, critic and compactor: {teacher}, both 4-bit, both served on the same machine. Where the
teacher is called *rule book*, it is a program that looks the answer up in the handbook: it shows what the student can
gain from lessons that are simply right.

Each run learns from training samples into an empty memory and is then measured on other samples, which it has not
seen, with and without what it learned, in pairs, at temperature 0. The interval is a 95 % bootstrap interval of the
paired difference. Attempts while learning are random: another run of the same experiment ends elsewhere. Where a run
ends without lessons both sides ask the very same; what still differs is noise of the model server.
"""

READING = """\
## How to read it

- **The two companies.** What the teacher writes is right where the task's own words lead it there. What it falls short
  of the rule book is mostly conditions: words such as "bikes" stand in tickets of several kinds, and with one lesson
  shown for each task a wrong condition hides a right lesson.
- **The second company's first run learned nothing** (below, under earlier runs). One lesson whose condition held only
  words that stand in every request was shown for all of them, so that no other lesson was ever found for its own task,
  and the gate refused the set. Since then a condition that meets its task only in such words is refused before its
  try, and a word that a task repeats counts once. Both rules are general, but they were found on this data set: its
  later figures are not those of data that nobody looked at.
- **BIG-bench Hard.** These tasks ask for ability, and not for knowledge that a lesson could hold. What the teacher
  proposed failed its tries or the gate, and the student ended where it began: this is what the gate is for.
- **Ablations.** On so few samples the intervals are wide: compare them before a difference is taken for one.
"""


def write(folder: Path, names: Sequence[str]) -> None:
    """Write ``README.md`` from the runs that are there, in this order, then earlier ones of other names."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("runs/*.json"))}
    runs = {name: found.pop(name) for name in names if name in found}
    if runs:
        (folder / "README.md").write_text(report(runs, found), encoding="utf-8")


def report(runs: dict[str, Figures], earlier: dict[str, Figures]) -> str:
    """Return the report as Markdown."""
    first = next(iter(runs.values()))
    parts = [
        INTRODUCTION.format(student=first["student"], teacher=first["teacher"]),
        "## Two made-up companies, and two tasks that nobody here wrote\n",
        _table([run for name, run in runs.items() if not name.startswith(("ablation-", "compaction-"))]),
        *(_against_the_ceiling(runs, data) for data in ("helpdesk", "townhall")),
        "## Ablations\n\nThe help desk with its first 24 training tickets, one thing changed at a time. One run each: "
        "differences smaller than the intervals say nothing.\n",
        _table([run for name, run in runs.items() if name.startswith("ablation-")]),
        "## What goes first when a cap presses\n\nThe help desk with the rule book as teacher and room for six "
        "lessons.\n",
        _table([run for name, run in runs.items() if name.startswith("compaction-")]),
        "## Earlier runs, with code as it was before\n" if earlier else "",
        _table([{**run, "name": name} for name, run in earlier.items()]) if earlier else "",
        READING,
        "## The lessons\n",
        *(_lessons(run) for name, run in runs.items() if run["teacher"] != "rulebook" and "ablation" not in name),
    ]
    return "\n".join(part for part in parts if part)


def _table(runs: Sequence[Figures]) -> str:
    lines = [
        "| run | teacher | trained on | without | with | difference | 95 % interval | lessons | set aside | gate | "
        "teacher calls | student calls | tokens | minutes |",
        "|---" * 14 + "|",
    ]
    return "\n".join([*lines, *map(_row, runs)]) + "\n"


def _row(run: Figures) -> str:
    learning, measured = run["learning"], run["measured"]
    difference, spend = measured["difference"], learning["spend"]
    tokens = sum(role["tokens_in"] + role["tokens_out"] for role in spend.values())
    cells = [
        run["name"],
        "rule book" if run["teacher"] == "rulebook" else "model",
        str(learning["samples"]),
        f"{measured['without']['accuracy']:.3f}",
        f"{measured['with']['accuracy']:.3f}",
        f"{difference['mean']:+.3f}",
        f"{difference['low']:+.3f} to {difference['high']:+.3f}",
        str(learning["experiences"]["active"]),
        str(learning["set_aside"]),
        _gate(learning),
        str(spend["teacher"]["calls"]),
        str(spend["student"]["calls"]),
        f"{tokens:,}",
        f"{learning['seconds'] / 60:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _gate(learning: Figures) -> str:
    gate = learning["gate"]
    if gate is None:
        return "none" if learning["promoted"] else "nothing learned"
    verdict = "passed" if gate["passed"] else "refused"
    return f"{gate['before']:.2f} to {gate['after']:.2f}, {verdict}"


def _against_the_ceiling(runs: dict[str, Figures], data: str) -> str:
    if data not in runs or f"{data}-rulebook" not in runs:
        return ""
    lift, ceiling = (runs[name]["measured"]["difference"]["mean"] for name in (data, f"{data}-rulebook"))
    if ceiling <= 0:
        return f"On {data} right lessons gave no lift in this run, so there is nothing to compare with.\n"
    aim = "the aim of 0.8 is reached" if lift >= 0.8 * ceiling else "the aim is 0.8"
    return f"On {data} the real teacher reached {lift / ceiling:.2f} of the rule book's lift ({aim}).\n"


def _lessons(run: Figures) -> str:
    asides = [f"- set aside, {a['sample']}: {_plain(a['reason'])}" for a in run["learning"]["reasons"][:5]]
    lessons = [f"- {_plain(lesson)}" for lesson in run["lessons"]]
    return "\n".join([f"### {run['name']}\n", *(lessons or ["- none"]), "", *asides, ""])


def _plain(text: str) -> str:
    return " ".join(text.split())[:300].replace("<", "\\<").replace("|", "\\|")
