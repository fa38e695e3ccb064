"""One pass over one sample: which nodes it takes, and what it makes of failures."""

import json
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Overwrite

from ted_memory import Add, TedMemory
from ted_memory.distill import build_distillation_graph
from ted_memory.errors import InvalidInput
from ted_memory.testing import ScriptedChatModel, in_memory
from tests.distill.scripts import (
    CODES,
    SlowChatModel,
    add,
    calls_of,
    critique,
    follows,
    knows,
    one_pass,
    prompt_of,
    role,
    sample,
    student,
    teacher,
    texts_of,
    thing_in,
)

APPLES = sample("apples")


def _boom(_messages: list[BaseMessage]) -> str:
    raise RuntimeError("the model fell over")


def _only_overwrite(value: object) -> Any:
    """An `Overwrite` is no state: it tells the graph to begin a list anew."""
    assert isinstance(value, Overwrite)
    return value.value


def test_every_step_of_the_method_is_a_node_of_its_own(scratch: TedMemory) -> None:
    drawn = build_distillation_graph(
        student=student(), teacher=teacher(), memory=scratch
    ).get_graph()
    steps = {
        "recall",
        "student",
        "teacher",
        "grade",
        "critic",
        "verify",
        "commit",
        "credit",
        "compactor",
    }
    assert steps <= set(drawn.nodes)
    edges = {(edge.source, edge.target) for edge in drawn.edges}
    assert edges >= {
        ("recall", "student"),
        ("recall", "teacher"),
        ("student", "grade"),
        ("teacher", "grade"),
        ("grade", "critic"),
        ("grade", "credit"),
        ("critic", "verify"),
        ("verify", "critic"),
        ("verify", "commit"),
        ("commit", "credit"),
        ("credit", "compactor"),
        ("compactor", "commit"),
    }


async def test_an_input_without_a_sample_is_told_what_is_needed(scratch: TedMemory) -> None:
    graph = build_distillation_graph(student=student(), teacher=teacher(), memory=scratch)
    with pytest.raises(InvalidInput, match=r"send \{\"sample\": .* it was sent run"):
        await graph.ainvoke({"run": "r"})


async def test_a_pass_over_what_the_student_cannot_do_leaves_a_lesson(scratch: TedMemory) -> None:
    out = await one_pass(
        scratch, APPLES, student=student(), teacher=teacher(), sources=["dataset:d#apples-0"]
    )
    assert out["status"] == "learned"
    [lesson] = (await scratch.load()).active
    assert (lesson.when, lesson.text) == ("asked about apples", "say c000")
    assert lesson.sources == ("dataset:d#apples-0",)
    assert out["commits"] == [{"version": 1, "applied": 1, "repeated": False}]


async def test_each_attempt_sees_a_random_share_of_the_set(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", rollouts=40)
    await memory.commit([Add(text=f"Lesson {i}.") for i in range(10)], author="me")
    answering = student(knows)
    first = await one_pass(memory, APPLES, student=answering, teacher=teacher(), run="r1")
    seen = [attempt["seen"] for attempt in first["graded"]]
    assert len(seen) == 40
    assert len({tuple(ids) for ids in seen}) > 10
    assert 0.72 < sum(len(ids) for ids in seen) / 400 < 0.88
    for attempt in first["graded"]:
        assert len(attempt["eligible"]) == 10
    blocks = [prompt_of(messages).count("\n- ") for messages in answering.asked[:40]]
    assert sorted(blocks) == sorted(len(ids) for ids in seen)

    again = await one_pass(memory, APPLES, student=student(knows), teacher=teacher(), run="r1")
    other = await one_pass(memory, APPLES, student=student(knows), teacher=teacher(), run="r2")
    assert [attempt["seen"] for attempt in again["graded"]] == seen
    assert [attempt["seen"] for attempt in other["graded"]] != seen


async def test_with_a_shown_share_of_one_every_attempt_sees_all_of_it(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", shown_share=1.0)
    await memory.commit([Add(text=f"Lesson {i}.") for i in range(10)], author="me")
    out = await one_pass(memory, APPLES, student=student(), teacher=teacher())
    assert [len(attempt["seen"]) for attempt in out["graded"]] == [10] * 5


async def test_a_group_that_is_all_right_costs_no_critic_call_and_is_credited(
    scratch: TedMemory,
) -> None:
    await scratch.commit([Add(text=f"Lesson {i}.") for i in range(8)], author="me")
    teaching = teacher()
    out = await one_pass(scratch, APPLES, student=student(knows), teacher=teaching)
    assert calls_of(teaching, "critic") == 0
    assert out["status"] == "nothing"
    assert any(usage.weight > 0 for usage in (await scratch.usage()).values())
    assert (await scratch.load()).version == 1, "counting makes no version"


async def test_a_lesson_that_only_some_attempts_saw_gains_weight(scratch: TedMemory) -> None:
    await scratch.commit([Add(text="say c000", when="asked about apples")], author="me")
    [lesson] = await scratch.load()
    for i in range(6):
        await one_pass(
            scratch, sample("apples", i), student=student(), teacher=teacher(), run=f"r:{i}"
        )
    usage = (await scratch.usage())[lesson.id]
    assert usage.weight > 0
    assert usage.weighted_difference == pytest.approx(usage.weight), (
        "right with it, wrong without: a lift of one"
    )


async def test_one_attempt_that_fails_leaves_the_others_going(scratch: TedMemory) -> None:
    calls: list[int] = []

    def moody(messages: list[BaseMessage]) -> str:
        calls.append(1)
        return _boom(messages) if len(calls) == 2 else follows(messages)

    out = await one_pass(scratch, APPLES, student=student(moody), teacher=teacher())
    assert [t["error"] for t in out["graded"]].count("the model fell over") == 1
    assert [t["score"] for t in out["graded"]].count(0.0) == 4
    assert out["status"] == "learned"


async def test_a_student_that_always_fails_sets_the_sample_aside(scratch: TedMemory) -> None:
    teaching = teacher()
    out = await one_pass(scratch, APPLES, student=student(_boom), teacher=teaching)
    assert out["status"] == "set_aside"
    assert "the model fell over" in out["note"]
    assert calls_of(teaching, "critic") == 0


async def test_when_every_call_fails_the_sample_is_set_aside_with_the_reason(
    scratch: TedMemory,
) -> None:
    out = await one_pass(
        scratch, APPLES, student=student(_boom), teacher=teacher(_boom, solves=_boom)
    )
    assert out["status"] == "set_aside"
    assert "the model fell over" in out["note"]


async def test_a_teacher_that_fails_leaves_the_reference_to_learn_from(scratch: TedMemory) -> None:
    out = await one_pass(scratch, APPLES, student=student(), teacher=teacher(solves=_boom))
    assert out["status"] == "learned"
    assert out["solution"] == ""


async def test_without_a_reference_the_teachers_answer_is_one(scratch: TedMemory) -> None:
    out = await one_pass(
        scratch, sample("apples", reference=None), student=student(), teacher=teacher()
    )
    assert out["reference"] == CODES["apples"]
    assert out["status"] == "learned"


async def test_with_neither_reference_nor_teacher_the_sample_is_set_aside(
    scratch: TedMemory,
) -> None:
    given = sample("apples", reference=None)
    out = await one_pass(scratch, given, student=student(), teacher=teacher(solves=_boom))
    assert out["status"] == "set_aside"
    assert "nothing to grade against" in out["note"]


async def test_a_worked_solution_saves_the_teachers_own(scratch: TedMemory) -> None:
    teaching = teacher()
    out = await one_pass(
        scratch, sample("apples", solution="It is c000."), student=student(), teacher=teaching
    )
    assert calls_of(teaching, "teacher") == 0
    assert out["solution"] == "It is c000."
    assert "It is c000." in str(next(m for m in teaching.asked if role(m) == "critic")[1].content)


async def test_a_critic_that_fails_sets_the_sample_aside_and_the_attempts_still_count(
    scratch: TedMemory,
) -> None:
    await scratch.commit([Add(text=f"Lesson {i}.") for i in range(8)], author="me")
    out = await one_pass(scratch, APPLES, student=student(), teacher=teacher(_boom))
    assert (out["status"], out["note"]) == ("set_aside", "the critic failed: the model fell over")
    assert await scratch.usage()


async def test_a_grader_that_fails_sets_the_sample_aside(scratch: TedMemory) -> None:
    def broken(*, inputs: Any, outputs: str, reference_outputs: str) -> float:
        raise KeyError("score")

    out = await one_pass(scratch, APPLES, student=student(), teacher=teacher(), grader=broken)
    assert out["status"] == "set_aside"
    assert "the grader failed" in out["note"]


async def test_a_call_that_hangs_is_given_up(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ted_memory.llm.calls.CALL_TIMEOUT", 0.05)
    hanging = SlowChatModel(
        script=knows, pause=lambda messages: 30.0 if role(messages) == "critic" else 0.0
    )
    out = await one_pass(scratch, APPLES, student=student(), teacher=hanging)
    assert out["status"] == "set_aside"
    assert out["note"].startswith("the critic failed: ")
    assert len(hanging.flight) == 1 + 3, "one solution, and the critic three times"


async def test_the_state_is_json_at_every_step(scratch: TedMemory) -> None:
    await scratch.commit([Add(text="Be brief."), Add(text="Be kind.")], author="me")
    graph = build_distillation_graph(student=student(), teacher=teacher(), memory=scratch)
    given: Any = {"sample": APPLES.model_dump(mode="json"), "run": "r", "sources": ["dataset:d#1"]}
    steps = 0
    async for mode, state in graph.astream(given, stream_mode=["values", "updates"]):
        assert json.dumps(state, default=_only_overwrite), mode
        steps += 1
    assert steps > 10


async def test_a_strict_checkpointer_keeps_it_and_samples_on_one_thread_do_not_mix(
    scratch: TedMemory, recwarn: pytest.WarningsRecorder
) -> None:
    built = build_distillation_graph(student=student(), teacher=teacher(), memory=scratch)
    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    graph = built.builder.compile(checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "one"}}
    spent = []
    for thing in ("apples", "bananas", "cherries"):
        given: Any = {
            "sample": sample(thing).model_dump(mode="json"),
            "labels": {code: code for code in CODES.values()},
        }
        out = await graph.ainvoke(given, config)
        assert len(out["graded"]) == 5
        assert len(out["commits"]) == 1
        assert out["refused"] == []
        assert out["reference"] == CODES[thing]
        spent.append(out["spend"]["student"]["calls"])
    assert spent[0] > 5
    assert spent == [spent[0]] * 3, "not added up over samples"
    assert (await graph.aget_state(config)).values["status"] == "learned"
    assert not [w for w in recwarn.list if "msgpack" in str(w.message)]


async def test_what_the_critic_cited_for_one_sample_is_not_counted_for_the_next_one_of_a_thread(
    scratch: TedMemory,
) -> None:
    await scratch.commit([Add(text="Be brief.")], author="me")
    [brief] = await scratch.load()
    cites = teacher(lambda _: critique(helped=[brief.id]))
    knowing = student(lambda asked: knows(asked) if thing_in(prompt_of(asked)) == "figs" else "?")
    built = build_distillation_graph(student=knowing, teacher=cites, memory=scratch)
    graph = built.builder.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "one"}}
    for thing in ("apples", "figs"):  # what is known needs no critique
        given: Any = {"sample": sample(thing).model_dump(mode="json")}
        await graph.ainvoke(given, config)
        assert calls_of(cites, "critic") == 1, "the control: it cites once"
    assert (await scratch.usage())[brief.id].helped == 1.0


@pytest.mark.parametrize("trust", ["evidence", "review"])
async def test_lessons_from_traffic_are_proposed_and_change_no_prompt(
    namespace: str, trust: str
) -> None:
    memory = in_memory(namespace=namespace, trust=trust)
    await memory.commit([Add(text="Be brief.")], author="me")
    block = await memory.render()
    out = await one_pass(memory, APPLES, student=student(), teacher=teacher())
    assert out["status"] == "learned"
    assert [e.text for e in (await memory.load()).proposed] == ["say c000"]
    assert await memory.render() == block


async def test_the_same_lesson_twice_is_kept_once(scratch: TedMemory) -> None:
    def same(_messages: list[BaseMessage]) -> str:
        return critique(
            add("say  c000", "When asked about apples."), add("say c000", "asked about apples")
        )

    await one_pass(scratch, APPLES, student=student(), teacher=teacher(same))
    assert await texts_of(scratch) == ["say c000"]

    known = teacher(lambda _: critique(add("say c000", "asked about apples")))
    out = await one_pass(scratch, sample("bananas"), student=student(), teacher=known)
    assert await texts_of(scratch) == ["say c000"]
    assert out["commits"] == []


async def test_a_lesson_that_another_pass_made_meanwhile_is_not_added_again(
    scratch: TedMemory,
) -> None:
    graph = build_distillation_graph(student=student(), teacher=teacher(), memory=scratch)
    given: Any = {"sample": APPLES.model_dump(mode="json"), "labels": {"c000": "c000"}}
    async for step in graph.astream(given, stream_mode="updates"):
        if "verify" in step:  # before this pass commits
            await scratch.commit(
                [Add(text="say c000", when="asked about apples")], author="another pass"
            )
    assert await texts_of(scratch) == ["say c000"]
    assert (await scratch.load()).version == 1


async def test_a_pass_that_runs_twice_under_one_name_has_one_effect(scratch: TedMemory) -> None:
    await scratch.commit([Add(text=f"Lesson {i}.") for i in range(8)], author="me")
    await one_pass(scratch, APPLES, student=student(knows), teacher=teacher(), run="r:1")
    once = await scratch.usage()
    await one_pass(scratch, APPLES, student=student(knows), teacher=teacher(), run="r:1")
    assert await scratch.usage() == once
    await one_pass(scratch, APPLES, student=student(knows), teacher=teacher(), run="r:2")
    assert await scratch.usage() != once


async def test_what_helped_and_hurt_is_counted_and_unknown_ids_are_not(scratch: TedMemory) -> None:
    await scratch.commit([Add(text="Be brief."), Add(text="Be loud.")], author="me")
    brief, loud = await scratch.load()
    cited = critique(helped=[brief.id, "nobody"], hurt=[loud.id])
    await one_pass(scratch, APPLES, student=student(), teacher=teacher(lambda _: cited))
    usage = await scratch.usage()
    assert (usage[brief.id].helped, usage[loud.id].hurt) == (1.0, 1.0)
    assert set(usage) <= {brief.id, loud.id}


async def test_our_own_block_in_an_answer_is_never_learned_from(scratch: TedMemory) -> None:
    await scratch.commit([Add(text="Be brief.")], author="me")
    echo = ScriptedChatModel(script=lambda messages: f"{messages[0].text}\nno idea")
    out = await one_pass(scratch, APPLES, student=echo, teacher=teacher())
    assert {t["text"] for t in out["graded"] if t["seen"]} == {"no idea"}


@pytest.mark.parametrize(("solved", "shown"), [("c000", "c000"), ("c999", "(none)")])
async def test_a_wrong_solution_of_the_teacher_is_not_shown_to_the_critic(
    scratch: TedMemory, solved: str, shown: str
) -> None:
    teaching = teacher(solves=lambda _: solved)
    await one_pass(scratch, APPLES, student=student(), teacher=teaching)
    [asked] = [str(m[1].content) for m in teaching.asked if role(m) == "critic"]
    assert f"worked solution\n{shown}\n" in asked
