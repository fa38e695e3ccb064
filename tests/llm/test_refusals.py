"""What providers refuse whatever they are asked, in their words, over the real client if we can."""

import re
import urllib.error
from email.message import Message
from typing import Any

import httpx
import openai
import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from ted_memory.errors import ModelError, ModelRefused
from ted_memory.llm import calls as calls_module
from ted_memory.llm.calls import Calls, is_final, is_transient, with_temperature
from ted_memory.llm.refusals import Refusal, is_of_model, refusal_of
from ted_memory.llm.structured import StructuredModel
from ted_memory.testing import Provider, Reply, ScriptedServer
from ted_memory.wiring import make_chat_model
from tests.integrations.agents import Scripted, calls_once

ASKED = [HumanMessage("Are you there?")]
TO_NONE = "set temperature to none (TED_MEMORY_TEMPERATURE=none, --temperature none)"


class Verdict(BaseModel):
    right: bool


class ProviderError(Exception):
    """What other clients raise: an HTTP status, and the body as it came."""

    def __init__(self, status: int, text: str, body: Any = None) -> None:
        super().__init__(text)
        self.status_code, self.body = status, body


def served(
    provider: Provider | None = None, answer: Reply | str = '{"right": true}'
) -> tuple[ScriptedServer, dict[str, Any]]:
    return ScriptedServer(lambda _: answer, provider=provider or Provider()), {
        "api_key": SecretStr("right")
    }


def from_google(code: int, text: str) -> Exception:
    """LangChain's error has no status; the one behind it has, by another name."""
    behind = Exception(text)
    behind.code = code  # type: ignore[attr-defined]
    error = Exception(f"Error calling model 'gemini' (INVALID_ARGUMENT): {text}")
    error.__cause__ = behind
    return error


# The scripted provider refuses as the real one does.


@pytest.mark.parametrize(
    ("name", "options", "status", "param", "code"),
    [
        ("gpt-5-nano", {"temperature": 0.7}, 400, "temperature", "unsupported_value"),
        ("o3-mini", {"temperature": 0}, 400, "temperature", "unsupported_value"),
        ("gpt-5", {"extra_body": {"max_tokens": 9}}, 400, "max_tokens", "unsupported_parameter"),
        (
            "deepseek-chat",
            {"response_format": {"type": "json_schema"}},
            400,
            None,
            "invalid_request_error",
        ),
        ("gpt-0", {}, 404, None, "model_not_found"),
    ],
)
async def test_a_scripted_provider_refuses_with_the_real_body(
    name: str, options: dict[str, Any], status: int, param: str | None, code: str
) -> None:
    server, key = served(Provider(models=("gpt-5-nano", "o3-mini", "gpt-5", "deepseek-chat")))
    async with server.serve():
        client = ChatOpenAI(model=name, base_url=server.base_url, max_retries=0, **key).bind(
            **options
        )
        with pytest.raises(Exception, match=f"Error code: {status}") as caught:
            await client.ainvoke(ASKED)
    body: Any = caught.value.body  # type: ignore[attr-defined]
    assert (body["param"], body["code"], body["type"]) == (param, code, "invalid_request_error")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gpt-5-nano", {}),
        ("gpt-5-nano", {"temperature": 1}),
        ("gpt-5-nano", {"max_tokens": 9}),  # the client sends max_completion_tokens
        ("gpt-5.1", {"temperature": 0.2, "reasoning_effort": "none"}),
        ("gpt-5-chat-latest", {"temperature": 0.7}),
        ("gpt-4.1-mini", {"temperature": 0.7, "max_tokens": 9}),
        ("o1", {}),
        ("my-o1", {"temperature": 0.7}),
    ],
)
async def test_it_takes_what_the_real_one_takes(name: str, options: dict[str, Any]) -> None:
    server, key = served()
    async with server.serve():
        await ChatOpenAI(model=name, base_url=server.base_url, **key).bind(**options).ainvoke(ASKED)
    assert server.refused == []


# What is sent.


@pytest.mark.parametrize(
    "name", ["openai:gpt-5-nano", "openai:o1", "openai:o3-mini", "openai:gpt-4.1-mini", "o1"]
)
async def test_no_temperature_is_sent_unless_it_is_asked_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = served()
    monkeypatch.setenv("OPENAI_API_KEY", "right")
    async with server.serve():
        # not OPENAI_BASE_URL: its client outlives the loop
        monkeypatch.setenv("OPENAI_API_BASE", server.base_url)
        model = make_chat_model(
            name, base_url=None if ":" in name else server.base_url, max_tokens=9
        )
        await with_temperature(model, None).ainvoke(ASKED)
        await with_temperature(model, 0.5).bind(reasoning_effort="none").ainvoke(ASKED)
    assert ["temperature" in request for request in server.requests] == [False, True]
    assert [request["max_completion_tokens"] for request in server.requests] == [9, 9]
    assert not any("max_tokens" in request for request in server.requests)


@pytest.mark.parametrize("responses", [True, False])
async def test_what_a_reasoning_model_considers_is_not_its_answer(responses: bool) -> None:
    from ted_memory.distill import Judge
    from ted_memory.llm.messages import text_of

    server, key = served(answer=Reply("Paris", thoughts="London? No."))
    async with server.serve():
        client = ChatOpenAI(
            model="gpt-5", base_url=server.base_url, use_responses_api=responses, **key
        )
        answer, _ = await Calls(1).invoke("student", client, ASKED)
        assert isinstance(answer.content, list) == responses, "else this tests nothing"
        assert text_of(answer) == "Paris"
        server.script = lambda _: Reply(
            '{"reason": "", "score": 1.0}', thoughts='{"reason": "", "score": 0.0}'
        )
        graded: Any = await Judge(client)(inputs={"input": "?"}, outputs="a", reference_outputs="a")
    assert graded["score"] == 1.0


async def test_an_answer_that_the_responses_api_cut_off_is_not_used() -> None:
    server, key = served(answer=Reply('{"right": true}', finish_reason="length"))
    async with server.serve():
        client = ChatOpenAI(model="gpt-5", base_url=server.base_url, use_responses_api=True, **key)
        result = await StructuredModel(client, Calls(1)).ask(ASKED, Verdict)
    assert result.value is None
    assert "cut off" in result.problem


# What a refusal says.


async def test_a_refused_temperature_says_which_setting_to_change_and_is_not_tried_again() -> None:
    server, key = served()
    async with server.serve():
        model = with_temperature(
            ChatOpenAI(model="gpt-5-nano", base_url=server.base_url, **key), 0.7
        )
        with pytest.raises(ModelRefused) as caught:
            await Calls(1).invoke("student", model, ASKED)
    assert str(caught.value) == (
        f"the provider refuses temperature=0.7 for gpt-5-nano, the student; {TO_NONE}. "
        "It says: Unsupported value: 'temperature' does not support 0.7 with this model. "
        "Only the default (1) value is supported."
    )
    assert len(server.requests) == 1
    assert is_final(caught.value)


@pytest.mark.parametrize(
    ("role", "options", "advice"),
    [
        (
            "student",
            {"temperature": 0.3},
            "temperature=0.3 for o3, the student; make the model without temperature",
        ),
        ("student", {"temperature": 0.3}, "(leave out --student-temperature)"),
        ("teacher", {"temperature": 0.3}, "make the model without temperature. It says"),
        ("student", {"extra_body": {"max_tokens": 9}, "max_tokens": 9}, "max_tokens=9 for o3"),
        ("student", {"extra_body": {"max_tokens": 9}}, "(leave out --student-max-tokens)"),
    ],
)
async def test_what_the_model_was_made_with_is_to_be_changed_there(
    role: str, options: dict[str, Any], advice: str
) -> None:
    server, key = served()
    async with server.serve():
        model = ChatOpenAI(model="o3", base_url=server.base_url, **key, **options)
        with pytest.raises(ModelRefused, match=re.escape(advice)):
            await Calls(1).invoke(role, model, ASKED)


async def test_a_wrong_key_and_a_wrong_name_say_so() -> None:
    server, _ = served(Provider(models=("gpt-5",), key="right"))
    async with server.serve():
        for key, name, said in (
            (
                "wrong",
                "gpt-5",
                r"the teacher cannot be used: gpt-5: "
                r"Incorrect API key.*API key \(OPENAI_API_KEY\) set",
            ),
            (
                "right",
                "gpt-6",
                r"the teacher cannot be used: gpt-6: The model `gpt-6` does not exist.*name right",
            ),
        ):
            client = ChatOpenAI(model=name, base_url=server.base_url, api_key=SecretStr(key))
            with pytest.raises(ModelRefused, match=said):
                await Calls(1).invoke("teacher", client, ASKED)
    assert len(server.requests) == 2


async def test_a_refused_parameter_does_not_cost_the_way_of_asking() -> None:
    server, key = served()
    async with server.serve():
        client = ChatOpenAI(model="gpt-5", base_url=server.base_url, **key)
        asks = StructuredModel(client.bind(temperature=0.7), Calls(1))
        with pytest.raises(ModelRefused):
            await asks.ask(ASKED, Verdict)
        asks = StructuredModel(client, Calls(1))
        assert (await asks.ask(ASKED, Verdict)).value == Verdict(right=True)
    assert [request.get("response_format", {}).get("type") for request in server.requests][
        -1
    ] == "json_schema"
    assert len(server.requests) == 2


async def test_a_server_that_knows_no_schemas_is_asked_another_way() -> None:
    server, key = served()
    async with server.serve():
        asks = StructuredModel(
            ChatOpenAI(model="deepseek-chat", base_url=server.base_url, **key), Calls(1)
        )
        assert (await asks.ask(ASKED, Verdict)).value == Verdict(right=True)
    assert [reply.text for reply in server.refused] == [
        "This response_format type is unavailable now"
    ]


# In other providers' words.


@pytest.mark.parametrize(
    ("error", "parameter"),
    [
        (ProviderError(400, "temperature: range: 0..1"), "temperature"),
        (ProviderError(400, "`temperature` is deprecated for this model."), "temperature"),
        (
            ProviderError(
                400,
                "x",
                {"type": "error", "error": {"message": "max_tokens: 9999 > 8192, which is ..."}},
            ),
            "max_tokens",
        ),
        (
            ProviderError(
                422, "{'type': 'extra_forbidden', 'loc': ['body', 'top_k'], 'msg': 'Extra'}"
            ),
            "top_k",
        ),
        (
            ProviderError(
                400, "gpt-5 models don't support temperature=0.7. Only temperature=1 is."
            ),
            "temperature",
        ),
        (from_google(400, "Invalid value at 'generation_config.temperature' (2.5)"), "temperature"),
        (
            ValueError(
                "`temperature` is not supported for claude-sonnet-5-5 at non-default values."
            ),
            "temperature",
        ),
    ],
)
def test_the_parameter_is_found_in_the_words_of_others(error: Exception, parameter: str) -> None:
    assert refusal_of(error) == Refusal("parameter", parameter)
    assert not is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ProviderError(
            400,
            "x",
            {"message": "too long", "param": "messages", "code": "context_length_exceeded"},
        ),
        ProviderError(
            400,
            "x",
            {"message": "temperature: no image", "param": "messages[0].content[1].image_url"},
        ),
        ProviderError(
            400, "'max_tokens' is too large: 9. This model's maximum context length is 4 tokens"
        ),
        ProviderError(400, "I cannot read: what is the temperature in Rome?"),
        ProviderError(422, "{'loc': ['body', 'messages', 0], 'input': {'temperature': 0.7}}"),
        ProviderError(400, "response_format is not supported"),
        ProviderError(500, "temperature: the machine is too hot"),
        ValueError("temperature: not a number"),
        from_google(429, "try later"),
    ],
)
def test_what_is_about_one_text_or_one_moment_is_no_refusal(error: Exception) -> None:
    assert refusal_of(error) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (from_google(400, "API key not valid. Please pass a valid API key."), "key"),
        (from_google(404, "models/gemini-0 is not found"), "name"),
        (ProviderError(402, "Insufficient Balance"), "account"),
        (
            ProviderError(
                429, "x", {"message": "You exceeded your quota", "code": "insufficient_quota"}
            ),
            "account",
        ),
    ],
)
async def test_keys_names_and_empty_accounts_are_told_whoever_says_it(
    error: Exception, kind: str
) -> None:
    assert refusal_of(error) == Refusal(kind)  # type: ignore[arg-type]
    assert not is_transient(error)


def test_a_google_server_that_is_busy_is_asked_again() -> None:
    assert is_transient(from_google(503, "overloaded"))


async def test_a_key_that_may_not_use_a_model_is_told_as_before() -> None:
    server, key = served(answer=Reply("no", status=403))
    async with server.serve():
        client = ChatOpenAI(model="gpt-5", base_url=server.base_url, **key)
        with pytest.raises(ModelError, match="allowed to use this model") as caught:
            await Calls(1).invoke("student", client, ASKED)
    assert not isinstance(caught.value, ModelRefused), (
        "some providers answer so to a text that they do not allow"
    )


# An agent as the student: its tools speak HTTP, too.


TO_STATE = RunnableLambda(lambda messages: {"messages": messages})


def of_a_tool(status: int) -> Exception:
    return urllib.error.HTTPError("http://a.page", status, "said by a page", Message(), None)


def agent_with(tool_fails: Exception) -> Runnable[Any, Any]:
    """Return an agent that looks something up, which fails."""

    @tool
    def look_up() -> str:
        """Look something up."""
        raise tool_fails

    model = Scripted(script=calls_once("look_up"))
    return TO_STATE | create_agent(model, [look_up])


TOOLS_FAIL = [
    *(of_a_tool(status) for status in (401, 402, 403, 404)),
    ConnectionError("no such host"),
    KeyError("x"),
]


@pytest.mark.parametrize("error", TOOLS_FAIL, ids=repr)
async def test_what_a_tool_of_an_agent_meets_ends_no_run(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        await Calls(1).invoke("student", agent_with(error), ASKED)
    assert not is_final(caught.value)


async def test_without_the_rule_a_missing_page_would_end_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls_module, "is_of_model", lambda *_: True)
    with pytest.raises(ModelRefused, match="said by a page"):
        await Calls(1).invoke("student", agent_with(of_a_tool(404)), ASKED)


async def test_an_agents_model_is_refused_as_any_other() -> None:
    server, _ = served(Provider(models=("gpt-5",), key="right"))
    async with server.serve():
        for key, name, said in (
            ("wrong", "gpt-5", "Incorrect API key"),
            ("right", "gpt-6", "does not exist"),
        ):
            model = ChatOpenAI(model=name, base_url=server.base_url, api_key=SecretStr(key))
            with pytest.raises(ModelRefused, match=said):
                await Calls(1).invoke("student", TO_STATE | create_agent(model, []), ASKED)


def raised_by(module: str) -> Exception:
    """Return an error of a package that need not be here."""
    return type("NotFoundError", (Exception,), {"__module__": module, "status_code": 404})(
        "not found"
    )


PAGE = httpx.Response(404, request=httpx.Request("GET", "http://a.page"))


@pytest.mark.parametrize(
    ("error", "is_theirs"),
    [
        (openai.NotFoundError("no such model", response=PAGE, body=None), True),
        (openai.APIConnectionError(request=PAGE.request), True),
        *(
            (raised_by(m), True)
            for m in ("anthropic", "google.genai.errors", "langchain_google_genai.chat_models")
        ),
        *(
            (raised_by(m), True)
            for m in ("groq", "mistralai.models.sdkerror", "langchain_openai.chat_models.base")
        ),
        *(
            (raised_by(m), False)
            for m in ("google.api_core.exceptions", "langchain_core.tools.base", "openai_of_ours")
        ),
        *(
            (raised_by(m), False)
            for m in ("langchain_community.tools", "starlette.exceptions", "aiohttp")
        ),
        (httpx.HTTPStatusError("no such page", request=PAGE.request, response=PAGE), False),
        (ProviderError(404, "a search engine's"), False),
    ],
    ids=lambda given: f"{type(given).__module__}.{type(given).__name__}",
)
def test_a_models_clients_are_known_by_their_packages(error: Exception, is_theirs: bool) -> None:
    assert is_of_model(error, RunnableLambda(str)) is is_theirs
    chat_model = ChatOpenAI(model="gpt-5", api_key=SecretStr("k"))
    assert is_of_model(error, chat_model.bind(stop=["x"])), (
        "all that a chat model raises is its own"
    )
    behind = RuntimeError("what a wrapper raises")
    behind.__cause__ = error
    assert is_of_model(behind, RunnableLambda(str)) is is_theirs
