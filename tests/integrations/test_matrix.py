"""Every kind of agent, streamed in every way, recorded and not.

Nothing of ours is seen, and lessons are in their places. Agents of ``deepagents`` are among the
kinds where it is installed: `make test` has it, `make lowest` has not.
"""

import asyncio
from typing import Any, NotRequired

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ExtendedModelResponse
from langgraph.config import get_stream_writer
from langgraph.types import Command

from ted_memory import TedMemory
from ted_memory.integrations.middleware import TedMemoryMiddleware, TedMemoryState
from ted_memory.integrations.run_ids import find_run_id
from ted_memory.memory import sync_bridge
from ted_memory.testing import in_memory
from tests.chaos.sizes import size
from tests.integrations.agents import Scripted, agent, look_up, teach
from tests.integrations.findings import Traces, ours, texts
from tests.integrations.kinds import ANSWER, KINDS, Case, Maker
from tests.spy_log import recorded

LESSON = "Be brief."
MODES = ["values", "updates", "messages", "debug", "tasks", "custom", "checkpoints"]
WAYS = ["invoke", *MODES, "all of them", "parts"]
FEWER = ["invoke", "all of them", "parts"]
"""In one stream all modes are seen, too; ``make lowest`` also has each by itself."""
THREAD = "t1"


def _options(way: str) -> dict[str, Any]:
    everything = {"stream_mode": MODES, "subgraphs": True}
    return {"all of them": everything, "parts": {**everything, "version": "v2"}}.get(
        way, {"stream_mode": way}
    )


async def run(case: Case, way: str, config: Any) -> list[Any]:
    """All that a caller is given."""
    seen: list[Any] = []
    for turn in case.turns:
        if way == "invoke":
            seen.append(await case.runs.ainvoke(turn, config))
        elif way == "events":
            seen += [event async for event in case.runs.astream_events(turn, config, version="v2")]
        else:
            seen += [chunk async for chunk in case.runs.astream(turn, config, **_options(way))]
    return seen


def run_blocking(case: Case, way: str, config: Any) -> list[Any]:
    """Do the same as a synchronous program."""
    seen: list[Any] = []
    for turn in case.turns:
        if way == "invoke":
            seen.append(case.runs.invoke(turn, config))
        else:
            seen += case.runs.stream(turn, config, **_options(way))
    return seen


def kept(case: Case) -> list[Any]:
    """What the checkpointer holds, as objects and as bytes."""
    if case.saver is None:
        return []
    whole = {"configurable": {"thread_id": THREAD}}
    states = [*case.runs.get_state_history(whole)]
    assert states, "the control: something is kept"
    assert case.runs.get_state(whole, subgraphs=True).values["messages"]
    return [
        states,
        [*case.saver.list(None)],
        dict(case.saver.storage),
        case.saver.blobs,
        case.saver.writes,
    ]


def assert_lessons_are_in_place(case: Case, block: str) -> None:
    for model in case.models:
        assert model.asked
        for prompt in model.asked:
            system, *others = prompt
            assert system.type == "system"
            assert system.text.endswith(block)
            assert system.text.count(LESSON) == 1
            assert LESSON not in str(others)


def assert_nothing_of_ours(shown: Any, traces: Traces, *, prompts_too: bool) -> None:
    assert ours(shown) == []
    assert ours([(run.inputs, run.outputs, run.extra, run.events) for run in traces.runs]) == []
    told = texts(shown)
    assert [text for text in told if "ted_memory." in text] == [], (
        "an object of ours that is written down"
    )
    if not prompts_too:  # a trace, and the event of a model's start, tell the prompt
        assert [text for text in told if LESSON in text] == []


async def examine(
    kind: str, way: str, learn: bool, memory: TedMemory, make: Any, *, blocking: bool
) -> None:
    [id] = await teach(memory, LESSON)
    case, traces = KINDS[kind](Maker(memory, learn, make)), Traces()
    config = {
        "callbacks": [traces],
        "configurable": {"thread_id": THREAD, "user_id": "anna"},
        "recursion_limit": 30,  # a script that goes round is to fail
    }
    if blocking:
        chunks = await asyncio.to_thread(run_blocking, case, way, config)
        await asyncio.to_thread(sync_bridge.run, memory.flush())
    else:
        chunks = await run(case, way, config)
    assert chunks or way in {"custom", "checkpoints"}
    assert traces.runs, "the control: traces are looked at"
    assert_lessons_are_in_place(case, await memory.render())
    assert_nothing_of_ours([chunks, kept(case)], traces, prompts_too=way == "events")
    await assert_recorded(case, memory, chunks, (id,) if learn else None)
    assert memory.health().lessons_removed == 0
    await memory.aclose()


async def assert_recorded(
    case: Case, memory: TedMemory, chunks: list[Any], seen: tuple[str, ...] | None
) -> None:
    episodes, told = await recorded(memory), {find_run_id(chunk) for chunk in chunks} - {None}
    if seen is None:
        assert episodes == []
        return
    assert len(episodes) == case.episodes
    assert told <= {episode.run_id for episode in episodes}
    for episode in episodes:
        assert (episode.seen, episode.error, episode.thread_id, episode.principal) == (
            seen,
            "",
            THREAD,
            "anna",
        )
        assert episode.answer.strip() == case.answer


@pytest.fixture
def memory() -> TedMemory:
    return in_memory(withhold_share=0.0)


@pytest.mark.parametrize("learn", [True, False], ids=["recorded", "not recorded"])
@pytest.mark.parametrize("way", [*size(FEWER, WAYS), "events"])
@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_of_ours_is_seen(memory: TedMemory, kind: str, way: str, learn: bool) -> None:
    await examine(kind, way, learn, memory, agent, blocking=False)


@pytest.mark.parametrize("learn", [True, False], ids=["recorded", "not recorded"])
@pytest.mark.parametrize("way", size(FEWER, WAYS))
@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_of_ours_is_seen_by_a_program_that_blocks(
    memory: TedMemory, kind: str, way: str, learn: bool
) -> None:
    await examine(kind, way, learn, memory, agent, blocking=True)


# --- the controls


class LeakyState(TedMemoryState):
    """A channel that holds an object of ours and the block, and is kept."""

    leak: NotRequired[Any]


class Leaky(TedMemoryMiddleware):
    """Shows an object of ours, and the block, wherever it can."""

    state_schema = LeakyState

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        exposure = await self.memory.present("")
        leak = (exposure, f"The block: {exposure.block}")
        get_stream_writer()(leak)
        self._watches._metadata = lambda shown, run: {"leak": leak}  # type: ignore[method-assign]
        answer = await super().awrap_model_call(request, handler)
        if isinstance(answer, ExtendedModelResponse):
            answer = answer.model_response
        return ExtendedModelResponse(answer, Command(update={"leak": leak}))


def leaky(
    memory: TedMemory, script: Any, *, tools: Any = (look_up,), **more: Any
) -> tuple[Any, Scripted]:
    """Make an agent with it."""
    model = Scripted(script=script)
    given = {name: more[name] for name in ("system_prompt", "checkpointer") if name in more}
    return create_agent(
        model, list(tools), middleware=[Leaky(memory, record=more["record"])], **given
    ), model


@pytest.mark.parametrize("way", [*WAYS[1:], "events"])
async def test_what_leaks_is_found(memory: TedMemory, way: str) -> None:
    await teach(memory, LESSON)
    case = KINDS["checkpoints"](Maker(memory, True, leaky))
    chunks = await run(case, way, {"configurable": {"thread_id": THREAD}})
    for shown in (chunks, [case.saver.blobs] if case.saver else []):
        assert "ted_memory." in "".join(texts(shown)) or "Exposure" in ours(shown)
        assert LESSON in "".join(texts(shown))
    with pytest.raises(AssertionError):
        assert_nothing_of_ours(chunks, Traces(), prompts_too=False)
    await memory.aclose()


async def test_lessons_that_stand_twice_or_elsewhere_are_found(memory: TedMemory) -> None:
    await teach(memory, LESSON)
    twice = [TedMemoryMiddleware(memory), TedMemoryMiddleware(memory, name="again")]
    model = Scripted(script=lambda messages: ANSWER)
    agent_of_two = create_agent(model, [], system_prompt="You are kind.", middleware=twice)
    await run(Case(agent_of_two, [model]), "values", {})
    with pytest.raises(AssertionError):
        assert_lessons_are_in_place(Case(agent_of_two, [model]), await memory.render())
    elsewhere = in_memory(store=memory.store, placement="user")
    case = KINDS["tools"](Maker(elsewhere, False))
    await run(case, "values", {})
    with pytest.raises(AssertionError):
        assert_lessons_are_in_place(case, await memory.render())
