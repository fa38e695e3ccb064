"""The only place that names concrete classes."""

from collections.abc import Callable, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Unpack, cast

from ted_memory.capture.recorder import Hooks
from ted_memory.episodes import Retention
from ted_memory.errors import MissingExtra, ModelError, SettingsError, reason_of
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.fields import check_namespace
from ted_memory.memory.client import TedMemory
from ted_memory.memory.sync import SyncTedMemory
from ted_memory.protocols import Cipher
from ted_memory.retrieval.protocol import Retriever
from ted_memory.settings import Durability, PromptSettings, SettingNames, Settings, make_settings

__all__ = ["acl_commands", "make_chat_model", "open_memory", "open_memory_sync"]

if TYPE_CHECKING:  # half a second, which a program that only reads its memory need not spend
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel

# seconds; starting the embedded server takes longer than an agent would wait for a real one
EMBEDDED_WAIT = 5.0
SMALLEST_LESSON = 10  # tokens


def open_memory(
    url: str | None = None,
    *,
    namespace: str | None = None,
    home: str | None = None,
    client: Any = None,
    redact: Callable[[str], str] | None = None,
    identify: Callable[[str], str] | None = None,
    cipher: Cipher | None = None,
    retriever: Retriever | None = None,
    embeddings: "Embeddings | None" = None,
    **settings: Unpack[SettingNames],
) -> TedMemory:
    """Open the memory of one experience set; no I/O: it connects at first use.

    Without a ``url`` (or ``TED_MEMORY_URL``) an embedded server keeps the data under ``home``
    (``TED_MEMORY_HOME``, default ``./.ted-memory``); any number of processes may share that folder.
    ``url`` is one of ``redis://``, ``rediss://``, ``unix://``,
    ``redis+sentinel://host:port,host:port/service/db``, ``redis+cluster://host:port,host:port``. A
    ``client`` of redis-py (asyncio or not, of a server, a Sentinel's service or a cluster,
    ``decode_responses`` either way) takes its place: its settings are used, its connections left
    alone. ``redact`` changes every text of a recorded run before it leaves the process; by default
    it masks keys, e-mail addresses and card numbers (`ted_memory.redaction`). It runs in a thread.
    ``identify`` makes of a principal, or a conversation's id, what is stored in its place: one
    spelling of each, or a keyed hash (`ted_memory.redaction.keyed_hash`). All that record, give
    feedback or forget need the same one. ``cipher`` encrypts episodes, feedback, the archive,
    images and what runs have done: the protocol of LangGraph's encrypting serializers
    (`ted_memory.storage.redis.sealing`). Lessons, which every agent is shown, are not encrypted.
    ``retriever`` finds the lessons that fit a question in its own way; ``embeddings``, any of
    LangChain's, are asked beside the words. By default words decide, or words and local embeddings
    (setting ``retrieval``). ``settings`` are those of `ted_memory.settings.Settings`, by name; they
    win over the environment. The caps ``max_experiences`` and ``token_budget`` are stored with the
    set: stating one here changes it for everybody at this memory's next commit.

    Raises:
        SettingsError: a setting is unknown or cannot work.
        InvalidInput: the namespace has a character that is not allowed.
        MissingExtra: embeddings need ``ted-memory[embeddings]``.
    """
    if client is not None and url is not None:
        raise SettingsError("url and client exclude each other; give one of them")
    made = make_settings(url=url, namespace=namespace, home=home, **settings)
    check_namespace(made.namespace)
    if made.token_budget < FRAME_TOKENS + SMALLEST_LESSON:
        raise SettingsError(
            f"token_budget={made.token_budget} is too small for one experience: the block around "
            f"it takes {FRAME_TOKENS} tokens and a short lesson {SMALLEST_LESSON}; use "
            f"{FRAME_TOKENS + SMALLEST_LESSON} or more"
        )
    return _open(
        made, client, Hooks(redact, identify), cipher, _retriever(made, retriever, embeddings)
    )


def open_memory_sync(
    url: str | None = None,
    *,
    namespace: str | None = None,
    home: str | None = None,
    client: Any = None,
    redact: Callable[[str], str] | None = None,
    identify: Callable[[str], str] | None = None,
    cipher: Cipher | None = None,
    retriever: Retriever | None = None,
    embeddings: "Embeddings | None" = None,
    **settings: Unpack[SettingNames],
) -> SyncTedMemory:
    """Open the same as `open_memory` does, with blocking methods.

    It is a context manager, and ``close()`` ends it.
    """
    memory = open_memory(
        url,
        namespace=namespace,
        home=home,
        client=client,
        redact=redact,
        identify=identify,
        cipher=cipher,
        retriever=retriever,
        embeddings=embeddings,
        **settings,
    )
    return SyncTedMemory(memory)


def acl_commands(
    namespace: str, roles: Sequence[str] = (), *, durability: Durability = "none"
) -> dict[str, str]:
    """Write ``ACL SETUSER`` commands for one namespace, by role (default: all roles).

    With ``durability="fsync"`` they allow WAITAOF, which Redis 7.0 does not know and refuses to
    name. Each has a fresh random password. What a role may do stands in
    `ted_memory.storage.redis.acl`.

    Raises:
        InvalidInput: the namespace has a character that is not allowed, or there is no such role.
    """
    from ted_memory.storage.redis import acl

    return {
        role: acl.set_user(cast("acl.Role", role), namespace, durability=durability)
        for role in roles or acl.ROLES
    }


def _retriever(
    settings: PromptSettings, retriever: Retriever | None, embeddings: "Embeddings | None"
) -> Retriever | None:
    """Choose the retriever that the arguments name, None for words alone."""
    if retriever is not None and embeddings is not None:
        raise SettingsError(
            "retriever and embeddings exclude each other; to fuse them give "
            "retriever=FusedRetriever(retriever, EmbeddingRetriever(embeddings))"
        )
    if retriever is not None:
        return retriever
    if embeddings is None and settings.retrieval == "words":
        return None
    from ted_memory.retrieval.bm25 import WordRetriever
    from ted_memory.retrieval.embeddings import EmbeddingRetriever
    from ted_memory.retrieval.fusion import FusedRetriever

    if embeddings is None:
        from ted_memory.retrieval.local import LocalEmbeddings

        embeddings = LocalEmbeddings()
    return FusedRetriever(WordRetriever(settings.language), EmbeddingRetriever(embeddings))


def _open(
    settings: Settings,
    client: Any,
    hooks: Hooks,
    cipher: Cipher | None,
    retriever: Retriever | None,
) -> TedMemory:
    from ted_memory.storage.redis.addresses import from_client
    from ted_memory.storage.redis.clients import Clients
    from ted_memory.storage.redis.sealing import Seal
    from ted_memory.storage.redis.store import RedisStore

    kept = Retention(
        run_days=settings.run_days,
        max_dead=settings.max_dead,
        dead_days=settings.dead_days,
        episode_days=settings.episode_days,
        archive_days=settings.archive_days,
    )
    if client is not None or settings.url is not None:
        address = None if client is None else from_client(client)
        url = settings.url if client is None else None
        clients = Clients(url, None, read_timeout=settings.read_timeout, address=address)
        store = RedisStore(clients, settings.durability, kept, Seal(cipher))
        return TedMemory(store, settings, settings.namespace, retriever=retriever, hooks=hooks)
    try:
        from ted_memory.storage.embedded.server import EmbeddedServer
    except ImportError:  # no fcntl: Windows
        raise SettingsError(
            "the embedded server needs Linux or macOS; give the URL of a Redis or Valkey server, "
            "as an argument or in TED_MEMORY_URL"
        ) from None
    clients = Clients(None, EmbeddedServer(settings.home), read_timeout=settings.read_timeout)
    store = RedisStore(clients, settings.durability, kept, Seal(cipher))
    return TedMemory(
        store,
        settings,
        settings.namespace,
        first_wait=EMBEDDED_WAIT,
        retriever=retriever,
        hooks=hooks,
    )


def make_chat_model(name: str, *, base_url: str | None = None, **options: Any) -> "BaseChatModel":
    """Make a chat model of ``provider:model``, or of a name at any OpenAI-compatible server.

    Args:
        name: as `langchain.chat_models.init_chat_model` takes it; with a ``base_url`` the name that
            the server knows.
        base_url: of the server, usually ending in ``/v1``.
        options: such as ``temperature`` and ``max_tokens``; None counts as not given, and is not
            sent.

    Raises:
        ModelError: there is no such provider, its package is missing, or its key is not set.
        MissingExtra: the package ``langchain`` or ``langchain-openai`` is missing.
    """
    given = {option: value for option, value in options.items() if value is not None}
    try:
        if base_url is not None:
            return _openai_compatible(name, base_url, given)
        from langchain.chat_models import init_chat_model

        if name.startswith("openai:"):
            given.setdefault("temperature", None)  # stated: else the client sends 1 to o1
        model: BaseChatModel = init_chat_model(name, **given)
    except ModuleNotFoundError as error:
        if error.name in {"langchain", "langchain_openai"}:
            raise MissingExtra(error.name, "langchain", f"the model {name!r}") from error
        raise ModelError(f"the model {name!r} cannot be used: {error}") from error
    except Exception as error:
        reason = shorten(reason_of(error), 300, placeholder=" ...").rstrip(".")
        raise ModelError(
            f"the model {name!r} cannot be used: {reason}. Give provider:model (such as "
            "openai:gpt-5-mini), or a model's name and the base URL of an OpenAI-compatible server"
        ) from error
    return model


def _openai_compatible(name: str, base_url: str, options: dict[str, Any]) -> "BaseChatModel":
    from langchain_openai import ChatOpenAI

    # stream_usage: with a base URL the client does not ask for the usage of streams by itself
    # max_retries: `llm.calls` makes calls again, and lets the others wait meanwhile
    # temperature: stated, else the client sends 1 to names that begin with o1
    options = {
        "model": name,
        "base_url": base_url,
        "stream_usage": True,
        "max_retries": 0,
        "temperature": None,
        **options,
    }
    try:
        return ChatOpenAI(**options)
    except Exception:  # noqa: BLE001 - no OPENAI_API_KEY: a local server needs none, but the client insists on one
        return ChatOpenAI(api_key="not-needed", **options)
