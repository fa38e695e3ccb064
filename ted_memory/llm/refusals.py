"""What a provider refuses whatever it is asked, and which setting to change then.

That is a parameter, the key, or the model's name. Providers word their refusals in their own ways.
OpenAI and servers like it name the parameter in the error's body, pydantic-based ones (vLLM,
Mistral) in ``loc``, Anthropic and Google only in the message. Only parameters that go with every
call count: a refusal that is about the text of one sample is that sample's own trouble.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableBinding

Kind = Literal["parameter", "key", "name", "account"]

_BAD_REQUEST = {400, 422}
# one setting, by its names in different APIs
_LENGTHS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_IN_MESSAGES = (
    *("temperature", "top_p", "top_k", *_LENGTHS),
    *("frequency_penalty", "presence_penalty", "reasoning_effort", "stream_options"),
)
_PARAMETERS = {
    *_IN_MESSAGES,
    *(
        "effort",
        "extra_body",
        "logit_bias",
        "logprobs",
        "n",
        "output_config",
        "reasoning",
        "seed",
        "service_tier",
    ),
    *("stop", "store", "stream", "thinking", "top_logprobs", "verbosity"),
}
_NAMES = "|".join(_IN_MESSAGES)
_LOCATION = re.compile(r"'loc': [\[(]'body', '(\w+)'")
_NAMED = re.compile(
    rf"[`'\"](?:\w+\.)*(?P<quoted>{_NAMES})[`'\"]"  # `temperature`, 'generation_config.temperature'
    rf"|(?:^|[\s.*])(?P<plain>{_NAMES})(?::|=| value of\b)"  # temperature: range: 0..1
)
_TOO_LONG = re.compile(
    r"context[ _](?:length|window|limit)|prompt is too long|input tokens exceed|input token count",
    re.IGNORECASE,
)
_BAD_KEYS = ("API_KEY_INVALID", "API key not valid")  # Google's, with status 400
_NO_MODEL = "model_not_found"
_NO_MONEY = "insufficient_quota"  # OpenAI's, with status 429: waiting does not help
# packages that speak to models and to nothing else, which an agent's tools might do
_CLIENTS = re.compile(
    r"(?:openai|anthropic|google\.genai|groq|mistralai|cohere|together|fireworks|ollama|cerebras"
    r"|xai_sdk"
    r"|langchain_(?!core\b|community\b|mcp_adapters\b)\w+)(?:\.|$)"
)


class Refusal(NamedTuple):
    """What is refused; ``parameter`` is empty unless it is one."""

    kind: Kind
    parameter: str = ""


def status_of(error: BaseException | None) -> int | None:
    """Find the HTTP status that an error of any provider's client stands for.

    Most carry it as `status_code`; Google's as `code`, in the error behind the one that LangChain
    raises.
    """
    for candidate in (error, error.__cause__ if error else None):
        for name in ("status_code", "code"):
            status = getattr(candidate, name, None)
            if isinstance(status, int):
                return int(status)
    return None


def is_of_model(error: BaseException, model: Runnable[Any, Any]) -> bool:
    """Tell whether an error comes from a model's client: whatever a chat model raises does.

    What is called may also be an agent, whose tools speak HTTP, too: a page that is missing is no
    model that is. Of what an agent raises, only errors of the providers' own packages count, also
    behind the one that was raised.
    """
    while isinstance(model, RunnableBinding):
        model = model.bound
    if isinstance(model, BaseChatModel):
        return True
    kinds = {*type(error).__mro__, *type(error.__cause__).__mro__}
    return any(_CLIENTS.match(kind.__module__) for kind in kinds)


def refusal_of(error: BaseException) -> Refusal | None:
    """Say what is refused; None: another call may fare better.

    Only for errors of a model, see `is_of_model`.
    """
    status, code, text = status_of(error), _field(error, "code"), str(error)
    if status == 401 or any(mark in text for mark in _BAD_KEYS):
        return Refusal("key")
    if status == 404 or code == _NO_MODEL:
        return Refusal("name")
    if status == 402 or code == _NO_MONEY:
        return Refusal("account")
    parameter = _parameter(error, status, text)
    return Refusal("parameter", parameter) if parameter else None


def is_too_long(error: BaseException) -> bool:
    """Tell whether a text is longer than the model takes, so that no parameter is at fault."""
    return _TOO_LONG.search(str(error)) is not None


def explain(refusal: Refusal, said: str, role: str, model: Runnable[Any, Any], name: str) -> str:
    """Say on one line what is refused, which setting to change, and what the provider said.

    Args:
        refusal: by `refusal_of`.
        said: what the provider said, on one line.
        role: ``student`` or ``teacher``.
        model: as it was called, with what was bound to it.
        name: of the model.
    """
    said = said.rstrip(".")
    if refusal.kind == "parameter":
        value, bound = _value_of(refusal.parameter, model)
        sent = refusal.parameter if value is None else f"{refusal.parameter}={value}"
        advice = _advice_on(refusal.parameter, role, bound=bound)
        return f"the provider refuses {sent} for {name}, the {role}; {advice}. It says: {said}."
    advice = {
        "key": f"Is its API key{_variable(model)} set, right and allowed to use this model?",
        "name": "Is the model's name right, and the base URL (it usually ends in /v1)?",
        "account": "Its account has no credit left.",
    }[refusal.kind]
    return f"the {role} cannot be used: {name}: {said}. {advice}"


def _parameter(error: BaseException, status: int | None, text: str) -> str:
    """Find the parameter that is refused and goes with every call; "" for any other trouble."""
    if status is None:
        # some clients refuse by themselves what they know that the provider would
        by_client = isinstance(error, ValueError) and "not supported" in text
        return _named_in(text) if by_client else ""
    if status not in _BAD_REQUEST or is_too_long(error):
        return ""
    named = _field(error, "param")
    if named is None and (found := _LOCATION.search(text)):
        named = found[1]
    if named is None:
        return _named_in(message_of(error))
    name = re.split(r"[.\[]", named)[0]
    return name if name in _PARAMETERS else ""


def _named_in(text: str) -> str:
    found = _NAMED.search(text)
    return (found["quoted"] or found["plain"]) if found else ""


def _value_of(parameter: str, model: Runnable[Any, Any]) -> tuple[Any, bool]:
    """Find the value that was sent, and whether it was bound to the model.

    None: the value cannot be seen.
    """
    names = _LENGTHS if parameter in _LENGTHS else (parameter,)
    while isinstance(model, RunnableBinding):
        for name in names:
            if name in model.kwargs:
                return model.kwargs[name], True
        model = model.bound
    fields = dict(model) if isinstance(model, BaseChatModel) else {}
    return next((fields[name] for name in names if fields.get(name) is not None), None), False


def _advice_on(parameter: str, role: str, *, bound: bool) -> str:
    if parameter == "temperature" and bound:
        return "set temperature to none (TED_MEMORY_TEMPERATURE=none, --temperature none)"
    option = {"temperature": "temperature", **dict.fromkeys(_LENGTHS, "max-tokens")}.get(parameter)
    by_option = f" (leave out --student-{option})" if option and role == "student" else ""
    return f"make the model without {parameter}{by_option}"


def _variable(model: Runnable[Any, Any]) -> str:
    """Name the environment variable that the key is read from, where the client tells it."""
    while isinstance(model, RunnableBinding):
        model = model.bound
    if not isinstance(model, BaseChatModel):
        return ""
    names = [name for name in model.lc_secrets.values() if "KEY" in name]
    return f" ({names[0]})" if names else ""


def _body(error: BaseException) -> Mapping[str, Any]:
    """Unwrap the error in a body, as OpenAI's client does and Anthropic's does not."""
    body = getattr(error, "body", None)
    body = body.get("error", body) if isinstance(body, Mapping) else None
    return body if isinstance(body, Mapping) else {}


def _field(error: BaseException, name: str) -> str | None:
    value = _body(error).get(name)
    return value if isinstance(value, str) else None


def message_of(error: BaseException) -> str:
    """Read what the provider said, without what its client adds."""
    return _field(error, "message") or str(error)
