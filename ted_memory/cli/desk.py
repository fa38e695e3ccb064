"""``ted-memory desk``: pages to see and decide what the memory knows.

It binds to this machine alone, and prints a link that opens it once; then it prints the next one.
Whoever can read the terminal can use the desk, with the rights of --role: a reader sees, a reviewer
approves, edits and rejects as well, an admin also goes back, looks after dead letters and forgets.

For several people put a proxy with a login of its own before it, and name the header in which that
tells who is there (--trust-header). That name is the author of decisions in the log then. The port
must be reachable by the proxy alone: whoever else reaches it can say to be anybody.

Examples:
    ted-memory desk --namespace support
    ted-memory desk -n support --role admin --author anna
    ted-memory desk -n support --model openai:gpt-5-nano
    ted-memory desk -n support --trust-header X-Forwarded-User --allowed-host desk.example.com
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place, showing, spending
from ted_memory.errors import MissingExtra, SettingsError
from ted_memory.memory.client import TedMemory
from ted_memory.wiring import make_chat_model

if TYPE_CHECKING:  # the extra web, which other commands do without
    from starlette.applications import Starlette

PORT = 8790
_GRACE = 5  # seconds that pages under way have when it is stopped

_guard = partial(typer.Option, rich_help_panel="Who may use it")
_model = partial(typer.Option, rich_help_panel="Models")

_Host = Annotated[str, typer.Option("--host", help="Address to bind to.")]
_Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")]
_Role = Annotated[
    Literal["reader", "reviewer", "admin"], _guard("--role", help="What may be done here.")
]
_Author = Annotated[str, _guard("--author", help="Who decides; stands in the log.")]
_TrustHeader = Annotated[
    str | None,
    _guard(
        "--trust-header",
        help="Header in which a proxy tells the user's name. Only the proxy may reach the port "
        "then.",
    ),
]
_AllowedHost = Annotated[
    list[str] | None,
    _guard(
        "--allowed-host",
        help="Name by which browsers call it, besides localhost; may be repeated.",
    ),
]
_Expose = Annotated[
    bool,
    _guard("--expose", help="Bind to an address that others reach, though no proxy is trusted."),
]
_Model = Annotated[
    str | None,
    _model(
        "--model", help="provider:model that the playground may ask, or a name with --base-url."
    ),
]
_BaseUrl = Annotated[str | None, _model("--base-url", help="OpenAI-compatible server of --model.")]


def desk(
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    host: _Host = "127.0.0.1",
    port: _Port = PORT,
    role: _Role = "reviewer",
    author: _Author = "desk",
    trust_header: _TrustHeader = None,
    allowed_host: _AllowedHost = None,
    expose: _Expose = False,
    model: _Model = None,
    base_url: _BaseUrl = None,
    retrieval: showing.Retrieval = None,
    prices: spending.Prices = None,
) -> None:
    """Serve the review desk until it is stopped (Ctrl-C, SIGTERM)."""
    _check_address(host, trust_header, allowed_host or [], expose=expose)
    try:
        from ted_memory.web.access import LOOPBACK, Access
        from ted_memory.web.app import create_app
        from ted_memory.web.desk import Answering
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "web", "the desk") from error
    access = Access(
        role=role,
        author=author,
        trust_header=trust_header or "",
        hosts=LOOPBACK | {name.lower() for name in allowed_host or ()},
    )
    asked = make_chat_model(model, base_url=base_url) if model else None
    memory = place.memory_of(url, namespace, home, retrieval=retrieval)
    speaker = _Speaker(host, port, _name_of(host, allowed_host), is_open=not trust_header)
    app = create_app(
        memory,
        access,
        answering=Answering(asked, model) if asked is not None and model else None,
        prices=spending.prices_of(prices),
        on_new_link=speaker.tell_link,
    )
    asyncio.run(_serve(memory, app, speaker))


def _check_address(
    host: str, trust_header: str | None, allowed: list[str], *, expose: bool
) -> None:
    """Refuse an address that others reach, unless somebody has said how they are known.

    Raises:
        SettingsError: it is one.
    """
    if _is_loopback(host):
        return
    if not trust_header and not expose:
        raise SettingsError(
            f"--host {host} lets others reach the desk. Put a proxy with a login before it and "
            "say --trust-header, or say --expose"
        )
    if not allowed:
        raise SettingsError(
            f"--host {host} needs --allowed-host: the name by which browsers call the desk. "
            "Requests to any other name are refused"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name_of(host: str, allowed: list[str] | None) -> str:
    """Choose the name for the link: a browser cannot open what stands for all addresses."""
    return allowed[0] if allowed and host in {"0.0.0.0", "::"} else host  # noqa: S104


class _Speaker:
    """Tells on standard error where the desk is, and the next link when one was used."""

    def __init__(self, host: str, port: int, named: str, *, is_open: bool) -> None:
        self._host = host
        self._named = named
        self.port = port
        self._is_open = is_open

    @property
    def address(self) -> tuple[str, int]:
        """What to bind to."""
        return self._host, self.port

    @property
    def _base(self) -> str:
        name = f"[{self._named}]" if ":" in self._named else self._named
        return f"http://{name}:{self.port}"

    def tell_start(self, token: str) -> None:
        """Say that pages are served, and how to get in."""
        if not self._is_open:
            output.err.print(
                f"the desk is at {self._base}, for a proxy", markup=False, soft_wrap=True
            )
            return
        output.err.print(f"open {self._base}/enter?token={token}", markup=False, soft_wrap=True)
        output.err.print("the link works once; stop with Ctrl-C", markup=False, soft_wrap=True)

    def tell_link(self, token: str) -> None:
        """Print another link: the last one was used."""
        output.err.print(
            f"somebody has come in; the next link is {self._base}/enter?token={token}",
            markup=False,
            soft_wrap=True,
        )


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is begun.

    Raises:
        SettingsError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError(
            f"the desk cannot listen at {host}, port {port}: {error.strerror or error}. "
            "Is another desk running there? Say --port"
        ) from None


async def _serve(memory: TedMemory, app: Starlette, speaker: _Speaker) -> None:
    """Serve pages until a signal; the memory is open meanwhile."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # addresses hold the token of a link
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    server = uvicorn.Server(config)
    listening = _listen(*speaker.address)
    async with memory:
        speaker.port = listening.getsockname()[1]
        speaker.tell_start(app.state.desk.doorkeeper.link_token)
        # uvicorn raises the signal anew when pages are done, and the memory is to be closed then
        signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
        with contextlib.suppress(KeyboardInterrupt):
            await server.serve(sockets=[listening])
