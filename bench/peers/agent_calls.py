"""What peers add to an agent's call: each finds the three memories nearest to the question.

Prints JSON: microseconds (p50) by peer. Their embedder is scripted and takes some 20 microseconds,
in their favour.
"""

import asyncio
import contextlib
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.store.memory import InMemoryStore
from langgraph.store.redis.aio import AsyncRedisStore
from langmem import create_memory_store_manager
from server import server

ROUNDS, WARM, DIMENSIONS, LESSONS = 600, 30, 64, 50
QUESTION = "What about topic1, topic2 and topic3?"
ASKED: Any = {"messages": [("user", QUESTION)]}


class Scripted(Embeddings):
    """A vector for each text, always the same one."""

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one text."""
        luck = random.Random(text)
        return [luck.random() for _ in range(DIMENSIONS)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of several texts."""
        return [self.embed_query(text) for text in texts]

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of one text."""
        return self.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of several texts."""
        return self.embed_documents(texts)


class Instant(BaseChatModel):
    """A model that answers at once."""

    @property
    def _llm_type(self) -> str:
        return "instant"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:  # noqa: ARG002
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Sure."))])

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:  # noqa: ARG002
        return self._generate()


class Searching(AgentMiddleware[Any, Any, Any]):
    """Appends to the prompt what a search has found for the question."""

    def __init__(self, search: Any) -> None:
        super().__init__()
        self.search = search

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        """Search, append, and call the model."""
        said = "\n".join(await self.search(request.messages[-1].text))
        message = SystemMessage(f"{request.system_message.text}\n\n{said}")
        return await handler(request.override(system_message=message))


def memories() -> Iterator[str]:
    """Return what each peer holds."""
    for i in range(LESSONS):
        yield f"topic{i} is asked about: Lesson {i} says what to do about it, and what not to do."


async def filled(store: Any) -> Any:
    """Put the memories into a store."""
    for i, text in enumerate(memories()):
        await store.aput(("memories",), f"m{i}", {"content": text})
    return store


def in_store(search: Any) -> Any:
    """Make a search of what a LangGraph store, or LangMem's manager, finds."""

    async def texts(question: str) -> list[str]:
        return [str(item.value) for item in await search(question)]

    return texts


@contextlib.asynccontextmanager
async def mem0_search() -> Any:
    """Give mem0's search over the memories; its model is not called.

    In its favour: the faster of its stores in the process, and none of the packages with which it
    would look for words and names, too.
    """
    with tempfile.TemporaryDirectory() as folder:
        # read when it is imported; else a share of its calls would tell its makers of them
        os.environ |= {"MEM0_TELEMETRY": "False", "MEM0_DIR": folder}
        from mem0 import AsyncMemory

        store = {"embedding_model_dims": DIMENSIONS, "path": f"{folder}/faiss"}
        memory = AsyncMemory.from_config(
            {
                "vector_store": {"provider": "faiss", "config": store},
                "embedder": {"provider": "langchain", "config": {"model": Scripted()}},
                "llm": {"provider": "langchain", "config": {"model": Instant()}},
                "history_db_path": ":memory:",
            }
        )
        for text in memories():
            await memory.add(text, user_id="u", infer=False)

        async def search(question: str) -> list[str]:
            found = await memory.search(question, top_k=3, filters={"user_id": "u"})
            return [item["memory"] for item in found["results"]]

        yield search


async def main() -> None:
    """Ask an agent without memory and with each peer in turn."""
    index: Any = {"dims": DIMENSIONS, "embed": Scripted(), "fields": ["content"]}
    with server() as url:
        async with (
            AsyncRedisStore.from_conn_string(url, index=index) as on_redis,
            mem0_search() as of_mem0,
        ):
            await on_redis.setup()
            await filled(on_redis)
            manager = create_memory_store_manager(
                Instant(),
                namespace=("memories",),
                store=await filled(InMemoryStore(index=index)),
                query_limit=3,
            )
            searches = {
                "LangMem (its store in memory)": in_store(
                    lambda text: manager.asearch(query=text, limit=3)
                ),
                "RedisStore": in_store(
                    lambda text: on_redis.asearch(("memories",), query=text, limit=3)
                ),
                "mem0 (faiss, in its process)": of_mem0,
            }
            for name, search in searches.items():
                assert len(await search(QUESTION)) == 3, name
            agents: dict[str, Any] = {"bare": agent()}
            agents |= {name: agent(Searching(search)) for name, search in searches.items()}
            wall: dict[str, list[float]] = {name: [] for name in agents}
            for i in range(WARM + ROUNDS):
                for name, one in agents.items():
                    began = time.perf_counter()
                    await one.ainvoke(ASKED)
                    if i >= WARM:
                        wall[name].append((time.perf_counter() - began) * 1e6)
    p50 = {name: statistics.median(taken) for name, taken in wall.items()}
    print(json.dumps({name: p50[name] - p50["bare"] for name in searches}))


def agent(*middleware: Any) -> Any:
    """Return an agent with these middlewares."""
    return create_agent(Instant(), system_prompt="You help people.", middleware=middleware)


if __name__ == "__main__":
    asyncio.run(main())
