"""What an evaluation found: the types of its figures."""

import math
from typing import Any

from ted_memory.errors import InvalidInput
from ted_memory.fields import Frozen
from ted_memory.llm.spend import Spend
from ted_memory.models import Presentation


class Arm(Frozen):
    """One side of the comparison; ``accuracy`` is the mean score.

    ``tokens``: of the block that the arm adds to a prompt, on average, in the unit of
    ``token_budget``. ``prompt_tokens``: of all that goes into an answer, on average, as the
    provider counts them.
    """

    accuracy: float
    tokens: float = 0.0
    prompt_tokens: float = 0.0


class Difference(Frozen):
    """Mean of the paired differences, with minus without, and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


class ExamplesArm(Arm):
    """The rival: the nearest solved samples in place of the lessons, at about as many tokens.

    ``k``: examples in a prompt, on average. ``difference`` is that of the pairs, lessons minus
    examples; ``mcnemar_p`` belongs to it.
    """

    k: float
    difference: Difference
    mcnemar_p: float


class CategoryResult(Frozen):
    """The comparison within one category, in units of score.

    ``category`` is None for the samples that name none.
    """

    category: str | None
    samples: int
    without: float
    with_: float
    difference: float


class CurvePoint(Frozen):
    """One version of the set: its number of active experiences, and the mean score with them."""

    version: int
    active: int
    accuracy: float


class Failure(Frozen):
    """A sample that could not be scored on all sides; it is left out of the figures."""

    sample: str
    reason: str


class Evaluation(Frozen):
    """The outcome of `evaluate`.

    ``presentation`` is how the lessons were shown. ``active`` is the number of active lessons in
    the set; ``gain_per_lesson`` is the mean difference over that number, ``gain_per_100_tokens``
    over the tokens of the block; None where there are none. ``examples`` is the third arm, None
    where it was not asked for. ``mcnemar_p`` is the exact two-sided p-value of McNemar's test.
    ``categories`` are sorted by name, samples without one last. ``curve`` goes from the oldest
    version to ``version``, and is empty when no checkpoints were asked for. ``cost`` is what the
    measurement cost, in ``currency``; None when no prices were given.
    """

    namespace: str
    version: int
    presentation: Presentation = Presentation()
    samples: int
    without: Arm
    with_: Arm
    difference: Difference
    mcnemar_p: float
    spend: Spend
    active: int = 0
    gain_per_lesson: float | None = None
    gain_per_100_tokens: float | None = None
    examples: ExamplesArm | None = None
    failures: tuple[Failure, ...] = ()
    repeats: int = 1
    categories: tuple[CategoryResult, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    cost: float | None = None
    currency: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Name the fields as the command line does: ``with`` is a keyword in Python."""
        fields = _renamed(self.model_dump(mode="json"))
        return fields | {"categories": [_renamed(category) for category in fields["categories"]]}


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {("with" if name == "with_" else name): value for name, value in fields.items()}


class TrainingComparison(Frozen):
    """What learning cost beside what it costs to train a model's weights, in one currency.

    ``times_cheaper`` is the training's cost over the learning's: below 1 learning was dearer. None:
    learning cost nothing.
    """

    learning_cost: float
    gpu_hours: float
    gpu_hour_price: float
    training_cost: float
    times_cheaper: float | None


def compare_with_training(
    learning_cost: float, gpu_hours: float, gpu_hour_price: float
) -> TrainingComparison:
    """Compare the cost of learning with that of training the weights: GPU hours times their price.

    Raises:
        InvalidInput: hours or price are not positive, the cost is negative, or one of them is not
            finite.
    """
    for name, value in (("gpu_hours", gpu_hours), ("gpu_hour_price", gpu_hour_price)):
        if not (math.isfinite(value) and value > 0):
            raise InvalidInput(
                f"{name} is {value}; give a number above 0, or leave the comparison out"
            )
    if not (math.isfinite(learning_cost) and learning_cost >= 0):
        raise InvalidInput(f"learning_cost is {learning_cost}; give 0 or a number above it")
    training = gpu_hours * gpu_hour_price
    if not math.isfinite(training):
        raise InvalidInput(
            f"{gpu_hours} hours at {gpu_hour_price} each are more than a number can hold"
        )
    ratio = training / learning_cost if learning_cost else math.inf
    return TrainingComparison(
        learning_cost=learning_cost,
        gpu_hours=gpu_hours,
        gpu_hour_price=gpu_hour_price,
        training_cost=training,
        times_cheaper=ratio if math.isfinite(ratio) else None,
    )
