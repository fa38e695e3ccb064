"""Desks to test: requests as a browser sends them, and a server that a real browser can reach."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import uvicorn
from starlette.applications import Starlette

from ted_memory import Add, TedMemory
from ted_memory.models import Experience
from ted_memory.testing import wait_until
from ted_memory.web.access import Access, Person
from ted_memory.web.app import create_app

BASE = "http://127.0.0.1:8790"
FROM_OURS = {"sec-fetch-site": "same-origin", "origin": "null"}
"""What browsers send along with a form of a page that tells no referrer."""
HIDDEN = re.compile(r'name="([\w-]+)" value="([^"]*)"')


class Visitor:
    """Somebody with a browser: keeps cookies, fills in forms."""

    def __init__(self, app: Starlette, **headers: Any) -> None:
        self.app = app
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers)

    async def come_in(self) -> httpx.Response:
        """Open the link."""
        token = self.app.state.desk.doorkeeper.link_token
        return await self.client.get("/enter", params={"token": token})

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def form_token(self, path: str = "/playground") -> str:
        """Read the signed token of any form of a page."""
        return dict(HIDDEN.findall((await self.get(path)).text)).get("form", "")

    async def post(
        self, path: str, fields: dict[str, Any], *, token: str | None = None, **headers: str
    ) -> httpx.Response:
        """Send a form of a page of ours, with a token of its own unless one is given."""
        made = self.app.state.desk.doorkeeper
        if token is None:
            token = await self.token_of(made)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(
            path, data={"form": token, **fields}, headers={**FROM_OURS, **sent}
        )

    async def token_of(self, doorkeeper: Any) -> str:
        """Make a token as the pages of this visitor carry it."""
        session = doorkeeper.session_of(self.client.cookies.get(doorkeeper.cookie) or "")
        if session is None:  # a proxy's
            return await self.form_token("/") or "none"
        return str(doorkeeper.form_token(Person("anybody", "admin", session)))

    async def decide(
        self, lesson: Experience, do: str, *, token: str | None = None, **fields: str
    ) -> httpx.Response:
        """Decide on a lesson as it is known here."""
        given = {"do": do, "rev": str(lesson.rev), "from": "inbox", **fields}
        return await self.post(f"/decide/{lesson.id}", given, token=token)


@contextlib.asynccontextmanager
async def visiting(memory: TedMemory, access: Access | None = None) -> AsyncIterator[Visitor]:
    """Make a desk, and somebody who has come in."""
    visitor = Visitor(create_app(memory, access))
    async with visitor.client:
        await visitor.come_in()
        yield visitor


def said(response: httpx.Response) -> str:
    """Give where a redirect leads, without the signed message."""
    place = urlsplit(response.headers["location"])
    at = parse_qs(place.query).get("at", [""])[0]
    return f"{place.path}?at={at}" if at else place.path


async def propose(memory: TedMemory, *texts: str, **fields: Any) -> list[Experience]:
    """Propose lessons as a learner does; gives them."""
    adds = [
        Add(
            text=text,
            when=fields.get("when", f"asked about thing {number}"),
            state="proposed",
            sources=(f"run:{number}", "principal:zoe"),
        )
        for number, text in enumerate(texts)
    ]
    commit = await memory.commit(adds, author="learner", why="what users said")
    now = await memory.load()
    return [now.by_id[made.id] for made in commit.applied]


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are pytest's


@contextlib.asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[str]:
    """Serve a desk on a free port; gives the link that opens it."""
    config = uvicorn.Config(
        app, port=0, log_level="error", lifespan="off", ws="none", access_log=False
    )
    server = _Quiet(config)
    socket = config.bind_socket()
    task = asyncio.create_task(server.serve(sockets=[socket]))
    try:
        await wait_until(lambda: server.started)
        token = app.state.desk.doorkeeper.link_token
        yield f"http://127.0.0.1:{socket.getsockname()[1]}/enter?token={token}"
    finally:
        server.should_exit = server.force_exit = True
        await task
        socket.close()
