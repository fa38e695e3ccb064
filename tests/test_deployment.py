"""What users deploy: the graph under `langgraph dev`, which refuses blocking calls, and Redis."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ted_memory import Add, TedMemory, open_memory
from tests.cli.helpdesk import serve_in_thread
from tests.conftest import SERVERS, Server
from tests.dev_server import ROOT, lay_out, served

ASKED = {"messages": [{"role": "user", "content": "What is the colour of apples?"}]}
SAMPLE = {
    "id": "1",
    "input": "What is the colour of apples?",
    "reference": "red",
    "choices": ["red", "blue"],
}


def models_at(url: str) -> dict[str, str]:
    """Return what a server's environment says of its models."""
    names = {"MODEL": "student", "STUDENT": "student", "TEACHER": "teacher"}
    return {
        **{f"TED_MEMORY_{role}": name for role, name in names.items()},
        **{f"TED_MEMORY_{role}_BASE_URL": url for role in names},
    }


@pytest.mark.timeout(300)
async def test_a_deployed_graph_learns_a_sample(tmp_path: Path) -> None:
    lay_out(tmp_path)
    with serve_in_thread() as url:
        of_server = {
            **models_at(url),
            "TED_MEMORY_NAMESPACE": "deployed",
            "TED_MEMORY_TRUST": "always",
        }
        async with served(tmp_path, **of_server) as client:
            assistants = {
                a["graph_id"]: a["assistant_id"] for a in await client.assistants.search()
            }
            out = await client.runs.wait(None, "distillation", input={"sample": SAMPLE})
            form = await client.assistants.get_schemas(assistants["distillation"])
            assert "sample" in form["input_schema"]["properties"], "Studio makes its form of it"
            refused: Any = await client.runs.wait(
                None, "distillation", input=ASKED, raise_error=False
            )
            assert "learns from one sample" in refused["__error__"]["message"]
            learned = await client.runs.wait(None, "agent", input=ASKED)
    assert isinstance(out, dict)
    assert out["status"] == "learned"
    assert learned["messages"][-1]["content"] == "red", "the agent has the lesson at once"
    async with open_memory(home=str(tmp_path / "home"), namespace="deployed") as memory:
        [lesson] = await memory.load()
        assert lesson.text == "say red"
        await until(memory, 1)
        claims = await memory.store.episodes.claim(
            "deployed", "me", lease=60, count=10, max_deliveries=3, alone=False
        )
    [episode] = [c.episode for c in claims.claims]
    assert (episode.seen, episode.answer) == ((lesson.id,), "red")


@pytest.mark.timeout(300)
async def test_without_a_key_graphs_are_drawn_and_say_so_and_no_client_may_name_models_or_memory(
    tmp_path: Path,
) -> None:
    lay_out(tmp_path)
    with serve_in_thread() as url:
        named = {
            "model": "student",
            "model_base_url": url,
            "student": "student",
            "student_base_url": url,
        }
        named |= {
            "teacher": "teacher",
            "teacher_base_url": url,
            "namespace": "another",
            "trust": "always",
        }
        async with served(tmp_path, OPENAI_API_KEY="", TED_MEMORY_NAMESPACE="deployed") as client:
            wanted = {
                "agent": ("messages", "tools"),
                "feedback": ("run_id", "note"),
                "learner": ("seconds", "learn"),
                "distillation": ("sample", "critic"),
            }
            for assistant in await client.assistants.search():
                form = await client.assistants.get_schemas(assistant["assistant_id"])
                drawn = await client.assistants.get_graph(assistant["assistant_id"])
                field, node = wanted.pop(assistant["graph_id"])
                assert field in form["input_schema"]["properties"]
                assert node in {one["id"] for one in drawn["nodes"]}
            assert wanted == {}
            for config in ({}, {"configurable": named}):
                refused: Any = await client.runs.wait(
                    None, "agent", input=ASKED, config=config, raise_error=False
                )
                assert "OPENAI_API_KEY" in refused["__error__"]["message"]
                assert "TED_MEMORY_MODEL" in refused["__error__"]["message"]
    async with open_memory(home=str(tmp_path / "home")) as memory:
        assert "another" not in await memory.namespaces()


AN_AGENT = """
from langchain_core.messages import ToolMessage
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from tests.integrations.agents import Scripted, calls_once, look_up
from ted_memory import open_memory
from ted_memory.integrations.middleware import TedMemoryMiddleware

def says(messages):
    if "Look it up" in messages[-1].text or isinstance(messages[-1], ToolMessage):
        return calls_once("look_up")(messages)
    return "lessons: %d" % messages[0].text.count("Be brief.")

memory = open_memory(namespace="deployed", withhold_share=0.0)
middleware = [
    TedMemoryMiddleware(memory, record=True),
    HumanInTheLoopMiddleware(interrupt_on={"look_up": True}),
]
prompt = "You are kind."
agent = create_agent(Scripted(script=says), [look_up], system_prompt=prompt, middleware=middleware)
"""
MODES = ["values", "updates", "messages-tuple", "debug", "tasks", "custom", "checkpoints"]


def a_deployed_agent(folder: Path) -> None:
    lay_out(folder)
    (folder / "graphs" / "agent.py").write_text(AN_AGENT)
    (folder / "langgraph.json").write_text(
        json.dumps({"dependencies": ["."], "graphs": {"agent": "./graphs/agent.py:agent"}})
    )


async def turn(client: Any, thread: str, text: str = "", **more: Any) -> list[Any]:
    """Return all that a client of the server is sent."""
    asked = {"input": {"messages": [{"role": "user", "content": text}]}} if text else {}
    return [
        part
        async for part in client.runs.stream(thread, "agent", stream_mode=MODES, **asked, **more)
    ]


@pytest.mark.timeout(600)
async def test_an_agent_that_records_goes_on_after_its_server_was_restarted(tmp_path: Path) -> None:
    a_deployed_agent(tmp_path)
    async with open_memory(home=str(tmp_path / "home"), namespace="deployed") as memory:
        [lesson] = (await memory.commit([Add(text="Be brief.")], author="me")).applied
        async with served(tmp_path, PYTHONPATH=str(ROOT)) as client:
            talk, waiting = [(await client.threads.create())["thread_id"] for _ in range(2)]
            shown = await turn(client, talk, "Hello")
            shown += await turn(client, waiting, "Look it up")
            state = await client.threads.get_state(waiting)
            assert state["next"], "the control: it waits for a person"
            await until(memory, 1)
        async with served(tmp_path, PYTHONPATH=str(ROOT)) as client:
            before = await client.threads.get_state(talk)
            assert said(before) == ["Hello", "lessons: 1"]
            shown += await turn(client, talk, "And now?")
            shown += await turn(
                client, waiting, command={"resume": {"decisions": [{"type": "approve"}]}}
            )
            states = [await client.threads.get_state(thread) for thread in (talk, waiting)]
            assert said(states[0])[-2:] == ["And now?", "lessons: 1"]
            assert said(states[1])[-1] == "done"
            histories = [await client.threads.get_history(thread) for thread in (talk, waiting)]
            await until(memory, 3)
        claims = await memory.store.episodes.claim(
            "deployed", "me", lease=60, count=10, max_deliveries=3, alone=False
        )
        told = {
            (c.episode.question, c.episode.answer.strip(), c.episode.seen, c.episode.thread_id)
            for c in claims.claims
        }
    assert {
        ("Hello", "lessons: 1", (lesson.id,), talk),
        ("And now?", "lessons: 1", (lesson.id,), talk),
    } <= told
    assert ("Look it up", "done", (lesson.id,), waiting) in told
    kept = {name for state in [*states, *histories[0], *histories[1]] for name in state["values"]}
    assert "messages" in kept
    assert [name for name in kept if name.startswith("ted_memory")] == []
    assert "Be brief." not in str([shown, states, histories]), (
        "the block is in no stream and no state"
    )
    assert ours_in_pickles(tmp_path) == []


def said(state: Any) -> list[str]:
    """Return what a thread holds; a model that streams ends its words with a blank."""
    return [message["content"].strip() for message in state["values"]["messages"]]


async def until(memory: TedMemory, recorded: int) -> None:
    async with asyncio.timeout(60):
        while True:
            traffic = await memory.traffic()
            if traffic.counts.get("recorded", 0) >= recorded:
                return
            await asyncio.sleep(0.1)


def ours_in_pickles(folder: Path) -> list[str]:
    """Return what the server has written down of modules of ours."""
    kept = [path for path in (folder / ".langgraph_api").rglob("*") if path.is_file()]
    assert kept, "the control: it writes something"
    assert any(b"And now?" in path.read_bytes() for path in kept), (
        "the control: it writes down conversations"
    )
    return [path.name for path in kept if b"ted_memory." in path.read_bytes()]


async def test_the_redis_of_docker_compose_keeps_what_it_is_told(tmp_path: Path) -> None:
    """Run its command line on a Redis of its version; not every machine can run the image."""
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]
    assert service["image"] == "redis:8"
    name, *options = service["command"]
    binary = SERVERS["redis8"]
    assert name == "redis-server"
    if binary is None:
        pytest.skip("redis8 is not installed")
    for i in range(2):
        server = Server(binary, tmp_path, *options)
        async with open_memory(server.url, namespace="compose") as memory:
            assert len(await memory.load()) == i
            await memory.commit([Add(text="Be brief.")], author="me")
        await asyncio.sleep(1.5)  # appendfsync everysec
        server.stop()  # SIGKILL
