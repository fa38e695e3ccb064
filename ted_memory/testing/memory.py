"""A memory without a server."""

from typing import Any

from ted_memory.fields import check_namespace
from ted_memory.memory.client import TedMemory
from ted_memory.retrieval.protocol import Retriever
from ted_memory.settings import make_settings
from ted_memory.testing.oracle.store import InMemoryStore


def in_memory(
    *,
    namespace: str = "test",
    store: InMemoryStore | None = None,
    retriever: Retriever | None = None,
    **settings: Any,
) -> TedMemory:
    """A memory that ends with the process, with the settings of `open_memory`.

    Several memories that share a `store` are like several processes.
    """
    made = make_settings(namespace=namespace, **settings)
    return TedMemory(
        store or InMemoryStore(), made, check_namespace(namespace), retriever=retriever
    )
