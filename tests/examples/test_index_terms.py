"""Right lessons by hand are found more often by words of training samples, without any model."""

import pytest

from examples.families import FAMILIES
from ted_memory.distill.index_terms import terms_of
from ted_memory.distill.leaks import recurring_answers
from ted_memory.experience.edits import tidy_terms
from ted_memory.models import Experience
from ted_memory.retrieval.bm25 import WordRetriever

# family -> held-out samples, of which the right lesson comes first: by conditions alone, with index
# terms
FIRST = {
    "helpdesk": (48, 43, 46),
    "townhall": (48, 42, 44),
    "museum": (40, 35, 38),
    "intents": (42, 33, 33),
}


@pytest.mark.parametrize("name", FIRST)
def test_the_right_lesson_comes_first_more_often(name: str) -> None:
    family = FAMILIES[name]
    split = family.read()
    terms = terms_of(split.train, recurring_answers(split.train))

    def right_first(*, indexed: bool) -> int:
        lessons = [
            Experience(
                id=rule.kind,
                text=rule.text,
                when=rule.when,
                index_terms=tidy_terms(
                    " ".join(
                        terms[s.id] for s in split.train if indexed and s.category == rule.kind
                    )
                ),
            )
            for rule in family.rules
        ]
        retriever, hits = WordRetriever(), 0
        for sample in split.held_out:
            found = retriever.rank_now(lessons, sample.text)
            hits += bool(found) and (sample.reference or "?") in found[0].text
        return hits

    assert (len(split.held_out), right_first(indexed=False), right_first(indexed=True)) == FIRST[
        name
    ]
