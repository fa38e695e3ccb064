"""Where a proposed lesson applies.

Whether its own task would find it by its condition, and what becomes of it if not.

Key words (profile ``small``) must set a task apart, or the lesson would push out others. A
condition in whole words is a matter for readers: one that no retrieval finds is shown everywhere.
"""

import re
from collections.abc import Collection, Sequence

from ted_memory.distill.context import DistillContext
from ted_memory.distill.judges import changed_set, new_in
from ted_memory.distill.scoring import chosen
from ted_memory.distill.state import DistillState, read_sample
from ted_memory.experience.rendering import render_line
from ted_memory.models import Add, Edit, Experience, ExperienceSet, Merge, Remove, Rewrite, Sample
from ted_memory.retrieval.language import AUTO
from ted_memory.retrieval.questions import looked_at
from ted_memory.retrieval.selection import spoken_in, stems

WORDS = 12  # of the task, that the critic is pointed to


async def place(
    edit: Edit, snapshot: ExperienceSet, state: DistillState, context: DistillContext
) -> tuple[Edit, str]:
    """Return the edit as it can be found, and what speaks against it before any attempt.

    The second value is "" where nothing does.
    """
    if isinstance(edit, Remove):
        return edit, ""
    sample, limit = read_sample(state), context.settings.max_text
    edit = _shown_everywhere_if_not_found(edit, sample, state, context)
    changed = changed_set([edit], snapshot, max_text=limit)
    new = new_in(changed, snapshot)
    if not new:
        return edit, f"it cannot be kept: empty, unchanged, or longer than {limit} characters"
    common, language = frozenset(state["common"]), context.settings.language
    by_key_words = context.profile.conditions == "key_words"
    if by_key_words and _fits_every_task(new[0], sample, common, language):
        hint = _hint(sample, common, state, language)
        return edit, f"'when' fits every task. Use words that set this task apart in 'when'{hint}"
    seen = await chosen(context, sample, snapshot, changed)
    if {e.id for e in new}.isdisjoint(e.id for e in seen):
        return edit, _not_found(seen, snapshot, sample, state, language)
    return edit, ""


def _shown_everywhere_if_not_found(
    edit: Edit, sample: Sample, state: DistillState, context: DistillContext
) -> Edit:
    """Mark an edit whose condition, written for readers, does not lead to its own task."""
    if context.profile.conditions != "as_written":
        return edit
    if not isinstance(edit, Add | Rewrite | Merge) or not edit.when:
        return edit
    index_terms = "" if isinstance(edit, Merge) else edit.index_terms or ""
    found = is_found_by(
        f"{edit.when} {index_terms}",
        sample.text,
        state["common"],
        language=context.settings.language,
    )
    return edit.model_copy(update={"everywhere": not found})


def is_found_by(when: str, task: str, common: Collection[str], *, language: str = AUTO) -> bool:
    """Tell whether a condition leads to a task and away from others.

    It does by words that it shares with the task, and that not every task has.
    """
    return bool(_shared(when, task, language) - {*common})


def _shared(when: str, task: str, language: str) -> frozenset[str]:
    """Return the stems that a condition and a task have in common, read as retrieval does."""
    spoken = spoken_in(when, task, language)
    return stems(when, language=spoken) & stems(looked_at(task), language=spoken)


def _fits_every_task(
    lesson: Experience, sample: Sample, common: Collection[str], language: str
) -> bool:
    """Tell whether all that leads to the lesson are words that every task has."""
    met = _shared(lesson.when, sample.text, language)
    return bool(met) and not met - {*common}


def telling_words(sample: Sample, taken: Collection[str], *, language: str = AUTO) -> list[str]:
    """Return words of a task that set it apart from others: none whose stem is taken."""
    return free_words(re.findall(r"\w[\w-]+", sample.text), sample, taken, language=language)


def free_words(
    words: Sequence[str], sample: Sample, taken: Collection[str], *, language: str = AUTO
) -> list[str]:
    """Return the first of these words of a sample's, each once: none whose stem is taken."""
    spoken = spoken_in(sample.text, "", language)  # a word alone shows no language
    stemmed = {word: stems(word, language=spoken) for word in words}
    return [word for word, its in stemmed.items() if its and its.isdisjoint(taken)][:WORDS]


def _hint(sample: Sample, taken: Collection[str], state: DistillState, language: str) -> str:
    words = free_words(state["kindred"], sample, taken, language=language)
    words = words or telling_words(sample, taken, language=language)
    return f", such as: {', '.join(words)}" if words else ""


def _not_found(
    seen: Sequence[Experience],
    snapshot: ExperienceSet,
    sample: Sample,
    state: DistillState,
    language: str,
) -> str:
    """Say which lesson stood in the way, and which words of the task would lead to another one."""
    problem = "it was not found for this very task"
    taken = {*state["common"]}
    in_the_way = [e for e in seen if e.id in snapshot.by_id]
    for e in sorted(in_the_way, key=lambda e: e.id):
        problem += f"; {e.id} was found instead: {render_line(e.text, e.when)!r}"
        taken |= stems(e.when, language=spoken_in(e.when, sample.text, language))
    hint = _hint(sample, taken, state, language)
    return f"{problem}. Use other words of the task in 'when'{hint}"
