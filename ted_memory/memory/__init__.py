"""One experience set, as a program holds it."""

from ted_memory.memory.cache import Health, MemoryReset
from ted_memory.memory.client import TedMemory
from ted_memory.memory.exchange import ImportReport
from ted_memory.memory.forgetting import ForgetReport
from ted_memory.memory.sync import SyncTedMemory
from ted_memory.memory.sync_bridge import flush_recorded

__all__ = [
    "ForgetReport",
    "Health",
    "ImportReport",
    "MemoryReset",
    "SyncTedMemory",
    "TedMemory",
    "flush_recorded",
]
