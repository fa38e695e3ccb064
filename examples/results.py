"""Measure the method with real models on this machine, unattended: ``make results`` (about an hour on two cores).

Every experiment learns from one set of samples and is measured, with and without what it learned, on another. Its
figures go to ``docs/results/runs`` as soon as it ends; one that is there already is not run again (``--again`` does).
The report, ``docs/results/README.md``, is written from these files by `examples.results_report`.
"""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from langchain_core.language_models import BaseChatModel

from examples.bbh import read_task
from examples.demo import SETTINGS, Choice, models
from examples.local_models import STUDENT, TEACHER
from examples.results_report import write
from examples.rulebook import RulebookTeacher, read_handbook
from ted_memory import Sample, open_memory
from ted_memory.cli import output
from ted_memory.distill import distill
from ted_memory.evaluation import evaluate, read_samples

DATA = Path(__file__).parent / "data"
RESULTS = Path(__file__).parent.parent / "docs" / "results"
FEW = 24  # training samples of an ablation


@dataclass(frozen=True)
class Experiment:
    """One run: what it learns from, who teaches, and which settings differ from the demo's."""

    name: str
    data: str
    teacher: str = "real"
    limit: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def samples(self) -> tuple[list[Sample], list[Sample]]:
        """Return training and held-out samples."""
        if self.data.startswith("bbh:"):
            return read_task(self.data.removeprefix("bbh:"))
        train = read_samples(DATA / self.data / "train.jsonl", limit=self.limit)
        return train, read_samples(DATA / self.data / "heldout.jsonl")


def ablation(name: str, **settings: Any) -> Experiment:
    """Return the help desk with few samples and one thing changed."""
    return Experiment(f"ablation-{name}", "helpdesk", limit=FEW, settings=settings)


def compaction(name: Any) -> Experiment:
    """Return the help desk with right lessons and room for half of them, kept by another rule."""
    settings = {"max_experiences": 6, "compact_every": 100, "compaction": name}
    return Experiment(f"compaction-{name}", "helpdesk", teacher="rulebook", settings=settings)


EXPERIMENTS = (
    Experiment("helpdesk", "helpdesk"),
    Experiment("helpdesk-rulebook", "helpdesk", teacher="rulebook"),
    Experiment("townhall", "townhall"),
    Experiment("townhall-rulebook", "townhall", teacher="rulebook"),
    Experiment("bbh-date-understanding", "bbh:date_understanding", settings={"top_k": 3}),
    Experiment("bbh-navigate", "bbh:navigate", settings={"top_k": 3}),
    ablation("whole-method"),
    ablation("no-try", verify_calls=0),
    ablation("no-compaction", compaction="none"),
    ablation("no-gate", validation=0.0),
    ablation("inclusion-1", inclusion=1.0),
    ablation("one-rollout", rollouts=1),
    compaction("utility"),
    compaction("count"),
    compaction("age"),
    compaction("none"),
)


async def run(experiment: Experiment, student: BaseChatModel, teacher: BaseChatModel) -> dict[str, Any]:
    """Learn and measure in a memory of the experiment's own; return the figures."""
    if experiment.teacher == "rulebook":
        teacher = RulebookTeacher(rules=read_handbook(DATA / experiment.data / "handbook.md"))
    train, held_out = experiment.samples()
    home = tempfile.mkdtemp(prefix="ted-results-")
    try:
        async with open_memory(home=home, namespace=experiment.name, **SETTINGS | experiment.settings) as memory:
            with output.progress() as told:
                report = await distill(
                    train, student=student, teacher=teacher, memory=memory, name=experiment.data, on_progress=told
                )
            with output.progress() as told:
                result = await evaluate(held_out, student=student, memory=memory, on_progress=told)
            now = await memory.load()
            return {
                "name": experiment.name,
                "data": experiment.data,
                "teacher": "rulebook" if experiment.teacher == "rulebook" else TEACHER.name,
                "student": STUDENT.name,
                "settings": SETTINGS | experiment.settings,
                "training_samples": len(train),
                "learning": report.model_dump(mode="json"),
                "measured": result.to_json(),
                "lessons": [f"When {e.when}: {e.text}" if e.when else e.text for e in now.active],
            }
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _todo(only: Sequence[str], *, again: bool) -> Iterator[Experiment]:
    for experiment in EXPERIMENTS:
        wanted = not only or any(experiment.name.startswith(prefix) for prefix in only)
        if wanted and (again or not (RESULTS / "runs" / f"{experiment.name}.json").exists()):
            yield experiment


def main(
    only: Annotated[list[str] | None, typer.Option(help="Experiments whose names begin so; may be repeated.")] = None,
    again: Annotated[bool, typer.Option(help="Also those that have a result.")] = False,
) -> None:
    """Run what has no result yet, then write the report."""
    todo = list(_todo(only or [], again=again))
    runs = RESULTS / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    if todo:
        with models(Choice(None, None), Choice(None, None)) as (student, teacher):
            for i, experiment in enumerate(todo, 1):
                output.out.print(f"[bold]{experiment.name}[/] ({i} of {len(todo)})")
                figures = asyncio.run(run(experiment, student, teacher))
                text = json.dumps(figures, indent=1, ensure_ascii=False)
                (runs / f"{experiment.name}.json").write_text(text + "\n", encoding="utf-8")
                without, with_ = (figures["measured"][arm]["accuracy"] for arm in ("without", "with"))
                output.out.print(f"  {without:.3f} -> {with_:.3f}")
    write(RESULTS, [experiment.name for experiment in EXPERIMENTS])
    output.out.print(f"the report is {RESULTS / 'README.md'}", markup=False)


if __name__ == "__main__":
    typer.run(main)
