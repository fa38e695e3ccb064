"""A memory for tests that teach: it waits for its server longer than an agent would."""

from collections.abc import AsyncIterator

import pytest

from ted_memory import TedMemory, open_memory
from tests.conftest import Server


@pytest.fixture
async def memory(valkey: Server, namespace: str) -> AsyncIterator[TedMemory]:
    async with open_memory(valkey.url, namespace=namespace, read_timeout=5) as opened:
        yield opened
