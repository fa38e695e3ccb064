"""What type checkers know of the face: wrong names and values are found before a program runs."""

import re
import typing
from pathlib import Path

import pytest
from mypy import api

from ted_memory.settings import SettingNames, Settings

GIVEN_APART = {"url", "home", "namespace"}  # `open_memory` has them as arguments of their own

MISUSE = {
    'open_memory("redis://x", rolouts=3)': 'Unexpected keyword argument "rolouts"',
    'open_memory("redis://x", max_experiences="many")': (
        'Argument "max_experiences" .* incompatible type "str"'
    ),
    'open_memory("redis://x", trust="nobody")': 'Argument "trust" .* incompatible type',
    "open_memory(17)": 'Argument 1 to "open_memory" has incompatible type "int"',
    'open_memory_sync("redis://x", top_k="3")': 'Argument "top_k" .* incompatible type "str"',
    "memory.approve(17, author='anna')": 'Argument 1 to "approve" .* incompatible type "int"',
    "memory.approve('a')": 'Missing named argument "author"',
    "memory.give_feedback('r', score='good')": 'Argument "score" .* incompatible type "str"',
}
RIGHT = (
    'open_memory("redis://x", rollouts=3, trust="review", temperature=None)',
    'open_memory_sync(namespace="n", top_k=None)',
    "approving = memory.approve('a', 'b', author='anna')",
)


def complaints(tmp_path: Path, *lines: str) -> list[str]:
    """Return what mypy says of a program of these lines, by line."""
    program = tmp_path / "program.py"
    head = "from ted_memory import TedMemory, open_memory, open_memory_sync\nmemory: TedMemory\n"
    program.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    told, _, _ = api.run(["--strict", str(program)])  # with what `make lint` has in its cache
    found = [""] * len(lines)
    for number, said in re.findall(r"^.*program\.py:(\d+): error: (.*)$", told, re.MULTILINE):
        found[int(number) - 3] += said
    return found


@pytest.mark.timeout(300)
def test_misuse_is_an_error_under_strict_mypy(tmp_path: Path) -> None:
    found = complaints(tmp_path, *MISUSE, *RIGHT)
    for line, wanted, said in zip(MISUSE, MISUSE.values(), found, strict=False):
        assert re.search(wanted, said), f"{line}: {said or 'no error'}"
    assert found[len(MISUSE) :] == [""] * len(RIGHT)


def test_the_names_for_type_checkers_are_those_of_the_settings() -> None:
    told = typing.get_type_hints(SettingNames)
    fields = {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if name not in GIVEN_APART
    }
    assert told.keys() == fields.keys()
    for name, annotation in fields.items():
        assert told[name] in (annotation, annotation | None), name  # type: ignore[operator]
