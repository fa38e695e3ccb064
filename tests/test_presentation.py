"""A set is shown as it carries it: to every agent that states nothing else."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from ted_memory import Add, TedMemory, open_memory
from ted_memory.distill import distill
from ted_memory.evaluation import evaluate
from ted_memory.experience.rendering import FRAME_TOKENS, lesson_tokens
from ted_memory.integrations.callbacks import TedMemoryCallbackHandler
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.integrations.runnable import inject_lessons
from ted_memory.models import Presentation
from ted_memory.settings import Settings
from ted_memory.testing import ScriptedChatModel, in_memory
from ted_memory.testing.oracle.store import InMemoryStore
from tests.conftest import Server
from tests.distill.scripts import (
    CODES,
    follows,
    one_pass,
    prompt_of,
    sample,
    samples,
    student,
    teacher,
)

BEST_ONE = Presentation(selection="relevant", top_k=1, placement="user", examples=False)
ASKED = "What is the code of bananas?"


async def _taught(presentation: Presentation | None, **settings: Any) -> TedMemory:
    """A memory over a set of two lessons with examples, which carries this."""
    store = InMemoryStore()
    lessons = [
        Add(text=f"say {CODES[t]}", when=f"asked about {t}", example=f"{t}: {CODES[t]}")
        for t in ("apples", "bananas")
    ]
    await in_memory(store=store).commit(lessons, author="me", presentation=presentation)
    return in_memory(store=store, **{"trust": "always", **settings})


def test_what_a_set_may_carry_are_settings_of_the_same_names_and_defaults() -> None:
    settings = Settings().model_dump(include=set(Presentation.model_fields))
    assert Presentation(**settings) == Presentation()
    assert len(settings) == len(Presentation.model_fields)


async def test_an_agent_that_states_nothing_shows_the_set_as_it_carries_it() -> None:
    shown = await (await _taught(BEST_ONE)).present(ASKED)
    assert "- When asked about bananas: say c001\n" in shown.block
    assert "apples" not in shown.block
    assert "Example" not in shown.block
    assert (shown.placement, len(shown.seen)) == ("user", 1)


async def test_a_set_that_carries_nothing_is_shown_by_the_defaults() -> None:
    shown = await (await _taught(None)).present(ASKED)
    assert shown.block.count("Example: ") == 2
    assert (shown.placement, len(shown.seen)) == ("system", 2)


@pytest.mark.parametrize(
    ("stated", "lessons", "placement", "examples"),
    [
        ({"selection": "all"}, 2, "user", 0),
        ({"top_k": 2}, 1, "user", 0),
        ({"placement": "system"}, 1, "system", 0),
        ({"examples": True}, 1, "user", 1),
        ({"selection": "all", "placement": "system", "examples": True, "top_k": 3}, 2, "system", 2),
    ],
)
@pytest.mark.parametrize("by", ["argument", "environment"])
async def test_what_is_stated_wins_each_field_by_itself(
    monkeypatch: pytest.MonkeyPatch,
    by: str,
    stated: dict[str, Any],
    lessons: int,
    placement: str,
    examples: int,
) -> None:
    if by == "environment":
        for name, value in stated.items():
            monkeypatch.setenv(f"TED_MEMORY_{name.upper()}", str(value))
    memory = await _taught(BEST_ONE, **(stated if by == "argument" else {}))
    shown = await memory.present(ASKED)
    assert (len(shown.seen), shown.placement, shown.block.count("Example: ")) == (
        lessons,
        placement,
        examples,
    )


async def test_examples_that_are_left_out_cost_no_tokens() -> None:
    two = FRAME_TOKENS + 2 * lesson_tokens("say c001", "asked about bananas")
    memory = await _taught(None, selection="budget", token_budget=two, max_experiences=9)
    assert len((await memory.present()).seen) == 1, "the control: with their examples only one fits"
    memory = await _taught(Presentation(selection="budget", examples=False), token_budget=two)
    assert len((await memory.present()).seen) == 2


async def test_another_process_on_a_real_server_shows_it_the_same_way(
    valkey: Server, namespace: str
) -> None:
    async with (
        open_memory(valkey.url, namespace=namespace) as one,
        open_memory(valkey.url, namespace=namespace) as two,
    ):
        await one.commit([Add(text="Be brief.")], author="me", presentation=BEST_ONE)
        assert two.presentation(await two.load()) == BEST_ONE
        assert (await two.present("brief?")).placement == "user"


async def test_a_rollback_leaves_it_as_it_is() -> None:
    memory = await _taught(BEST_ONE)
    await memory.commit(
        [Add(text="More.")], author="me", presentation=Presentation(placement="user")
    )
    await memory.rollback(1)
    assert (await memory.load()).presentation == Presentation(placement="user")
    assert (await memory.at(1)).presentation == Presentation(placement="user")


async def test_it_is_changed_without_touching_a_lesson_and_the_history_goes_on(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await memory.commit([Add(text="Be brief.", sources=("ann",))], author="me")
        assert (await memory.commit([], author="me", presentation=BEST_ONE)).version == 2
        assert (await memory.present("brief?")).placement == "user"
        await memory.commit([Add(text="Be kind.")], author="me")
        assert (await memory.at(1)).experiences == (await memory.at(2)).experiences
        assert await memory.diff(1, 2) == ()
        assert (await memory.rollback(2)).version == 4
        await memory.purge("ann")
        assert [entry.version for entry in await memory.log()] == [5, 4, 3, 2, 1]
        assert (await memory.load()).presentation == BEST_ONE


# --- where agents are shown it


def _model() -> ScriptedChatModel:
    return ScriptedChatModel(script=lambda _: "done")


def _where(messages: list[BaseMessage]) -> list[str]:
    return [m.type for m in messages if "<experiences>" in str(m.text)]


@pytest.mark.parametrize(
    ("settings", "place"), [({}, "human"), ({"placement": "system"}, "system")]
)
async def test_inject_and_the_middleware_place_it_where_the_set_says(
    settings: dict[str, Any], place: str
) -> None:
    memory = await _taught(BEST_ONE, withhold_share=0, **settings)
    model = _model()
    await (inject_lessons(memory) | model).ainvoke(ASKED)
    await (inject_lessons(memory) | model).ainvoke(
        ASKED, config={"callbacks": [TedMemoryCallbackHandler(memory)]}
    )
    for learn in (False, True):
        agent = create_agent(model, [], middleware=[TedMemoryMiddleware(memory, record=learn)])
        await agent.ainvoke({"messages": [HumanMessage(ASKED)]})
    assert [_where(messages) for messages in model.asked] == [[place]] * 4
    assert not any("Example" in prompt_of(messages) for messages in model.asked)
    await memory.aclose()


async def test_a_run_keeps_the_place_that_it_began_with() -> None:
    memory = await _taught(BEST_ONE)
    middleware = TedMemoryMiddleware(memory)
    places = []

    async def changes_its_mind(messages: list[BaseMessage]) -> None:
        places.append(_where(messages))
        await memory.commit(
            [Add(text="More.")], author="me", presentation=Presentation(placement="system")
        )

    class Changing(ScriptedChatModel):
        async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
            await changes_its_mind(messages)
            return self._generate(messages)

    agent = create_agent(Changing(script=lambda _: "done"), [], middleware=[middleware, _Twice()])
    await agent.ainvoke({"messages": [HumanMessage(ASKED)]})
    await agent.ainvoke({"messages": [HumanMessage(ASKED)]})
    assert places == [["human"], ["human"], ["system"], ["system"]]


def _twice() -> type:
    from langchain.agents.middleware import AgentMiddleware

    class Twice(AgentMiddleware):  # type: ignore[type-arg]
        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            await handler(request)
            return await handler(request)

    return Twice


_Twice = _twice()


# --- how it is found out


def _reads_only(place: str, phase: dict[str, str]) -> ScriptedChatModel:
    """A student that follows lessons in one place only; while it learns, wherever they stand."""

    def answer(messages: list[BaseMessage]) -> str:
        if phase["now"] == "distil" or place in _where(messages):
            return follows(messages)
        return "no idea"

    return student(answer)


@pytest.mark.parametrize("place", ["human", "system"])
async def test_the_way_that_this_student_follows_best_goes_live_with_the_set(place: str) -> None:
    phase = {"now": "distil"}
    memory = in_memory(trust="always", concurrency=1)
    report = await distill(
        samples(4, 6),
        student=_reads_only(place, phase),
        teacher=teacher(),
        memory=memory,
        on_progress=lambda step: phase.update(now=step.phase),
    )
    assert report.promoted
    assert {one.presentation.placement: one.score > 0 for one in report.shown} == {
        "user": place == "human",
        "system": place == "system",
    }
    assert (
        memory.presentation(await memory.load()).placement
        == {"human": "user", "system": "system"}[place]
    )
    asked = await memory.present("What is the code of apples?")
    assert asked.placement == {"human": "user", "system": "system"}[place]


async def test_control_a_set_that_is_not_measured_is_shown_where_this_student_does_not_look() -> (
    None
):
    phase = {"now": "distil"}
    memory = in_memory(trust="always", concurrency=1, measure_presentation=False)
    report = await distill(
        samples(4, 6),
        student=_reads_only("human", phase),
        teacher=teacher(),
        memory=memory,
        on_progress=lambda step: phase.update(now=step.phase),
    )
    assert not report.promoted


# --- where students are shown it


async def test_attempts_and_tries_are_made_as_agents_are_shown_the_set() -> None:
    for presentation, place in ((BEST_ONE, "human"), (None, "system")):
        memory = await _taught(presentation, shown_share=1.0)
        answering = student(lambda _: "no idea")
        await one_pass(memory, sample("bananas"), student=answering, teacher=teacher())
        asked = [messages for messages in answering.asked if _where(messages)]
        assert {tuple(_where(messages)) for messages in asked} == {(place,)}
        assert ("apples" in prompt_of(asked[0])) is (presentation is None)


async def test_a_run_stages_the_set_as_it_is_shown_to_agents() -> None:
    for presentation, place in ((BEST_ONE, "human"), (None, "system")):
        memory = await _taught(presentation, measure_presentation=False)
        answering = student(follows)
        report = await distill(samples(6), student=answering, teacher=teacher(), memory=memory)
        assert report.promoted
        assert {where for messages in answering.asked for where in _where(messages)} == {place}
        assert (await memory.load()).presentation == presentation


async def test_a_run_on_an_empty_set_stages_it_in_the_same_way() -> None:
    for presentation, place in ((BEST_ONE, "human"), (None, "system")):
        memory = in_memory(trust="always", measure_presentation=False, concurrency=1)
        await memory.commit([], author="me", presentation=presentation)
        answering = student(follows)
        assert (
            await distill(samples(6), student=answering, teacher=teacher(), memory=memory)
        ).promoted
        assert {where for messages in answering.asked for where in _where(messages)} == {place}


async def test_an_evaluation_measures_the_set_as_it_is_shown_to_agents() -> None:
    for presentation, place in ((BEST_ONE, "human"), (None, "system")):
        memory = await _taught(presentation)
        answering = student(follows)
        result = await evaluate(samples(2), student=answering, memory=memory)
        assert {where for messages in answering.asked for where in _where(messages)} == {place}
        assert result.presentation == (presentation or Presentation())
        assert (
            not any(isinstance(m, SystemMessage) for m in answering.asked[0]) or place == "system"
        )
