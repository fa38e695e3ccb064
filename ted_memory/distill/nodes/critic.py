"""The critic: the teacher, comparing the attempts with its own solution and the reference."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.errors import NodeError
from langgraph.types import Command

from ted_memory.distill.attempts import describe_attempts, whole_attempts
from ted_memory.distill.context import DistillContext
from ted_memory.distill.nodes.verify import tells_an_answer
from ted_memory.distill.proposals import (
    Critique,
    ProposedEdit,
    as_additions,
    check_edits,
    in_its_own_words,
    to_edits,
    to_proposals,
)
from ted_memory.distill.state import (
    Companion,
    DistillState,
    Json,
    dump_edits,
    dump_spend,
    holds_words_of_users,
    mean_score,
    read_graded,
    read_sample,
    read_set,
)
from ted_memory.distill.wording import describe
from ted_memory.experience.assignment import principals
from ted_memory.experience.lift import estimate
from ted_memory.experience.rendering import render_line
from ted_memory.llm.calls import is_final, is_transient, one_line
from ted_memory.llm.fences import OF_LESSONS, fence, fenced, on_one_line
from ted_memory.llm.messages import image_blocks
from ted_memory.models import Edit, Experience, Rewrite, Trajectory, Usage

MOST_LABELS = 40  # answers that tasks share, of which a critic is told


def worth_a_critique(state: Mapping[str, Any]) -> bool:
    """Tell whether there is something to learn: not when all attempts are right, nor when none has a score.

    What an attempt got wrong while a lesson was withheld from it says what that lesson is worth,
    which is counted, and not that another one is needed. So the better informed half of the
    attempts decides.
    """
    scored = [t for t in read_graded(state) if t.score is not None]
    mean = mean_score(_best_informed(scored))
    return mean is not None and mean < 1.0


def _best_informed(scored: Sequence[Trajectory]) -> list[Trajectory]:
    """Return the half of the attempts, rounded up, that missed the fewest lessons.

    Always so many: the larger a set is, the fewer attempts share the first place, and each one less
    is a chance less to learn. Of equals those count that stand last, where a learner's are that
    somebody was answered with.
    """
    most_missed_first = sorted(scored, key=lambda t: -len({*t.eligible} - {*t.seen}))
    return most_missed_first[len(scored) // 2 :]


async def critique(state: DistillState, *, context: DistillContext) -> Json:
    """Ask for edits, and for which experiences helped or hurt."""
    shown = _shown(state, context)
    ids = [e.id for e in shown]

    def read(answer: Critique) -> list[ProposedEdit]:
        edits = (
            as_additions(answer.edits, ids)
            if context.profile.conditions == "key_words"
            else answer.edits
        )
        return [_with_its_own_example(edit, context) for edit in edits]

    def check(answer: Critique) -> None:
        check_edits(read(answer), ids, may_add=True)

    result = await context.critic.ask(_messages(state, shown, context), Critique, check)
    update: Json = {"spend": dump_spend(result.spend), "round": state["round"] + 1, "proposal": []}
    if result.value is None:
        note = f"no usable critique: {result.problem}; it wrote: {result.raw[:200]!r}"
        return {**update, "status": "set_aside", "note": note}
    task, common = read_sample(state).text, state.get("common", ())
    proposed = read(result.value)
    if context.profile.conditions == "key_words":
        language = context.settings.language
        proposed = [
            in_its_own_words(edit, shown, task, common, language=language) for edit in proposed
        ]
    edits = _trusted(proposed, shown, state, context, additions_only=result.repaired)
    edits = [_without_a_telling_example(edit, state, context) for edit in edits]
    if again := _refused_before(edits, state):
        return {
            **update,
            "status": "set_aside",
            "note": f"asked again, the critic said the same: {again}",
        }
    if not context.verifies:  # else verification refuses them, and tells the critic
        edits = [edit for edit in edits if not tells_an_answer(edit, state, context)]
    proposal = dump_edits(edits)
    return {
        **update,
        "proposal": proposal,
        "accepted": [] if context.verifies else proposal,
        "reason": result.value.reason,
        "helped": [id for id in result.value.helped if id in ids],
        "hurt": [id for id in result.value.hurt if id in ids],
        "feedback": [*state["feedback"], {"answer": result.raw, "told": ""}],
        "note": result.value.reason,
    }


def _trusted(
    proposed: Sequence[ProposedEdit],
    shown: Sequence[Experience],
    state: DistillState,
    context: DistillContext,
    *,
    additions_only: bool,
) -> list[Edit]:
    """Return the edits as far as this memory trusts its critic."""
    sources = (
        *state.get("sources", ()),
        *(s for c in state.get("companions", ()) for s in c["sources"]),
    )
    if context.evidence:
        return to_proposals(proposed, shown, sources=sources)
    return to_edits(
        proposed,
        shown,
        state=context.new_state,
        sources=sources,
        additions_only=additions_only,
        index_terms=state.get("index_terms", ""),
    )


def _with_its_own_example(edit: ProposedEdit, context: DistillContext) -> ProposedEdit:
    """Return an edit without its example where none is wanted: small students copy one that all tasks are shown."""
    wanted = context.examples == "written" or (context.examples == "own" and edit.when)
    return edit if wanted else edit.model_copy(update={"example": ""})


def _without_a_telling_example(edit: Edit, state: DistillState, context: DistillContext) -> Edit:
    """Return a lesson without its example, where that alone tells the answer of its task: the rule may be right."""
    if not getattr(edit, "example", "") or not tells_an_answer(edit, state, context):
        return edit
    # None: the old one stays
    bare = edit.model_copy(update={"example": None if isinstance(edit, Rewrite) else ""})
    return edit if tells_an_answer(bare, state, context) else bare


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
    update = {
        "status": "set_aside",
        "lost": is_transient(error.error),
        "note": note,
        "proposal": [],
    }
    return Command(update=update, goto="credit")


def _shown(state: DistillState, context: DistillContext) -> list[Experience]:
    """Return the experiences that the attempts could have seen, and an operator's own that wait.

    What waits of other people's traffic has shown nothing yet: whoever wrote it would write into
    everybody's prompts.
    """
    snapshot = read_set(state)
    ids = dict.fromkeys(id for t in read_graded(state) for id in (*t.eligible, *t.seen))
    if not context.evidence:
        ids.update(dict.fromkeys(e.id for e in (*snapshot.trial, *snapshot.proposed)))
    return [snapshot.by_id[id] for id in ids if id in snapshot.by_id]


def _messages(
    state: DistillState, shown: Sequence[Experience], context: DistillContext
) -> list[BaseMessage]:
    sample, of_users = read_sample(state), holds_words_of_users(state)
    material = {
        "labels": ", ".join(map(on_one_line, [*state.get("labels", {}).values()][:MOST_LABELS])),
        "task": sample.text,
        "reference": state["reference"],
        "solution": state.get("solution") or "(none)",
        "attempts": attempts_text(read_graded(state), context),
    }
    companions = "\n\n".join(map(_companion_text, state.get("companions", ())))
    theirs = words_of_users(shown)
    marked = {**material, **theirs} if of_users else theirs
    about_marks, made = fenced(marked) if marked else ("", {})
    material.update({name: text for name, text in made.items() if name in material})
    known = experiences_text(shown, read_set(state).usage, made)
    if (prompt := context.profile.prompts.get("labels")) and material["labels"]:
        known += "\n" + prompt.fill(material)
    messages = context.profile.prompts["critic"].messages(**material, experiences=known)
    messages = under_marks(messages, about_marks, lessons=bool(theirs))
    if companions:
        companions = fence(companions) if of_users else companions
        messages.insert(
            1, HumanMessage(content=context.profile.prompts["batch"].fill({"tasks": companions}))
        )
    if pictures := image_blocks(sample):
        messages[-1] = HumanMessage(
            content=[{"type": "text", "text": messages[-1].text}, *pictures]
        )
    for turn in state["feedback"]:
        messages += [AIMessage(content=turn["answer"]), HumanMessage(content=turn["told"])]
    return messages


def attempts_text(attempts: Sequence[Trajectory], context: DistillContext) -> str:
    """Return attempts as the profile's critic sees them."""
    if context.profile.attempts == "whole":
        return whole_attempts(attempts, context.profile.attempt_tokens)
    return describe_attempts(attempts)


def _companion_text(companion: Companion) -> str:
    return (
        f"# An earlier task\n{companion['task']}\n\n{companion['attempts']}\n\n"
        f"Worked solution: {companion['solution'] or '(none)'}\nRight answer: {companion['reference']}"
    )


def experiences_text(
    experiences: Sequence[Experience],
    usage: Mapping[str, Usage],
    marked: Mapping[str, str] | None = None,
) -> str:
    """Return the experiences as a model sees them, each on one line: id, estimated lift, lesson.

    ``marked``: `words_of_users` as they stand between marks, which they do on lines of their own.
    """
    marked = marked or {}
    lines = [
        f"{e.id} (lift {estimate(usage.get(e.id, Usage())).mean:+.2f}){marked.get(_place(e)) or ' ' + _line(e)}"
        for e in experiences
    ]
    return "\n".join(lines) or "(none)"


def words_of_users(experiences: Sequence[Experience]) -> dict[str, str]:
    """Return what lessons from traffic say, for `fenced`: one whom evidence let in may still be written by anybody."""
    return {_place(e): _line(e) for e in experiences if principals(e)}


def under_marks(
    messages: list[BaseMessage], about_marks: str, *, lessons: bool
) -> list[BaseMessage]:
    """Return a prompt that begins with what its marks mean, if it has some; ``lessons`` stand between them, too."""
    if not about_marks:
        return messages
    system, asked, *more = messages
    told = about_marks + (OF_LESSONS if lessons else "")
    return [system, HumanMessage(content=f"{told}\n\n{asked.text}"), *more]


def _place(experience: Experience) -> str:
    # no name of the other parts, whatever an imported lesson is called
    return f"lesson {experience.id}"


def _line(experience: Experience) -> str:
    return render_line(experience.text, experience.when, experience.example, experience.task)
