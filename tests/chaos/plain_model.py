"""What a set does, in plain Python: the rules as the README and the protocols state them."""

from dataclasses import dataclass, field, replace

from ted_memory import models as m
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.models import Add, Edit, ExperienceSet, Merge, Remove, Rewrite, SetState

MAX_ACTIVE = 4
BUDGET = FRAME_TOKENS + 40
SOURCE = ("author:me",)


@dataclass(frozen=True)
class Item:
    """What the model knows of one lesson."""

    text: str
    when: str
    state: str
    sources: tuple[str, ...]
    place: int

    @property
    def tokens(self) -> int:
        line = f"- When {self.when}: {self.text}\n" if self.when else f"- {self.text}\n"
        return -(-len(line.encode()) // 4)


Items = dict[str, Item]


@dataclass
class Model:
    """The set in plain Python: rules as README and the protocols state them."""

    forgets_removes: bool = False
    items: Items = field(default_factory=dict)
    revs: dict[str, int] = field(default_factory=dict)
    versions: list[Items] = field(default_factory=lambda: [{}])
    usage: dict[str, float] = field(default_factory=dict)
    last_place: int = 0

    @property
    def version(self) -> int:
        return len(self.versions) - 1

    def commit(
        self, edits: tuple[Edit, ...], base: ExperienceSet, made: list[str], atomic: bool
    ) -> list[str]:
        """Apply edits; give the reason of each one's refusal, or "".

        `made` are the ids that the store gave to what was added.
        """
        before = (dict(self.items), dict(self.revs), dict(self.usage), self.last_place)
        touched: set[str] = set()
        reasons = [self._edit(edit, base, made, touched) for edit in edits]
        if atomic and any(reasons):
            self.items, self.revs, self.usage, self.last_place = before
            return [reason or "aborted" for reason in reasons]
        if not all(reasons):
            self.versions.append(dict(self.items))
        return reasons

    def _edit(self, edit: Edit, base: ExperienceSet, made: list[str], touched: set[str]) -> str:
        ids = _ids_of(edit)
        if reason := _refused_as_seen(edit, ids, base):
            return reason
        if any(id in touched or self.revs.get(id) != base.by_id[id].rev for id in ids):
            return "conflict"
        if isinstance(edit, SetState) and edit.state == base.by_id[edit.id].state:
            return "unchanged"
        new = self._new(edit)
        if not self._fits(ids, new):
            return "cap"
        touched.update(ids)
        self._take_out(edit, ids)
        if new is not None:
            id = edit.id if isinstance(edit, Rewrite | SetState) else self._next_of(made)
            self.items[id], self.revs[id] = new, self.version + 1
            self.last_place = max(self.last_place, new.place)
        return ""

    def _next_of(self, made: list[str]) -> str:
        return made.pop(0) if made else f"not made {len(self.items)}"

    def _new(self, edit: Edit) -> Item | None:
        end = self.last_place + 1
        match edit:
            case Add():
                return Item(edit.text, edit.when, edit.state, edit.sources or SOURCE, end)
            case Rewrite():
                old = self.items[edit.id]
                sources = tuple(dict.fromkeys((*old.sources, *(edit.sources or SOURCE))))
                return Item(
                    edit.text,
                    old.when if edit.when is None else edit.when,
                    old.state,
                    sources,
                    old.place,
                )
            case Merge():
                parents = [self.items[id] for id in edit.ids]
                sources = tuple(dict.fromkeys(s for parent in parents for s in parent.sources))
                return Item(edit.text, edit.when, parents[0].state, sources, end)
            case SetState() if edit.state != "retired":
                old = self.items[edit.id]
                return Item(old.text, old.when, edit.state, old.sources, old.place)
        return None

    def _fits(self, ids: tuple[str, ...], new: Item | None) -> bool:
        was = [item for item in self.items.values() if item.state == "active"]
        will = [item for id, item in self.items.items() if item.state == "active" and id not in ids]
        will += [new] if new is not None and new.state == "active" else []
        cost, will_cost = (
            FRAME_TOKENS + sum(item.tokens for item in items) for items in (was, will)
        )
        return (len(will) <= max(len(was), MAX_ACTIVE)) and (will_cost <= max(cost, BUDGET))

    def _take_out(self, edit: Edit, ids: tuple[str, ...]) -> None:
        if isinstance(edit, SetState) and edit.state != "retired":
            return
        for id in ids:
            self.usage.pop(id, None)
            if not (self.forgets_removes and isinstance(edit, Remove)):
                self.items.pop(id)
                self.revs.pop(id)

    def rollback(self, version: int) -> None:
        """Make the newest version one that is as an older one was; nothing goes on trial by it."""
        target = {id: self._comes_back(id, item) for id, item in self.versions[version].items()}
        for id in [id for id in self.items if self.items[id] != target.get(id)]:
            if id not in target or (self.items[id].text, self.items[id].when) != (
                target[id].text,
                target[id].when,
            ):
                self.usage.pop(id, None)
        if target != self.items:
            self.versions.append(dict(target))
        revs = {
            id: self.revs[id] if self.items.get(id) == item else self.version
            for id, item in target.items()
        }
        self.items, self.revs = dict(target), revs

    def _comes_back(self, id: str, item: Item) -> Item:
        now = self.items.get(id)
        goes_on = now is not None and (now.text, now.when, now.state) == (
            item.text,
            item.when,
            "trial",
        )
        return item if item.state != "trial" or goes_on else replace(item, state="proposed")


def _ids_of(edit: Edit) -> tuple[str, ...]:
    """The lessons that an edit is about."""
    if isinstance(edit, Add):
        return ()
    return tuple(edit.ids) if isinstance(edit, Merge) else (edit.id,)


def _refused_as_seen(edit: Edit, ids: tuple[str, ...], base: ExperienceSet) -> str:
    """Why an edit is refused by what its sender saw of the set, or ""."""
    if any(id not in base.by_id for id in ids):
        return "unknown"
    old = [base.by_id[id] for id in ids]
    if isinstance(edit, Rewrite):
        says_the_same = (edit.text, edit.when or old[0].when) == (old[0].text, old[0].when)
        return "unchanged" if says_the_same else ""
    if isinstance(edit, Merge) and old[0].state != old[1].state:
        return "states differ"
    return ""


def view(experiences: ExperienceSet | list[m.Experience]) -> Items:
    return {e.id: Item(e.text, e.when, e.state, e.sources, e.order) for e in experiences}
