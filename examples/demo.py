"""The whole way once: a student learns a made-up company's conventions, and is measured twice.

``make demo`` runs it; ``python -m examples.demo --help`` shows its options.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from langchain_core.language_models import BaseChatModel

from examples.code_version import code_version
from examples.local_models import STUDENT, TEACHER, FetchError, LocalModel, ServeError, fetch, serve
from examples.rulebook import RulebookTeacher, read_handbook
from ted_memory import TedMemory, TedMemoryError, open_memory
from ted_memory.cli import output
from ted_memory.datasets import read_samples
from ted_memory.distill import distill
from ted_memory.evaluation import evaluate
from ted_memory.wiring import make_chat_model

DATA = Path(__file__).parent / "data" / "helpdesk"
NAMESPACE = "helpdesk"
HOME = ".ted-memory"
ANSWER_TOKENS = 40
CRITIQUE_TOKENS = 160
SLOTS = 4  # prompts that a server keeps warm

SETTINGS: dict[str, Any] = {
    "profile": "small",
    "concurrency": 1,  # two calls would share the two cores
}


class Choice(NamedTuple):
    """A model as the user names it: a name, and where it is served."""

    name: str | None
    base_url: str | None


@contextlib.contextmanager
def models(student: Choice, teacher: Choice) -> Iterator[tuple[BaseChatModel, BaseChatModel]]:
    """Yield student and teacher: the user's, or local ones that are fetched and served."""
    local: list[LocalModel] = []
    if student.name is None:
        local.append(STUDENT)
    if teacher.name is None:
        local.append(TEACHER)
    paths = [fetch(model) for model in local]
    if local:
        output.err.print(
            f"starting {' and '.join(model.name for model in local)} ...",
            markup=False,
            soft_wrap=True,
        )
    with serve(*paths, slots=SLOTS) as urls:
        served = iter(zip((model.name for model in local), urls, strict=True))
        yield (
            _named(student) if student.name else _local(*next(served), max_tokens=ANSWER_TOKENS),
            _named(teacher) if teacher.name else _local(*next(served), max_tokens=CRITIQUE_TOKENS),
        )


def _local(name: str, url: str, *, max_tokens: int) -> BaseChatModel:
    return make_chat_model(name, base_url=url, temperature=0, max_tokens=max_tokens)


def _named(choice: Choice) -> BaseChatModel:
    """A model of the user's as it is: many take no temperature, or think before they answer."""
    if choice.name == "rulebook":
        return RulebookTeacher(rules=read_handbook())
    return make_chat_model(str(choice.name), base_url=choice.base_url)


async def learn_and_measure(
    memory: TedMemory, student: BaseChatModel, teacher: BaseChatModel
) -> dict[str, Any]:
    """Distil the training tickets, then measure on held-out ones; return the figures."""
    train, held_out = read_samples(DATA / "train.jsonl"), read_samples(DATA / "heldout.jsonl")
    async with memory:
        known = len((await memory.load()).active)
        if known:
            output.out.print(
                f"\nThe memory holds {known} experiences from before; they are built upon."
            )
        output.out.print(
            f"\n[bold]Learning[/] from {len(train)} tickets, "
            "each of which judges what the others taught ..."
        )
        with output.progress() as on_progress:
            report = await distill(
                train,
                student=student,
                teacher=teacher,
                memory=memory,
                name="helpdesk",
                on_progress=on_progress,
            )
        output.print_report(report)
        output.out.print("\n[bold]Experiences[/]")
        for experience in await memory.load():
            output.print_experience(experience)
        output.out.print(
            f"\n[bold]Measuring[/] on {len(held_out)} other tickets, without and with them ..."
        )
        with output.progress() as on_progress:
            measured = await evaluate(
                held_out, student=student, memory=memory, on_progress=on_progress
            )
            output.print_evaluation(measured)
    return {
        "code": code_version(),
        "known_before": known,
        "held_out": measured.samples,
        "lessons": measured.active,
        "without": round(measured.without.accuracy, 3),
        "with": round(measured.with_.accuracy, 3),
        "difference": {
            name: round(getattr(measured.difference, name), 3) for name in ("mean", "low", "high")
        },
    }


def _what_next(home: str, namespace: str) -> None:
    command = f"{Path(sys.executable).parent / 'ted-memory'}"
    with contextlib.suppress(ValueError):
        command = str(Path(command).relative_to(Path.cwd()))
    where = f"-n {namespace}" + ("" if home == HOME else f" --home {home}")
    output.out.print(f"\nThe data are in {Path(home).absolute()}. What to type next:", markup=False)
    for line in (
        f"{command} show {where}           what it knows",
        f"{command} log {where}            how it came to know it",
        f"{command} rollback 0 {where}     forget it again; the log keeps it",
        "make demo ARGS='--teacher rulebook'      the ceiling: a teacher that is always right",
    ):
        output.out.print(f"  {line}", markup=False)


def main(
    student: Annotated[
        str | None, typer.Option(help="provider:model, or a name with --student-base-url.")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="provider:model, a name with --teacher-base-url, or 'rulebook'."),
    ] = None,
    student_base_url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server of the student.")
    ] = None,
    teacher_base_url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server of the teacher.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Experience set.")] = NAMESPACE,
    home: Annotated[str, typer.Option(help="Folder of the embedded server.")] = HOME,
    out: Annotated[
        Path | None, typer.Option(help="File for the figures, as docs/results/runs/demo has them.")
    ] = None,
) -> None:
    """Learn from a made-up help desk's tickets with real models, and measure the difference."""
    for role, name, url in (
        ("student", student, student_base_url),
        ("teacher", teacher, teacher_base_url),
    ):
        if url and not name:
            raise typer.BadParameter(
                f"--{role}-base-url needs --{role}: the model's name on that server"
            )
    try:
        memory = open_memory(home=home, namespace=namespace, **SETTINGS)
        with models(Choice(student, student_base_url), Choice(teacher, teacher_base_url)) as (
            learner,
            master,
        ):
            if teacher == "rulebook":
                output.out.print(
                    "The teacher is a rule book: it looks tickets up in the handbook. "
                    "It shows the ceiling, not what a model would teach."
                )
            figures = asyncio.run(learn_and_measure(memory, learner, master))
        if out is not None:
            named = {"student": student or STUDENT.name, "teacher": teacher or TEACHER.name}
            out.write_text(json.dumps(named | figures, indent=1) + "\n", encoding="utf-8")
        _what_next(home, namespace)
    except (TedMemoryError, FetchError, ServeError) as error:
        output.err.print(f"demo: {' '.join(str(error).split())}", markup=False)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
