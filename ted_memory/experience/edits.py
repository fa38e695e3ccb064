"""From an edit to what the store must check and write: the rules for one lesson.

For `memory.commits`, and for previews of a run over a data set. Each edit is planned against a
snapshot: the result names the revisions that it was planned on, so that the store refuses it where
somebody else was quicker. Nothing is written here.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import singledispatch

from ted_memory.experience.capacity import Size, growth
from ted_memory.experience.identity import content, meaning
from ted_memory.experience.rendering import (
    is_seen,
    lesson_tokens,
    tidy_text,
    tidy_turn,
)
from ted_memory.models import (
    Add,
    Edit,
    Experience,
    ExperienceSet,
    Merge,
    Remove,
    Restore,
    Rewrite,
    SetState,
)
from ted_memory.protocols import ABSENT, Change

MOST_TERMS = 500  # characters of the index terms of one experience
# A lesson with more sources is refused, and none is ever dropped: words whose source was dropped
# would stay when their author is forgotten. Why there is a bound at all: the log holds a lesson
# before and after each change, and would grow with the square of the changes.
MOST_SOURCES = 500
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no 0/o, 1/l/i: ids are read by models and people


def new_id() -> str:
    """Return a random id: 6 characters, 30 bits. The store refuses one that is taken."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(6))


class Refusal(Exception):  # noqa: N818 - never leaves this module
    """An edit breaks a rule. The argument is the reason, as `Rejected` lists them."""


def plan(
    edits: Iterable[Edit],
    base: ExperienceSet,
    *,
    author: str,
    max_text: int,
    make_id: Callable[[], str] = new_id,
) -> tuple[Change, ...]:
    """Return what each edit checks and writes. One that breaks a rule has its reason instead.

    Args:
        edits: each is planned on its own; none sees what another one changes.
        base: the snapshot that they were made on.
        author: the source of lessons that name none.
        max_text: characters at most of text with condition, of example, of task.
        make_id: of new lessons.
    """
    planner = _Planner(base, author=author, max_text=max_text, make_id=make_id)
    changes = []
    for edit in edits:
        try:
            changes.append(planner.change(edit))
        except Refusal as refusal:
            changes.append(Change(edit=edit, rejected=str(refusal)))
    return tuple(changes)


def preview(edits: Iterable[Edit], base: ExperienceSet, *, max_text: int) -> tuple[Experience, ...]:
    """Return the set's experiences as they would be with these edits, in their order.

    An edit that breaks a rule of one lesson changes nothing. The caps of the set are not looked at.
    """
    experiences = dict(base.by_id)
    last = max((e.order for e in base), default=0)
    for change in plan(edits, base, author="preview", max_text=max_text):
        for id in change.deletes:
            experiences.pop(id, None)
        for put in change.puts:
            last += 1
            experiences[put.id] = put if put.order else put.model_copy(update={"order": last})
    return tuple(sorted(experiences.values(), key=lambda e: e.order))


def difference(old: Iterable[Experience], new: Iterable[Experience]) -> list[Edit]:
    """Return the edits that turn one set of experiences into another.

    When a lesson was last changed makes no difference. Edits that make room come before those that
    take it.
    """
    before = {e.id: e for e in old}
    after = {e.id: e for e in new}
    gone: list[Edit] = [Remove(id=id) for id in before if id not in after]
    changed = [e for e in after.values() if not _is_as_before(e, before.get(e.id))]
    changed.sort(key=lambda e: growth(before.get(e.id), e))
    return [*gone, *(Restore(experience=e) for e in changed)]


def _is_as_before(now: Experience, before: Experience | None) -> bool:
    if before is None:
        return False
    return now.model_copy(update={"rev": before.rev, "updated_at": before.updated_at}) == before


class _Planner:
    """Plans edits against one snapshot: the rules for a lesson's text, ids and size stand here.

    What each kind of edit does is in the functions that `_plan` dispatches to.
    """

    def __init__(
        self, base: ExperienceSet, *, author: str, max_text: int, make_id: Callable[[], str]
    ) -> None:
        self.base = base
        self.source = f"author:{author}"
        self.max_text = max_text
        self.make_id = make_id
        self.now = datetime.now(UTC)

    def change(self, edit: Edit) -> Change:
        return _plan(edit, self)

    def free_id(self) -> str:
        """Return an id that no lesson of the snapshot has."""
        while (id := self.make_id()) in self.base.by_id:
            pass
        return id

    def known(self, id: str) -> Experience:
        """Return the lesson with this id, or refuse the edit."""
        experience = self.base.by_id.get(id)
        if experience is None:
            raise Refusal("unknown")
        return experience

    def lesson(
        self,
        text: str,
        when: str,
        example: str,
        task: str,
        *,
        index_terms: str = "",
        **fields: object,
    ) -> Experience:
        """Return a lesson with tidy words and its size in tokens.

        Raises:
            Refusal: it says nothing, is too long for one lesson, or fits into no block by itself.
        """
        text, when, task = tidy_text(text), tidy_when(when), tidy_turn(task)
        example = tidy_turn(example) if task else tidy_text(example)
        if not text:
            raise Refusal("empty")
        if task and not (is_seen(task) and is_seen(example)):
            raise Refusal("a task without its answer")
        if max(len(text) + len(when), len(example), len(task)) > self.max_text:
            raise Refusal("too long")
        tokens = lesson_tokens(text, when, example, task)
        if Size().tokens + tokens > self.base.caps.token_budget:
            raise Refusal("over budget")
        words = {
            "text": text,
            "when": when,
            "example": example,
            "task": task,
            "index_terms": tidy_terms(index_terms),
        }
        return Experience.model_validate({**words, "tokens": tokens, **fields})


def tidy_when(when: str) -> str:
    """Return a condition without its own "when" or "if", since rendering puts "When " before it."""
    when = " ".join(when.split()).strip(" .,:;")
    first, _, rest = when.partition(" ")
    return rest.strip() if first.lower() in {"when", "if"} and rest else when


def tidy_terms(terms: str) -> str:
    """Return each index term once: the first ones, up to `MOST_TERMS` characters with blanks."""
    kept: list[str] = []
    for term in dict.fromkeys(terms.split()):
        if sum(map(len, kept)) + len(kept) + len(term) > MOST_TERMS:
            break
        kept.append(term)
    return " ".join(kept)


def _union(*groups: Sequence[str]) -> tuple[str, ...]:
    """Return all sources, each once, or refuse the edit where they are more than `MOST_SOURCES`.

    A lesson that has more already, such as a restored one, keeps them. Of the groups the last one
    are the edit's own sources, the others those of the lessons that it changes.
    """
    sources = tuple(dict.fromkeys(item for group in groups for item in group))
    if len(sources) > max(MOST_SOURCES, *map(len, groups[:-1])):
        raise Refusal("too many sources")
    return sources


@singledispatch
def _plan(edit: Edit, _planner: _Planner) -> Change:
    raise TypeError(f"{type(edit).__name__} is not an edit")


@_plan.register
def _(edit: Add, planner: _Planner) -> Change:
    experience = planner.lesson(
        edit.text,
        edit.when,
        edit.example,
        edit.task,
        id=planner.free_id(),
        everywhere=edit.everywhere,
        index_terms=edit.index_terms,
        state=edit.state,
        sources=_union((), edit.sources or (planner.source,)),
        metadata=edit.metadata,
        created_at=planner.now,
        updated_at=planner.now,
    )
    return Change(
        edit=edit, id=experience.id, expects=((experience.id, ABSENT),), puts=(experience,)
    )


@_plan.register
def _(edit: Rewrite, planner: _Planner) -> Change:
    old = planner.known(edit.id)
    new = planner.lesson(
        edit.text,
        old.when if edit.when is None else edit.when,
        old.example if edit.example is None else edit.example,
        _task_of(edit, old),
        id=old.id,
        everywhere=old.everywhere if edit.everywhere is None else edit.everywhere,
        index_terms=_terms_of(edit, old),
        state=old.state,
        order=old.order,
        parents=old.parents,
        sources=_union(old.sources, edit.sources or (planner.source,)),
        metadata=old.metadata,
        created_at=old.created_at,
        updated_at=planner.now,
    )
    if content(new) == content(old):
        raise Refusal("unchanged")
    fresh = () if meaning(new) == meaning(old) else (old.id,)
    return Change(
        edit=edit, id=old.id, expects=((old.id, _rev(edit.rev, old)),), puts=(new,), fresh=fresh
    )


@_plan.register
def _(edit: Merge, planner: _Planner) -> Change:
    if len(set(edit.ids)) != len(edit.ids):
        raise Refusal("repeated id")
    parents = [planner.known(id) for id in edit.ids]
    if len({parent.state for parent in parents}) > 1:
        # else a lesson without evidence would ride in on one that has it
        raise Refusal("states differ")
    merged = planner.lesson(
        edit.text,
        edit.when,
        edit.example,
        edit.task,
        id=planner.free_id(),
        everywhere=edit.everywhere,
        index_terms=" ".join(parent.index_terms for parent in parents),
        state=parents[0].state,
        parents=edit.ids,
        sources=_union(*(parent.sources for parent in parents), edit.sources),
        created_at=planner.now,
        updated_at=planner.now,
    )
    expects = ((merged.id, ABSENT), *((parent.id, parent.rev) for parent in parents))
    return Change(edit=edit, id=merged.id, expects=expects, puts=(merged,), deletes=edit.ids)


@_plan.register
def _(edit: Remove, planner: _Planner) -> Change:
    old = planner.known(edit.id)
    return Change(edit=edit, id=old.id, expects=((old.id, _rev(edit.rev, old)),), deletes=(old.id,))


@_plan.register
def _(edit: SetState, planner: _Planner) -> Change:
    old = planner.known(edit.id)
    expects = ((old.id, _rev(edit.rev, old)),)
    if edit.state == "retired":
        return Change(edit=edit, id=old.id, expects=expects, deletes=(old.id,))
    new = old.model_copy(update={"state": edit.state, "trial": edit.trial})
    return Change(edit=edit, id=old.id, expects=expects, puts=(new,))


@_plan.register
def _(edit: Restore, planner: _Planner) -> Change:
    given = edit.experience
    # The rules for a lesson hold for one that comes back, too; its token count is worked out anew.
    kept = given.model_dump(exclude={"text", "when", "example", "task", "tokens"})
    new = planner.lesson(given.text, given.when, given.example, given.task, **kept)
    old = planner.base.by_id.get(new.id)
    same = old if old and content(old) == content(new) else None
    if new.state == "trial":
        new = _back_on_trial(new, same)
    fresh = () if same else (new.id,)
    return Change(
        edit=edit,
        id=new.id,
        expects=((new.id, old.rev if old else ABSENT),),
        puts=(new,),
        fresh=fresh,
    )


def _back_on_trial(restored: Experience, now: Experience | None) -> Experience:
    """Return a restored lesson on trial as it may come back: its trial goes on, or it is proposed.

    That it was on trial once, or in another set, lets nobody see it.
    """
    if now is not None and now.state == "trial":
        return restored.model_copy(update={"trial": now.trial})
    return restored.model_copy(update={"state": "proposed", "trial": None})


def _task_of(edit: Rewrite, old: Experience) -> str:
    """Return the task after a rewrite: a new example by itself is no answer to the old task."""
    if edit.task is not None:
        return edit.task
    return old.task if edit.example is None else ""


def _terms_of(edit: Rewrite, old: Experience) -> str:
    """Return the index terms after a rewrite: the old ones do not belong to a new condition."""
    if edit.index_terms is not None:
        return edit.index_terms
    return old.index_terms if edit.when in {None, old.when} else ""


def _rev(stated: int | None, old: Experience) -> int:
    return old.rev if stated is None else stated
