"""A sample with its answer as a lesson, shown as an earlier turn of the conversation.

Some students follow no rule, and do as they did. Only samples that an operator chose to learn from
become one, never what users wrote (docs/decisions/003 and 008).
"""

from collections.abc import Collection, Sequence

from ted_memory.distill.context import DistillContext
from ted_memory.distill.placing import free_words, telling_words
from ted_memory.llm.messages import image_blocks, sample_messages, task_of
from ted_memory.models import Add, Sample
from ted_memory.retrieval.language import AUTO
from ted_memory.retrieval.selection import spoken_in, stems


def solved_task(
    sample: Sample, reference: str, when: str, context: DistillContext, sources: Sequence[str]
) -> Add | None:
    """Return a sample as a solved task that is found by ``when``; None where it cannot be one.

    It needs a prompt ``example`` in the profile, a condition, an answer, and a task that is one
    message of text.
    """
    prompt, task, answer = (
        context.profile.prompts.get("example"),
        task_of(sample),
        reference.strip(),
    )
    if (
        prompt is None
        or len(sample_messages(sample)) > 1
        or image_blocks(sample)
        or not (when and task and answer)
    ):
        return None
    return Add(
        text=prompt.fill({}),
        when=when,
        example=answer,
        task=task,
        state=context.new_state,
        sources=tuple(sources),
    )


def conditions_of(
    sample: Sample,
    reference: str,
    others: Sequence[str],
    *,
    common: Collection[str],
    kindred: Sequence[str],
    language: str = AUTO,
) -> list[str]:
    """Return conditions (`when`) under which a solved task may be found, the best first.

    One of them is made of the sample's own words. Where some of these are ``kindred``, known to go
    with answers like its own, it is made of them and comes first; else it is made of the words that
    are neither in most tasks nor in its answer, and comes last.

    Args:
        sample: the solved task.
        reference: its answer.
        others: conditions that were made elsewhere.
        common: stems that stand in most tasks.
        kindred: words that go with answers like its own.
        language: of the texts, or ``auto``.
    """
    if words := free_words(kindred, sample, common, language=language):
        found = [", ".join(words), *others]
    else:
        told = stems(reference, language=spoken_in(reference, sample.text, language))
        found = [*others, ", ".join(telling_words(sample, told | {*common}, language=language))]
    return [when for when in dict.fromkeys(found) if when]
