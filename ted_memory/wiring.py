"""The only place that names concrete classes."""

from typing import Any

from ted_memory.errors import SettingsError
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.memory import TedMemory
from ted_memory.models import check_namespace
from ted_memory.settings import Settings, make_settings

EMBEDDED_WAIT = 5.0  # seconds; starting the embedded server takes longer than an agent would wait for a real one
SMALLEST_LESSON = 10  # tokens


def open_memory(
    url: str | None = None, *, namespace: str | None = None, home: str | None = None, **settings: Any
) -> TedMemory:
    """Return the memory of one experience set. No I/O here: it connects at first use, for each event loop.

    Without a ``url`` (or ``TED_MEMORY_URL``) an embedded server keeps the data under ``home``
    (``TED_MEMORY_HOME``, default ``./.ted-memory``); any number of processes may share that folder.
    ``settings`` are those of `ted_memory.settings.Settings`, by name; they win over the environment.
    The caps ``max_experiences`` and ``token_budget`` are stored with the set: stating one here changes it for
    everybody at this memory's next commit.

    Raises:
        SettingsError: a setting is unknown or cannot work.
        InvalidInput: the namespace has a character that is not allowed.
    """
    made = make_settings(url=url, namespace=namespace, home=home, **settings)
    check_namespace(made.namespace)
    if made.token_budget < FRAME_TOKENS + SMALLEST_LESSON:
        raise SettingsError(
            f"token_budget={made.token_budget} is too small for one experience: the block around it takes "
            f"{FRAME_TOKENS} tokens and a short lesson {SMALLEST_LESSON}; use {FRAME_TOKENS + SMALLEST_LESSON} or more"
        )
    return _open(made)


def _open(settings: Settings) -> TedMemory:
    from ted_memory.storage.clients import Clients
    from ted_memory.storage.redis_store import RedisStore

    if settings.url is not None:
        clients = Clients(settings.url, None, read_timeout=settings.read_timeout)
        return TedMemory(RedisStore(clients), settings, settings.namespace)
    try:
        from ted_memory.storage.embedded import EmbeddedServer
    except ImportError:  # no fcntl: Windows
        raise SettingsError(
            "the embedded server needs Linux or macOS; give the URL of a Redis or Valkey server, "
            "as an argument or in TED_MEMORY_URL"
        ) from None
    clients = Clients(None, EmbeddedServer(settings.home), read_timeout=settings.read_timeout)
    return TedMemory(RedisStore(clients), settings, settings.namespace, first_wait=EMBEDDED_WAIT)
