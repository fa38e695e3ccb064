"""Every model that documents, examples and graphs name works with the settings as shipped."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ted_memory.distill import distill
from ted_memory.errors import ModelRefused
from ted_memory.testing import Provider, ScriptedServer, in_memory
from ted_memory.wiring import make_chat_model
from tests.distill.scripts import sample

ROOT = Path(__file__).parent.parent
PROVIDERS = (
    *(
        "anthropic",
        "azure_openai",
        "bedrock",
        "bedrock_converse",
        "cohere",
        "deepseek",
        "fireworks",
        "google_genai",
    ),
    *(
        "google_vertexai",
        "groq",
        "huggingface",
        "mistralai",
        "nvidia",
        "ollama",
        "openai",
        "openrouter",
        "together",
        "xai",
    ),
)
NAMED = re.compile(rf"\b((?:{'|'.join(PROVIDERS)}):[A-Za-z0-9][\w./-]*[\w])")


def named_in(text: str) -> list[str]:
    return sorted(set(NAMED.findall(text)))


PAGES = (
    *(ROOT / "README.md", *(ROOT / "docs").rglob("*.md")),
    *(
        path
        for folder in ("examples", "graphs")
        for kind in ("*.py", "*.md")
        for path in (ROOT / folder).rglob(kind)
    ),
)
DOCUMENTED = named_in("\n".join(path.read_text(encoding="utf-8") for path in PAGES))
TEMPERATE = re.compile(r"openai:(gpt-4|gpt-5\S*chat)")  # those that take a temperature


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedServer]:
    """A provider that refuses what the real ones refuse, at the address where clients look."""

    def answer(request: dict[str, Any]) -> str:
        if "edits" in json.dumps(request):
            return '{"reason": "", "edits": [], "helped": [], "hurt": []}'
        return "no idea"

    async with ScriptedServer(answer, provider=Provider(key="right")).serve() as served:
        monkeypatch.setenv("OPENAI_API_KEY", "right")
        monkeypatch.setenv("OPENAI_API_BASE", served.base_url)
        yield served


async def learn_with(name: str, **settings: Any) -> int:
    """Distil one sample with this model as student and as teacher; count the samples set aside."""
    model = make_chat_model(name)
    memory = in_memory(validation=0, **settings)
    report = await distill([sample("apples")], student=model, teacher=model, memory=memory)
    return report.set_aside


def test_names_are_found_where_they_stand() -> None:
    assert "openai:gpt-5-nano" in DOCUMENTED
    of_code = named_in(
        "\n".join(path.read_text(encoding="utf-8") for path in PAGES if path.suffix == ".py")
    )
    assert {"openai:gpt-5-mini", "openai:gpt-5-nano"} <= set(of_code), "in examples and graphs, too"
    text = (
        'use "openai:o3-mini", `anthropic:claude-sonnet-4-5`. '
        "principal:anna, dataset:x, ollama:qwen3."
    )
    assert named_in(text) == ["anthropic:claude-sonnet-4-5", "ollama:qwen3", "openai:o3-mini"]


def test_every_documented_provider_is_one_that_the_server_plays() -> None:
    """Else the test below would ask the real one: teach `ted_memory.testing` to play it first."""
    assert {name.split(":")[0] for name in DOCUMENTED} <= {"openai"}


@pytest.mark.parametrize("name", DOCUMENTED)
async def test_no_documented_model_is_refused_with_the_defaults(
    name: str, server: ScriptedServer
) -> None:
    assert await learn_with(name) == 0
    assert server.refused == []
    assert {request["model"] for request in server.requests} == {name.split(":")[1]}
    assert any("response_format" in request for request in server.requests), (
        "the critic was asked, too"
    )


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if not TEMPERATE.match(name)])
async def test_with_a_temperature_these_are_refused_and_the_setting_is_named(
    name: str, server: ScriptedServer
) -> None:
    """The control: the server would have refused what the setting used to be."""
    with pytest.raises(
        ModelRefused, match=r"refuses temperature=0\.7 for .*TED_MEMORY_TEMPERATURE=none"
    ):
        await learn_with(name, temperature=0.7)
    assert (
        [reply.code for reply in server.refused].count("unsupported_value")
        == len(server.refused)
        > 0
    )


async def test_a_documented_model_with_a_wrong_key_is_told_so(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    with pytest.raises(ModelRefused, match=r"Incorrect API key.*\(OPENAI_API_KEY\)"):
        await learn_with(DOCUMENTED[0])
