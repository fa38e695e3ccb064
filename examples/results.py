"""Measure the method with real models on this machine, unattended: ``make results``.

It stops after two hours and goes on when it is run again; on two cores all of it takes the better
part of a day.

Every experiment learns from the training samples of one family of tasks and is measured on its
held-out ones, beside what else could be done with the same samples and models
(`examples.experiments`). Its figures go to ``docs/results/runs`` as soon as it ends; one that is
there already is not run again (``--again`` does), so a run that was stopped goes on where it was.
The report, ``docs/results/README.md``, is written from these files by `examples.results_report`.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from langchain_core.language_models import BaseChatModel

from examples.experiments import Experiment, Method, Models, Rival, run
from examples.families import Family
from examples.local_models import STUDENT, TEACHER, fetch, serve
from examples.moved_days import NEEDS_FAKETIME, find_library
from examples.results_picture import PICTURE, picture
from examples.results_report import write
from ted_memory.cli import output
from ted_memory.wiring import make_chat_model

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
FEW = 24  # training samples of an ablation
CRITIQUE_TOKENS = 320  # room for a lesson with an example
SLOTS = 4  # prompts that a server keeps warm
HOURS = 2.0


class LocalModels:
    """The two small models of this machine, as an experiment wants them."""

    def __init__(self, student_url: str, teacher_url: str) -> None:
        self._student_url, self._teacher_url = student_url, teacher_url

    def student(self, family: Family) -> BaseChatModel:
        """The 0.5B; it may write as much as the family's answers take."""
        return make_chat_model(
            STUDENT.name, base_url=self._student_url, temperature=0, max_tokens=family.answer_tokens
        )

    def teacher(self, family: Family) -> BaseChatModel:
        """The 1.5B; it solves the family's tasks and writes critiques."""
        most = max(CRITIQUE_TOKENS, family.answer_tokens)
        return make_chat_model(
            TEACHER.name, base_url=self._teacher_url, temperature=0, max_tokens=most
        )


def ablation(name: str, *, runs: int = 1, **settings: Any) -> list[Experiment]:
    """Runs on the help desk with few samples and one thing changed."""
    first = f"ablation-{name}"
    names = [first, *(f"{first}-{i}" for i in range(2, runs + 1))]
    return [Experiment(each, "helpdesk", limit=FEW, settings=settings) for each in names]


def compaction(name: Any) -> Experiment:
    """The help desk with right lessons and room for half of them, kept by another rule."""
    settings = {"max_experiences": 6, "compact_every": 100, "compaction": name}
    return Experiment(f"compaction-{name}", "helpdesk", teacher="program", settings=settings)


def family(
    name: str,
    *,
    runs: int = 1,
    right_runs: int = 1,
    limit: int | None = None,
    rivals: Sequence[Rival] = (),
    program: bool = True,
    profile: str = "small",
) -> list[Experiment]:
    """A family's experiments: what needs no learning, the method with both teachers, rivals.

    All of them have the same training samples, ``limit`` at most. ``profile``: `small` for the two
    models here, `default` where the student is a program that follows whatever it reads.
    """
    settings = {} if profile == "small" else {"profile": profile}

    def one(
        suffix: str, method: Method = "ted", teacher: Literal["real", "program"] = "real"
    ) -> Experiment:
        return Experiment(f"{name}-{suffix}", name, method, teacher, limit, settings)

    made = [one("beside", "beside"), one("ted")]
    if program:
        made.append(one("program", teacher="program"))
    made += [one(rival, rival) for rival in rivals]
    made += [one(f"ted-{i}") for i in range(2, runs + 1)]
    return made + [one(f"program-{i}", teacher="program") for i in range(2, right_runs + 1)]


EXPERIMENTS = (
    *family("museum", runs=5, right_runs=5, rivals=("grpo", "ace")),
    *family("replies", limit=18, rivals=("grpo", "ace")),
    *family("helpdesk"),
    *family("loglines", runs=2, limit=18, rivals=("ace",)),
    *family("machines", rivals=("ace",)),
    *family("tools", limit=12, profile="default"),
    *family("bfcl", limit=15, profile="default"),
    *family("intents"),
    *family("methods", limit=12, profile="default"),
    Experiment("policies-beside", "policies", "beside"),
    *family("townhall"),
    *family("dates", limit=12, program=False),
    *ablation("whole-method", runs=3),
    *ablation("no-verification", runs=3, verify_calls=0),
    *ablation("no-gate", validation=0.0),
    *ablation("one-rollout", rollouts=1),
    *ablation("default-profile", profile="default"),
    compaction("utility"),
    compaction("none"),
    Experiment("traffic", "museum", "traffic"),
)
"""Most telling first: what the time does not suffice for is at the end. Limits keep each short."""


@contextlib.contextmanager
def local_models() -> Iterator[LocalModels]:
    """Fetch and serve both models."""
    with serve(fetch(STUDENT), fetch(TEACHER), slots=SLOTS) as (student, teacher):
        yield LocalModels(student, teacher)


def run_all(
    todo: Sequence[Experiment], models: Models, folder: Path, *, hours: float
) -> list[Experiment]:
    """Run experiments and keep the figures of each; return those that the time did not suffice for.

    None begins after so many hours; one that has begun ends, but for a desk's traffic, which has
    the time that is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + hours * 3600
    # one event loop for all of them: LangChain keeps its connections from one call to the next,
    # each for its loop
    with asyncio.Runner() as runner:
        for i, experiment in enumerate(todo):
            if time.monotonic() >= until:
                return list(todo[i:])
            output.out.print(f"[bold]{experiment.name}[/] ({i + 1} of {len(todo)})")
            figures = runner.run(run(experiment, models, hours=(until - time.monotonic()) / 3600))
            text = json.dumps(figures, indent=1, ensure_ascii=False)
            (folder / f"{experiment.name}.json").write_text(text + "\n", encoding="utf-8")
            for arm, measured in figures.get("arms", {}).items():
                output.out.print(f"  {arm}: {measured['accuracy']:.3f}", markup=False)
    return []


def to_do(only: Sequence[str], folder: Path, *, again: bool) -> list[Experiment]:
    """The experiments whose names begin so (none given: all) and that have no figures yet.

    With ``again`` also those that have figures. Traffic for which the time did not suffice is among
    them: another run may have more.
    """
    wanted = [
        e for e in EXPERIMENTS if not only or any(e.name.startswith(prefix) for prefix in only)
    ]
    return [e for e in wanted if again or not _is_done(folder / f"{e.name}.json")]


def _is_done(figures: Path) -> bool:
    return figures.exists() and not json.loads(figures.read_text(encoding="utf-8")).get(
        "cut_short", False
    )


def main(
    only: Annotated[
        list[str] | None, typer.Option(help="Experiments whose names begin so; may be repeated.")
    ] = None,
    again: Annotated[bool, typer.Option(help="Also those that have a result.")] = False,
    hours: Annotated[
        float, typer.Option(help="None begins after so many hours; traffic ends with them.")
    ] = HOURS,
) -> None:
    """Run what has no result yet, then write the report."""
    folder = RESULTS / "runs"
    todo = to_do(only or [], folder, again=again)
    if find_library() is None and any(e.method == "traffic" for e in todo):
        output.out.print(f"traffic is left out: {NEEDS_FAKETIME}", markup=False)
        todo = [e for e in todo if e.method != "traffic"]
    left: list[Experiment] = []
    if todo:
        with local_models() as models:
            left = run_all(todo, models, folder, hours=hours)
    write(RESULTS, [experiment.name for experiment in EXPERIMENTS], RESULTS / "summary.md")
    PICTURE.write_text(picture(), encoding="utf-8")
    output.out.print(f"the report is {RESULTS / 'README.md'}", markup=False)
    if left:
        names = ", ".join(experiment.name for experiment in left)
        output.out.print(f"no time was left for {names}; run it again to go on", markup=False)


if __name__ == "__main__":
    typer.run(main)
