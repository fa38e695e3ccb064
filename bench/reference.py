"""``make reference``: what users may import, written to ``docs/reference.md``.

The pages of the folder beside it are written by `bench.site_pages`.

What stands there is the ``__all__`` of the modules in `PUBLIC`, with the first line of each
docstring. All other modules and names are private.
"""

import argparse
import functools
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"
PUBLIC = (
    "ted_memory",
    "ted_memory.integrations.middleware",
    "ted_memory.integrations.runnable",
    "ted_memory.integrations.callbacks",
    "ted_memory.integrations.plain_run",
    "ted_memory.integrations.run_ids",
    "ted_memory.integrations.tools",
    "ted_memory.integrations.store",
    "ted_memory.distill",
    "ted_memory.learner",
    "ted_memory.evaluation",
    "ted_memory.datasets",
    "ted_memory.grading",
    "ted_memory.retrieval",
    "ted_memory.memory",
    "ted_memory.models",
    "ted_memory.episodes",
    "ted_memory.findings",
    "ted_memory.errors",
    "ted_memory.redaction",
    "ted_memory.settings",
    "ted_memory.testing",
    "ted_memory.protocols.cipher",
    "ted_memory.wiring",
)
OF_THE_PACKAGE = {
    "EmbeddingRetriever": {"check", "for_set", "forget", "order", "preload", "prepare"},
    "Judge": {"share"},
    "LearnerReport": {"keep_latest"},
    "TedMemory": {"credit", "rank", "recorder", "repository", "selector", "show", "snapshot"}
    | {"staging", "store"},
    "WordRetriever": {"order", "order_now", "rank_now", "scores_now"},
}
OF_THE_PACKAGE["FusedRetriever"] = OF_THE_PACKAGE["EmbeddingRetriever"]
OF_THE_PACKAGE["SyncTedMemory"] = OF_THE_PACKAGE["TedMemory"]
"""Members of public classes that only the package itself should use."""

PROPERTIES = (property, functools.cached_property, classmethod, staticmethod)

HEAD = """# Reference

What users may import, module by module. What does not stand here is private: it may change in any
version without a word. `make reference` writes this page from the docstrings, and a test compares
it with them. Python's `help` tells all of each.
"""


def public_names() -> set[str]:
    """Name all that stands in the reference; what two modules offer counts once."""
    return {name for module in PUBLIC for name in importlib.import_module(module).__all__}


def names_of(module: ModuleType) -> list[str]:
    """Tell a module's public names: what one can call first, then the classes."""
    return sorted(module.__all__, key=lambda name: (name[:1].isupper(), name.lower()))


def page() -> str:
    """Write the page, as Markdown."""
    known: set[int] = set()
    parts = [HEAD]
    for name in PUBLIC:
        module = importlib.import_module(name)
        parts.append(f"\n## `{name}`\n\n{first_line(module)}\n\n| name | |\n|---|---|\n")
        parts += [f"| {left} | {right} |\n" for left, right in _rows(module, known)]
    return "".join(parts)


def _rows(module: ModuleType, known: set[int]) -> Iterator[tuple[str, str]]:
    """Yield a module's names and what they are; a class tells its members where it stands first."""
    for name in names_of(module):
        value = getattr(module, name)
        yield f"`{name}`", meaning(value)
        if id(value) in known:
            continue
        known.add(id(value))
        for member in members(value):
            yield f"`{name}.{member}`", first_line(inspect.getattr_static(value, member))


def meaning(value: Any) -> str:
    """Tell in a line what a public value is."""
    if isinstance(value, Mapping):
        return "A mapping with the keys " + ", ".join(f"`{key}`" for key in value) + "."
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return f"Stands for `{_plain(value)}`."
    named = ", ".join(f"`{field}`" for field in fields(value))
    return first_line(value) + (f" Fields: {named}." if named else "")


def _plain(value: Any) -> str:
    """Write a type, or a value, without the modules that its names come from."""
    value = get_args(value)[0] if get_origin(value) is Annotated else value
    text = re.sub(r"\b[a-z_]+\.(?:[a-z_]+\.)*(?=[A-Z])", "", str(value))
    return text.replace("|", "\\|")


def fields(value: Any) -> list[str]:
    """Name the fields that a class of ours has of itself, and the attributes that it declares."""
    if not inspect.isclass(value):
        return []
    if issubclass(value, BaseModel):
        known = set(value.model_fields)
    else:
        known = {name for base in _our_bases(value) for name in base.__annotations__}
    told = dict.fromkeys(name for base in _our_bases(value) for name in base.__annotations__)
    hidden = OF_THE_PACKAGE.get(value.__name__, set())
    return [name for name in told if name in known - hidden and not name.startswith("_")]


def members(value: Any) -> list[str]:
    """Name the public methods and properties that a class of ours has of itself.

    Of classes that follow another library's interface, such as a chain's callbacks, there are none:
    that interface says it.
    """
    if not inspect.isclass(value) or not _is_ours(value):
        return []
    found = {
        name
        for base in _our_bases(value)
        for name, member in list(vars(base).items())  # types are built when they are looked at
        if _is_told(member)
    }
    hidden = OF_THE_PACKAGE.get(value.__name__, set())
    return sorted(name for name in found - hidden if not name.startswith("_"))


def _is_told(member: Any) -> bool:
    inner = getattr(member, "__func__", member)
    return isinstance(member, (FunctionType, *PROPERTIES)) and bool(inner.__doc__)


def _our_bases(value: type) -> list[type]:
    return [base for base in value.__mro__ if base.__module__.startswith("ted_memory")]


def _is_ours(value: type) -> bool:
    if issubclass(value, BaseModel):
        return True
    foreign = set(value.__mro__) - set(_our_bases(value))
    return all(base.__module__ in {"builtins", "abc", "typing"} for base in foreign)


def first_line(value: Any) -> str:
    """The first paragraph of its docstring, in one line."""
    text = inspect.getdoc(value) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


if __name__ == "__main__":
    from bench import site_pages

    argparse.ArgumentParser(prog="python -m bench.reference", description=__doc__).parse_args()
    PAGE.write_text(page(), encoding="utf-8")
    site_pages.write()
