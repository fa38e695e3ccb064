"""``agent``: a chat with an agent that has the memory, and is recorded for a learner.

There are two ways to say what an answer was worth. In the chat, in plain words ("that was wrong:
ask for the order number first"): the agent has a tool that passes them on. Or by the graph
``feedback``, with the id of the run, as a page with two thumbs does it.

Give it tools of yours.
"""

from typing import Any

from langchain.agents import create_agent

from graphs.deployed import make_model, memory
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.integrations.tools import create_feedback_tool

PROMPT = (
    "You are a helpful assistant. When the user says that an earlier answer of yours was right or "
    "wrong, note it with the tool rate_answer, and then answer again."
)


def make_agent() -> Any:
    """Make the agent. Who asks is whom the server has authenticated."""
    return create_agent(
        make_model("MODEL"),
        tools=[create_feedback_tool(memory)],
        system_prompt=PROMPT,
        middleware=[TedMemoryMiddleware(memory, record=True)],
    )
