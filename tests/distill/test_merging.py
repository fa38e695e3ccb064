"""A set is made smaller only where a replay on the lessons' own samples shows no loss."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage

from ted_memory import Add, Merge, Remove, Rewrite, Sample, TedMemory
from ted_memory.distill import merging
from ted_memory.distill.context import DistillContext
from ted_memory.distill.merging import Replayed, replay
from ted_memory.experience.betting import Verdict
from ted_memory.grading.judge import bind_grader
from ted_memory.llm.calls import Calls
from ted_memory.llm.structured import StructuredModel
from ted_memory.models import Edit
from ted_memory.testing import ScriptedChatModel, in_memory
from tests.distill.scripts import prompt_of, student, teacher

RULES = {
    "dividing numbers": "check first whether the divisor is zero",
    "computing a ratio": "see to it that you never divide by zero",
    "reading a list": "say what you do when it is empty",
}
SAYS = {  # which lesson makes the student do right, however it is worded
    "dividing numbers": ("divisor is zero", "divide by zero"),
    "computing a ratio": ("divisor is zero", "divide by zero", "ratio of nothing"),
    "reading a list": ("empty",),
}
ASKED = [
    Sample(
        id=f"{situation}-{i}",
        input=f"A task about {situation}, number {i}.",
        reference="done with care",
    )
    for situation in RULES
    for i in range(3)
]


def careful(messages: list[BaseMessage]) -> str:
    """Play a student that does right where some lesson says what to look out for."""
    said = prompt_of(messages)
    situation = next(one for one in RULES if f"A task about {one}" in said)
    lessons = "\n".join(line for line in said.splitlines() if line.startswith("- "))
    return "done with care" if any(word in lessons for word in SAYS[situation]) else "crashed"


class Lucky:
    """The same student, but right by luck now and then; every so many answers."""

    def __init__(self, every: int) -> None:
        self.every, self.turn = every, 0

    def __call__(self, messages: list[BaseMessage]) -> str:
        self.turn += 1
        return "done with care" if self.turn % self.every == 0 else careful(messages)


async def three_rules(
    answering: Callable[[list[BaseMessage]], str] = careful, **settings: Any
) -> tuple[TedMemory, DistillContext]:
    """Return three lessons, the samples that they came from, and what it takes to replay."""
    memory = in_memory(**{"trust": "always", "selection": "all", **settings})
    await memory.commit(
        [
            Add(
                text=text,
                when=situation,
                sources=tuple(f"dataset:care#{situation}-{i}" for i in range(3)),
            )
            for situation, text in RULES.items()
        ],
        author="me",
    )
    model, calls = teacher(), Calls(4)
    context = DistillContext(
        student=student(answering),
        teacher=model,
        critic=StructuredModel(model, calls),
        memory=memory,
        grader=bind_grader("auto", calls),
        calls=calls,
        author="me",
        samples={f"dataset:care#{sample.id}": sample for sample in ASKED},
    )
    return memory, context


async def replayed(
    edit_of: Callable[[tuple[str, ...]], Edit], *, times: int = 1, **given: Any
) -> list[Replayed]:
    memory, context = await three_rules(**given)
    snapshot = await memory.load()
    edit = edit_of(tuple(e.id for e in snapshot))
    return [await replay([edit], snapshot, context) for _ in range(times)]


def paraphrase(ids: tuple[str, ...]) -> Edit:
    return Merge(
        ids=ids[:2],
        when="dividing, or computing a ratio",
        text="never divide by zero: check it first",
    )


def lossy(ids: tuple[str, ...]) -> Edit:
    """Say of three lessons what two of them said."""
    return Merge(ids=ids, when="working with numbers and lists", text="never divide by zero")


def wrong(ids: tuple[str, ...]) -> Edit:
    return Merge(ids=ids[:2], when="computing", text="be quick about it")


def needed(ids: tuple[str, ...]) -> Edit:
    return Remove(id=ids[2])


def doubled(ids: tuple[str, ...]) -> Edit:
    """Take out a lesson whose meaning another one holds."""
    return Remove(id=ids[0])


def emptied(ids: tuple[str, ...]) -> Edit:
    return Rewrite(id=ids[2], text="read it well")


@pytest.mark.parametrize("edit_of", [paraphrase, doubled])
async def test_what_says_the_same_in_other_words_is_joined(
    edit_of: Callable[[tuple[str, ...]], Edit],
) -> None:
    [found] = await replayed(edit_of)
    assert len(found.edits) == 1
    assert found.told[0]["reason"].startswith("nothing is lost: mean change +0.00 in ")
    assert found.spend.student.calls > 0


@pytest.mark.parametrize("edit_of", [wrong, lossy, needed, emptied])
async def test_what_loses_something_is_refused(edit_of: Callable[[tuple[str, ...]], Edit]) -> None:
    [found] = await replayed(edit_of)
    assert found.edits == ()
    assert found.told[0]["reason"].startswith(
        "something is lost, or it was not shown that nothing is: mean change -"
    )


@pytest.mark.parametrize("edit_of", [wrong, lossy, needed, emptied])
async def test_control_without_the_replays_verdict_each_of_them_passes(
    edit_of: Callable[[tuple[str, ...]], Edit], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind(merging.PairedTest):
        def add(self, difference: float) -> Verdict:
            return super().add(0.0)

    monkeypatch.setattr(merging, "PairedTest", Blind)
    [found] = await replayed(edit_of)
    assert len(found.edits) == 1


async def test_a_merge_of_lessons_without_samples_at_hand_is_refused() -> None:
    memory, context = await three_rules()
    snapshot = await memory.load()
    context = DistillContext(**(vars(context) | {"samples": {}}))
    found = await replay([paraphrase(tuple(e.id for e in snapshot))], snapshot, context)
    assert found.edits == ()
    assert "no sample of its lessons is at hand" in found.told[0]["reason"]


async def test_what_was_refused_is_not_tried_until_luck_lets_it_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def once_more() -> Any:
        return replayed(wrong, times=3, answering=Lucky(3))

    first, *later = await once_more()
    assert first.edits == ()
    assert all(found.told == () and found.spend.student.calls == 0 for found in later)

    class Forgetful(set[str]):
        def add(self, _: str, /) -> None:
            pass

    real = three_rules

    async def forgetful(**given: Any) -> tuple[TedMemory, DistillContext]:
        memory, context = await real(**given)
        return memory, DistillContext(**(vars(context) | {"lossy": Forgetful()}))

    monkeypatch.setitem(globals(), "three_rules", forgetful)
    assert all(found.told for found in await once_more()), "the control: it would be asked again"


async def test_what_was_refused_is_tried_again_once_the_prompts_have_changed() -> None:
    """Another lesson that says the same makes up for what would have been lost."""
    memory, context = await three_rules()
    first = await memory.load()
    edit = needed(tuple(e.id for e in first))
    assert (await replay([edit], first, context)).edits == ()
    assert (await replay([edit], first, context)).told == ()
    await memory.commit(
        [Add(text="look out for what is empty", when="reading a list")], author="me"
    )
    assert (await replay([edit], await memory.load(), context)).edits == (edit,)


async def test_what_the_provider_lost_may_be_tried_again() -> None:
    def away(_: list[BaseMessage]) -> str:
        raise ValueError("no such model")

    memory, context = await three_rules()
    snapshot = await memory.load()
    ids = tuple(e.id for e in snapshot)
    broken = DistillContext(**(vars(context) | {"student": ScriptedChatModel(script=away)}))
    found = await replay([paraphrase(ids)], snapshot, broken)
    assert found.edits == ()
    assert "could not be replayed" in found.told[0]["reason"]
    assert broken.lossy == set()


# --- what is kept together is proved together


def both_of_a_pair(ids: tuple[str, ...]) -> list[Edit]:
    """Take out two lessons that say the same: each one may go while the other one stays."""
    return [Remove(id=ids[0]), Remove(id=ids[1])]


def one_of_a_pair_and_what_the_other_said(ids: tuple[str, ...]) -> list[Edit]:
    """Take out one of two equal lessons, and let the other say just enough for its own samples."""
    return [Remove(id=ids[0]), Rewrite(id=ids[1], text="there is no ratio of nothing")]


PAIRS = [both_of_a_pair, one_of_a_pair_and_what_the_other_said]


async def committed(
    edits_of: Callable[[tuple[str, ...]], list[Edit]],
) -> tuple[Replayed, dict[str, bool]]:
    """Commit what a replay lets through.

    Returns:
        It, and the situations in which the student still does right.
    """
    memory, context = await three_rules()
    snapshot = await memory.load()
    found = await replay(edits_of(tuple(e.id for e in snapshot)), snapshot, context)
    await memory.commit(list(found.edits), author="me")
    block = await memory.render()
    return found, {
        s: careful([HumanMessage(f"{block}\n\nA task about {s}")]) == "done with care"
        for s in RULES
    }


@pytest.mark.parametrize("edits_of", PAIRS)
async def test_of_two_lessons_that_say_the_same_what_they_say_stays(
    edits_of: Callable[[tuple[str, ...]], list[Edit]],
) -> None:
    found, does_right = await committed(edits_of)
    assert all(does_right.values()), does_right
    assert len(found.edits) == 1
    assert [joined["kept"] for joined in found.told].count(False) == 1


@pytest.mark.parametrize("edits_of", PAIRS)
async def test_control_if_each_edit_is_proved_alone_it_is_lost(
    edits_of: Callable[[tuple[str, ...]], list[Edit]], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_company = merging.Proof._of

    async def alone(self: merging.Proof, edit: Edit, _: Sequence[Edit]) -> Any:
        return await in_company(self, edit, [edit])

    monkeypatch.setattr(merging.Proof, "_of", alone)
    found, does_right = await committed(edits_of)
    assert len(found.edits) == 2
    assert not all(does_right.values())


@pytest.mark.parametrize(("selection", "share"), [("relevant", 1.0), ("all", 1.5)])
async def test_edits_that_change_no_prompt_of_each_other_cost_what_they_cost_alone(
    selection: str, share: float
) -> None:
    """Where all lessons are shown, answers are asked for twice with an edit, once without it."""

    def clearer(ids: tuple[str, ...], of: Sequence[int]) -> list[Edit]:
        return [Rewrite(id=ids[i], text=f"{list(RULES.values())[i]}, please") for i in of]

    async def calls(of: Sequence[int]) -> int:
        memory, context = await three_rules(selection=selection, top_k=1)
        snapshot = await memory.load()
        found = await replay(clearer(tuple(e.id for e in snapshot), of), snapshot, context)
        assert len(found.edits) == len(of)
        return found.spend.student.calls

    alone = await calls([0]) + await calls([2])
    assert alone <= await calls([0, 2]) <= share * alone


async def test_two_edits_of_one_lesson_are_not_both_kept() -> None:
    memory, context = await three_rules()
    snapshot = await memory.load()
    first, second, _ = (e.id for e in snapshot)
    merge = paraphrase((first, second))
    found = await replay([merge, Remove(id=second)], snapshot, context)
    assert found.edits == (merge,)
    assert found.told[1]["reason"] == "it touches what another edit changes"
