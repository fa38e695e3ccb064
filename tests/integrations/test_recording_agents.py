"""What is recorded of a real agent's runs."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from ted_memory import TedMemory
from ted_memory.episodes import Episode
from ted_memory.integrations.live_run import _warn_of_clients
from ted_memory.integrations.run_ids import find_run_id
from ted_memory.learner.samples import to_sample
from ted_memory.testing import in_memory, wait_until
from tests.integrations.agents import agent, asks, calls_once, put_on_trial, teach
from tests.spy_log import recorded

PICTURE = "iVBORw0KGgo="


@pytest.fixture
def memory() -> TedMemory:
    """A memory that shows what is on trial to half of the conversations, and withholds nothing."""
    return in_memory(withhold_share=0.0)


async def the_only_one(memory: TedMemory) -> Episode:
    [episode] = await recorded(memory)
    await memory.aclose()
    return episode


# --- what an episode holds


async def test_an_episode_tells_all_that_is_to_be_known_of_a_run(memory: TedMemory) -> None:
    ids = await teach(memory, "Be brief.", "Be kind.")
    runs, _ = agent(memory, calls_once("look_up", "It is 4.", thing="x"))
    given = uuid.uuid4()
    config: Any = {
        "run_id": given,
        "tags": ["shop"],
        "configurable": {"thread_id": "t1", "user_id": "anna"},
    }
    out = await runs.ainvoke(asks("What is x?"), config)
    episode = await the_only_one(memory)
    assert episode.run_id == str(given)
    assert (episode.thread_id, episode.principal, episode.tags) == ("t1", "anna", ("shop",))
    assert [(m.role, m.content) for m in episode.input] == [("user", "What is x?")]
    assert [(m.role, m.content) for m in episode.output] == [("assistant", "It is 4.")]
    assert episode.tools == ('look_up({"thing": "x"}) -> found x',)
    assert (list(episode.seen), episode.withheld) == (ids, ())
    assert episode.counted is not None
    assert {*episode.counted} <= {*ids}
    assert (episode.version, episode.epoch) == (1, (await memory.load()).epoch)
    assert episode.model == "scripted"
    assert episode.error == ""
    assert episode.latency is not None
    assert 0 < episode.latency < 10
    assert out["messages"][-1].response_metadata["ted_memory"] == {
        "run_id": str(given),
        "namespace": "test",
        "version": 1,
    }


async def _stream(runs: Any) -> Any:
    return [step async for step in runs.astream(asks())][-1]


def _inside_a_thread(work: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda runs: asyncio.to_thread(work, runs)


async def _tokens(runs: Any) -> Any:
    return [token async for token in runs.astream(asks(), stream_mode="messages")]


WAYS: dict[str, Callable[[Any], Any]] = {
    "ainvoke": lambda runs: runs.ainvoke(asks()),
    "astream": _stream,
    "astream messages": _tokens,
    "invoke": _inside_a_thread(lambda runs: runs.invoke(asks())),
    "stream": _inside_a_thread(lambda runs: list(runs.stream(asks()))),
    "stream messages": _inside_a_thread(
        lambda runs: list(runs.stream(asks(), stream_mode="messages"))
    ),
    "abatch": lambda runs: runs.abatch([asks()]),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_run_is_recorded_once_however_it_is_called(memory: TedMemory, way: str) -> None:
    [id] = await teach(memory, "Be brief.")
    runs, model = agent(memory, calls_once("look_up", "It is 4."))
    await WAYS[way](runs)
    # a synchronous program hands it over to a loop of its own
    await wait_until(lambda: memory.health().recorded == 1)
    episode = await the_only_one(memory)
    assert episode.answer.strip() == "It is 4."
    assert episode.tools == ("look_up({}) -> found",)
    assert episode.seen == (id,)
    assert episode.error == ""
    assert len(model.asked) == 2


async def test_within_a_running_loop_a_blocking_call_is_recorded_too(memory: TedMemory) -> None:
    agent(memory)[0].invoke(asks())
    assert (await the_only_one(memory)).answer == "done"


async def test_without_an_id_of_the_callers_there_is_one_of_ours(memory: TedMemory) -> None:
    out = await agent(memory)[0].ainvoke(asks())
    told = out["messages"][-1].response_metadata["ted_memory"]["run_id"]
    assert (await the_only_one(memory)).run_id == told


@dataclass(slots=True)
class Who:
    """A runtime context without a ``__dict__``."""

    user_id: str


@dataclass
class Plain:
    """A runtime context of a plain sort."""

    principal: str
    user_id: str = "not this one"


@pytest.mark.parametrize(
    ("given", "context", "configurable", "expected"),
    [
        ("carl", Plain("anna"), {"principal": "bert"}, "carl"),
        (None, Plain("anna"), {"principal": "bert"}, "anna"),
        (None, Who("anna"), {"user_id": "bert"}, "anna"),
        (None, {"user_id": "anna"}, {}, "anna"),
        (None, {"user_id": "anna"}, {"principal": "bert"}, "bert"),
        (None, None, {"user_id": 7}, "7"),
        (None, None, {"langgraph_auth_user_id": "bert"}, "bert"),
        (None, None, {"langgraph_auth_user_id": "bert", "principal": "eve"}, "bert"),
        (None, {"principal": "eve"}, {"langgraph_auth_user_id": "bert"}, "bert"),
        ("carl", None, {"langgraph_auth_user_id": "bert"}, "carl"),
        (None, {"langgraph_auth_user_id": "bert"}, {"langgraph_request_id": "1"}, "anonymous"),
        (None, None, {"langgraph_request_id": "1", "principal": "eve"}, "anonymous"),
        (None, {"principal": "eve"}, {"langgraph_request_id": "1"}, "anonymous"),
        (
            None,
            None,
            {"langgraph_request_id": "1", "langgraph_auth_user_id": "bert", "user_id": "eve"},
            "bert",
        ),
        (None, None, {"user_id": "a" * 300}, "a" * 200),
        (None, None, {}, "anonymous"),
    ],
)
async def test_who_is_behind_a_run_is_found_where_it_is_said(
    memory: TedMemory, given: str | None, context: Any, configurable: dict[str, Any], expected: str
) -> None:
    schema = {} if context is None else {"context_schema": type(context)}
    runs, _ = agent(memory, principal=given, **schema)
    await runs.ainvoke(asks(), {"configurable": configurable}, context=context)
    assert (await the_only_one(memory)).principal == expected


async def test_clients_of_a_server_are_believed_where_the_developer_says_so(
    memory: TedMemory, caplog: pytest.LogCaptureFixture
) -> None:
    _warn_of_clients.cache_clear()
    config: Any = {"configurable": {"langgraph_request_id": "1", "principal": "anna"}}
    await agent(memory)[0].ainvoke(asks(), config)
    await agent(memory)[0].ainvoke(asks(), config)
    assert caplog.text.count("principal_from_clients=True") == 1, "once is enough"
    await agent(memory, principal_from_clients=True)[0].ainvoke(asks(), config)
    assert [e.principal for e in await recorded(memory)] == ["anonymous", "anonymous", "anna"]


async def test_half_characters_lose_no_run(memory: TedMemory) -> None:
    runs, _ = agent(
        memory, calls_once("look_up", "half \ud83d", thing="half \ud83d"), principal="an\ud83d"
    )
    await runs.ainvoke(
        asks("half \ud83d"), {"tags": ["half \ud83d"], "configurable": {"thread_id": "\ud83d"}}
    )
    episode = await the_only_one(memory)
    assert (episode.question, episode.answer, episode.tags, episode.thread_id) == (
        "half ?",
        "half ?",
        ("half ?",),
        "?",
    )
    assert memory.health().dropped == 0


async def test_an_image_becomes_a_hash_and_its_bytes_are_kept(memory: TedMemory) -> None:
    shapes: list[dict[str, Any]] = [
        {"type": "image", "base64": PICTURE, "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
        {"type": "image_url", "image_url": f"data:image/png;base64,{PICTURE}"},
        {"type": "image", "source": {"type": "base64", "data": PICTURE, "media_type": "image/png"}},
        {"type": "image_url", "image_url": {}},
    ]
    content: Any = [{"type": "text", "text": "What is this?"}, *shapes]
    await agent(memory)[0].ainvoke({"messages": [HumanMessage(content=content)]})
    [episode] = await recorded(memory)
    [digest] = episode.images
    text, *images = episode.input[0].content
    assert text == {"type": "text", "text": "What is this?"}
    assert images == [{"type": "image", "blob": digest}] * 4
    assert PICTURE not in episode.model_dump_json()
    kept = await memory.store.episodes.images("test", [digest])
    assert kept == {digest: f"data:image/png;base64,{PICTURE}".encode()}
    [claim] = (
        await memory.store.episodes.claim(
            "test", "me", lease=60, count=1, max_deliveries=3, alone=False
        )
    ).claims
    sample = to_sample(claim, kept, with_tools=True)
    assert sample.input[0].content[1] == {
        "type": "image",
        "base64": PICTURE,
        "mime_type": "image/png",
    }  # type: ignore[union-attr]
    await memory.aclose()


async def test_an_image_that_is_too_large_is_named_in_words() -> None:
    memory = in_memory(image_size=50)
    content: Any = [{"type": "image", "base64": PICTURE * 20, "mime_type": "image/png"}]
    await agent(memory)[0].ainvoke({"messages": [HumanMessage(content=content)]})
    episode = await the_only_one(memory)
    assert episode.images == ()
    assert "an image of 262 bytes was left out" in episode.question


# --- conversations


async def test_each_turn_of_a_conversation_holds_only_what_is_new(memory: TedMemory) -> None:
    runs, _ = agent(memory, calls_once("look_up", "It is 4."), checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t1"}}
    for i in range(3):
        await runs.ainvoke(asks(f"Question {i}"), config)
    episodes = await recorded(memory)
    assert [e.question for e in episodes] == [f"Question {i}" for i in range(3)]
    assert [len(e.input) for e in episodes] == [1, 3, 5], "what was said before"
    assert [[m.content for m in e.output] for e in episodes] == [["It is 4."]] * 3
    assert [len(e.tools) for e in episodes] == [1, 1, 1]
    assert len({e.run_id for e in episodes}) == 3
    assert {e.thread_id for e in episodes} == {"t1"}
    await memory.aclose()


async def test_one_conversation_sees_the_same_lessons_on_trial_throughout(
    memory: TedMemory,
) -> None:
    await teach(memory, "Be brief.")
    tried = [await put_on_trial(memory, f"On trial {i}.") for i in range(3)]
    runs, model = agent(memory, calls_once("look_up"), checkpointer=InMemorySaver())
    shown = []
    for thread in range(12):
        for _ in range(3):
            await runs.ainvoke(asks(), {"configurable": {"thread_id": f"t{thread}"}})
    for e in await recorded(memory):
        shown.append((e.thread_id, frozenset(e.seen) & {*tried}))
        assert {*e.seen, *e.withheld} >= {*tried}, "each is seen or withheld"
    assert len(dict(shown)) == 12
    assert len({*shown}) == 12, "three turns of one conversation are assigned alike"
    assert len({seen for _, seen in shown}) > 1, "and conversations differ"
    in_prompts = {
        tuple(f"On trial {i}." in str(asked[0].content) for i in range(3)) for asked in model.asked
    }
    assert in_prompts == {tuple(id in seen for id in tried) for _, seen in shown}
    await memory.aclose()


async def test_without_a_conversation_each_run_is_assigned_anew(memory: TedMemory) -> None:
    id = await put_on_trial(memory, "On trial.")
    runs, _ = agent(memory)
    for _ in range(40):
        await runs.ainvoke(asks())
    seen = sum(id in e.seen for e in await recorded(memory))
    assert 5 < seen < 35
    await memory.aclose()


# --- what makes runs different, and what does not


async def test_runs_of_one_message_in_one_thread_are_runs_of_their_own(memory: TedMemory) -> None:
    """Callers use one message object again, and so one id."""
    await teach(memory, "Be brief.")
    runs, _ = agent(memory, calls_once("look_up"))
    question = HumanMessage("What is x?")
    configs: Any = [{"configurable": {"thread_id": "t1", "principal": f"p{i}"}} for i in range(4)]
    given = [{"messages": [question]} for _ in configs]
    answers = await asyncio.gather(*map(runs.ainvoke, given, configs))
    episodes = await recorded(memory)
    assert len({find_run_id(answer) for answer in answers}) == 4
    assert {e.principal for e in episodes} == {f"p{i}" for i in range(4)}
    await memory.aclose()


async def test_a_run_that_another_middleware_ends_before_the_model_is_recorded(
    memory: TedMemory,
) -> None:
    class Canned(AgentMiddleware[Any, Any, Any]):
        @hook_config(can_jump_to=["end"])
        def before_model(self, state: Any, runtime: Any) -> dict[str, Any]:
            return {"messages": [AIMessage("We are closed.")], "jump_to": "end"}

    await teach(memory, "Be brief.")
    runs, model = agent(memory, lambda messages: "never", inside=[Canned()])
    run_id = uuid.uuid4()
    await runs.ainvoke(asks("What is x?"), {"run_id": run_id})
    [episode] = await recorded(memory)
    assert not model.asked
    assert (episode.question, episode.answer, episode.seen) == ("What is x?", "We are closed.", ())
    assert episode.run_id == str(run_id)
    assert await memory.give_feedback(str(run_id), score=1.0) in {"credited", "kept"}
    await memory.aclose()


async def test_what_the_caller_gave_after_the_question_is_no_output(memory: TedMemory) -> None:
    await teach(memory, "Be brief.")
    runs, _ = agent(memory, lambda messages: "done")
    given = [HumanMessage("What is x?"), AIMessage("A draft.")]
    await runs.ainvoke({"messages": given})
    [episode] = await recorded(memory)
    assert [m.content for m in episode.output] == ["done"]
    await memory.aclose()
