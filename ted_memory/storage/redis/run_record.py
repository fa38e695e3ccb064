"""What is known of one run, as one hash holds it: whose it is, and what was said of it.

Feedback stands in the fields ``f0`` to ``f19``, which are taken in turn: the latest twenty are kept
(see ``feedback.lua``).
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from ted_memory.episodes import ANONYMOUS, Feedback
from ted_memory.errors import CorruptData
from ted_memory.storage.redis import codec
from ted_memory.storage.redis.sealing import Seal

FEEDBACKS = 20


@dataclass(frozen=True)
class RunRecord:
    """One run. ``stored`` are the fields of its hash."""

    run_id: str
    stored: Mapping[str, str]

    @property
    def principal(self) -> str:
        """Whose run it is; "" where it was spoken about and is not known yet."""
        return self.stored.get("principal", "")

    @property
    def unit(self) -> str:
        """The conversation that it belongs to."""
        return self.stored.get("unit", "")

    @property
    def feedback_fields(self) -> list[str]:
        """The fields in which feedback stands, in no order."""
        return [name for name in self.stored if name[:1] == "f" and name[1:].isdigit()]

    def feedback(self, seal: Seal) -> tuple[Feedback, ...]:
        """Read what was said of the run, oldest first.

        Left out is what was said before the run was known, by somebody who has no say in it.

        Raises:
            CorruptData: one of them cannot be read.
        """
        count = int(self.stored.get("told", 0))
        oldest = max(1, count - FEEDBACKS + 1)
        places = [f"f{number % FEEDBACKS}" for number in range(oldest, count + 1)]
        opened = [seal.open(self.stored[place]) for place in places if place in self.stored]
        told = [codec.decode_feedback(_with_run(self.run_id, text)) for text in opened]
        return tuple(said for said in told if said.is_heard(self.principal))

    def fields_said_by(self, principal: str, seal: Seal) -> list[str]:
        """Find the fields that hold what this principal said of the run."""
        return [
            field
            for field in self.feedback_fields
            if _speaker_of(self.stored[field], seal) == principal
        ]


def _with_run(run_id: str, feedback: str) -> str:
    """Put its run into stored feedback; what is no feedback is left to who decodes it."""
    try:
        return json.dumps({**json.loads(feedback), "run_id": run_id})
    except (ValueError, TypeError):
        return feedback


def _speaker_of(stored: str, seal: Seal) -> str | None:
    """Tell who gave stored feedback; None where it cannot be read."""
    with contextlib.suppress(ValueError, AttributeError, CorruptData):
        return str(json.loads(seal.open(stored)).get("principal", ANONYMOUS))
    return None
