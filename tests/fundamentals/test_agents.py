"""What an agent has of a memory: lessons in its prompt, and nothing that could stop it."""

from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage

from ted_memory import Add, TedMemory, open_memory
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.integrations.runnable import inject_lessons
from ted_memory.testing import ScriptedChatModel, wait_until
from tests.conftest import Server

QUESTION = {"messages": [HumanMessage("A customer wants a refund.")]}
LESSON = Add(text="Ask for the order number first.", when="a customer wants a refund")


def student(messages: list[BaseMessage]) -> str:
    """Follow the lesson where it stands in the prompt."""
    prompt = "\n".join(str(message.text) for message in messages)
    return "Your order number, please." if "order number" in prompt else "Why?"


async def test_an_agent_follows_the_lessons_of_its_memory(memory: TedMemory) -> None:
    model = ScriptedChatModel(script=student)
    agent = create_agent(model, tools=[], middleware=[TedMemoryMiddleware(memory)])
    assert (await agent.ainvoke(QUESTION))["messages"][-1].text == "Why?"

    await memory.commit([LESSON], author="me")
    done = await agent.ainvoke(QUESTION)
    assert done["messages"][-1].text == "Your order number, please."
    said = [message.text for message in done["messages"]]
    assert said == ["A customer wants a refund.", "Your order number, please."], (
        "the lesson stands in the prompt, and not in the conversation"
    )


async def test_a_chain_takes_them_in_by_one_word(memory: TedMemory) -> None:
    await memory.commit([LESSON], author="me")
    chain = inject_lessons(memory) | ScriptedChatModel(script=student)
    assert (await chain.ainvoke("A customer wants a refund.")).text == "Your order number, please."


async def test_all_instances_of_an_agent_share_what_one_has_learned(
    valkey: Server, namespace: str
) -> None:
    async with (
        open_memory(valkey.url, namespace=namespace) as here,
        open_memory(valkey.url, namespace=namespace) as elsewhere,
    ):
        assert await elsewhere.render() == ""
        await here.commit([LESSON], author="me")

        async def is_shown() -> bool:
            return "order number" in await elsewhere.render()

        await wait_until(is_shown)  # after a second: setting `refresh`


async def test_what_is_only_proposed_is_shown_to_nobody(memory: TedMemory) -> None:
    proposal = LESSON.model_copy(update={"state": "proposed"})
    [made] = (await memory.commit([proposal], author="me")).applied
    assert await memory.render() == ""
    await memory.approve(made.id, author="somebody who looked at it")
    assert "order number" in await memory.render()


async def test_all_lessons_are_shown_or_those_that_fit(valkey: Server, namespace: str) -> None:
    async with open_memory(
        valkey.url, namespace=namespace, selection="relevant", top_k=1, read_timeout=5
    ) as memory:
        other = Add(text="Tell the opening hours.", when="somebody asks when a shop is open")
        await memory.commit([LESSON, other], author="me")
        question = "When is the shop in Oslo open?"
        shown = await memory.render(question)
        assert "opening hours" in shown
        assert "order number" not in shown
    async with open_memory(valkey.url, namespace=namespace, read_timeout=5) as memory:
        assert "order number" in await memory.render(question), "the default: all of them"


async def test_an_agent_whose_memory_is_away_works_with_what_it_had(own_server: Server) -> None:
    # refresh=0: each call looks at the server again, here in vain
    async with open_memory(own_server.url, refresh=0) as memory:
        await memory.commit([LESSON], author="me")
        await memory.load()
        own_server.stop()
        model = ScriptedChatModel(script=student)
        agent = create_agent(model, tools=[], middleware=[TedMemoryMiddleware(memory)])
        done = await agent.ainvoke(QUESTION)
        assert done["messages"][-1].text == "Your order number, please."
        await wait_until(lambda: memory.health().failed_reads > 0, what="a word of it in health")
