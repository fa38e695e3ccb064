"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from ted_memory.errors import InvalidInput, SettingsError
from ted_memory.memory.client import TedMemory
from ted_memory.settings import Settings, make_settings
from ted_memory.wiring import make_chat_model, open_memory

if TYPE_CHECKING:  # commands that call no model start without LangChain
    from ted_memory.distill import Budget, Report
    from ted_memory.distill import Prices as PriceList
    from ted_memory.grading.graders import Grader as AnyGrader

_FILE = typer.Argument(
    metavar="FILE",
    help="Data set: JSON Lines, CSV, Parquet, or a folder that Hugging Face's datasets saved.",
    show_default=False,
)
File = Annotated[Path, _FILE]
OptionalFile = Annotated[Path | None, _FILE]
FromTraffic = Annotated[
    bool,
    typer.Option(
        "--from-traffic",
        help="Learn from archived episodes, the newest --limit, instead of a FILE.",
    ),
]
UpTo = Annotated[
    str | None,
    typer.Option(
        "--up-to",
        metavar="RUN_ID",
        help="With --from-traffic: the newest run to take, so that an interrupted command finds the same samples.",
    ),
]
Mapping = Annotated[
    str,
    typer.Option("--mapping", help="What its columns mean: auto, ted, mathvision, visualpuzzles."),
]
Split = Annotated[
    str | None, typer.Option("--split", help="Which part of a saved data set: train, test, ...")
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", help="Experience set.  [default: TED_MEMORY_NAMESPACE or 'default']"
    ),
]
Url = Annotated[
    str | None,
    typer.Option("--url", help="Redis or Valkey server.  [default: TED_MEMORY_URL, else embedded]"),
]
Home = Annotated[
    str | None,
    typer.Option("--home", help="Folder of the embedded server.  [default: ./.ted-memory]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Selection = Annotated[
    str | None,
    typer.Option("--selection", help="Which experiences are shown: all, budget, relevant."),
]
TopK = Annotated[int | None, typer.Option("--top-k", help="How many, for --selection relevant.")]
Retrieval = Annotated[
    str | None,
    typer.Option("--retrieval", help="How they are found: words, or local (words and embeddings)."),
]
Language = Annotated[
    str | None,
    typer.Option("--language", help="Of lessons and questions: auto, or an ISO code such as de."),
]
Placement = Annotated[
    str | None,
    typer.Option("--placement", help="Where they stand: system (message) or user (turn)."),
]
Grader = Annotated[
    str,
    typer.Option(
        "--grader",
        help="How answers are scored: auto, exact, contains, numeric, multiple_choice, math.",
    ),
]
Judge = Annotated[
    str | None,
    typer.Option("--judge", help="A model that scores the answers instead of a --grader."),
]
JudgeUrl = Annotated[
    str | None, typer.Option("--judge-base-url", help="OpenAI-compatible server of the judge.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Use only the first so many samples.")
]
Concurrency = Annotated[
    int | None, typer.Option("--concurrency", help="Model calls in flight.  [default: 8]")
]
Student = Annotated[
    str,
    typer.Option("--student", help="provider:model, or a model's name with --student-base-url."),
]
StudentUrl = Annotated[
    str | None, typer.Option("--student-base-url", help="OpenAI-compatible server of the student.")
]
StudentTokens = Annotated[
    int | None, typer.Option("--student-max-tokens", min=1, help="Longest answer of the student.")
]
StudentTemperature = Annotated[
    float | None,
    typer.Option(
        "--student-temperature",
        min=0,
        help="Of the student; attempts while learning may have their own, --temperature.",
    ),
]
Temperature = Annotated[
    str | None,
    typer.Option(
        "--temperature",
        help="Of the attempts while learning; none: the student's own.  [default: none]",
    ),
]

Teacher = Annotated[
    str,
    typer.Option("--teacher", help="provider:model, or a model's name with --teacher-base-url."),
]
TeacherUrl = Annotated[
    str | None, typer.Option("--teacher-base-url", help="OpenAI-compatible server of the teacher.")
]
Trust = Annotated[
    str | None,
    typer.Option(
        "--trust",
        help="evidence, review (a person approves as well), operator.  [default: evidence]",
    ),
]
Rollouts = Annotated[
    int | None, typer.Option("--rollouts", help="Attempts a sample.  [default: 5]")
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="Which models it is for: default (capable ones) or small.  [default: default]",
    ),
]
Instructions = Annotated[
    str | None,
    typer.Option(
        "--instructions",
        help="Your word on the domain, for teacher, critic and compactor; or @FILE.",
    ),
]
Prompts = Annotated[
    str | None,
    typer.Option("--prompts", help="Folder with prompts of your own, such as critic.md."),
]
VerifyCalls = Annotated[
    int | None,
    typer.Option(
        "--verify-calls",
        help="Student calls that verify one edit at most; 0: edits are not verified.  [default: as the profile says]",
    ),
]
CritiqueBatch = Annotated[
    int | None,
    typer.Option(
        "--critique-batch", help="Failed samples that a critic sees at once.  [default: 1]"
    ),
]
MaxRevisions = Annotated[
    int | None,
    typer.Option("--max-revisions", help="Times the critic is asked again at most.  [default: 2]"),
]
Validation = Annotated[
    float | None,
    typer.Option(
        "--validation", help="Held-out share of 200 samples or more; 0: no gate.  [default: 0.2]"
    ),
]
Inclusion = Annotated[
    float | None,
    typer.Option("--inclusion", help="Share of the set that each attempt may see.  [default: 0.8]"),
]
Checkpoints = Annotated[
    int | None,
    typer.Option(
        "--checkpoints", help="Stages of the run that the gate takes the best of.  [default: 1]"
    ),
]
Compaction = Annotated[
    str | None,
    typer.Option(
        "--compaction", help="What goes first when a cap presses: utility, count, age, none."
    ),
]
MaxCalls = Annotated[
    int | None, typer.Option("--max-calls", min=1, help="Stop before more model calls than this.")
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=1, help="Stop before more tokens than this.")
]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", help="Stop before it costs more; needs --prices.")
]
Prices = Annotated[
    str | None,
    typer.Option(
        "--prices",
        metavar="IN,OUT,IN,OUT",
        help="Money for a million tokens: student in and out, teacher in and out.",
    ),
]
Repeats = Annotated[
    int, typer.Option("--repeats", min=1, help="Answers to each sample on each side.")
]
OlderVersions = Annotated[
    int,
    typer.Option(
        "--checkpoints", min=0, help="Older versions to measure too, for a learning curve."
    ),
]
Examples = Annotated[
    Path | None,
    typer.Option(
        "--examples",
        metavar="FILE",
        help="Solved samples, such as those learned from: the nearest are shown in place of lessons, as a third side.",
    ),
]
ExamplesSplit = Annotated[
    str | None, typer.Option("--examples-split", help="Which part of saved --examples.")
]
ReportFolder = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="FOLDER", help="Write report.md, report.json and plots there."
    ),
]
Learning = Annotated[
    Path | None,
    typer.Option(
        "--learning",
        metavar="FILE",
        help="What 'distill --json' printed: its cost goes into the report.",
    ),
]
GpuHours = Annotated[
    float | None,
    typer.Option(
        "--gpu-hours", help="Of training the weights instead, to compare the cost of learning."
    ),
]
GpuHourPrice = Annotated[
    float | None, typer.Option("--gpu-hour-price", help="Price of one, in the money of --prices.")
]
CompactEvery = Annotated[
    int | None, typer.Option("--compact-every", help="Commits between compactions.  [default: 20]")
]


def settings_of(namespace: str | None) -> Settings:
    """Return the settings that a command runs under, where it needs no memory."""
    return make_settings(namespace=namespace)


def memory_of(
    url: str | None, namespace: str | None, home: str | None, **settings: Any
) -> TedMemory:
    """Return the memory that a command's options name."""
    return open_memory(url, namespace=namespace, home=home, **settings)


def prices_of(given: str | None) -> PriceList | None:
    """Return the prices that four numbers with commas between name."""
    from ted_memory.distill import Prices as PriceList

    if given is None:
        return None
    try:
        student_in, student_out, teacher_in, teacher_out = (
            float(number) for number in given.split(",")
        )
        return PriceList(
            student_in=student_in,
            student_out=student_out,
            teacher_in=teacher_in,
            teacher_out=teacher_out,
        )
    except (ValueError, ValidationError):
        raise SettingsError(
            f"--prices {given!r}: four numbers from 0 on are needed, with commas between: money for a million tokens "
            "of the student in and out, of the teacher in and out, such as 0.1,0.4,2,8"
        ) from None


def budget_of(
    calls: int | None, tokens: int | None, money: float | None, prices: str | None
) -> Budget | None:
    """Return the budget that a command's options name, None without one."""
    from ted_memory.distill import Budget
    from ted_memory.distill import Prices as PriceList

    if calls is None and tokens is None and money is None:
        return None
    try:
        return Budget(
            calls=calls, tokens=tokens, money=money, prices=prices_of(prices) or PriceList()
        )
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise SettingsError(f"--max-cost {money}: {reason}; give --prices") from None


def written_to(
    folder: Path | None,
    learning: Path | None,
    prices: PriceList | None,
    gpu_hours: float | None,
    gpu_hour_price: float | None,
) -> tuple[Path, dict[str, Any]] | None:
    """Return where a report goes and what else stands in it; None without one. Checked before anything is paid for."""
    from ted_memory.evaluation import compare_with_training
    from ted_memory.evaluation.plots import check_installed

    if folder is None:
        if learning or gpu_hours is not None or gpu_hour_price is not None:
            raise SettingsError(
                "--learning, --gpu-hours and --gpu-hour-price are for a report; give --report FOLDER"
            )
        return None
    check_installed()
    learned, training = read_learning(learning), None
    if gpu_hours is not None or gpu_hour_price is not None:
        if not (learned and prices and gpu_hours is not None and gpu_hour_price is not None):
            raise SettingsError(
                "to compare with training, --learning, --prices, --gpu-hours and --gpu-hour-price are all needed"
            )
        training = compare_with_training(prices.cost(learned.spend), gpu_hours, gpu_hour_price)
    return folder, {"learning": learned, "training": training, "prices": prices}


def grader_of(name: str, judge: str | None, judge_base_url: str | None) -> str | AnyGrader:
    """Return the grader's name, or the model that judges in its place."""
    if judge is None:
        return name
    from ted_memory.distill import Judge as JudgingModel

    return JudgingModel(make_chat_model(judge, base_url=judge_base_url))


def read_learning(path: Path | None) -> Report | None:
    """Return the report of a run that ``distill --json`` printed."""
    from ted_memory.distill import Report

    if path is None:
        return None
    try:
        return Report.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InvalidInput(
            f"{path} is not what 'ted-memory distill --json' prints ({reason})"
        ) from None


def text_of(given: str | None, what: str) -> str | None:
    """Return what was given, or what stands in the file that it names (``@FILE``).

    Raises:
        InvalidInput: the file cannot be read.
    """
    if given is None or not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{what} {given[1:]} cannot be read: {error}; nothing was begun"
        ) from None


def settings_among(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return those of a command's arguments that are settings by their names, but for where the memory lives.

    Raises:
        InvalidInput: the instructions name a file that cannot be read.
    """
    names = Settings.model_fields.keys() - {"url", "namespace", "home"}
    given = {name: value for name, value in arguments.items() if name in names}
    return given | {"instructions": text_of(given.get("instructions"), "the instructions")}
