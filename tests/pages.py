"""What is written in documents, run: the blocks of one page in their order, in one folder.

Python blocks share one namespace, as in a notebook, and may ``await``. A ``text`` block right below
one is what it prints. In a ``console`` block each line after ``$`` is run; lines below it, if there
are any, are what it prints. ``...`` stands for anything there. Models named ``openai:`` are played
by a scripted server, and ``redis://localhost:6379/0`` is a server of the test.

What cannot be run has a comment right above it, ``<!-- not run: WHY -->``, with one of the reasons
of `REASONS`. ``<!-- invisible-code-block: python`` begins a comment that is run and not shown.
"""

import ast
import asyncio
import contextlib
import gc
import inspect
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import yaml
from sybil import Document, Example, Region
from sybil.parsers.abstract.lexers import LexerCollection
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, FencedCodeBlockLexer

from ted_memory import SyncTedMemory, TedMemory
from tests.command_line import run_cli

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    {
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md")),
        ROOT / "examples" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    }
)
LOCAL_REDIS = "redis://localhost:6379/0"
SHELL = re.compile(r"[|>&;$]")
MARK = re.compile(r"<!-- not run: (.*?) -->\s*\Z")

REASONS: Mapping[str, str] = {
    "installs packages": r"pip install|make install",
    "downloads models": r"make demo",
    "takes minutes or hours": r"make (demo|test|chaos|bench|results|coverage)\b|examples\.paper",
    "needs Docker": r"docker ",
    "needs a cluster of machines": r"kubectl ",
    "waits for a person": r"mkdocs serve|langgraph dev|uvicorn |ted-memory desk",
}
"""Why a block is not run, and what stands in it then."""


def blocks_of(document: Document) -> Iterator[Region]:
    """Yield all fenced blocks, and those in comments, with their language as an evaluator."""
    lexers = LexerCollection(
        [
            FencedCodeBlockLexer(
                language=r"[^\n]*", mapping={"language": "kind", "source": "source"}
            ),
            DirectiveInHTMLCommentLexer(
                directive=r"invisible-code-block", mapping={"arguments": "kind", "source": "source"}
            ),
        ]
    )
    for region in lexers(document):
        region.parsed = region.lexemes["source"]
        region.evaluator = lambda _: None
        yield region


def document_of(path: Path) -> Document:
    return Document.parse(str(path), blocks_of)


def kind_of(example: Example) -> str:
    return str(example.region.lexemes["kind"]).strip()


def reason_of(example: Example) -> str | None:
    """Why a block is not run, as the comment above it says; None for those that are."""
    found = MARK.search(example.document.text[: example.region.start])
    return found.group(1) if found else None


def commands_in(text: str) -> list[tuple[str, str]]:
    """Split a console block into commands, each with what it prints."""
    found: list[tuple[str, str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
        elif line.strip():
            raise AssertionError(f"a console block begins with `$ `, not with {line!r}")
    return found


def is_like(expected: str, given: str) -> bool:
    """Tell whether a text is what was expected; ``...`` stands for anything, ends do not count."""
    lines = [line.rstrip() for line in expected.strip().splitlines()]
    parts = map(re.escape, "\n".join(lines).split("..."))
    told = "\n".join(line.rstrip() for line in given.strip().splitlines())
    return re.fullmatch(".*".join(parts), told, re.DOTALL) is not None


class Reader:
    """Runs the blocks of one page as a reader would who types them in."""

    def __init__(self, path: Path, folder: Path, redis_url: str, env: Mapping[str, str]) -> None:
        self.document = document_of(path)
        self.folder = folder
        self.redis_url = redis_url
        self.env = dict(env)
        self.names: dict[str, Any] = {"__name__": "page"}
        self.printed = ""
        self.ran = 0
        self._memories: list[TedMemory | SyncTedMemory] = []
        self._runner = asyncio.Runner()  # it cancels what is under way when it is closed
        self._loop = self._runner.get_loop()

    def read(self) -> int:
        """Run all blocks; return how many there were. Raises AssertionError with the place."""
        try:
            for example in self.document.examples():
                if reason_of(example) is None:
                    self._run(example)
                    self.ran += 1
        finally:
            self._close()
        return self.ran

    def _run(self, example: Example) -> None:
        runs: dict[str, Callable[[str], None]] = {
            "python": self._python,
            "console": self._console,
            "text": self._compare,
            "json": _parsed_by(json.loads),
            "yaml": _parsed_by(yaml.safe_load),
            "toml": _parsed_by(tomllib.loads),
            "markdown": lambda _: None,
            "": _picture,
        }
        kind, place = kind_of(example), f"{self.document.path}:{example.line}"
        assert kind in runs, f"{place}: nobody runs blocks of {kind!r}"
        try:
            runs[kind](inspect.cleandoc(example.parsed).replace(LOCAL_REDIS, self.redis_url))
        except Exception as error:
            raise AssertionError(f"{place}: {type(error).__name__}: {error}") from error
        found = (one for one in self.names.values() if isinstance(one, TedMemory | SyncTedMemory))
        self._memories += [one for one in found if one not in self._memories]

    def _python(self, text: str) -> None:
        code = compile(
            text,
            self.document.path,
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        with contextlib.redirect_stdout(io.StringIO()) as out:
            if code.co_flags & inspect.CO_COROUTINE:
                self._loop.run_until_complete(self._awaited(code))
            else:
                exec(code, self.names)
        self.printed = out.getvalue()

    async def _awaited(self, code: CodeType) -> None:
        await eval(code, self.names)

    def _compare(self, text: str) -> None:
        assert is_like(text, self.printed), f"it prints:\n{self.printed}"

    def _console(self, text: str) -> None:
        for command, expected in commands_in(text):
            done = self._command(command)
            assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
            assert "Warning" not in done.stderr, done.stderr
            assert not expected or is_like(expected, done.stdout), f"$ {command}\n{done.stdout}"

    def _command(self, command: str) -> "subprocess.CompletedProcess[str]":
        words = shlex.split(command, comments=True)
        if words[:2] == ["ted-memory", "learn"]:
            command, words = f"{command} --until-empty", [*words, "--until-empty"]
        if words[0] == "ted-memory" and not SHELL.search(shlex.join(words).replace("'", "")):
            return run_cli(*words[1:], cwd=self.folder, **self.env)
        return subprocess.run(
            ["bash", "-ec", command],
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "200", **self.env},
            capture_output=True,
            text=True,
            check=False,
        )

    def _close(self) -> None:
        for memory in self._memories:  # also those whose name was given to another one
            if isinstance(memory, SyncTedMemory):
                memory.close()
            else:
                self._loop.run_until_complete(memory.aclose())
        self._runner.close()
        self.names.clear()
        gc.collect()  # what a page leaves open is told of this page


def _parsed_by(parse: Callable[[str], Any]) -> Callable[[str], None]:
    def run(text: str) -> None:
        parse(text)

    return run


def _picture(text: str) -> None:
    """A block without a language is a picture in letters: nothing that one would type."""
    typed = re.search(r"^(\$ |import |from \w+ import )", text, re.MULTILINE)
    assert typed is None, "say which language it is"


def put_on_path(folder: Path) -> str:
    """Make a ``ted-memory`` for shells, and ``python``; the PATH with them in front."""
    folder.mkdir(exist_ok=True)
    script = folder / "ted-memory"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ted_memory "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    python = folder / "python"
    if not python.exists():
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
        python.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
