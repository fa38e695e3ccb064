"""Every block of code in the documents is run, and what is not run says why."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.util._once import Once

from ted_memory import telemetry
from ted_memory.testing import Reply
from tests.cli.helpdesk import COLOURS, FILE_LINES, answer, serve_in_thread
from tests.conftest import Server
from tests.pages import (
    PAGES,
    REASONS,
    ROOT,
    Reader,
    commands_in,
    document_of,
    is_like,
    kind_of,
    put_on_path,
    reason_of,
)

NOT_RUN = {
    ("README.md", "installs packages"),
    ("README.md", "takes minutes or hours"),
    ("docs/tutorial.md", "installs packages"),
    ("docs/guides/deploy.md", "needs Docker"),
    ("docs/guides/deploy.md", "waits for a person"),
    ("docs/guides/review.md", "installs packages"),
    ("docs/guides/review.md", "waits for a person"),
    ("docs/guides/servers.md", "needs Docker"),
    ("docs/guides/traces.md", "installs packages"),
}
"""All blocks that are not run: the page, and the reason that stands above the block."""

WITH_BLOCKS = [page for page in PAGES if [*document_of(page).examples()]]


def played(request: dict[str, Any]) -> Reply | str:
    """What models of the pages say: gpt-5 knows the colours of things, others follow lessons."""
    prompt = "\n".join(str(message["content"]) for message in request["messages"])
    if any(f"colour of {thing}?" in prompt for thing in COLOURS):
        role = "teacher" if request["model"] == "gpt-5" else "student"
        return answer({**request, "model": role})
    if '"edits"' in prompt:
        return json.dumps({"reason": "", "edits": [], "helped": [], "hurt": []})
    if '"score"' in prompt:
        return json.dumps({"reason": "as good as any", "score": 1.0})
    return "What is your order number?" if "order number" in prompt else "Sure."


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with serve_in_thread(played) as url:
        yield url


@pytest.fixture
def env(tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a reader has around him: a key, a provider, files of samples, patience."""
    samples = "\n".join(line for line in FILE_LINES if "Do you know" not in line)
    for name in ("tickets.jsonl", "other-tickets.jsonl", "train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(samples, encoding="utf-8")
    given = {
        "OPENAI_API_KEY": "any",
        "OPENAI_BASE_URL": provider,
        "OPENAI_API_BASE": provider,
        "TED_MEMORY_READ_TIMEOUT": "5",
        "PATH": put_on_path(tmp_path / "bin"),
        "PYTHONPATH": str(ROOT),
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return given


def read(path: Path, folder: Path, server: Server, env: dict[str, str]) -> int:
    return Reader(path, folder, server.url, env).read()


@pytest.fixture(autouse=True)
def _its_own_traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A page may configure OpenTelemetry, which a process can do once; later tests know nothing."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    yield
    monkeypatch.undo()
    telemetry.listener.look()


@pytest.mark.timeout(300)  # pages that learn from data do so as often as they say
@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(
    page: Path, tmp_path: Path, own_server: Server, env: dict[str, str]
) -> None:
    read(page, tmp_path, own_server, env)


@pytest.mark.parametrize(
    "broken",
    [
        "```python\nfrom ted_memory import open_memroy\n```",
        "```python\nprint(1 + 1)\n```\n\n```text\n3\n```",
        "```console\n$ ted-memory shwo\n```",
        "```console\n$ ted-memory show --namespace none\nthree lessons\n```",
        "```console\n$ cat missing.txt | sort > sorted.txt && false\n```",
        "```python\nimport warnings\nwarnings.warn('old', DeprecationWarning)\n```",
        "```json\n{\n```",
        "```bash\nls\n```",
        "```\nfrom ted_memory import open_memory\n```",
        "   ```python\n   1 / 0\n   ```",
    ],
)
def test_a_broken_block_would_be_found(
    broken: str, tmp_path: Path, own_server: Server, env: dict[str, str]
) -> None:
    """The control."""
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{broken}\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"page\.md:[37]:"):
        read(page, tmp_path, own_server, env)


def test_blocks_of_a_page_share_names_await_and_see_the_same_memory(
    tmp_path: Path, own_server: Server, env: dict[str, str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        """
```python
from ted_memory import Add, open_memory

memory = open_memory(namespace="support")
await memory.commit([Add(text="Be brief.")], author="me")
print(len(await memory.load()))
```

```text
1
```

```console
$ ted-memory show --namespace support  # what Python has put there
...Be brief....
```
""",
        encoding="utf-8",
    )
    assert read(page, tmp_path, own_server, env) == 3


def test_what_is_not_run_is_listed_with_a_reason_and_could_not_be() -> None:
    found = [
        (str(page.relative_to(ROOT)), reason, example)
        for page in PAGES
        for example in document_of(page).examples()
        if (reason := reason_of(example)) is not None
    ]
    assert {(page, reason) for page, reason, _ in found} == NOT_RUN
    for page, reason, example in found:
        assert reason in REASONS, f"{page}:{example.line}: give one of {', '.join(REASONS)}"
        for command, _ in commands_in(example.parsed):
            assert re.search(REASONS[reason], command), f"{page}:{example.line}: {command} can run"
        assert kind_of(example) == "console"


def test_a_mark_belongs_to_the_block_below_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    block = "```console\n$ pip install x\n```\n"
    page.write_text(f"<!-- not run: installs packages -->\n{block}\n{block}", encoding="utf-8")
    assert [*map(reason_of, document_of(page).examples())] == ["installs packages", None]


def test_make_targets_that_pages_name_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {
        (page.name, target)
        for page in PAGES
        for target in re.findall(r"(?:^\$ |`)make ([a-z]+)", page.read_text("utf-8"), re.MULTILINE)
    }
    assert len(named) > 5
    assert [one for one in named if not re.search(rf"^{one[1]}:", makefile, re.MULTILINE)] == []


def test_output_is_compared_with_gaps() -> None:
    assert is_like("a ... z\n", "a b\nc z")
    assert not is_like("a ... z\n", "b z")
