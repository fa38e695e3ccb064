"""Every backend of `ExperienceStore`, in turn."""

from collections.abc import AsyncIterator, Iterator

import pytest

from ted_memory.protocols import ExperienceStore
from ted_memory.storage.redis.clients import Clients
from ted_memory.storage.redis.store import RedisStore
from ted_memory.testing.oracle.store import InMemoryStore
from tests.conftest import SERVERS, Server, assert_only_known_keys
from tests.contracts.queue import Queue, emptied
from tests.contracts.writer import Writer

IN_MEMORY = "in-memory"


@pytest.fixture(
    scope="session", params=[IN_MEMORY, *(name for name, binary in SERVERS.items() if binary)]
)
def backend_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str | None]:
    """The URL of each real server that this machine has; None for the store without one."""
    if request.param == IN_MEMORY:
        yield None
        return
    binary = SERVERS[request.param]
    assert binary is not None
    started = Server(binary, tmp_path_factory.mktemp(f"contract-{request.param}"))
    yield started.url
    started.stop()


@pytest.fixture
async def store(backend_url: str | None) -> AsyncIterator[ExperienceStore]:
    """A store of each kind. What it leaves ends by itself or is on the list of `storage.keys`."""
    if backend_url is None:
        yield InMemoryStore()
        return
    opened = RedisStore(Clients(backend_url, None, read_timeout=1.0))
    yield opened
    await opened.aclose()
    await assert_only_known_keys(backend_url)


@pytest.fixture
def writer(store: ExperienceStore, namespace: str) -> Writer:
    """Who commits to a namespace of this test's own."""
    return Writer(store, namespace)


@pytest.fixture
async def queue(store: ExperienceStore, writer: Writer, backend_url: str | None) -> Queue:
    """The traffic of a namespace of this test's own."""
    await emptied(backend_url)
    return Queue(store, writer)
