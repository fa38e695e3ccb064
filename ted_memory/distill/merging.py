"""Making a set smaller without losing what it knows.

Here stands which lessons may be one, and the proof that nothing was lost.

Two lessons may be joined without a model when they say the same: the same text, or the same one of
the answers that recur. A model may propose more. Whatever is proposed is replayed on the samples
that the old lessons came from, with the old ones and with the new one, until it is shown that less
is lost than the profile's rule allows, or it is refused. What is kept together is proved together:
of two lessons that say the same each one can go, but not both.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from ted_memory.distill.comparison import Comparison, Judge
from ted_memory.distill.context import DistillContext
from ted_memory.distill.judges import changed_set
from ted_memory.distill.proposals import about_the_same
from ted_memory.distill.scoring import chosen, gather_all
from ted_memory.distill.state import Joined
from ted_memory.experience.betting import PairedTest
from ted_memory.experience.lift import rank
from ted_memory.experience.rendering import render_line
from ted_memory.grading.answers import plain, stands_in
from ted_memory.llm.calls import is_final, one_line
from ted_memory.llm.spend import Spend
from ted_memory.models import (
    Edit,
    Experience,
    ExperienceSet,
    Merge,
    Remove,
    Rewrite,
    Sample,
    SetState,
)
from ted_memory.retrieval.selection import common_words, stems

JUDGES = 8  # samples that one merge is replayed on, at most


@dataclass(frozen=True)
class Replayed:
    """The edits that held up, and what became of each one."""

    edits: tuple[Edit, ...]
    told: tuple[Joined, ...]
    spend: Spend


def said_twice(experiences: Sequence[Experience]) -> list[Edit]:
    """Return merges of lessons that are the same word for word.

    Two passes at once may have learned the same.
    """
    alike: dict[tuple[str, str, str], list[Experience]] = defaultdict(list)
    for e in experiences:
        alike[e.when.casefold(), e.text.casefold(), e.task].append(e)
    return [
        Merge(ids=_ids_of(same), text=same[0].text, when=same[0].when, **_example(same))
        for same in alike.values()
        if len(same) > 1
    ]


def joinable(snapshot: ExperienceSet, labels: Collection[str], *, max_text: int) -> list[Merge]:
    """Return merges of active lessons that say to do the same in different situations.

    Their conditions are strung together; the text is that of the lesson with the highest utility.
    """
    alike: dict[str, list[Experience]] = defaultdict(list)
    for e in rank(snapshot.active, snapshot.usage):
        if not e.applies_always and not e.task:  # each solved task is one of its own
            alike[_what_to_do(e.text, labels)].append(e)
    merges = []
    for same in alike.values():
        when = _strung([e.when for e in same])
        if len(same) > 1 and len(when) + len(same[0].text) <= max_text:
            merges.append(Merge(ids=_ids_of(same), text=same[0].text, when=when, **_example(same)))
    return merges


async def replay(
    edits: Sequence[Edit], snapshot: ExperienceSet, context: DistillContext
) -> Replayed:
    """Put merges, rewrites and removals of a compaction to the proof (see `Proof`).

    What this process has refused before, with the same prompts, is left out: asked often enough,
    luck would let it through.
    """
    comparison = Comparison(context, context.memory.presentation(snapshot).placement)
    found = await Proof(snapshot, context, comparison).of(edits)
    kept = tuple(
        edit
        for edit, joined in zip(edits, found, strict=True)
        if joined is not None and joined["kept"]
    )
    return Replayed(kept, tuple(joined for joined in found if joined is not None), comparison.spend)


def touched_by(edits: Sequence[Edit]) -> set[str]:
    """Return the ids of the experiences that these edits change or take out."""
    touched = set[str]()
    for edit in edits:
        if isinstance(edit, Merge):
            touched |= {*edit.ids}
        elif isinstance(edit, Rewrite | Remove | SetState):
            touched.add(edit.id)
    return touched


def at_hand(experience: Experience, samples: Mapping[str, Sample]) -> list[Sample]:
    """Return the samples that an experience came from, those at hand that can be graded."""
    return [
        samples[source]
        for source in experience.sources
        if source in samples and samples[source].reference
    ]


def origins(
    experiences: Sequence[Experience],
    samples: Mapping[str, Sample],
    instead: Mapping[str, Sequence[Sample]],
) -> list[Sample]:
    """Return samples that these experiences came from, some of each, `JUDGES` at most.

    ``instead``, by id of the experience: what stands in where none is at hand.
    """
    each = [at_hand(e, samples) or instead.get(e.id, ()) for e in experiences]
    turns = [group[i] for i in range(JUDGES) for group in each if i < len(group)]
    return list({sample.id: sample for sample in turns}.values())[:JUDGES]


def _ids_of(experiences: Sequence[Experience]) -> tuple[str, ...]:
    """Return their ids."""
    return tuple(e.id for e in experiences)


@dataclass
class Proof:
    """Asks the student whether edits lose anything of what the lessons hold that they touch.

    Attributes:
        snapshot: the set without any of them.
        comparison: its answers without the edits are shared by all of them.
        beside: edits that are in place besides.
        instead: by the id of a lesson, the samples that stand in where none that it came from is at
            hand.
    """

    snapshot: ExperienceSet
    context: DistillContext
    comparison: Comparison
    beside: Sequence[Edit] = ()
    instead: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    _held: dict[object, Joined] = field(default_factory=dict)

    async def of(self, edits: Sequence[Edit]) -> list[Joined | None]:
        """Find out what becomes of each of these edits; None for one that was refused before.

        Two lessons that say the same may each go as long as the other one stays. So an edit is
        replayed with those in place that held before it. What held is then replayed with those
        after it in place, too, which takes answers only where they change a prompt of its samples.
        """
        found, kept = list[Joined | None](), list[int]()
        for number, edit in enumerate(edits):
            found.append(await self._of(edit, [*(edits[i] for i in kept), edit]))
            if _holds(found[number]):
                kept.append(number)
        all_hold = False
        while not all_hold:
            together = [edits[i] for i in kept]
            again = await gather_all(*(self._of(edit, together) for edit in together))
            for i, joined in zip(kept, again, strict=True):
                found[i] = joined
            all_hold = all(map(_holds, again))
            kept = [i for i in kept if _holds(found[i])]
        return found

    async def _of(self, edit: Edit, together: Sequence[Edit]) -> Joined | None:
        """Return what became of an edit with these in place, itself among them."""
        what, together = _described(edit, self.snapshot), [*self.beside, *together]
        if problem := self._never(edit, together):
            return Joined(edit=what, kept=False, reason=problem)
        judges = await self._judges(edit, self._with(together))
        if not judges:
            return Joined(
                edit=what, kept=False, reason="no sample of its lessons is at hand to prove it on"
            )
        judges = [judge for judge in judges if judge.differs]
        if not judges:
            return Joined(
                edit=what,
                kept=True,
                reason="it changes no prompt of the samples that its lessons came from",
            )
        asked = (what, tuple((judge.sample.id, judge.prompts) for judge in judges))
        if asked in self.context.lossy:
            return None
        if asked not in self._held:
            joined = await self._replayed(what, judges, asked)
            if not joined["kept"]:
                return joined
            self._held[asked] = joined
        return self._held[asked]

    def _never(self, edit: Edit, together: Sequence[Edit]) -> str:
        """Return why an edit can never be kept beside these, "" where it can."""
        if not touched_by([edit]).isdisjoint(
            touched_by([other for other in together if other is not edit])
        ):
            return "it touches what another edit changes"
        if self._with([edit]) == self.snapshot.experiences:
            return "it cannot be kept: too long, or it touches what has changed"
        return ""

    async def _replayed(self, what: str, judges: Sequence[Judge], asked: object) -> Joined:
        test = PairedTest(self.context.profile.loss)
        try:
            pairs = await self.comparison.test_loss(test, judges)
        except Exception as error:
            if is_final(error):
                raise
            return Joined(
                edit=what, kept=False, reason=f"it could not be replayed: {one_line(error)}"
            )
        # the test asks for a loss: shown to be less than what matters is what a merge needs
        kept = test.verdict == "useless"
        if not kept:
            self.context.lossy.add(asked)
        verdict = (
            "nothing is lost" if kept else "something is lost, or it was not shown that nothing is"
        )
        change = f"mean change {0.0 - test.mean:+.2f} in {len(pairs)} pairs"
        return Joined(edit=what, kept=kept, reason=f"{verdict}: {change}")

    async def _judges(self, edit: Edit, after: Sequence[Experience]) -> list[Judge]:
        snapshot, context = self.snapshot, self.context
        return [
            Judge(
                sample,
                sample.reference or "",
                await chosen(context, sample, snapshot, snapshot.experiences),
                await chosen(context, sample, snapshot, after),
            )
            for sample in origins(changed(edit, snapshot), context.samples, self.instead)
        ]

    def _with(self, edits: Sequence[Edit]) -> tuple[Experience, ...]:
        return changed_set(edits, self.snapshot, max_text=self.context.settings.max_text)


def _holds(joined: Joined | None) -> bool:
    return joined is not None and joined["kept"]


def changed(edit: Edit, snapshot: ExperienceSet) -> list[Experience]:
    """Return the lessons that an edit touches."""
    return [snapshot.by_id[id] for id in sorted(touched_by([edit])) if id in snapshot.by_id]


def _described(edit: Edit, snapshot: ExperienceSet) -> str:
    was = " | ".join(
        render_line(e.text, e.when, e.example, e.task) for e in changed(edit, snapshot)
    )
    if isinstance(edit, Remove):
        return f"remove: {was}"
    if not isinstance(edit, Merge | Rewrite):
        return f"{was} => "
    return (
        f"{was} => {render_line(edit.text, edit.when or '', edit.example or '', edit.task or '')}"
    )


def keeps_what_is_known(edit: Edit, snapshot: ExperienceSet) -> bool:
    """Tell whether an edit keeps the old ones' own words, and joins only what belongs together."""
    if isinstance(edit, Merge):
        parents = [snapshot.by_id[id] for id in edit.ids]
        known = snapshot.active
        return coherent(parents, known) and all(
            keeps(parent.text, edit.text, known) for parent in parents
        )
    if isinstance(edit, Rewrite) and edit.when:
        return about_the_same(snapshot.by_id[edit.id], edit.when)
    return True


def keeps(text: str, merged: str, others: Sequence[Experience]) -> bool:
    """Tell whether a merged text keeps what was special about the text of one of its parents.

    It must hold at least half of the words that set that one apart. Lessons for the same kind of
    task may say opposite things; one of them would be lost.
    """
    counts = Counter(word for e in others for word in _words(e.text))
    own = {word for word in _words(text) if counts[word] <= len(others) / 2}
    return len(own & _words(merged)) >= len(own) / 2


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def coherent(experiences: Sequence[Experience], among: Sequence[Experience]) -> bool:
    """Tell whether every two of them apply to something alike.

    A merge of unrelated lessons says nothing. What nearly all lessons of the set name, such as "a
    customer asks", does not make two of them alike, unless they name nothing else.
    """
    common = common_words([e.when or e.text for e in among])
    named = [stems(e.when or e.text) for e in experiences]
    return all(a & b - common or a == b for a, b in combinations(named, 2))


def label_in(text: str, labels: Collection[str]) -> str:
    """Return the one label that a text names, in plain form; "" where it names none or several.

    Where it names "team a plus" it does not name "team a".
    """
    said = plain(text)
    named = [label for label in labels if stands_in(label, said)]
    longest = max(named, key=len, default="")
    return longest if all(label in longest for label in named) else ""


def _what_to_do(text: str, labels: Collection[str]) -> str:
    """Return what texts have in common that say to do the same.

    It is the one label that they name, else their words.
    """
    return label_in(text, labels) or " ".join(re.findall(r"\w+", plain(text)))


def _strung(conditions: Sequence[str]) -> str:
    """Return one condition that holds where any of these does; each phrase once."""
    mark = _between_phrases(conditions)
    phrases = [part.strip() for when in conditions for part in when.split(mark)]
    unique = {phrase.casefold(): phrase for phrase in reversed(phrases) if phrase}
    return f"{mark} ".join(reversed(unique.values()))


def _between_phrases(conditions: Sequence[str]) -> str:
    """Return what stands between the phrases of these conditions.

    Key words have commas between them. Whole sentences may have commas of their own, and are
    parted by semicolons.
    """
    if any(";" in when for when in conditions):
        return ";"
    are_key_words = all("," in when or " " not in when for when in conditions)
    return "," if are_key_words else ";"


def _example(experiences: Sequence[Experience]) -> dict[str, str]:
    return next(({"example": e.example, "task": e.task} for e in experiences if e.example), {})
