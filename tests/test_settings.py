"""Every tunable once: its default, the environment, and what is said when a value cannot work."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from ted_memory import TedMemoryError, open_memory
from ted_memory.errors import InvalidInput, SettingsError
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.settings import RENAMED, Settings, make_settings

ROOT = Path(__file__).parent.parent


def said(error: BaseException) -> str:
    assert isinstance(error, TedMemoryError)
    assert "\n" not in str(error)
    return str(error)


def test_the_defaults_are_what_the_documentation_says() -> None:
    made = make_settings()
    assert (made.url, made.home, made.namespace) == (None, ".ted-memory", "default")
    assert (made.max_experiences, made.token_budget, made.max_text, made.history_versions) == (
        50,
        2000,
        800,
        1000,
    )
    assert (made.rollouts, made.shown_share, made.temperature, made.concurrency) == (
        5,
        0.8,
        None,
        8,
    )
    assert (made.profile, made.verify_calls, made.max_revisions, made.critique_batch) == (
        "default",
        None,
        2,
        1,
    )
    assert (made.compact_every, made.validation, made.measure_presentation) == (20, 0.2, True)
    assert (made.selection, made.top_k, made.placement, made.examples) == ("all", 3, "system", True)
    assert (made.retrieval, made.language) == ("words", "auto")
    assert (made.read_timeout, made.refresh, made.trust) == (0.05, 1.0, "evidence")


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_every_setting_is_of_one_concern() -> None:
    concerns = [base for base in Settings.__bases__ if base is not BaseSettings]
    named = [name for concern in concerns for name in concern.model_fields]
    assert sorted(named) == sorted(Settings.model_fields)


def names_read(code: str) -> set[str]:
    """What is read of ``memory.settings``, and of another name that stands for it."""
    short, read = set[str](), set[str]()
    nodes = list(ast.walk(ast.parse(code)))
    for node in nodes:
        if isinstance(node, ast.Assign):
            short |= {name.id for name, value in pairs_of(node) if is_settings(value)}
        if isinstance(node, ast.arg) and isinstance(node.annotation, ast.Name):
            short |= {node.arg} if node.annotation.id == "Settings" else set()
    for node in nodes:
        if isinstance(node, ast.Attribute):
            named = isinstance(node.value, ast.Name) and node.value.id in short
            read |= {node.attr} if named or is_settings(node.value) else set()
    return read


def is_settings(value: ast.expr) -> bool:
    return isinstance(value, ast.Attribute) and value.attr == "settings"


def pairs_of(node: ast.Assign) -> Iterator[tuple[ast.Name, ast.expr]]:
    """Yield each name that is assigned to, with its value."""
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Name):
        yield target, value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, its in zip(target.elts, value.elts, strict=True):
            if isinstance(one, ast.Name):
                yield one, its


def test_what_is_read_of_settings_is_a_setting() -> None:
    """In tests, too, which no type checker reads."""
    unknown = {
        f"{source.relative_to(ROOT)}: {name}"
        for folder in ("bench", "examples", "graphs", "tests")
        for source in (ROOT / folder).rglob("*.py")
        for name in names_read(source.read_text(encoding="utf-8"))
        if name not in {*Settings.model_fields, *dir(Settings)}
    }
    assert unknown == set()


def test_a_setting_that_is_no_longer_there_would_be_found() -> None:
    assert names_read("a, s = 1, memory.settings\nb = s.lease") == {"lease"}
    assert names_read("print(self.memory.settings.history)") == {"history"}
    assert names_read("def f(s: Settings): return s.buffer") == {"buffer"}


def test_arguments_win_over_the_environment_and_that_over_the_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TED_MEMORY_MAX_EXPERIENCES", "7")
    monkeypatch.setenv("TED_MEMORY_TOP_K", "9")
    made = make_settings(top_k=4)
    assert (made.max_experiences, made.top_k, made.rollouts) == (7, 4, 5)


def test_an_argument_that_is_none_counts_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TED_MEMORY_NAMESPACE", "from-outside")
    made = make_settings(namespace=None, url=None)
    assert made.namespace == "from-outside"
    assert not made.model_fields_set & {"url"}


def test_no_temperature_can_be_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TED_MEMORY_TEMPERATURE", "0.7")
    assert make_settings().temperature == 0.7
    assert make_settings(temperature="none").temperature is None
    assert make_settings(temperature=None).temperature == 0.7, "None counts as not given"
    monkeypatch.setenv("TED_MEMORY_TEMPERATURE", "None")
    assert make_settings().temperature is None
    assert make_settings(temperature="0.2").temperature == 0.2
    assert make_settings(compaction="none").compaction == "none", "elsewhere the word is a value"


def test_what_was_stated_is_told_from_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TED_MEMORY_TOKEN_BUDGET", "500")
    stated = make_settings(max_experiences=50).model_fields_set
    assert {"max_experiences", "token_budget"} <= stated
    assert "history_versions" not in stated


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        make_settings().top_k = 9  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_experiences", 0),
        ("max_experiences", "many"),
        ("history_versions", 0),
        ("shown_share", 0),
        ("shown_share", 1.1),
        ("validation", 1),
        ("temperature", -0.1),
        ("temperature", "inf"),
        ("temperature", "warm"),
        ("selection", "some"),
        ("placement", "assistant"),
        ("read_timeout", 0),
        ("refresh", -1),
        ("trust", "everybody"),
    ],
)
def test_a_value_that_cannot_work_is_told_with_both_its_names(name: str, value: object) -> None:
    with pytest.raises(SettingsError) as caught:
        make_settings(**{name: value})
    assert f"setting {name}={value!r}" in said(caught.value)
    assert f"TED_MEMORY_{name.upper()}" in said(caught.value)


def test_a_bad_value_in_the_environment_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TED_MEMORY_TOP_K", "three")
    with pytest.raises(SettingsError, match="TED_MEMORY_TOP_K"):
        open_memory()


def test_a_setting_that_does_not_exist_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError) as caught:
        open_memory(max_experience=3)
    assert said(caught.value) == "unknown setting 'max_experience'; did you mean 'max_experiences'?"
    with pytest.raises(SettingsError) as caught:
        open_memory(zzz=3)
    assert said(caught.value) == "unknown setting 'zzz'"


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_is_told_what_it_is_called_now(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match=f"did you mean '{new}'"):
        open_memory(**{old: 1})  # type: ignore[arg-type]
    monkeypatch.setenv(f"TED_MEMORY_{old.upper()}", "1")
    with pytest.raises(SettingsError, match=f"is called TED_MEMORY_{new.upper()} now"):
        open_memory()
    monkeypatch.setenv(f"TED_MEMORY_{new.upper()}", "1")
    assert getattr(make_settings(), new) == 1, "both: an older version shares the environment"


def test_a_budget_too_small_for_any_lesson_is_refused_with_the_least_that_works() -> None:
    with pytest.raises(SettingsError) as caught:
        open_memory(token_budget=FRAME_TOKENS)
    least = int(said(caught.value).split("use ")[1].split()[0])
    open_memory(token_budget=least)
    with pytest.raises(SettingsError):
        open_memory(token_budget=least - 1)


def test_a_namespace_that_could_reach_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for namespace in ("*", "a b", "a{b}", "a~b", ""):
        with pytest.raises(InvalidInput):
            open_memory(namespace=namespace)
        with pytest.raises(InvalidInput) as caught:
            open_memory().for_namespace(namespace)
        assert repr(namespace) in said(caught.value)
    monkeypatch.setenv("TED_MEMORY_NAMESPACE", "*")
    with pytest.raises(InvalidInput):
        open_memory()


def test_a_password_in_the_url_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_settings(url="redis://me:secret@localhost/0")
    assert made.url == "redis://me:secret@localhost/0"
    assert "secret" not in f"{made!r} {made}"
