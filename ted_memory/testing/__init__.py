"""For users' tests and ours: a memory without a server, and models and servers with a script."""

from ted_memory.testing.chat_model import Script, ScriptedChatModel, asked_for_edits
from ted_memory.testing.memory import in_memory
from ted_memory.testing.server import Family, Provider, Reply, ScriptedServer
from ted_memory.testing.waiting import wait_until

__all__ = [
    "Family",
    "Provider",
    "Reply",
    "Script",
    "ScriptedChatModel",
    "ScriptedServer",
    "asked_for_edits",
    "in_memory",
    "wait_until",
]
