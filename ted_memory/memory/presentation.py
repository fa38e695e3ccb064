"""How a set is shown.

What was stated for this memory comes first, then what the set carries, then the settings' defaults.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ted_memory.episodes import Exposure
from ted_memory.experience.assignment import Selector
from ted_memory.experience.rendering import (
    count_tokens,
    earlier_turns,
    render_block,
    without_examples,
)
from ted_memory.models import Experience, ExperienceSet, Presentation
from ted_memory.retrieval.selection import make_selector
from ted_memory.settings import Placement, PromptSettings, Settings


def presentation_of(snapshot: ExperienceSet, settings: PromptSettings) -> Presentation:
    """Tell how a memory with these settings shows a set; each field is decided by itself."""
    names = set(Presentation.model_fields)
    if snapshot.presentation is None:
        return Presentation(**settings.model_dump(include=names))
    stated = settings.model_dump(include=names & settings.model_fields_set)
    return snapshot.presentation.model_copy(update=stated)


def exposure_of(
    shown: Sequence[Experience], placement: Placement, snapshot: ExperienceSet | None = None
) -> Exposure:
    """Put lessons as a prompt gets them: a block, and the solved tasks as earlier turns."""
    return Exposure(
        block=render_block(shown),
        turns=earlier_turns(shown),
        placement=placement,
        seen=tuple(e.id for e in shown),
        epoch="" if snapshot is None else snapshot.epoch,
        version=0 if snapshot is None else snapshot.version,
    )


def text_of(shown: Sequence[Experience], snapshot: ExperienceSet) -> Exposure:
    """Put lessons as one text: solved tasks stand in it as examples."""
    return Exposure(
        block=render_block(shown, alone=True),
        seen=tuple(e.id for e in shown),
        epoch=snapshot.epoch,
        version=snapshot.version,
    )


def tokens_of(exposure: Exposure) -> int:
    """Count the tokens that an exposure adds to a prompt, as `rendering.count_tokens` does."""
    of_turns = sum(count_tokens(task + answer) for task, answer in exposure.turns)
    return count_tokens(exposure.block) + of_turns


def _selector_of(shown: Presentation, snapshot: ExperienceSet, settings: Settings) -> Selector:
    budget = min(settings.token_budget, snapshot.caps.token_budget)
    choose = make_selector(shown.selection, top_k=shown.top_k, token_budget=budget)
    if shown.examples:
        return choose
    return lambda experiences, usage, ranking: choose(without_examples(experiences), usage, ranking)


@dataclass
class View:
    """How one memory shows one set. Neither of them changes, so it is worked out once.

    It does not refer to the set, which it is kept beside (`derived.Derived`).

    Attributes:
        presentation: how the set is shown.
        choose: the rule that chooses what stands in a prompt, as it stands there.
        same_for_all: what every request is shown, where the selection looks at no question.
        text_for_all: the same in one text.
    """

    presentation: Presentation
    choose: Selector
    same_for_all: Exposure | None = None
    text_for_all: Exposure | None = None

    @classmethod
    def of(cls, snapshot: ExperienceSet, settings: Settings) -> "View":
        """Work out how a memory with these settings shows a set."""
        shown = presentation_of(snapshot, settings)
        return cls(shown, _selector_of(shown, snapshot, settings))

    @property
    def asks(self) -> bool:
        """Whether what is shown depends on the question."""
        return self.presentation.selection == "relevant"
