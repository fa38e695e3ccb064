"""How a mechanism is switched off, so that a test can be seen to fail without it."""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

Test = Callable[..., Awaitable[None]]

Off = dict[str, tuple[str, str, str, Test, *tuple[Any, ...]]]
"""Mechanism -> script, its line, what replaces it, the test that must fail, its parameters."""


class Handed(Enum):
    """Among the parameters: what is known only when the test runs."""

    CLIENT = "a client of the server"
    URL = "where the server is"


CLIENT, URL = Handed.CLIENT, Handed.URL
