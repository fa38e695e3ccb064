"""The JSON that critic and compactor answer with, and how it becomes edits."""

from collections.abc import Collection, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ted_memory.experience.edits import tidy_when
from ted_memory.llm.calls import hash_images
from ted_memory.llm.structured import BadOutput
from ted_memory.models import Add, Edit, Experience, Merge, Remove, Rewrite
from ted_memory.retrieval.language import AUTO
from ted_memory.retrieval.selection import distinctive, match, spoken_in, stems

MOST_EDITS = 3  # of one critique; more is not distilled
MOST_COMPACTION_EDITS = 12


class _Answer(BaseModel):
    """Strict: a field too many or of another type is an error, not a guess.

    Flat: small models manage no more.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)


class ProposedEdit(_Answer):
    """One edit as a model writes it.

    ``ids`` are those it touches; ``when`` and ``text`` are the lesson's. What may be empty may be
    left out: small models pay for each token. A rewrite of nothing is read as an addition.
    """

    op: Literal["add", "rewrite", "merge", "remove"]
    ids: Annotated[list[str], Field(max_length=8)] = []
    when: str = ""
    text: str = ""
    example: str = ""

    @property
    def adds(self) -> bool:
        """Whether it makes a new lesson and touches no old one."""
        return self.op == "add" or (self.op == "rewrite" and not self.ids)


class Critique(_Answer):
    """What the critic answers.

    ``comparison`` is for itself: who writes down where attempts part sees why.
    """

    comparison: str = ""
    reason: str
    edits: Annotated[list[ProposedEdit], Field(max_length=MOST_EDITS)]
    helped: list[str] = []
    hurt: list[str] = []


class Compaction(_Answer):
    """What the compactor answers."""

    reason: str
    edits: Annotated[list[ProposedEdit], Field(max_length=MOST_COMPACTION_EDITS)]


def check_edits(edits: Sequence[ProposedEdit], known: Sequence[str], *, may_add: bool) -> None:
    """Refuse edits that name experiences which the model was not shown, or that say nothing.

    Raises:
        BadOutput: with what the model is told.
    """
    for edit in edits:
        _check_words(edit)
        if not edit.adds:
            _check_ids(edit, known)
        elif not may_add:
            raise BadOutput(
                "only rewrite, merge and remove are allowed here, each with the ids it touches"
            )


def _check_words(edit: ProposedEdit) -> None:
    if edit.op != "remove" and not edit.text.strip():
        raise BadOutput(f"the text of {edit.op} is empty")
    if any(hash_images(said) != said for said in (edit.when, edit.text, edit.example)):
        raise BadOutput("a lesson cannot hold an image; say in words what is seen")


def _check_ids(edit: ProposedEdit, known: Sequence[str]) -> None:
    unknown = [id for id in edit.ids if id not in known]
    if unknown:
        raise BadOutput(f"there is no experience {unknown[0]!r}")
    count = len(set(edit.ids))
    if edit.op == "merge" and count < 2:
        raise BadOutput("merge takes two or more ids")
    if edit.op != "merge" and count != 1:
        raise BadOutput(f"{edit.op} takes one id")


def as_additions(edits: Sequence[ProposedEdit], known: Sequence[str]) -> list[ProposedEdit]:
    """Return edits in which a rewrite of a lesson that was never shown is an addition.

    Small models copy the id that stands in their prompt's example; a capable one has mistyped, and
    is told so instead.
    """
    return [
        edit.model_copy(update={"op": "add", "ids": []}) if _is_made_up(edit, known) else edit
        for edit in edits
    ]


def _is_made_up(edit: ProposedEdit, known: Sequence[str]) -> bool:
    return edit.op == "rewrite" and not {*edit.ids} & {*known}


def about_the_same(experience: Experience, when: str, *, language: str = AUTO) -> bool:
    """Tell whether a lesson applies to something that this condition names too."""
    return match([experience.when or experience.text], when, language=language)[0] > 0


def in_its_own_words(
    proposed: ProposedEdit,
    shown: Sequence[Experience],
    task: str,
    common: Collection[str],
    *,
    language: str = AUTO,
) -> ProposedEdit:
    """Return a critic's edit with a condition that is about this task.

    Words that stand in every task (`common`, as stems) go, and from an addition the phrases that
    were copied from the lessons that were shown. A rewrite that is about something else becomes an
    addition, or what the old lesson knew would be lost.
    """
    when = tidy_when(proposed.when)
    theirs = " ".join(e.when for e in shown)
    spoken = spoken_in(theirs, task, language)
    copied = stems(theirs, language=spoken) - stems(task, language=spoken)
    own = distinctive(when, task, common=common, foreign=copied, language=language)
    if proposed.adds:
        return proposed.model_copy(update={"when": own})
    old = next((e for e in shown if [e.id] == proposed.ids), None)
    if proposed.op == "rewrite" and old and own and not about_the_same(old, own, language=language):
        return proposed.model_copy(update={"op": "add", "ids": [], "when": own})
    return proposed.model_copy(
        update={"when": distinctive(when, task, common=common, language=language)}
    )


def to_edits(
    proposed: Sequence[ProposedEdit],
    shown: Sequence[Experience],
    *,
    state: Literal["active", "proposed"],
    sources: tuple[str, ...],
    additions_only: bool,
    index_terms: str = "",
) -> list[Edit]:
    """Turn checked proposals into edits.

    An addition that says what is known already is dropped; a rewrite without a condition keeps the
    old one. What has a condition is found by the ``index_terms`` of its task as well.
    """
    known = {_said(e.when, e.text) for e in shown}
    edits: list[Edit] = []
    for p in proposed:
        when = tidy_when(p.when)
        if not p.adds:
            if not additions_only:
                edits.append(_change(p, shown, sources=sources, index_terms=index_terms))
        elif _said(when, p.text) not in known:
            known.add(_said(when, p.text))
            edits.append(
                Add(
                    text=p.text,
                    when=when,
                    example=p.example,
                    index_terms=index_terms if when else "",
                    state=state,
                    sources=sources,
                )
            )
    return edits


def _change(
    proposed: ProposedEdit,
    shown: Sequence[Experience],
    *,
    sources: tuple[str, ...],
    index_terms: str,
) -> Edit:
    """Turn a proposal that touches old lessons into an edit."""
    when, ids = tidy_when(proposed.when), tuple(dict.fromkeys(proposed.ids))
    text, example = proposed.text, proposed.example
    if proposed.op == "remove":
        return Remove(id=ids[0])
    if proposed.op == "merge":
        return Merge(ids=ids, text=text, when=when, example=example, sources=sources)
    old = next((e.index_terms for e in shown if [e.id] == proposed.ids), "")
    return Rewrite(
        id=ids[0],
        text=text,
        when=when or None,
        example=example or None,
        index_terms=f"{old} {index_terms}".strip(),
        sources=sources,
    )


def to_proposals(
    proposed: Sequence[ProposedEdit], shown: Sequence[Experience], *, sources: tuple[str, ...]
) -> list[Edit]:
    """Turn a critique into new proposals, for where nothing is believed without evidence.

    A rewrite becomes a proposal of its own, or text without evidence would stand in place of text
    that has it; merges and removals are left to the evidence. What waits already needs no second
    proposal.
    """
    known = {_said(e.when, e.text) for e in shown}
    edits: list[Edit] = []
    for p in proposed:
        when = tidy_when(p.when)
        if p.op in {"merge", "remove"}:
            continue
        if p.op == "rewrite" and not when:
            when = next((e.when for e in shown if [e.id] == p.ids), "")
        if _said(when, p.text) not in known:
            edits.append(
                Add(text=p.text, when=when, example=p.example, state="proposed", sources=sources)
            )
    return edits


def _said(when: str, text: str) -> tuple[str, str]:
    return when.casefold(), " ".join(text.split()).casefold()
