"""The README's figures and its picture are those of the runs that are kept."""

import json
import re
import shutil
from pathlib import Path

import pytest

from examples import results
from examples.results_picture import PICTURE, picture
from examples.results_summary import means_of
from tests.examples.test_results import WORDS, read_demos


def test_the_picture_shows_what_the_runs_measured() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), (
        "run python -m examples.results_picture"
    )


def test_another_figure_would_change_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    runs = shutil.copytree(results.RESULTS / "runs", tmp_path / "runs")
    traffic = json.loads((runs / "traffic.json").read_text(encoding="utf-8"))
    traffic["windows"][-1] = 0.41
    (runs / "traffic.json").write_text(json.dumps(traffic), encoding="utf-8")
    monkeypatch.setattr("examples.results_picture.RUNS", runs)
    assert PICTURE.read_text(encoding="utf-8") != picture()


def best_retrieved(runs: Path, family: str) -> float:
    """The best accuracy of solved examples that are retrieved for each task."""
    arms = json.loads((runs / f"{family}-beside.json").read_text(encoding="utf-8"))["arms"]
    return max(arm["accuracy"] for name, arm in arms.items() if "retrieved" in name)


def told_by_readme(runs: Path) -> list[str]:
    """What the README is to tell of what was learned, and of what it took."""
    demos = read_demos(runs / "demo")
    desk = json.loads((runs / "helpdesk-ted.json").read_text(encoding="utf-8"))
    spend, low = desk["learning"]["spend"], desk["arms"]["ted"]["difference"]["low"]
    lowest, highest = (f([run["with"] for run in demos]) for f in (min, max))
    high = desk["arms"]["ted"]["difference"]["high"]
    museum = means_of(
        [json.loads(path.read_text(encoding="utf-8")) for path in runs.glob("museum-*.json")]
    )
    rivals = [museum["none"], *(museum[f"{one}, shown as ours"] for one in ("grpo", "ace"))]
    assert all(museum[f"{one}, as published"] == museum["none"] for one in ("grpo", "ace"))
    none, grpo, ace_, ours = (f"{share:.3f}" for share in (*rivals, museum["ted"]))
    retrieved = {family: f"{best_retrieved(runs, family):.3f}" for family in ("helpdesk", "museum")}
    return [
        f"{none} without lessons, {retrieved['museum']} with retrieved examples, {ours} with these "
        "lessons (mean of five runs)",
        f"{grpo} with lessons of Training-Free GRPO and {ace_} with ACE's",
        f"In the run of the picture it is {desk['arms']['ted']['accuracy']:.3f}, and the 95 %",
        f"for each ticket reach {retrieved['helpdesk']}, too",
        f"from {demos[0]['without']:.3f} to between {lowest:.3f} and {highest:.3f} "
        f"in {WORDS[len(demos)]} runs",
        f"interval of the difference is {low:.2f} to {high:.2f}",
        f"{spend['student']['calls']} calls of the student and {spend['teacher']['calls']} of the "
        f"teacher for {desk['learning']['samples']} samples",
    ]


def test_what_the_readme_tells_of_calls_and_pairs_is_what_other_pages_measured() -> None:
    docs = results.RESULTS.parent
    page = " ".join((results.ROOT / "README.md").read_text(encoding="utf-8").split())
    benchmarks = (docs / "results" / "benchmarks.md").read_text(encoding="utf-8")
    [ratio] = re.findall(
        r"^\| an agent's call, 50 lessons, all \|.*?\| ([\d.]+)x", benchmarks, re.M
    )
    [recorded] = re.findall(
        r"^\| an agent's call, 50 lessons, recorded \|.*?\| ([\d.]+)x", benchmarks, re.M
    )
    assert (
        f"An agent's call with 50 lessons takes {float(ratio):.1f} times one with a constant text, "
        f"and {float(recorded):.1f} times where it is recorded"
    ) in page
    guide = (docs / "guides" / "traffic.md").read_text(encoding="utf-8")
    [(pairs, live)] = re.findall(r"^\| \+0\.4 \| (\d+) \| [\d,]+ \| (\d+) \|", guide, re.M)
    assert f"by 0.4 takes about {pairs} replayed pairs and {live} graded requests that" in page


def test_what_the_readme_tells_is_what_the_runs_measured(tmp_path: Path) -> None:
    page = " ".join((results.ROOT / "README.md").read_text(encoding="utf-8").split())
    assert [told for told in told_by_readme(results.RESULTS / "runs") if told not in page] == []
    runs = shutil.copytree(results.RESULTS / "runs", tmp_path / "runs")
    desk = (runs / "helpdesk-ted.json").read_text(encoding="utf-8")
    (runs / "helpdesk-ted.json").write_text(
        desk.replace('"calls": 870', '"calls": 871'), encoding="utf-8"
    )
    assert [told for told in told_by_readme(runs) if told not in page] != [], "the control"
