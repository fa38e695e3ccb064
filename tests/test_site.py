"""The documentation site builds without a warning, and loads nothing from elsewhere."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
import yaml

from bench import reference, site_pages
from ted_memory.settings import Settings

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LOADING = {"img": "src", "script": "src", "iframe": "src", "source": "src", "embed": "src"}
LOADED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "modulepreload"}
FROM_CSS = re.compile(r"""url\(\s*['"]?(?:https?:)?//|@import\s+['"]?(?:https?:)?//""")


@dataclass
class Page(HTMLParser):
    """What one page of the site loads, links to, and may be linked at."""

    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag in LOADING and found.get(LOADING[tag]):
            self.loads.append(found[LOADING[tag]])
        if tag == "link" and set(found.get("rel", "").split()) & LOADED_LINKS:
            self.loads.append(found.get("href", ""))
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])


def build(folder: Path, docs: Path, nav: str = "") -> "subprocess.CompletedProcess[str]":
    """Build the site of these pages as `make docs` does; not with -q, which counts no warnings."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    if nav:
        text = text.partition("\nnav:")[0] + nav
    for ours, theirs in (
        ("docs_dir: docs", f"docs_dir: {docs}"),
        ("site_dir: site", f"site_dir: {folder}"),
        ("bench/site_hook.py", str(ROOT / "bench" / "site_hook.py")),
        ("paths: [.]", f"paths: [{ROOT}]"),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    configuration = folder.parent / "mkdocs.yml"
    configuration.write_text(text, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(configuration)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = build(folder, DOCS)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if not line.startswith("INFO ")]
    assert told == [], "no warning of any kind"
    return folder


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def is_elsewhere(url: str) -> bool:
    return bool(urlsplit(url).netloc) or url.startswith("//")


def loaded_from_elsewhere(folder: Path) -> list[str]:
    found = [
        f"{path.name}: {url}"
        for path in folder.rglob("*.html")
        for url in read(path).loads
        if is_elsewhere(url)
    ]
    styles = [*folder.rglob("*.css"), *folder.rglob("*.svg")]
    return found + [
        f"{path.name}: {match}"
        for path in styles
        for match in FROM_CSS.findall(path.read_text(encoding="utf-8"))
    ]


def lost_links(folder: Path) -> list[str]:
    """Links of pages that lead to no file of the site, or to no heading of its page."""
    pages = {path.resolve(): read(path) for path in folder.rglob("*.html")}
    lost = []
    for path, page in pages.items():
        for link in page.links:
            place, heading = urldefrag(link)
            if urlsplit(link).scheme or is_elsewhere(link) or path.name == "404.html":
                continue
            target = (path.parent / unquote(place)).resolve() if place else path
            known = pages[target].ids if target in pages else {unquote(heading)}
            if not target.exists() or (heading and unquote(heading) not in known):
                lost.append(f"{path.name}: {link}")
    return lost


def test_nothing_is_loaded_from_elsewhere_and_all_links_lead_on(site: Path) -> None:
    assert len([*site.rglob("*.html")]) > 60
    assert loaded_from_elsewhere(site) == []
    assert lost_links(site) == []


def test_what_is_loaded_or_lost_would_be_found(tmp_path: Path) -> None:
    """The control."""
    (tmp_path / "page.html").write_text(
        '<h1 id="here"></h1><script src="https://unpkg.com/x"></script><img src="//cdn.net/y.png">'
        '<link rel="stylesheet" href="https://fonts.net/z"><link rel="canonical" href="https://a">'
        '<a href="page.html#here">1</a><a href="page.html#there">2</a><a href="none.html">3</a>',
        encoding="utf-8",
    )
    (tmp_path / "a.css").write_text("a { background: url('https://b.net/c') }", encoding="utf-8")
    assert len(loaded_from_elsewhere(tmp_path)) == 4
    assert lost_links(tmp_path) == ["page.html: page.html#there", "page.html: none.html"]


@pytest.mark.parametrize(
    "broken", [("nowhere.md", "method.md#no-such-heading"), ("::: ted_memory.no_such_name",)]
)
def test_a_broken_page_breaks_the_build(broken: tuple[str, ...], tmp_path: Path) -> None:
    """The control: each of these is a warning, and warnings are errors."""
    docs = tmp_path / "pages"
    docs.mkdir()
    links = "\n\n".join(one if one.startswith(":::") else f"[x]({one})" for one in broken)
    (docs / "index.md").write_text(f"# Home\n\n{links}\n", encoding="utf-8")
    (docs / "method.md").write_text("# Method\n", encoding="utf-8")
    done = build(tmp_path / "site", docs, "\nnav:\n  - index.md\n  - method.md\n")
    assert done.returncode != 0
    for one in broken:
        assert one.removeprefix("::: ").rpartition("#")[2] in done.stderr


def test_every_page_is_in_the_navigation_and_no_page_that_is_not_there() -> None:
    def pages_in(part: object) -> Iterator[str]:
        if isinstance(part, str):
            yield part
        for inner in (
            part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        ):
            yield from pages_in(inner)

    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = [*pages_in(yaml.safe_load(text)["nav"])]
    assert len(set(listed)) == len(listed)
    assert set(listed) == {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}


def test_pages_that_the_code_writes_are_what_it_says() -> None:
    made = site_pages.pages()
    kept = {path.name: path.read_text(encoding="utf-8") for path in site_pages.FOLDER.glob("*.md")}
    assert kept == made, "docs/reference/ is old: run make reference"
    told = set(re.findall(r"^\| `(\w+)` \|", made["settings.md"], re.MULTILINE))
    assert set(Settings.model_fields) <= told
    assert {f"{name.replace('.', '-')}.md" for name in reference.PUBLIC} <= set(made)


def test_each_link_of_llms_txt_is_a_file_of_the_site(site: Path) -> None:
    text = (DOCS / "llms.txt").read_text(encoding="utf-8")
    title, summary, *_ = [line for line in text.splitlines() if line]
    assert title == "# ted-memory"
    assert summary.startswith("> ")
    links = re.findall(r"\[[^\]]+\]\(([^)]+)\)", text)
    assert [link for link in links if not (site / link).is_file()] == []
    listed = re.findall(r"^- \[[^\]]+\]\([^)]+\): .", text, re.MULTILINE)
    assert len(listed) == len(links) - 1, "all but llms-full.txt are in lists, with a word on each"
    whole = (site / "llms-full.txt").read_text(encoding="utf-8")
    for path in DOCS.rglob("*.md"):
        assert path.read_text(encoding="utf-8").strip() in whole, path.name


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed")
def test_a_browser_finds_pages_and_asks_nobody_else(site: Path) -> None:
    from playwright.sync_api import sync_playwright

    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{server.server_address[1]}/"
        asked: list[str] = []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            page = browser.new_page()
            page.on("request", lambda request: asked.append(request.url))
            page.goto(f"{home}index.html")
            page.keyboard.press("s")
            page.keyboard.type("tombstone")
            page.wait_for_selector(".md-search-result__item a")
            found = page.inner_text(".md-search-result__list")
            browser.close()
        server.shutdown()
    assert "Glossary" in found
    assert [url for url in asked if not url.startswith((home, "data:", "blob:"))] == []


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""
