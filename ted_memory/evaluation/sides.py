"""What the report says of the sides that were measured: nothing, lessons, solved examples."""

from collections.abc import Mapping

from ted_memory.evaluation.markdown import embedded, table
from ted_memory.evaluation.results import Arm, CurvePoint, Difference, Evaluation


def arms_of(evaluation: Evaluation) -> dict[str, Arm]:
    """Name the sides that were measured, as people read them."""
    arms = {"nothing": evaluation.without, "lessons": evaluation.with_}
    if evaluation.examples:
        arms["solved examples"] = evaluation.examples
    return arms


def sides_section(evaluation: Evaluation, images: Mapping[str, bytes]) -> list[str]:
    """Write what the report says of the sides: their accuracy and their tokens."""
    rows = [
        (name, f"{arm.accuracy:.3f}", f"{arm.tokens:,.1f}", f"{arm.prompt_tokens:,.1f}")
        for name, arm in arms_of(evaluation).items()
    ]
    shown = evaluation.presentation
    place = {"system": "in the system message", "user": "in the user turn"}[shown.placement]
    examples = "with" if shown.examples else "without"
    how = f"selection {shown.selection}, {examples} examples, {place}"
    return [
        "## What the student is shown",
        "",
        *_beside_examples(evaluation),
        *embedded("arms.png", "Accuracy of each side", images),
        *table(("shown", "accuracy", "tokens of the block", "tokens of the prompt"), rows),
        f"Tokens are means over the samples. Lessons were shown by {how}.",
        "",
        *_gains(evaluation),
    ]


def _beside_examples(evaluation: Evaluation) -> list[str]:
    examples = evaluation.examples
    if examples is None:
        return []
    return [
        f"{_against_examples(examples.difference)} "
        f"Lessons minus examples: {_interval(examples.difference)}, "
        f"McNemar p {examples.mcnemar_p:.2g}. "
        f"The examples are the nearest solved samples, {examples.k:.1f} in a prompt on average, "
        "at about as many tokens as the lessons.",
        "",
    ]


def _against_examples(d: Difference) -> str:
    if d.low > 0:
        return "Lessons are better than solved examples."
    if d.high < 0:
        return (
            "Lessons are **worse** than solved examples: "
            "for this student and these tasks they are not worth it."
        )
    return "These samples show no difference between lessons and solved examples."


def _interval(d: Difference) -> str:
    return f"{d.mean:+.3f} (95 % interval {d.low:+.3f} to {d.high:+.3f})"


def _gains(evaluation: Evaluation) -> list[str]:
    if evaluation.gain_per_lesson is None:
        return []
    gained = f"{evaluation.gain_per_lesson:+.4f} for each of {evaluation.active} active lessons"
    if evaluation.gain_per_100_tokens is not None:
        gained += f", {evaluation.gain_per_100_tokens:+.4f} for each 100 tokens of the block"
    return [f"Accuracy gained: {gained}.", ""]


def gain_per_lesson(point: CurvePoint, without: Arm) -> str:
    """Write the accuracy that each active lesson of a version gained, as a cell of a table."""
    return f"{(point.accuracy - without.accuracy) / point.active:+.4f}" if point.active else "-"
