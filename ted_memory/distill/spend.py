"""What model calls cost, counted per role."""

from collections.abc import Iterable, Mapping
from typing import Self

from langchain_core.messages import AIMessage, BaseMessage

from ted_memory.models import Frozen

BYTES_PER_TOKEN = 4


class RoleSpend(Frozen):
    """Calls and tokens of one role. ``estimated``: calls whose provider told no usage; their tokens are bytes / 4."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    estimated: int = 0

    def __add__(self, other: "RoleSpend") -> "RoleSpend":
        names = RoleSpend.model_fields
        return RoleSpend(**{name: getattr(self, name) + getattr(other, name) for name in names})


class Spend(Frozen):
    """What a piece of work cost. The critic and the compactor are the teacher in other clothes."""

    student: RoleSpend = RoleSpend()
    teacher: RoleSpend = RoleSpend()

    def __add__(self, other: "Spend") -> "Spend":
        return Spend(student=self.student + other.student, teacher=self.teacher + other.teacher)

    @classmethod
    def of(cls, role: str, asked: Iterable[BaseMessage], answer: BaseMessage) -> Self:
        """Return the cost of one call, from the provider's usage where it gives it."""
        usage = answer.usage_metadata if isinstance(answer, AIMessage) else None
        if usage is not None:
            known = RoleSpend(calls=1, tokens_in=usage["input_tokens"], tokens_out=usage["output_tokens"])
            return cls(**{role: known})
        tokens_in, tokens_out = sum(_estimate(m) for m in asked), _estimate(answer)
        return cls(**{role: RoleSpend(calls=1, tokens_in=tokens_in, tokens_out=tokens_out, estimated=1)})


def add_spend(left: Mapping[str, object], right: Mapping[str, object]) -> dict[str, object]:
    """Add two costs in their JSON form: the reducer of the graph's state."""
    return (Spend.model_validate(left or {}) + Spend.model_validate(right or {})).model_dump()


def _estimate(message: BaseMessage) -> int:
    return -(-len(str(message.text).encode("utf-8", "replace")) // BYTES_PER_TOKEN)
