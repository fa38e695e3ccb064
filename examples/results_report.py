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

PAGES = Path(__file__).parent / "results_pages"
"""The prose of the report."""
ABLATIONS = "The help desk with its first 24 training tickets, one thing changed at a time."
COMPACTION = "Right lessons, and room for six of them."

BEGIN, END = "<!-- made by make results -->", "<!-- end of what make results made -->"


def write(folder: Path, names: Sequence[str], first_page: Path | None = None) -> None:
    """Write ``README.md`` from the runs that are there, in this order.

    Runs with code as it was before come after them. ``first_page``: a page that has the table of
    `side_by_side` between two marks.
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
    """The report as Markdown."""
    parts = [
        _page("introduction"),
        *_about_families(grouped(runs)),
        *_about_some(runs, "ablation-", "Ablations", ABLATIONS),
        *_about_some(runs, "compaction-", "What goes first when a cap presses", COMPACTION),
    ]
    if "traffic" in runs:
        parts.append(about_traffic(runs["traffic"]))
    has_rivals = any(run["method"] in {"grpo", "ace"} for run in runs.values())
    parts.append(_page("reading") + (_page("rivals") if has_rivals else ""))
    parts += _all_lessons(families(runs))
    if earlier:
        parts += ["## Earlier runs, with code as it was before\n", _earlier(earlier)]
    return "\n".join(part for part in parts if part)


def _page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def _about_families(by_family: dict[str, list[Figures]]) -> list[str]:
    if not by_family:
        return []
    parts = ["## All families side by side\n", _summary(by_family), _without_gain(by_family)]
    parts += ["## What was aimed at, and what was reached\n", aims(by_family)]
    for name, runs in by_family.items():
        parts.append(f"## {name}\n\n{_about(runs[0])}\n")
        parts += [_arms(runs), _repeated(runs), _learning(runs)]
    return parts


def _about_some(runs: dict[str, Figures], prefix: str, title: str, about: str) -> list[str]:
    """The runs whose names begin so."""
    some = [run for name, run in runs.items() if name.startswith(prefix)]
    if not some:
        return []
    head = f"## {title}\n\n{about}\n"
    return [head, _arms(some), _repeated_ablations(some), _learning(some)]


def _all_lessons(of_families: dict[str, Figures]) -> list[str]:
    """What the real teacher wrote."""
    real = [run for run in of_families.values() if run["teacher"] not in {"none", "program"}]
    return ["## The lessons\n", *map(_lessons, real)] if real else []


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
    """The families that the real teacher's lessons did not help for sure.

    The interval of the difference holds zero there, or lies below it.
    """
    lines, gained = list[str](), list[str]()
    for name, runs in by_family.items():
        real = [run["arms"]["ted"]["difference"] for run in taught(runs, "real")]
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
    head = "With the real teacher nothing was gained for sure (the interval holds zero) on:\n"
    return "\n".join([head, *lines, ""])


def _about(run: Figures) -> str:
    about = run["about"][0].upper() + run["about"][1:]
    sizes = f"{run['training_samples']} training and {run['held_out']} held-out samples"
    return f"{about}. {sizes}, student {_student(run)}."


def _student(run: Figures) -> str:
    return "scripted" if run["student"] == "scripted" else "model"


def _arms(runs: Sequence[Figures]) -> str:
    lines = [
        "| run | teacher | arm | accuracy | difference | 95 % interval "
        "| lessons | per lesson | tokens |",
        "|---" * 9 + "|",
    ]
    # one of them says what is reached without anything
    is_repeated = len(runs) > 1 and any(run["method"] == "beside" for run in runs)
    for run in runs:
        teacher = {"program": "program", "none": ""}.get(run["teacher"], "model")
        for arm, figures in run["arms"].items():
            if arm == "none" and is_repeated and run["method"] != "beside":
                continue
            lines.append(f"| {run['name']} | {teacher} | {label(run, arm)} | {_cells(figures)} |")
    return "\n".join(lines) + "\n"


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
    """How far several runs of the same experiment lie apart."""
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
    """The mean of each ablation that was run several times.

    Its runs are called ``ablation-x``, ``ablation-x-2`` and so on.
    """
    reached: dict[str, list[float]] = {}
    for run in runs:
        name = re.sub(r"-\d+$", "", run["name"])
        reached.setdefault(name, []).append(run["arms"]["ted"]["accuracy"])
    lines = []
    for name, values in reached.items():
        if len(values) > 1:
            listed = ", ".join(f"{value:.3f}" for value in values)
            lines.append(f"{len(values)} runs of {name}: {listed}; mean {fmean(values):.3f}.\n")
    return "\n".join(lines)


def _learning(runs: Sequence[Figures]) -> str:
    """What learning cost, and what became of the samples."""
    lines = [
        "| run | code | samples | set aside | joined / refused | gate "
        "| teacher calls | student calls | tokens | minutes |",
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
            _set_aside(learning),
            _joins(learning),
            _gate(learning),
            str(spend["teacher"]["calls"]),
            str(spend["student"]["calls"]),
            f"{tokens:,}",
            f"{learning['seconds'] / 60:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _set_aside(learning: Figures) -> str:
    if "set_aside" in learning:
        return str(learning["set_aside"])
    return f"{learning['lost']} answers unusable"


def _joins(learning: Figures) -> str:
    """How many changes that make the set smaller were proved to lose nothing / were not."""
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
        "| run | teacher | trained on | without | with | difference | 95 % interval "
        "| lessons | gate |",
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
