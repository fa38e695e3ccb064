"""The critic: the teacher, comparing the attempts with its own solution and the reference."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.runtime import Runtime

from ted_memory.distill.attempts import describe_attempts, whole_attempts
from ted_memory.distill.context import DistillContext
from ted_memory.distill.nodes.failures import ends_the_run, set_aside
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
)
from ted_memory.distill.verifier import tells_an_answer
from ted_memory.distill.wording import describe
from ted_memory.experience.assignment import principals
from ted_memory.experience.lift import estimate
from ted_memory.experience.rendering import render_line
from ted_memory.llm.fences import OF_LESSONS, fence, fenced, on_one_line
from ted_memory.llm.messages import image_blocks
from ted_memory.models import (
    Add,
    Edit,
    Experience,
    ExperienceSet,
    Merge,
    Rewrite,
    Trajectory,
    Usage,
)

MOST_LABELS = 40  # answers that tasks share, of which a critic is told


def worth_a_critique(state: Mapping[str, Any]) -> bool:
    """Tell whether there is something to learn.

    There is not when all attempts are right, nor when none has a score. What an attempt got wrong
    while a lesson was withheld from it says what that lesson is worth, which is counted, and not
    that another one is needed. So the better informed half of the attempts decides.
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


async def critique(state: DistillState, runtime: Runtime[DistillContext]) -> Json:
    """Ask for edits, and for which experiences helped or hurt.

    Where the critic cannot be asked the sample is set aside.
    """
    try:
        return await _critique(state, runtime.context)
    except Exception as error:
        if ends_the_run(error):
            raise
        return set_aside(error, "the critic failed") | {"proposal": []}


async def _critique(state: DistillState, context: DistillContext) -> Json:
    snapshot = await context.recalled_set(state)
    shown = _shown(state, snapshot, context)
    ids = [e.id for e in shown]

    def check(answer: Critique) -> None:
        check_edits(_read(answer, ids, context), ids, may_add=True)

    asked = _messages(state, snapshot, shown, context)
    result = await context.critic.ask(asked, Critique, check)
    update: Json = {"spend": dump_spend(result.spend), "round": state["round"] + 1, "proposal": []}
    if result.value is None:
        note = f"no usable critique: {result.problem}; it wrote: {result.raw[:200]!r}"
        return {**update, "status": "set_aside", "note": note}
    proposed = _about_this_task(_read(result.value, ids, context), shown, state, context)
    edits = _trusted(proposed, shown, state, context, additions_only=result.repaired)
    if again := _refused_before(edits, state):
        note = f"asked again, the critic said the same: {again}"
        return {**update, "status": "set_aside", "note": note}
    accepted: list[Json] = []
    if not context.verifies:  # else verification refuses them, and tells the critic
        edits = [edit for edit in edits if not tells_an_answer(edit, state, context)]
        accepted = dump_edits(edits)
    return {
        **update,
        "proposal": dump_edits(edits),
        "accepted": accepted,
        "reason": result.value.reason,
        "helped": _known(result.value.helped, ids),
        "hurt": _known(result.value.hurt, ids),
        "feedback": [*state["feedback"], {"answer": result.raw, "told": ""}],
        "note": result.value.reason,
    }


def _known(cited: Sequence[str], ids: Sequence[str]) -> list[str]:
    return [id for id in cited if id in ids]


def _read(answer: Critique, ids: Sequence[str], context: DistillContext) -> list[ProposedEdit]:
    """Return the edits of a critique as far as this profile can use them."""
    edits = answer.edits
    if context.profile.conditions == "key_words":
        edits = as_additions(edits, ids)
    return [_with_its_own_example(edit, context) for edit in edits]


def _about_this_task(
    proposed: Sequence[ProposedEdit],
    shown: Sequence[Experience],
    state: DistillState,
    context: DistillContext,
) -> Sequence[ProposedEdit]:
    """Return edits with conditions of this task's own words, where conditions are key words."""
    if context.profile.conditions != "key_words":
        return proposed
    task, common = read_sample(state).text, state["common"]
    language = context.settings.language
    return [in_its_own_words(edit, shown, task, common, language=language) for edit in proposed]


def _trusted(
    proposed: Sequence[ProposedEdit],
    shown: Sequence[Experience],
    state: DistillState,
    context: DistillContext,
    *,
    additions_only: bool,
) -> list[Edit]:
    """Return the edits as far as this memory trusts its critic."""
    sources = tuple(state["sources"])
    for companion in state["companions"]:
        sources += tuple(companion["sources"])
    if context.evidence:
        edits = to_proposals(proposed, shown, sources=sources)
    else:
        edits = to_edits(
            proposed,
            shown,
            state=context.new_state,
            sources=sources,
            additions_only=additions_only,
            index_terms=state["index_terms"],
        )
    return [_without_a_telling_example(edit, state, context) for edit in edits]


def _with_its_own_example(edit: ProposedEdit, context: DistillContext) -> ProposedEdit:
    """Take out an edit's example where none is wanted.

    Small students copy one that all tasks are shown.
    """
    wanted = context.examples == "written" or (context.examples == "own" and edit.when)
    return edit if wanted else edit.model_copy(update={"example": ""})


def _without_a_telling_example(edit: Edit, state: DistillState, context: DistillContext) -> Edit:
    """Take out a lesson's example where that alone tells the answer of its task.

    The rule may be right.
    """
    if not isinstance(edit, Add | Rewrite | Merge) or not edit.example:
        return edit
    if not tells_an_answer(edit, state, context):
        return edit
    # None: the old one stays
    bare = edit.model_copy(update={"example": None if isinstance(edit, Rewrite) else ""})
    return edit if tells_an_answer(bare, state, context) else bare


def _refused_before(edits: Sequence[Edit], state: DistillState) -> str:
    """Return what spoke against these edits if all of them were tried before, else an empty string.

    To try them again until luck lets them through would be no test.
    """
    refused = {r["edit"]: f"{r['edit']!r}: {r['reason']}" for r in state["refused"]}
    said = [describe(edit) for edit in edits]
    return refused[said[0]] if said and all(edit in refused for edit in said) else ""


def _shown(
    state: DistillState, snapshot: ExperienceSet, context: DistillContext
) -> list[Experience]:
    """Return the experiences that the attempts could have seen, and an operator's own that wait.

    What waits of other people's traffic has shown nothing yet: whoever wrote it would write into
    everybody's prompts.
    """
    ids = list[str]()
    for trajectory in read_graded(state):
        ids += [*trajectory.eligible, *trajectory.seen]
    if not context.evidence:
        ids += [e.id for e in (*snapshot.trial, *snapshot.proposed)]
    return [snapshot.by_id[id] for id in dict.fromkeys(ids) if id in snapshot.by_id]


def _messages(
    state: DistillState,
    snapshot: ExperienceSet,
    shown: Sequence[Experience],
    context: DistillContext,
) -> list[BaseMessage]:
    """Write what the critic is asked, and what it was told of its answers before.

    What users wrote stands between marks: the task and all about it where it comes from traffic,
    and the lessons that came from there.
    """
    sample, of_users = read_sample(state), holds_words_of_users(state)
    prompts = context.profile.prompts
    material = _material(state, context)
    theirs = words_of_users(shown)
    marked = {**material, **theirs} if of_users else theirs
    about_marks, made = fenced(marked) if marked else ("", {})
    material = {name: made.get(name, text) for name, text in material.items()}
    experiences = experiences_text(shown, snapshot.usage, made)
    if "labels" in prompts and material["labels"]:
        experiences += "\n" + prompts["labels"].fill(material)
    messages = prompts["critic"].messages(**material, experiences=experiences)
    messages = under_marks(messages, about_marks, lessons=bool(theirs))
    if companions := "\n\n".join(map(_companion_text, state["companions"])):
        tasks = fence(companions) if of_users else companions
        messages.insert(1, HumanMessage(content=prompts["batch"].fill({"tasks": tasks})))
    if pictures := image_blocks(sample):
        asked = {"type": "text", "text": messages[-1].text}
        messages[-1] = HumanMessage(content=[asked, *pictures])
    for turn in state["feedback"]:
        messages += [AIMessage(content=turn["answer"]), HumanMessage(content=turn["told"])]
    return messages


def _material(state: DistillState, context: DistillContext) -> dict[str, str]:
    """Return what the critic's prompt is filled with, but for the experiences."""
    labels = [*state["labels"].values()][:MOST_LABELS]
    return {
        "labels": ", ".join(map(on_one_line, labels)),
        "task": read_sample(state).text,
        "reference": state["reference"],
        "solution": state["solution"] or "(none)",
        "attempts": attempts_text(read_graded(state), context),
    }


def attempts_text(attempts: Sequence[Trajectory], context: DistillContext) -> str:
    """Write attempts as the profile's critic sees them."""
    if context.profile.attempts == "whole":
        return whole_attempts(attempts, context.profile.attempt_tokens)
    return describe_attempts(attempts)


def _companion_text(companion: Companion) -> str:
    return (
        f"# An earlier task\n{companion['task']}\n\n{companion['attempts']}\n\n"
        f"Worked solution: {companion['solution'] or '(none)'}\n"
        f"Right answer: {companion['reference']}"
    )


def experiences_text(
    experiences: Sequence[Experience],
    usage: Mapping[str, Usage],
    marked: Mapping[str, str] | None = None,
) -> str:
    """Write the experiences as a model sees them, each on one line: id, estimated lift, lesson.

    ``marked``: `words_of_users` as they stand between marks, which they do on lines of their own.
    """
    between_marks = marked or {}
    lines = list[str]()
    for e in experiences:
        lift = estimate(usage.get(e.id, Usage())).mean
        lines.append(f"{e.id} (lift {lift:+.2f}){between_marks.get(_place(e)) or ' ' + _line(e)}")
    return "\n".join(lines) or "(none)"


def words_of_users(experiences: Sequence[Experience]) -> dict[str, str]:
    """Return what lessons from traffic say, by name, for `fenced`.

    One whom evidence let in may still be written by anybody.
    """
    return {_place(e): _line(e) for e in experiences if principals(e)}


def under_marks(
    messages: list[BaseMessage], about_marks: str, *, lessons: bool
) -> list[BaseMessage]:
    """Begin a prompt with what its marks mean, if it has some.

    ``lessons`` stand between them, too.
    """
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
