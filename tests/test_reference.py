"""The reference names all that users may import, and everything shown to them keeps to it."""

import ast
import importlib
import inspect
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from bench import reference
from ted_memory.memory import SyncTedMemory, TedMemory

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "guides").glob("*")]
EXAMPLES = [*sorted((ROOT / "examples").glob("0*.py")), *sorted((ROOT / "graphs").glob("*.py"))]
FUNDAMENTALS = sorted((ROOT / "tests" / "fundamentals").glob("test_*.py"))
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
MADE_BY_OTHERS = {TedMemory, SyncTedMemory}
"""Classes that users do not construct: `open_memory` does."""

NOT_FOR_USERS = {
    # parameters of the type of a compiled graph that no caller touches
    "ted_memory.distill.context.DistillContext",
    "ted_memory.distill.state.DistillState",
    # what only the package itself gives `commit`, an embedding retriever and `in_memory`
    "ted_memory.protocols.sets.Settle",
    "ted_memory.testing.oracle.store.InMemoryStore",
}


def public_names() -> set[tuple[str, str]]:
    modules = map(importlib.import_module, reference.PUBLIC)
    return {(module.__name__, name) for module in modules for name in module.__all__}


def public_values() -> list[Any]:
    return [getattr(importlib.import_module(module), name) for module, name in public_names()]


def imports_of(code: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ted_memory"):
            yield from ((str(node.module), alias.name) for alias in node.names)


def types_in(annotation: Any) -> Iterator[type]:
    """Yield the classes of ours that an annotation names, also within others."""
    if typing.get_origin(annotation) is not None:
        for inner in typing.get_args(annotation):
            yield from types_in(inner)
    elif isinstance(annotation, list):
        for inner in annotation:
            yield from types_in(inner)
    elif inspect.isclass(annotation) and annotation.__module__.startswith("ted_memory"):
        yield annotation


def functions_of(value: Any) -> Iterator[Any]:
    if inspect.isfunction(value):
        yield value
    names = reference.members(value)
    if names and value not in MADE_BY_OTHERS:
        names = ["__init__", *names]
    for name in names:
        member = inspect.getattr_static(value, name)
        member = member.fget if isinstance(member, property) else member
        if inspect.isfunction(member):
            yield member


def hints_of(value: Any) -> Iterator[Any]:
    for function in functions_of(value):
        yield from typing.get_type_hints(function, localns=_lazily_imported()).values()
    if inspect.isclass(value) and hasattr(value, "model_fields"):
        yield from (field.annotation for field in value.model_fields.values())
    elif inspect.isclass(value) and (is_dataclass(value) or typing.is_typeddict(value)):
        yield from typing.get_type_hints(value).values()


def _lazily_imported() -> dict[str, Any]:
    """What signatures name that is imported for type checkers only."""
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel

    return {"Embeddings": Embeddings, "BaseChatModel": BaseChatModel}


def test_the_page_is_what_the_docstrings_say() -> None:
    text = reference.PAGE.read_text(encoding="utf-8")
    assert text == reference.page(), "docs/reference.md is old: run make reference"


def says_something(value: Any) -> bool:
    """Tell whether it has a docstring of its own: neither a base's nor a dataclass's signature."""
    text = vars(value).get("__doc__") or "" if inspect.isclass(value) else value.__doc__ or ""
    return bool(text) and not text.startswith(f"{value.__name__}(")


def test_a_docstring_of_a_base_or_of_a_dataclass_would_be_found() -> None:
    @dataclass
    class Plain:
        number: int

    class Error(ValueError):
        pass

    assert not says_something(Plain)
    assert not says_something(Error)


def test_every_public_name_is_there_once_and_says_what_it_is() -> None:
    for name in reference.PUBLIC:
        module = importlib.import_module(name)
        assert len(set(module.__all__)) == len(module.__all__)
        for each in module.__all__:
            value = getattr(module, each)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert says_something(value), f"{name}.{each} has no docstring"
    assert "| |" not in reference.page().replace("| name | |", "")


def test_what_public_signatures_name_is_public() -> None:
    values = public_values()
    public = {value for value in values if inspect.isclass(value)}
    private = {
        f"{found.__module__}.{found.__name__}"
        for value in values
        for hint in hints_of(value)
        for found in types_in(hint)
        if found not in public
    }
    assert private == NOT_FOR_USERS


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES, *FUNDAMENTALS], ids=lambda path: path.name)
def test_what_users_are_shown_imports_public_names_only(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = [text] if page.suffix == ".py" else CODE.findall(text)
    shown = {pair for block in blocks for pair in imports_of(block)}
    assert shown - public_names() == set()


def test_an_import_of_something_private_would_be_found() -> None:
    shown = set(imports_of("from ted_memory.storage.redis.store import RedisStore"))
    assert shown - public_names() == {("ted_memory.storage.redis.store", "RedisStore")}
