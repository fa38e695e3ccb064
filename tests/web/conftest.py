"""A real browser for all tests of this folder, in a thread of its own."""

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from starlette.applications import Starlette

from ted_memory import TedMemory
from ted_memory.web.access import Access
from ted_memory.web.app import create_app
from tests.web.desks import serving

T = TypeVar("T")


@pytest.fixture(scope="session")
def chromium() -> Iterator[tuple[ThreadPoolExecutor, Any]]:
    """One browser, and the one thread in which it may be used."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with ThreadPoolExecutor(1) as thread:
        player = thread.submit(lambda: sync_playwright().start()).result()
        browser = thread.submit(
            lambda: player.chromium.launch(executable_path=path, args=["--no-sandbox"])
        ).result()
        yield thread, browser
        thread.submit(browser.close).result()
        thread.submit(player.stop).result()


@dataclass
class Browser:
    """Windows of the browser, and what went wrong in them.

    Attributes:
        link: that opens the next window.
        used: what the desk told of links that followed used ones.
        troubles: errors and warnings of the console, reports of the policy among them, scripts
            that ran into an error, dialogs, and requests for other places.
    """

    thread: ThreadPoolExecutor
    browser: Any
    app: Starlette
    link: str
    used: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    expects_troubles: bool = False
    contexts: list[Any] = field(default_factory=list)

    @property
    def base(self) -> str:
        return self.link.partition("/enter")[0]

    async def __call__(self, look: Callable[..., T], *args: Any) -> T:
        """Do something with pages, in their thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, look, *args)

    def window(self, width: int = 1280, height: int = 900, **options: Any) -> Any:
        """Open a window that has come in by the link; for use in the thread."""
        context = self.browser.new_context(viewport={"width": width, "height": height}, **options)
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda m: self._tell(m.type, m.text))
        page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))
        page.on("dialog", self._dialog)
        page.on("request", self._request)
        page.goto(self.link)
        # each link opens once
        self.link = f"{self.base}/enter?token={self.used[-1]}"
        return page

    def _tell(self, kind: str, text: str) -> None:
        # that an answer is a 409 or a 503 is what the page says, too
        if not re.match(r"Failed to load resource: .* status of (409|503)", text):
            self.troubles.append(f"console {kind}: {text}")

    def _dialog(self, dialog: Any) -> None:
        self.troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith(self.base):
            self.troubles.append(f"request for {request.url}")

    def close(self) -> None:
        for context in self.contexts:
            context.close()


@pytest.fixture
def access() -> Access:
    """How the desk of a browser test is guarded."""
    return Access(role="admin", author="anna")


@contextlib.asynccontextmanager
async def browser_at(
    chromium: tuple[ThreadPoolExecutor, Any], memory: TedMemory, access: Access
) -> AsyncIterator[Browser]:
    """Serve the desk of a memory to the browser; nothing may go wrong in it."""
    thread, browser = chromium
    links: list[str] = []
    app = create_app(memory, access, on_new_link=links.append)
    async with serving(app) as link:
        found = Browser(thread, browser, app, link, links)
        try:
            yield found
        finally:
            await found(found.close)
    assert found.expects_troubles or found.troubles == []


@pytest.fixture
async def browse(
    chromium: tuple[ThreadPoolExecutor, Any], memory: TedMemory, access: Access
) -> AsyncIterator[Browser]:
    """The desk of a memory on a real server, in a real browser."""
    async with browser_at(chromium, memory, access) as found:
        yield found
