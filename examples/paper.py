"""The protocol of the paper (arXiv 2603.26778) with your models, beside the paper's figures.

``python -m examples.paper --help`` shows the options.
"""

import asyncio
import importlib.util
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import typer
from langchain_core.language_models import BaseChatModel

from examples import paper_options as options
from ted_memory import TedMemory, TedMemoryError, open_memory
from ted_memory.cli import output
from ted_memory.datasets import read_samples
from ted_memory.datasets.mappings import MAPPINGS, find_mapping
from ted_memory.datasets.rows import read_rows
from ted_memory.distill import Report, distill
from ted_memory.errors import DatasetError, InvalidInput, SettingsError
from ted_memory.evaluation import Evaluation, evaluate, write_report
from ted_memory.grading.graders import Grader, find_grader, mathematics, multiple_choice
from ted_memory.models import Sample
from ted_memory.wiring import make_chat_model

PAPER_STUDENT = "Qwen3-VL-8B"


class Published(NamedTuple):
    """What the paper's abstract states: accuracy before and after learning from 100 samples."""

    before: float
    after: float


PAPER = {"mathvision": Published(0.627, 0.702), "visualpuzzles": Published(0.517, 0.561)}


class Asked(NamedTuple):
    """What the options say, apart from models and memory."""

    data: Path
    benchmark: str | None
    splits: tuple[str | None, str | None]
    train: int
    limit: int | None
    seed: int
    grader: str | None
    repeats: int
    report: Path | None
    json: bool


class Parts(NamedTuple):
    """What is learned from, and what is measured on; they have no task in common."""

    train: list[Sample]
    test: list[Sample]


def find_benchmark(path: Path, benchmark: str | None, split: str | None) -> str:
    """The benchmark's name: the one given, or the one whose columns these are."""
    if benchmark is not None:
        if benchmark not in PAPER:
            raise SettingsError(
                f"there is no benchmark {benchmark!r}; use one of {', '.join(PAPER)}"
            )
        return benchmark
    _, row = next(read_rows(path, split=split), (None, {}))
    mapping = find_mapping("auto", row)
    found = [name for name in PAPER if MAPPINGS[name] is mapping]
    if not found:
        raise DatasetError(
            f"the columns of {path} are those of no benchmark; "
            f"give --benchmark {' or '.join(PAPER)}"
        )
    return found[0]


def read_parts(
    path: Path,
    benchmark: str,
    splits: tuple[str | None, str | None],
    *,
    train: int,
    limit: int | None,
    seed: int,
) -> Parts:
    """Choose so many training samples by chance; the rest, or the test split, is the test set.

    What has no answer is passed over. Splits may overlap, as MathVision's do: no task is measured
    that was learned from.
    """
    train_split, test_split = splits[0], splits[1] or splits[0]
    pool = _answered(path, benchmark, train_split)
    rest = pool if test_split == train_split else _answered(path, benchmark, test_split)
    dice = random.Random(seed)
    chosen = dice.sample(pool, min(train, len(pool)))
    known = {_task(sample) for sample in chosen}
    test = [sample for sample in rest if _task(sample) not in known]
    if len(chosen) < train or not test:
        raise DatasetError(
            f"{path} has too few samples with an answer: {len(pool)} to choose --train {train} "
            f"from, then {len(test)} to measure on; give a smaller --train"
        )
    if limit is not None and limit < len(test):
        test = dice.sample(test, limit)
    return Parts(chosen, test)


def _answered(path: Path, benchmark: str, split: str | None) -> list[Sample]:
    """The samples of a split that have an answer."""
    return [s for s in read_samples(path, mapping=benchmark, split=split) if s.reference]


def _task(sample: Sample) -> tuple[str, tuple[str, ...]]:
    return sample.text, sample.images


async def letter_or_formula(
    *, inputs: Mapping[str, Any], outputs: str, reference_outputs: str
) -> bool:
    """Grade as "math" does; of choices, the letter and the choice's text are right too."""
    given: dict[str, Any] = {
        "inputs": inputs,
        "outputs": outputs,
        "reference_outputs": reference_outputs,
    }
    return (bool(inputs["choices"]) and multiple_choice(**given)) or await mathematics(**given)


def choose_grader(name: str | None, benchmark: str) -> str | Grader:
    """The grader that was asked for, else the one that fits the benchmark."""
    if name is not None:
        find_grader(name)  # a wrong name is told before anything is paid for
        return name
    has_math = importlib.util.find_spec("math_verify") is not None
    return letter_or_formula if benchmark == "mathvision" and has_math else "auto"


async def learn_and_measure(
    memory: TedMemory,
    parts: Parts,
    models: tuple[BaseChatModel, BaseChatModel],
    *,
    benchmark: str,
    grader: str | Grader,
    repeats: int,
) -> tuple[Report, Evaluation]:
    """Distil the training samples, then measure on the test samples, without lessons and with."""
    student, teacher = models
    known = len((await memory.load()).active)
    if known:
        _say(
            f"The memory holds {known} experiences from before; they are built upon. "
            "The paper begins without any."
        )
    _say(
        f"learning from {len(parts.train)} samples of {benchmark}, "
        f"then measuring on {len(parts.test)} others ..."
    )
    with output.progress() as on_progress:
        learned = await distill(
            parts.train,
            student=student,
            teacher=teacher,
            memory=memory,
            grader=grader,
            name=benchmark,
            on_progress=on_progress,
        )
    with output.progress() as on_progress:
        measured = await evaluate(
            parts.test,
            student=student,
            memory=memory,
            grader=grader,
            repeats=repeats,
            on_progress=on_progress,
        )
    return learned, measured


async def save(folder: Path, memory: TedMemory, learned: Report, measured: Evaluation) -> None:
    """Write the report; without plots where they cannot be drawn: the figures are paid for."""
    snapshot = await memory.load()
    paths = write_report(
        folder,
        measured,
        snapshot=snapshot,
        usage=await memory.usage(),
        log=await memory.log(limit=max(1, snapshot.version)),
        learning=learned,
        plots=importlib.util.find_spec("matplotlib") is not None,
    )
    _say(f"wrote {', '.join(map(str, paths))}")


def table(benchmark: str, student: str, measured: Evaluation) -> list[str]:
    """Before and after as lines, the paper's below yours."""
    d, paper = measured.difference, PAPER[benchmark]
    difference = f"{d.mean:+.3f}  (95 % interval {d.low:+.3f} to {d.high:+.3f})"
    rows = [
        ("", "samples", "before", "after", "difference"),
        (
            f"yours: {student}", str(measured.samples), f"{measured.without.accuracy:.3f}",
            f"{measured.with_.accuracy:.3f}", difference,
        ),
        (
            f"the paper: {PAPER_STUDENT}", "", f"{paper.before:.3f}",
            f"{paper.after:.3f}", f"{paper.after - paper.before:+.3f}",
        ),
    ]  # fmt: skip
    wide = max(len(row[0]) for row in rows)
    return [f"{a:<{wide}}  {b:>7}  {c:>6}  {d:>6}  {e}".rstrip() for a, b, c, d, e in rows]


def is_paper_student(name: str) -> bool:
    """Tell whether a model's name is that of the paper's student, however a provider writes it."""
    return PAPER_STUDENT.casefold() in name.casefold()


def tell(benchmark: str, student: str, learned: Report, measured: Evaluation) -> None:
    """Print what was learned, and the table."""
    output.print_report(learned)
    output.out.print(f"\n[bold]{benchmark}[/], accuracy")
    for line in table(benchmark, student, measured):
        output.out.print(line, markup=False)
    if not is_paper_student(student):
        output.out.print(
            f"The paper's models differ from yours: its student is {PAPER_STUDENT}. "
            "Compare the differences, not the levels."
        )
    for failure in measured.failures[: output.REASONS_SHOWN]:
        output.out.print(f"  left out: {failure.sample}: {failure.reason}", markup=False)
    if len(measured.failures) > output.REASONS_SHOWN:
        output.out.print(
            f"  ... and {len(measured.failures) - output.REASONS_SHOWN} more (--json lists all)"
        )


def as_json(benchmark: str, student: str, learned: Report, measured: Evaluation) -> dict[str, Any]:
    """Everything that was found out, for machines."""
    return {
        "benchmark": benchmark,
        "student": student,
        "learning": learned.model_dump(mode="json"),
        "evaluation": measured.to_json(),
        "paper": {
            "student": PAPER_STUDENT,
            **PAPER[benchmark]._asdict(),
            "same_student": is_paper_student(student),
        },
    }


def _say(line: str) -> None:
    output.err.print(line, markup=False, soft_wrap=True)


async def run(
    asked: Asked,
    student: tuple[str, str | None],
    teacher: tuple[str, str | None],
    where: dict[str, str | None],
    settings: dict[str, Any],
) -> None:
    """Do what was asked, with models named by name and base URL."""
    train_split, test_split = asked.splits
    if test_split and not train_split:
        raise InvalidInput(
            "--test-split needs --train-split: the part of the data set to learn from"
        )
    name = find_benchmark(asked.data, asked.benchmark, train_split)
    grader = choose_grader(asked.grader, name)
    parts = read_parts(
        asked.data, name, asked.splits, train=asked.train, limit=asked.limit, seed=asked.seed
    )
    memory = open_memory(
        where["url"], namespace=where["namespace"] or name, home=where["home"], **settings
    )
    learner, master = (make_chat_model(model, base_url=url) for model, url in (student, teacher))
    async with memory:
        learned, measured = await learn_and_measure(
            memory, parts, (learner, master), benchmark=name, grader=grader, repeats=asked.repeats
        )
        if asked.json:
            output.print_json(as_json(name, student[0], learned, measured))
        else:
            tell(name, student[0], learned, measured)
        if asked.report is not None:
            await save(asked.report, memory, learned, measured)


def main(
    data: options.Data,
    student: options.Student,
    teacher: options.Teacher,
    student_base_url: options.StudentBaseUrl = None,
    teacher_base_url: options.TeacherBaseUrl = None,
    benchmark: options.Benchmark = None,
    train_split: options.TrainSplit = None,
    test_split: options.TestSplit = None,
    train: options.Train = 100,
    test_limit: options.TestLimit = None,
    seed: options.Seed = 0,
    rollouts: options.Rollouts = 5,
    shown_share: options.ShownShare = 1.0,
    selection: options.Selection = "all",
    validation: options.Validation = 0.0,
    grader: options.Grader = None,
    repeats: options.Repeats = 1,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    report: options.Report = None,
    json: options.Json = False,
) -> None:
    """Repeat the paper's experiment: learn from 100 samples of its benchmark, measure on others."""
    settings = {
        "rollouts": rollouts,
        "shown_share": shown_share,
        "selection": selection,
        "validation": validation,
    }
    asked = Asked(
        data,
        benchmark,
        (train_split, test_split),
        train,
        test_limit,
        seed,
        grader,
        repeats,
        report,
        json,
    )
    where = {"url": url, "namespace": namespace, "home": home}
    try:
        asyncio.run(
            run(asked, (student, student_base_url), (teacher, teacher_base_url), where, settings)
        )
    except TedMemoryError as error:
        _say(f"paper: {' '.join(str(error).split())}")
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
