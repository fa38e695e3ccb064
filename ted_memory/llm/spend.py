"""What model calls cost, counted per role."""

from collections.abc import Iterable, Mapping
from typing import Self

from langchain_core.messages import AIMessage, BaseMessage
from pydantic import Field, model_validator

from ted_memory.fields import Frozen

BYTES_PER_TOKEN = 4


class RoleSpend(Frozen):
    """Calls and tokens of one role.

    ``estimated`` calls are those whose provider told no usage; their tokens are bytes / 4.
    """

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    estimated: int = 0

    def times(self, count: int) -> "RoleSpend":
        """Estimate what this many calls like the mean one cost, tokens rounded up."""
        each = max(self.calls, 1)
        return RoleSpend(
            calls=count,
            tokens_in=-(-self.tokens_in * count // each),
            tokens_out=-(-self.tokens_out * count // each),
        )

    def __add__(self, other: "RoleSpend") -> "RoleSpend":
        return RoleSpend(
            calls=self.calls + other.calls,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            estimated=self.estimated + other.estimated,
        )


class Spend(Frozen):
    """What a piece of work cost. The critic and the compactor are the teacher in other clothes."""

    student: RoleSpend = RoleSpend()
    teacher: RoleSpend = RoleSpend()

    def __add__(self, other: "Spend") -> "Spend":
        return Spend(student=self.student + other.student, teacher=self.teacher + other.teacher)

    @classmethod
    def of(cls, role: str, asked: Iterable[BaseMessage], answer: BaseMessage) -> Self:
        """Count one call, from the provider's usage where it gives it."""
        usage = answer.usage_metadata if isinstance(answer, AIMessage) else None
        if usage is not None:
            counted = RoleSpend(
                calls=1, tokens_in=usage["input_tokens"], tokens_out=usage["output_tokens"]
            )
            return cls(**{role: counted})
        tokens_in, tokens_out = sum(_estimate(m) for m in asked), _estimate(answer)
        return cls(
            **{role: RoleSpend(calls=1, tokens_in=tokens_in, tokens_out=tokens_out, estimated=1)}
        )


class Prices(Frozen):
    """Money for a million tokens, in and out, of each role."""

    student_in: float = Field(0.0, ge=0)
    student_out: float = Field(0.0, ge=0)
    teacher_in: float = Field(0.0, ge=0)
    teacher_out: float = Field(0.0, ge=0)
    currency: str = "USD"

    def cost(self, spend: Spend) -> float:
        """Price a spend, in ``currency``."""
        student, teacher = spend.student, spend.teacher
        parts = (
            student.tokens_in * self.student_in,
            student.tokens_out * self.student_out,
            teacher.tokens_in * self.teacher_in,
            teacher.tokens_out * self.teacher_out,
        )
        return sum(parts) / 1_000_000


class Budget(Frozen):
    """What a run may spend at most, over both roles.

    None allows any amount. ``money`` needs ``prices``.
    """

    calls: int | None = Field(None, ge=1)
    tokens: int | None = Field(None, ge=1)
    money: float | None = Field(None, gt=0)
    prices: Prices = Prices()

    @model_validator(mode="after")
    def _has_prices(self) -> "Budget":
        if self.money is not None and self.prices == Prices(currency=self.prices.currency):
            raise ValueError("a budget in money needs the prices of tokens")
        return self

    def passed_by(self, spend: Spend) -> str:
        """Name the limit that this spend is beyond, "" for none."""
        student, teacher = spend.student, spend.teacher
        calls = student.calls + teacher.calls
        tokens = student.tokens_in + student.tokens_out + teacher.tokens_in + teacher.tokens_out
        money = self.prices.cost(spend)
        if self.calls is not None and calls > self.calls:
            return f"{self.calls} calls"
        if self.tokens is not None and tokens > self.tokens:
            return f"{self.tokens} tokens"
        if self.money is not None and money > self.money:
            return f"{self.money:g} {self.prices.currency}"
        return ""


def add_spend(left: Mapping[str, object], right: Mapping[str, object]) -> dict[str, object]:
    """Add two costs in their JSON form: the reducer of the graph's state."""
    return (Spend.model_validate(left or {}) + Spend.model_validate(right or {})).model_dump()


def counted_spend(counters: Mapping[str, float]) -> Spend:
    """Read the spend from a day's counters, such as ``teacher_tokens_in``."""

    def role(name: str) -> RoleSpend:
        fields = ("calls", "tokens_in", "tokens_out")
        return RoleSpend(**{field: int(counters.get(f"{name}_{field}", 0)) for field in fields})

    return Spend(student=role("student"), teacher=role("teacher"))


def _estimate(message: BaseMessage) -> int:
    text = str(message.text)
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return -(-size // BYTES_PER_TOKEN)
