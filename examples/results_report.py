"""The report of `examples.results`, from the figures that its runs left."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from examples.results_summary import (
    BY_HAND,
    Figures,
    aims,
    families,
    grouped,
    label,
    means_of,
    plain,
    side_by_side,
    taught,
)
from examples.results_traffic import about_traffic

INTRODUCTION = """\
# What it reached with real models

Made by `make results`, unattended, on two processor cores; every figure on this page comes from the files in `runs/`,
or in `earlier/` for those at its end. Student: qwen2.5-coder-0.5b-instruct; teacher, critic and compactor:
qwen2.5-coder-1.5b-instruct, both 4-bit, both served on the same machine. Where the teacher is called *program*, it
knows the rules of the family: it shows what the method makes of lessons that are simply right. Students called
*scripted* are programs, too: these families show whether general lessons come to live, not how well a model follows
them.

Each run learns from training samples into an empty memory and is then measured on other samples of the same family, at
temperature 0, beside no memory on the same samples. The interval is a 95 % bootstrap interval of the paired difference.
*Tokens* are those of the block in the prompt, on average. *Per lesson* is the difference divided by the lessons in the
set. Attempts while learning are random: another run of the same experiment ends elsewhere. *Code* is the commit that
was measured, as far as it was written down: runs of several commits stand side by side here.
"""

READING = """\
## How to read it

- **Right lessons by hand** are the ceiling for what any teacher can write, shown as the method shows its own. Where
  they do not help, no memory of lessons can.
- **Retrieved examples** learn nothing: the training samples nearest to the task, with their answers, in the user turn
  or as earlier turns of the conversation. Where they are as good as lessons, lessons are not worth their making, unless
  it is for their tokens.
- **One run each**, but where it says otherwise: differences smaller than the intervals say nothing.
"""


READING_RIVALS = """\
- **Rivals** are small ones of our own, with the same models and shorter prompts than the originals'. GRPO makes its
  three passes with five attempts a sample, ACE one pass. *As published* shows all that they learned, in the system
  message; *shown as ours* as many as ours shows, the nearest ones by their words, in our place.
"""

BEGIN, END = "<!-- made by make results -->", "<!-- end of what make results made -->"


def write(folder: Path, names: Sequence[str], first_page: Path | None = None) -> None:
    """Write ``README.md`` from the runs that are there, in this order; then those with code as it was before.

    ``first_page``: a page that has the table of `side_by_side` between two marks.
    """
    found = _read(folder / "runs")
    runs = {name: found[name] for name in names if name in found}
    earlier = _read(folder / "earlier")
    if runs or earlier:
        (folder / "README.md").write_text(report(runs, earlier), encoding="utf-8")
    if runs and first_page is not None:
        page = first_page.read_text(encoding="utf-8")
        if not 0 <= page.find(BEGIN) < page.find(END):
            raise ValueError(
                f"{first_page} has no place for the table: a line {BEGIN!r}, and later one {END!r}"
            )
        before, after = page.partition(BEGIN)[0], page.partition(END)[2]
        table = side_by_side(grouped(runs))
        first_page.write_text(f"{before}{BEGIN}\n{table}{END}{after}", encoding="utf-8")


def _read(folder: Path) -> dict[str, Figures]:
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }


def report(runs: dict[str, Figures], earlier: dict[str, Figures]) -> str:
    """Return the report as Markdown."""
    of_families = families(runs)
    by_family = grouped(runs)
    parts = [INTRODUCTION]
    if by_family:
        parts += ["## All families side by side\n", _summary(by_family), _without_gain(by_family)]
        parts += ["## What was aimed at, and what was reached\n", aims(by_family)]
    for name, of_family in by_family.items():
        parts += [
            f"## {name}\n\n{_about(of_family[0])}\n",
            _arms(of_family),
            _repeated(of_family),
            _learning(of_family),
        ]
    for prefix, title in (
        (
            "ablation-",
            "## Ablations\n\nThe help desk with its first 24 training tickets, one thing changed at a time.\n",
        ),
        (
            "compaction-",
            "## What goes first when a cap presses\n\nRight lessons, and room for six of them.\n",
        ),
    ):
        some = [run for name, run in runs.items() if name.startswith(prefix)]
        parts += [title, _arms(some), _repeated_ablations(some), _learning(some)] if some else []
    parts += [about_traffic(runs["traffic"])] if "traffic" in runs else []
    has_rivals = any(run["method"] in {"grpo", "ace"} for run in runs.values())
    parts += [READING + READING_RIVALS if has_rivals else READING]
    if written := [
        _lessons(run) for run in of_families.values() if run["teacher"] not in {"none", "program"}
    ]:
        parts += ["## The lessons\n", *written]
    if earlier:
        parts += ["## Earlier runs, with code as it was before\n", _earlier(earlier)]
    return "\n".join(part for part in parts if part)


SUMMARY = (
    "none",
    BY_HAND,
    "1 retrieved, user",
    "1 retrieved, turns",
    "3 retrieved, turns",
    "ted",
    "ted, right teacher",
)
RIVALS = ("grpo, as published", "grpo, shown as ours", "ace, as published", "ace, shown as ours")


def _summary(by_family: dict[str, list[Figures]]) -> str:
    columns = (*SUMMARY, *RIVALS)
    lines = [f"| family | student | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
    for name, runs in by_family.items():
        means = means_of(runs)
        cells = [f"{means[column]:.2f}" if column in means else "" for column in columns]
        lines.append(f"| {name} | {_student(runs[0])} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _without_gain(by_family: dict[str, list[Figures]]) -> str:
    """Return which families the real teacher's lessons did not help: the interval holds zero, or lies below it."""
    lines, gained = list[str](), list[str]()
    for name, runs in by_family.items():
        real = [
            run["arms"]["ted"]["difference"]
            for run in runs
            if run["method"] == "ted" and run["teacher"] != "program"
        ]
        if not real:
            continue
        if fmean(difference["low"] for difference in real) > 0:
            gained.append(name)
        else:
            gain = fmean(difference["mean"] for difference in real)
            control = ", a control: none was expected" if runs[0]["control"] else ""
            lines.append(f"- {name}: {gain:+.3f}{control}")
    if not lines:
        return f"With the real teacher these gained: {', '.join(gained) or 'none was measured'}.\n"
    return "\n".join(
        [
            "With the real teacher nothing was gained for sure (the interval holds zero) on:\n",
            *lines,
            "",
        ]
    )


def _about(run: Figures) -> str:
    about = run["about"][0].upper() + run["about"][1:]
    sizes = f"{run['training_samples']} training and {run['held_out']} held-out samples"
    return f"{about}. {sizes}, student {_student(run)}."


def _student(run: Figures) -> str:
    return "scripted" if run["student"] == "scripted" else "model"


def _arms(runs: Sequence[Figures]) -> str:
    lines = [
        "| run | teacher | arm | accuracy | difference | 95 % interval | lessons | per lesson | tokens |",
        "|---" * 9 + "|",
    ]
    for run in runs:
        teacher = (
            "program"
            if run["teacher"] == "program"
            else ""
            if run["teacher"] == "none"
            else "model"
        )
        for arm, figures in run["arms"].items():
            if arm == "none" and run["method"] != "beside" and len(runs) > 1 and _has_beside(runs):
                continue
            lines.append(f"| {run['name']} | {teacher} | {label(run, arm)} | {_cells(figures)} |")
    return "\n".join(lines) + "\n"


def _has_beside(runs: Sequence[Figures]) -> bool:
    return any(run["method"] == "beside" for run in runs)


def _cells(figures: Figures) -> str:
    difference, lessons = figures["difference"], figures["lessons"]
    return " | ".join(
        [
            f"{figures['accuracy']:.3f}",
            f"{difference['mean']:+.3f}",
            f"{difference['low']:+.3f} to {difference['high']:+.3f}",
            str(lessons) if lessons else "",
            f"{difference['mean'] / lessons:+.3f}" if lessons else "",
            str(figures["tokens"]),
        ]
    )


def _repeated(runs: Sequence[Figures]) -> str:
    """Return how far several runs of the same experiment lie apart."""
    lines = []
    for teacher, called in (("real", "the real"), ("program", "the right")):
        reached = [run["arms"]["ted"]["accuracy"] for run in taught(runs, teacher)]
        if len(reached) > 1:
            listed = ", ".join(f"{value:.3f}" for value in reached)
            lines.append(
                f"{len(reached)} runs with {called} teacher: {listed}; mean {fmean(reached):.3f}.\n"
            )
    return "\n".join(lines)


def _repeated_ablations(runs: Sequence[Figures]) -> str:
    """Return the mean of each ablation that was run several times: ``ablation-x``, ``ablation-x-2`` and so on."""
    reached: dict[str, list[float]] = {}
    for run in runs:
        name = re.sub(r"-\d+$", "", run["name"])
        reached.setdefault(name, []).append(run["arms"]["ted"]["accuracy"])
    lines = [
        f"{len(values)} runs of {name}: {', '.join(f'{value:.3f}' for value in values)}; mean {fmean(values):.3f}.\n"
        for name, values in reached.items()
        if len(values) > 1
    ]
    return "\n".join(lines)


def _learning(runs: Sequence[Figures]) -> str:
    """Return what learning cost, and what became of the samples."""
    lines = [
        "| run | code | samples | set aside | joined / refused | gate | teacher calls | student calls | tokens "
        "| minutes |",
        "|---" * 10 + "|",
    ]
    for run in runs:
        learning = run["learning"]
        if learning is None:
            continue
        spend = learning["spend"]
        tokens = sum(role["tokens_in"] + role["tokens_out"] for role in spend.values())
        cells = [
            run["name"],
            run.get("code", "earlier"),
            str(run["training_samples"]),
            str(learning["set_aside"])
            if "set_aside" in learning
            else f"{learning['lost']} answers unusable",
            _joins(learning),
            _gate(learning),
            str(spend["teacher"]["calls"]),
            str(spend["student"]["calls"]),
            f"{tokens:,}",
            f"{learning['seconds'] / 60:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _joins(learning: Figures) -> str:
    """Return how many changes that make the set smaller were proved to lose nothing, and how many were not."""
    if "joined" not in learning:
        return ""
    proved = sum(joined["kept"] for joined in learning["joined"])
    return f"{proved} / {len(learning['joined']) - proved}"


def _gate(learning: Figures) -> str:
    gate = learning.get("gate")
    if not gate:
        return "none" if learning.get("promoted", True) else "nothing learned"
    verdict = "passed" if gate["passed"] else "refused"
    return f"{gate['before']:.2f} to {gate['after']:.2f}, {verdict}"


def _earlier(runs: dict[str, Figures]) -> str:
    lines = [
        "| run | teacher | trained on | without | with | difference | 95 % interval | lessons | gate |",
        "|---" * 9 + "|",
    ]
    for name, run in runs.items():
        learning, measured = run["learning"], run["measured"]
        difference = measured["difference"]
        cells = [
            name,
            "rule book" if run["teacher"] == "rulebook" else "model",
            str(learning["samples"]),
            f"{measured['without']['accuracy']:.3f}",
            f"{measured['with']['accuracy']:.3f}",
            f"{difference['mean']:+.3f}",
            f"{difference['low']:+.3f} to {difference['high']:+.3f}",
            str(learning["experiences"]["active"]),
            _gate(learning),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _lessons(run: Figures) -> str:
    reasons = (run["learning"] or {}).get("reasons", [])[:5]
    asides = [f"- set aside, {a['sample']}: {plain(a['reason'])}" for a in reasons]
    lessons = [f"- {plain(lesson)}" for lesson in run["lessons"]]
    return "\n".join([f"### {run['name']}\n", *(lessons or ["- none"]), "", *asides, ""])
