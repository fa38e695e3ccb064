"""`make results` with scripted models: all ways run, figures are kept, a stopped run goes on."""

import json
import re
import shutil
from contextlib import nullcontext
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from bench import grpo
from examples import experiments, results
from examples.experiments import Experiment, run
from examples.families import FAMILIES, Family
from examples.families.arms import Arm
from examples.families.teacher import make_teacher
from examples.live_desk import PRINCIPALS
from examples.moved_days import find_library
from examples.results_report import END, report, write
from examples.results_summary import aims, side_by_side
from examples.results_traffic import ENDS
from examples.rivals import ace
from ted_memory.settings import Settings
from ted_memory.testing import ScriptedChatModel

SUMMARY = results.RESULTS / "summary.md"

MUSEUM = FAMILIES["museum"]
REFERENCE = re.compile(r"(?:Right answer|Answer): (office .)")


def follows(messages: list[BaseMessage]) -> str:
    """Play a student that answers what the first office named in its prompt's lessons is."""
    found = re.search(r"answer (office .)", "\n".join(str(m.text) for m in messages))
    return found.group(1) if found else "office B"


def teaches(messages: list[BaseMessage]) -> str:
    """Play the rivals' teacher: it names the right office, and a word of the letter."""
    head, asked = str(messages[0].text), str(messages[-1].text)
    lesson = f"answer {found.group(1)}" if (found := REFERENCE.search(asked)) else "answer office C"
    if head == ace.REFLECTOR:
        return json.dumps(
            {"error": "wrong office", "insight": lesson, "helpful": [0], "harmful": []}
        )
    if head == ace.CURATOR:
        added = asked.rpartition("Reflection: ")[2]
        operations = [{"op": "ADD", "section": "facts", "content": added}]
        return f"Here it is: {json.dumps({'operations': operations})}"
    if head == grpo.SUMMARY:
        return "It guessed."
    if head == grpo.ADVANTAGE:
        return json.dumps([{"option": "add", "experience": lesson}])
    return asked.partition("Operations:\n")[2]


class Scripted:
    """Models for experiments, without a server."""

    def __init__(self) -> None:
        self.turn = 0

    def student(self, _: Family) -> BaseChatModel:
        return ScriptedChatModel(script=self._guesses)

    def teacher(self, family: Family) -> BaseChatModel:
        right = make_teacher(family)

        def answer(messages: list[BaseMessage]) -> str:
            rival = str(messages[0].text) in {ace.REFLECTOR, ace.CURATOR, grpo.SUMMARY, *STAGES}
            return teaches(messages) if rival else str(right.invoke(messages).text)

        return ScriptedChatModel(script=answer)

    def _guesses(self, messages: list[BaseMessage]) -> str:
        """Follow a lesson; without one, be right now and then, so that attempts differ."""
        self.turn += 1
        said = follows(messages)
        return "office C" if said == "office B" and self.turn % 3 == 0 else said


STAGES = (grpo.ADVANTAGE, grpo.UPDATE, grpo.BATCH_UPDATE)


@pytest.mark.parametrize("method", ["ted", "beside", "grpo", "ace"])
async def test_every_method_learns_and_is_measured(method: str) -> None:
    figures = await run(Experiment("one", "museum", method, limit=8), Scripted())  # type: ignore[arg-type]
    assert figures["held_out"] == 40
    assert figures["arms"]["none"]["difference"]["mean"] == 0
    others = [arm for arm in figures["arms"] if arm != "none"]
    assert others
    for arm in others:
        assert figures["arms"][arm]["accuracy"] >= 0
    if method in {"grpo", "ace"}:
        assert figures["lessons"]
        assert figures["learning"]["spend"]["teacher"]["calls"] > 0
    json.dumps(figures)


async def test_what_a_rival_learned_is_also_shown_as_ours_is_the_nearest_lesson_alone() -> None:
    class Kept(experiments.Measurement):
        async def arm(self, arm: Arm) -> Any:
            shown[arm.name] = [
                str(message.text) for message in (await arm.prompt(self.samples[0]))[0]
            ]
            return await super().arm(arm)

    shown: dict[str, list[str]] = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(experiments, "Measurement", Kept)
        figures = await run(Experiment("one", "museum", "ace", limit=12), Scripted())
    lessons = figures["lessons"]
    assert len(lessons) > 2

    def told(arm: str) -> list[str]:
        return [lesson for lesson in lessons if f"- {lesson}" in "\n".join(shown[arm])]

    assert told("ace, as published") == lessons
    assert len(told("ace, shown as ours")) == 1
    assert shown["ace, shown as ours"][-1].endswith("</experiences>"), "in the user's turn, as ours"


async def test_right_lessons_by_hand_are_measured_beside_retrieved_examples() -> None:
    figures = await run(Experiment("one", "museum", "beside"), Scripted())
    retrieved = {f"{k} retrieved, {place}" for k in (1, 3) for place in ("user", "turns")}
    assert set(figures["arms"]) == {"none", "right lessons by hand", *retrieved}
    assert figures["arms"]["right lessons by hand"]["difference"]["low"] > 0.3
    assert figures["arms"]["right lessons by hand"]["lessons"] == 10


async def test_a_scripted_family_takes_no_student_from_outside() -> None:
    class NoStudent(Scripted):
        def student(self, _: Family) -> BaseChatModel:
            raise AssertionError("the family has a student of its own")

    figures = await run(Experiment("one", "tools", "beside"), NoStudent())
    assert set(figures["arms"]) == {"none", "right lessons by hand"}
    assert figures["student"] == "scripted"


TWO = (Experiment("first", "tools", "beside"), Experiment("second", "tools", "beside"))


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "EXPERIMENTS", TWO)
    left = results.run_all(
        results.to_do([], tmp_path, again=False)[:1], Scripted(), tmp_path, hours=1
    )
    assert left == []
    assert [e.name for e in results.to_do([], tmp_path, again=False)] == ["second"]
    assert [e.name for e in results.to_do([], tmp_path, again=True)] == ["first", "second"]
    assert [e.name for e in results.to_do(["fi"], tmp_path, again=True)] == ["first"]


@pytest.mark.parametrize(
    ("ended", "left"), [({"cut_short": True}, ["first"]), ({"cut_short": False}, []), ({}, [])]
)
def test_traffic_that_the_time_did_not_suffice_for_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: dict[str, bool], left: list[str]
) -> None:
    monkeypatch.setattr(results, "EXPERIMENTS", TWO[:1])
    (tmp_path / "first.json").write_text(json.dumps(ended), encoding="utf-8")
    assert [e.name for e in results.to_do([], tmp_path, again=False)] == left


def test_what_the_first_page_tells_of_solved_tasks_is_what_the_runs_learned() -> None:
    words = {7: "seven", 17: "seventeen", 32: "32"}
    runs = _kept("loglines-ted", "loglines-ted-2", "replies-ted", "machines-ted")
    tasks = {
        name: sum("Earlier turn:" in lesson for lesson in run["lessons"])
        for name, run in runs.items()
    }
    lines, replies, machines = (
        words[tasks[name]] for name in ("loglines-ted", "replies-ted", "machines-ted")
    )
    aside, of = (runs["machines-ted"]["learning"][key] for key in ("set_aside", "samples"))
    page = " ".join(SUMMARY.read_text(encoding="utf-8").split())
    assert tasks["loglines-ted"] == tasks["loglines-ted-2"]
    assert f"The lines are learned as {lines} solved tasks" in page
    assert f"the replies as {replies}, the machines as {machines}, of which three are shown" in page
    assert f"{aside} of {of} samples end without a lesson" in page


def test_what_the_first_page_tells_of_traffic_is_what_the_run_measured() -> None:
    run = _kept("traffic")["traffic"]
    first, last = fmean(run["windows"][:ENDS]), fmean(run["windows"][-ENDS:])
    page = " ".join(SUMMARY.read_text(encoding="utf-8").split())
    told = f"went from {first:.2f} to {last:.2f} in {run['requests']:,} requests"
    assert f"{told}, {run['graded']} of them graded by {PRINCIPALS} users" in page
    days = len(run["replay_calls_by_day"])
    assert f"by {PRINCIPALS} users, on {WORDS[days]} days of a server's clock" in page
    assert f", at commit {run['code']}," in page
    assert f"{WORDS[run['funnel']['trial']]} lessons were on trial by then and none" in page.lower()
    assert run["funnel"]["active"] == 0
    assert run["settings"].keys() == {"profile"}, "all else are defaults"


WORDS = {
    2: "two",
    3: "three",
    4: "four",
    5: "five",
    6: "six",
    7: "seven",
    8: "eight",
    9: "nine",
    10: "ten",
}


def read_demos(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("[0-9]*.json"), key=lambda path: int(path.stem))
    return [json.loads(path.read_text(encoding="utf-8")) for path in files]


def _listed(parts: list[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def told_of_demos(folder: Path) -> list[str]:
    """What the first page is to tell of the demo's last runs, and of the rule book's."""
    runs = read_demos(folder)
    [without] = {run["without"] for run in runs}
    rulebook = json.loads((folder / "rulebook.json").read_text(encoding="utf-8"))
    shown = _listed([f"{run['with']:.3f}" for run in runs])
    rows = []
    for one in runs:
        mean, low, high = (one["difference"][name] for name in ("mean", "low", "high"))
        rows.append(
            f"| {one['lessons']} | {one['with']:.3f} | {mean:.3f} | {low:.3f} to {high:.3f} |"
        )
    return [
        f"**{without:.3f} without them, {shown} with them** in our last {WORDS[len(runs)]} runs.",
        " ".join(rows),
        f"(`make demo ARGS='--teacher rulebook'`) it is {rulebook['with']:.3f}.",
    ]


def test_what_the_first_page_tells_of_the_demo_is_what_its_runs_measured() -> None:
    page = " ".join(SUMMARY.read_text(encoding="utf-8").split())
    assert [
        told for told in told_of_demos(results.RESULTS / "runs" / "demo") if told not in page
    ] == []


def test_another_run_of_the_demo_would_change_the_page(tmp_path: Path) -> None:
    """The control."""
    page = " ".join(SUMMARY.read_text(encoding="utf-8").split())
    folder = shutil.copytree(results.RESULTS / "runs" / "demo", tmp_path / "demo")
    newest = folder / "3.json"
    newest.write_text(
        newest.read_text(encoding="utf-8").replace("0.812", "0.833"), encoding="utf-8"
    )
    assert told_of_demos(folder)[0] not in page


@pytest.mark.skipif(find_library() is None, reason="Debian's faketime is not installed")
async def test_a_run_of_traffic_has_the_defaults_of_its_profile() -> None:
    figures = await run(Experiment("traffic", "museum", "traffic"), Scripted(), hours=1e-4)
    assert figures["settings"] == {"profile": "small"}
    assert figures["funnel"]["replay_calls_a_day"] == Settings().replay_calls


def test_without_a_clock_to_move_traffic_is_left_out_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    traffic = Experiment("traffic", "museum", "traffic")
    monkeypatch.setattr(results, "EXPERIMENTS", (traffic, *TWO[:1]))
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "find_library", lambda: None)
    monkeypatch.setattr(results, "local_models", lambda: nullcontext(Scripted()))
    monkeypatch.setattr(results, "write", lambda *_: None)
    results.main()
    assert [file.stem for file in (tmp_path / "runs").iterdir()] == ["first"]
    assert "traffic is left out: " in " ".join(capsys.readouterr().out.split())


def _kept(*names: str) -> dict[str, Any]:
    folder = results.RESULTS / "runs"
    return {
        name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names
    }


def test_nothing_begins_when_the_time_is_over(tmp_path: Path) -> None:
    assert results.run_all(TWO, Scripted(), tmp_path, hours=0) == list(TWO)
    assert list(tmp_path.iterdir()) == []


def test_all_experiments_are_about_families_that_exist_and_have_names_of_their_own() -> None:
    names = [experiment.name for experiment in results.EXPERIMENTS]
    assert len(set(names)) == len(names)
    assert {experiment.family for experiment in results.EXPERIMENTS} <= set(FAMILIES)
    assert sum(name.startswith("museum-ted") for name in names) == 5
    for ablation in ("ablation-whole", "ablation-no-verif"):
        assert sum(name.startswith(ablation) for name in names) == 3


async def test_the_report_shows_all_arms_and_what_gained_nothing() -> None:
    models = Scripted()
    beside = await run(Experiment("museum-beside", "museum", "beside"), models)
    learned = await run(Experiment("museum-ted", "museum", "ace", limit=4), models)
    flat = {**beside["arms"]["none"], "lessons": 0}
    arms = {"none": flat, "ted": flat}
    nothing = {**learned, "name": "museum-ted", "method": "ted", "arms": arms}
    text = report({"museum-beside": beside, "museum-ted": nothing}, {})
    assert "| museum | scripted | " in text
    assert "right lessons by hand" in text
    assert "- museum: +0.000" in text
    better = {**nothing, "arms": {"none": flat, "ted": beside["arms"]["right lessons by hand"]}}
    joined = [{"edit": "a | b => c", "kept": kept, "reason": "-"} for kept in (True, True, False)]
    better["learning"] = {**learned["learning"], "joined": joined}
    text = report({"museum-beside": beside, "museum-ted": better}, {})
    assert "these gained: museum." in text
    assert f"{learned['learning']['lost']} answers unusable | 2 / 1 |" in text


async def test_an_ablation_that_was_run_several_times_has_its_mean() -> None:
    learned = await run(Experiment("museum-ted", "museum", "ace", limit=4), Scripted())

    def ablation(name: str, accuracy: float) -> dict[str, Any]:
        arm = {**learned["arms"]["none"], "accuracy": accuracy}
        return {**learned, "name": name, "arms": {"none": arm, "ted": arm}}

    runs = {
        f"ablation-x{end}": ablation(f"ablation-x{end}", a)
        for end, a in (("", 0.5), ("-2", 0.25), ("-3", 0.75))
    }
    text = report(runs | {"ablation-y": ablation("ablation-y", 0.125)}, {})
    assert "3 runs of ablation-x: 0.500, 0.250, 0.750; mean 0.500." in text
    assert "runs of ablation-y" not in text


def _run(teacher: str, *arms: tuple[str, float, float], **given: Any) -> dict[str, Any]:
    """Figures of a run: arms with accuracy and lift."""
    made = {}
    for name, accuracy, lift in arms:
        difference = {"mean": lift, "low": lift - 0.1, "high": lift + 0.1}
        made[name] = {"accuracy": accuracy, "difference": difference}
    method = "ted" if teacher != "none" else "beside"
    return {"method": method, "teacher": teacher, "arms": made, **given}


BESIDE = _run(
    "none", ("none", 0.1, 0.0), ("right lessons by hand", 0.9, 0.8), ("1 retrieved, user", 0.7, 0.6)
)


def test_the_report_says_which_aims_were_reached_and_which_were_missed() -> None:
    runs = [
        _run("1.5b", ("ted", 0.6, 0.5)),
        _run("1.5b", ("ted", 0.3, 0.2)),
        _run("program", ("ted", 0.86, 0.76)),
    ]
    text = aims({"desk": [BESIDE, *runs], "other": [BESIDE]})
    assert "| desk | +0.800 | 0.25, worst of 2: missed | 0.95: reached | 0.700 | 0.450 |" in text
    assert "| other | +0.800 | not run | not run | 0.700 | not run |" in text
    assert "on 0 of 1 families, and better on 0; aimed at were 3 and 2. Worse: desk." in text
    good = aims({"desk": [BESIDE, _run("1.5b", ("ted", 0.8, 0.7))]})
    assert "on 1 of 1 families, and better on 1; aimed at were 3 and 2. Worse: none." in good
    hurts = _run("none", ("none", 0.5, 0.0), ("right lessons by hand", 0.3, -0.2))
    assert "do not help for sure on policies: nothing was aimed at" in aims({"policies": [hurts]})


def test_the_pages_say_what_the_runs_say(tmp_path: Path) -> None:
    """Whoever runs an experiment again, or writes a figure by hand, makes the pages anew."""
    shutil.copytree(results.RESULTS, tmp_path / "results")
    folder = tmp_path / "results"
    write(folder, [e.name for e in results.EXPERIMENTS], folder / SUMMARY.name)
    for page in (SUMMARY.name, "README.md"):
        told = (folder / page).read_text(encoding="utf-8")
        assert told == (results.RESULTS / page).read_text(encoding="utf-8"), page


def test_the_first_page_has_accuracy_and_tokens_of_what_was_learned_and_of_its_rivals(
    tmp_path: Path,
) -> None:
    page = tmp_path / "first.md"
    page.write_text(
        f"# Ours\n<!-- made by make results -->\nold\n{END}\nThe rest.\n", encoding="utf-8"
    )
    (tmp_path / "runs").mkdir()
    for name, given in (("museum-beside", BESIDE), ("museum-ted", _run("1.5b", ("ted", 0.8, 0.7)))):
        figures = {
            **given,
            "family": "museum",
            "about": "-",
            "student": "0.5b",
            "training_samples": 2,
            "held_out": 3,
        }
        for arm in figures["arms"].values():
            arm |= {"tokens": 48, "lessons": 2}
        named = {**figures, "name": name, "learning": None, "control": False, "lessons": []}
        (tmp_path / "runs" / f"{name}.json").write_text(json.dumps(named), encoding="utf-8")
    write(tmp_path, ["museum-beside", "museum-ted"], page)
    said = page.read_text(encoding="utf-8")
    assert "| 0.100 | **0.800** (48 tokens) | 0.900 (48 tokens) | 0.700 (48 tokens) |  |" in said
    assert "old" not in said
    assert said.endswith(f"{END}\nThe rest.\n")
    assert side_by_side({}).count("\n") == 2
