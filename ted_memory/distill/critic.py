"""The critic: the teacher, comparing the attempts with its own solution and the reference."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.errors import NodeError
from langgraph.types import Command

from ted_memory.distill.attempts import describe_attempts
from ted_memory.distill.calls import is_final, is_transient, one_line
from ted_memory.distill.kit import Kit
from ted_memory.distill.prompts import CRITIC
from ted_memory.distill.proposals import Critique, check_edits, in_its_own_words, to_edits
from ted_memory.distill.state import (
    DistillState,
    Json,
    dump_edits,
    dump_spend,
    mean_score,
    read_graded,
    read_sample,
    read_set,
)
from ted_memory.distill.trial import describe
from ted_memory.experience.rendering import render_line
from ted_memory.experience.utility import estimate
from ted_memory.messages import image_blocks
from ted_memory.models import Edit, Experience, Usage


def worth_a_critique(state: Mapping[str, Any]) -> bool:
    """Tell whether there is something to learn: not when all attempts are right, nor when none has a score.

    What an attempt got wrong while a lesson was withheld from it says what that lesson is worth, which is counted, and
    not that another one is needed: where attempts saw all that they could, only these decide.
    """
    graded = read_graded(state)
    informed = [t for t in graded if set(t.eligible) <= set(t.seen)]
    mean = mean_score(informed)
    mean = mean_score(graded) if mean is None else mean
    return mean is not None and mean < 1.0


async def critique(state: DistillState, *, kit: Kit) -> Json:
    """Ask for edits, and for which experiences helped or hurt."""
    shown = _shown(state)
    ids = [e.id for e in shown]

    def check(answer: Critique) -> None:
        check_edits(answer.edits, ids, may_add=True)

    result = await kit.critic.ask(_messages(state, shown), Critique, check)
    update: Json = {"spend": dump_spend(result.spend), "round": state["round"] + 1, "proposal": []}
    if result.value is None:
        note = f"no usable critique: {result.problem}; it wrote: {result.raw[:200]!r}"
        return {**update, "status": "set_aside", "note": note}
    task, common = read_sample(state).text, state.get("common", ())
    edits = to_edits(
        [in_its_own_words(edit, shown, task, common) for edit in result.value.edits],
        shown,
        state=kit.new_state,
        sources=(state["source"],) if state.get("source") else (),
        additions_only=result.repaired,
    )
    if again := _refused_before(edits, state):
        return {**update, "status": "set_aside", "note": f"asked again, the critic said the same: {again}"}
    proposal = dump_edits(edits)
    return {
        **update,
        "proposal": proposal,
        "accepted": [] if kit.settings.max_tries else proposal,
        "reason": result.value.reason,
        "helped": [id for id in result.value.helped if id in ids],
        "hurt": [id for id in result.value.hurt if id in ids],
        "feedback": [*state["feedback"], {"answer": result.raw, "told": ""}],
        "note": result.value.reason,
    }


def _refused_before(edits: Sequence[Edit], state: DistillState) -> str:
    """Return what spoke against these edits if all of them were tried before, else an empty string.

    To try them again until luck lets them through would be no test.
    """
    refused = {r["edit"]: f"{r['edit']!r}: {r['reason']}" for r in state.get("refused", [])}
    said = [describe(edit) for edit in edits]
    return refused[said[0]] if said and all(edit in refused for edit in said) else ""


def critique_failed(_state: DistillState, error: NodeError) -> Command[str]:
    """Set the sample aside when the critic cannot be asked."""
    if is_final(error.error):
        raise error.error
    note = f"the critic failed: {one_line(error.error)}"
    update = {"status": "set_aside", "lost": is_transient(error.error), "note": note, "proposal": []}
    return Command(update=update, goto="credit")


def _shown(state: DistillState) -> list[Experience]:
    """Return the experiences that the attempts could have seen; only these can have helped or hurt."""
    snapshot = read_set(state)
    ids = dict.fromkeys(id for t in read_graded(state) for id in (*t.eligible, *t.seen))
    waiting = [e.id for e in (*snapshot.trial, *snapshot.proposed)]
    return [snapshot.by_id[id] for id in (*ids, *waiting) if id in snapshot.by_id]


def _messages(state: DistillState, shown: Sequence[Experience]) -> list[BaseMessage]:
    sample = read_sample(state)
    messages = CRITIC.messages(
        task=sample.text,
        reference=state["reference"],
        solution=state.get("solution") or "(none)",
        attempts=describe_attempts(read_graded(state)),
        experiences=experiences_text(shown, read_set(state).usage),
    )
    if pictures := image_blocks(sample):
        messages[-1] = HumanMessage(content=[{"type": "text", "text": messages[-1].text}, *pictures])
    for turn in state["feedback"]:
        messages += [AIMessage(content=turn["answer"]), HumanMessage(content=turn["told"])]
    return messages


def experiences_text(experiences: Sequence[Experience], usage: Mapping[str, Usage]) -> str:
    """Return the experiences as a model sees them: id, estimated lift, lesson."""
    lines = [
        f"{e.id} (lift {estimate(usage.get(e.id, Usage())).mean:+.2f}) {render_line(e.text, e.when)[2:]}"
        for e in experiences
    ]
    return "\n".join(lines) or "(none)"
