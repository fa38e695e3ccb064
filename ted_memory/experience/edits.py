"""From an edit to what the store must check and write."""

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
# More are refused, never left out: words whose source fell off would stay when their author is
# forgotten. The log holds a lesson before and after each change, so without a bound it would grow
# with the square of the changes.
MOST_SOURCES = 500
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no 0/o, 1/l/i: ids are read by models and people


def new_id() -> str:
    """Return a fresh id: 6 characters, 30 bits; the store refuses one that is taken."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(6))


class Refusal(Exception):  # noqa: N818 - never leaves this module
    """An edit breaks a rule; the argument is the reason."""


def plan(
    edits: Iterable[Edit],
    base: ExperienceSet,
    *,
    author: str,
    max_text: int,
    make_id: Callable[[], str] = new_id,
) -> tuple[Change, ...]:
    """Work out each edit against a snapshot. An edit that breaks a rule comes back with its reason."""
    planner = _Planner(base, author=author, max_text=max_text, make_id=make_id)
    changes = []
    for edit in edits:
        try:
            changes.append(planner.change(edit))
        except Refusal as refusal:
            changes.append(Change(edit=edit, rejected=str(refusal)))
    return tuple(changes)


def preview(edits: Iterable[Edit], base: ExperienceSet, *, max_text: int) -> tuple[Experience, ...]:
    """Return the set's experiences as they would be with these edits in place; refused edits change nothing."""
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
    """Return the edits that turn one set of experiences into another; when one was last changed is no difference."""
    before = {e.id: e for e in old}
    after = {e.id: e for e in new}
    last_change = {"rev": 0, "updated_at": None}
    gone: list[Edit] = [Remove(id=id) for id in before if id not in after]
    changed = [
        e
        for e in after.values()
        if e.id not in before
        or e.model_copy(update=last_change) != before[e.id].model_copy(update=last_change)
    ]
    changed.sort(key=lambda e: growth(before.get(e.id), e))
    return [*gone, *(Restore(experience=e) for e in changed)]


class _Planner:
    """The rules, with what they need to know."""

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
        while (id := self.make_id()) in self.base.by_id:
            pass
        return id

    def known(self, id: str) -> Experience:
        experience = self.base.by_id.get(id)
        if experience is None:
            raise Refusal("unknown")
        return experience

    def lesson(self, text: str, when: str, example: str, task: str, **fields: object) -> Experience:
        """Return an experience with tidy text, within the caps on one lesson."""
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
        said = {"text": text, "when": when, "example": example, "task": task}
        fields["index_terms"] = tidy_terms(str(fields.get("index_terms", "")))
        return Experience.model_validate({**said, "tokens": tokens, **fields})


def tidy_when(when: str) -> str:
    """Return a condition that reads well after "When ": models often write the word themselves."""
    when = " ".join(when.split()).strip(" .,:;")
    first, _, rest = when.partition(" ")
    return rest.strip() if first.lower() in {"when", "if"} and rest else when


def tidy_terms(terms: str) -> str:
    """Return index terms once each, as many as are kept."""
    kept: list[str] = []
    for term in dict.fromkeys(terms.split()):
        if sum(map(len, kept)) + len(kept) + len(term) > MOST_TERMS:
            break
        kept.append(term)
    return " ".join(kept)


def _union(*groups: Sequence[str]) -> tuple[str, ...]:
    """Return all sources, each once. One lesson that has more already, such as a restored one, keeps them."""
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
    # the rules for a lesson hold for one that comes back, too; its token count is ours to make
    kept = given.model_dump(exclude={"text", "when", "example", "task", "tokens"})
    new = planner.lesson(given.text, given.when, given.example, given.task, **kept)
    old = planner.base.by_id.get(new.id)
    same = old if old and content(old) == content(new) else None
    if new.state == "trial":  # that it was on trial once, or elsewhere, lets nobody see it
        goes_on = same is not None and same.state == "trial"
        new = new.model_copy(
            update={"trial": same.trial}
            if same and goes_on
            else {"state": "proposed", "trial": None}
        )
    fresh = () if same else (new.id,)
    return Change(
        edit=edit,
        id=new.id,
        expects=((new.id, old.rev if old else ABSENT),),
        puts=(new,),
        fresh=fresh,
    )


def _task_of(edit: Rewrite, old: Experience) -> str:
    if edit.task is not None:
        return edit.task
    return old.task if edit.example is None else ""


def _terms_of(edit: Rewrite, old: Experience) -> str:
    if edit.index_terms is not None:
        return edit.index_terms
    return old.index_terms if edit.when in {None, old.when} else ""


def _rev(stated: int | None, old: Experience) -> int:
    return old.rev if stated is None else stated
