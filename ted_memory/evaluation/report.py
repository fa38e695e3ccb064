"""A report on a memory in a folder: figures for machines, tables for people, plots."""

import contextlib
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ted_memory.distill.report import Report
from ted_memory.errors import InvalidInput
from ted_memory.evaluation import plots as drawing
from ted_memory.evaluation.markdown import embedded, plain, table
from ted_memory.evaluation.plots import LessonLift, VersionSize, lifts_of, sizes_of
from ted_memory.evaluation.results import Evaluation, TrainingComparison
from ted_memory.evaluation.sides import arms_of, gain_per_lesson, sides_section
from ted_memory.llm.spend import Prices, Spend
from ted_memory.models import Caps, ExperienceSet, LogEntry, Usage

PAPER = "arXiv 2603.26778"
CLAIM = 5  # times: what the paper's abstract says learning is cheaper than training, at least


def write_report(
    folder: str | Path,
    evaluation: Evaluation,
    *,
    snapshot: ExperienceSet,
    usage: Mapping[str, Usage],
    log: Sequence[LogEntry],
    learning: Report | None = None,
    training: TrainingComparison | None = None,
    prices: Prices | None = None,
    plots: bool = True,
) -> list[Path]:
    """Write report.json, report.md and plots; the paths come back, the two reports first.

    The plots are lift.png, set_size.png, learning_curve.png where checkpoints were measured, and
    arms.png where solved examples were. What has nothing to show is not drawn. All are made in
    memory first, and each file appears whole or not at all; other files in the folder stay.

    Args:
        folder: made where it is missing.
        evaluation: from `evaluate`.
        snapshot: the set that was measured, from `TedMemory.load`.
        usage: from `TedMemory.usage`, by experience id.
        log: from `TedMemory.log`, newest first; as far as it reaches the size of the set is shown.
        learning: from `distill`, for what learning cost.
        training: from `compare_with_training`.
        prices: what tokens cost, for the cost of ``learning``.
        plots: whether to draw.

    Raises:
        MissingExtra: plots are wanted and matplotlib is missing; nothing was written.
        InvalidInput: the folder or a file cannot be written.
    """
    if plots:
        drawing.check_installed()
    lifts, sizes = lifts_of(snapshot.experiences, usage), sizes_of(snapshot, log)
    learned = _learning(learning, prices)
    images = _images(evaluation, snapshot.caps, lifts, sizes) if plots else {}
    fields = {
        "evaluation": evaluation.to_json(),
        **_fields_of(snapshot, lifts, sizes),
        "learning": learned,
        "training": training.model_dump() if training else None,
        "plots": list(images),
    }
    sections = (
        _head(evaluation, sizes),
        _accuracy(evaluation),
        _by_category(evaluation),
        sides_section(evaluation, images),
        _curve(evaluation, images),
        _cost(evaluation, learned),
        beside(training, prices.currency if prices else evaluation.currency) if training else [],
        _lessons(lifts, images),
        _set_size(sizes, images),
        _failures(evaluation),
    )
    text = "\n".join(line for section in sections for line in section)
    return _write(Path(folder), {"report.json": _json(fields), "report.md": _bytes(text), **images})


def _fields_of(
    snapshot: ExperienceSet, lifts: Sequence[LessonLift], sizes: Sequence[VersionSize]
) -> dict[str, Any]:
    return {
        "version": snapshot.version,
        "caps": snapshot.caps.model_dump(),
        "models": dict(snapshot.models),
        "presentation": snapshot.presentation.model_dump() if snapshot.presentation else None,
        "experiences": [row.model_dump() for row in lifts],
        "sizes": [size.model_dump() for size in sizes],
    }


def _learning(learning: Report | None, prices: Prices | None) -> dict[str, Any] | None:
    if learning is None:
        return None
    cost = {"cost": prices.cost(learning.spend), "currency": prices.currency} if prices else {}
    return {"cost": None, "currency": None} | learning.model_dump(mode="json") | cost


def _images(
    evaluation: Evaluation, caps: Caps, lifts: Sequence[LessonLift], sizes: Sequence[VersionSize]
) -> dict[str, bytes]:
    images = {}
    if evaluation.examples:
        images["arms.png"] = drawing.arms(arms_of(evaluation))
    if evaluation.curve:
        images["learning_curve.png"] = drawing.learning_curve(
            evaluation.curve, evaluation.without.accuracy
        )
    if lifts:
        images["lift.png"] = drawing.lift(lifts)
    if len(sizes) > 1:
        images["set_size.png"] = drawing.set_size(sizes, caps)
    return images


def _json(fields: Mapping[str, Any]) -> bytes:
    return _bytes(json.dumps(fields, ensure_ascii=False, allow_nan=False, indent=2) + "\n")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a model's words in a failure may hold half a character


def _write(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write all under other names first, so that a full disk leaves an older report as it was."""
    suffix = f".{secrets.token_hex(4)}.part"  # two reports at once must not share unfinished files
    unfinished = {folder / name: folder / f".{name}{suffix}" for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, part in unfinished.items():
            part.write_bytes(files[path.name])
        for path, part in reversed(unfinished.items()):  # plots before the text that embeds them
            part.replace(path)
    except OSError as error:
        raise InvalidInput(
            f"the report cannot be written to {folder} ({error.strerror}); choose another folder"
        ) from error
    finally:
        for part in unfinished.values():
            # there is none, or the folder is none: the error above says more
            with contextlib.suppress(OSError):
                part.unlink()
    return list(unfinished)


def _head(evaluation: Evaluation, sizes: Sequence[VersionSize]) -> list[str]:
    measured, shown = evaluation.version, sizes[-1]
    made = later = ""
    if shown.version != measured:
        later = (
            " The set has changed since: "
            f"experiences and sizes below are of version {shown.version}."
        )
    elif shown.at:
        made = f" ({shown.at[:16].replace('T', ' ')} UTC)"
    return [
        f"# What the memory {plain(evaluation.namespace)} is worth",
        "",
        f"Measured at version {measured}{made}.{later} "
        "All figures are in [report.json](report.json).",
        "",
    ]


def _accuracy(evaluation: Evaluation) -> list[str]:
    d = evaluation.difference
    if d.low > 0:
        verdict = (
            "With its experiences the student is better: "
            "the 95 % interval of the difference is above zero."
        )
    elif d.high < 0:
        verdict = (
            "With its experiences the student is **worse**: "
            "the 95 % interval of the difference is below zero."
        )
    else:
        verdict = "These samples show no difference: its 95 % interval includes zero."
    answers = "once" if evaluation.repeats == 1 else f"{evaluation.repeats} times"
    row = (
        f"{evaluation.samples}",
        f"{evaluation.without.accuracy:.3f}",
        f"{evaluation.with_.accuracy:.3f}",
        f"{d.mean:+.3f}",
        f"{d.low:+.3f} to {d.high:+.3f}",
        f"{evaluation.mcnemar_p:.2g}",
    )
    head = (
        "samples",
        "accuracy without",
        "accuracy with",
        "difference",
        "95 % interval",
        "McNemar p",
    )
    return [
        "## Accuracy",
        "",
        verdict,
        "",
        *table(head, [row]),
        f"Accuracy is the mean score. Each sample was answered {answers} on each side and counts "
        "once. The interval is a percentile bootstrap over samples; p is of the exact two-sided "
        "McNemar test, in which a sample is right when its mean score is 0.5 or more.",
        "",
    ]


def _by_category(evaluation: Evaluation) -> list[str]:
    rows = [
        (
            plain(c.category) if c.category is not None else "-",
            str(c.samples),
            f"{c.without:.3f}",
            f"{c.with_:.3f}",
            f"{c.difference:+.3f}",
        )
        for c in evaluation.categories
    ]
    return [
        "### By category",
        "",
        *table(("category", "samples", "without", "with", "difference"), rows),
    ]


def _curve(evaluation: Evaluation, images: Mapping[str, bytes]) -> list[str]:
    if not evaluation.curve:
        return []
    rows = [
        (
            str(point.version),
            str(point.active),
            f"{point.accuracy:.3f}",
            gain_per_lesson(point, evaluation.without),
        )
        for point in evaluation.curve
    ]
    return [
        "## Learning curve",
        "",
        *embedded("learning_curve.png", "Accuracy over versions", images),
        *table(("version", "active experiences", "accuracy", "gain per lesson"), rows),
    ]


def _cost(evaluation: Evaluation, learning: dict[str, Any] | None) -> list[str]:
    work = [("measuring", evaluation.spend, evaluation.cost, evaluation.currency)]
    if learning is not None:
        spend = Spend.model_validate(learning["spend"])
        work.insert(0, ("learning", spend, learning["cost"], learning["currency"]))
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for what, spend, cost, currency in work:
        rows += _rows_of_calls(what, spend)
        if cost is not None:
            notes.append(f"{what.capitalize()} cost {_money(cost, currency)}.")
    notes.append("Calls are estimated where the provider told no usage: a token for each 4 bytes.")
    head = ("role", "calls", "tokens in", "tokens out", "calls estimated")
    return ["## Cost", "", *table(head, rows), " ".join(notes), ""]


def _rows_of_calls(what: str, spend: Spend) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for role, used in (("student", spend.student), ("teacher", spend.teacher)):
        if used.calls:
            figures = (used.calls, used.tokens_in, used.tokens_out, used.estimated)
            rows.append((f"{what}, {role}", *(f"{figure:,}" for figure in figures)))
    return rows


def _money(amount: float, currency: str | None) -> str:
    # what a token costs is a small fraction of anything
    figure = f"{amount:,.2f}" if amount >= 1 or not amount else f"{amount:.3g}"
    return f"{figure} {plain(currency)}" if currency else figure


def beside(training: TrainingComparison, currency: str | None) -> list[str]:
    """Write what the report says on training the weights instead, as lines of Markdown."""
    learning = _money(training.learning_cost, currency)
    weights = _money(training.training_cost, currency)
    times = training.times_cheaper
    if times is None:
        outcome = "Learning cost nothing to speak of, so it was cheaper beyond any factor."
    elif times > 1:
        outcome = f"Learning was **{times:,.3g} times cheaper**."
    elif times < 1:
        outcome = f"Learning was **{1 / times:,.3g} times dearer**."
    else:
        outcome = "Both cost the same."
    reached = (
        "This run bears that out."
        if times is None or times > CLAIM
        else "This run does **not** bear that out."
    )
    return [
        "## Beside training the weights",
        "",
        f"Learning cost {learning}. "
        f"Training the student for {training.gpu_hours:g} GPU hours "
        f"at {_money(training.gpu_hour_price, currency)} would cost {weights}. {outcome}",
        "",
        f"The paper ({PAPER}) claims more than {CLAIM} times lower cost. {reached} The hours and "
        "the price are as they were given; whether training would reach the same accuracy was not "
        "measured.",
        "",
    ]


def _lessons(lifts: Sequence[LessonLift], images: Mapping[str, bytes]) -> list[str]:
    if not lifts:
        return ["## Experiences", "", "There are none.", ""]
    rows = [
        (
            str(number),
            f"{row.lift:+.3f}" if row.measured else "-",
            f"{row.low:+.3f} to {row.high:+.3f}" if row.measured else "-",
            row.state,
            str(row.tokens),
            plain(row.id),
            plain(row.lesson),
        )
        for number, row in enumerate(lifts, 1)
    ]
    head = ("number", "lift", "90 % bounds", "state", "tokens", "id", "experience")
    return [
        "## Experiences",
        "",
        "Lift is how much higher the mean score of attempts was with the experience than without "
        "it (posterior mean under a prior around zero). A dash: not measured yet.",
        "",
        *embedded("lift.png", "Lift of each experience", images),
        *table(head, rows),
    ]


def _set_size(sizes: Sequence[VersionSize], images: Mapping[str, bytes]) -> list[str]:
    now = sizes[-1]
    return [
        "## Size of the set",
        "",
        f"{now.active} active experiences, {now.tokens:,} tokens in the prompt at most.",
        "",
        *embedded("set_size.png", "Active experiences and tokens over versions", images),
    ]


def _failures(evaluation: Evaluation) -> list[str]:
    if not evaluation.failures:
        return []
    rows = [(plain(failure.sample), plain(failure.reason)) for failure in evaluation.failures]
    return [
        "## Left out",
        "",
        "Samples that could not be scored.",
        "",
        *table(("sample", "reason"), rows),
    ]
