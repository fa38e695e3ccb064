"""Key names: one slot a namespace, none in another's reach; scripts get what they name."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot
from redis.exceptions import NoScriptError

from ted_memory.errors import InvalidInput
from ted_memory.fields import NAMESPACE, check_namespace
from ted_memory.storage.redis import scripts
from ted_memory.storage.redis.keys import NAMESPACES, Keys

LUA = Path(scripts.__file__).parent / "lua"

_namespaces = st.from_regex(NAMESPACE, fullmatch=True)
_tokens = st.text(min_size=1, max_size=20) | st.sampled_from(["}", "{x}", "*", ":meta", "x}:meta"])


def keys_of(namespace: str, token: str) -> set[str]:
    keys = Keys(namespace)
    return {*keys.permanent, keys.progress, keys.applied(token), keys.credited(token)}


def hash_tag(key: str) -> str:
    """The part of a key that a cluster looks at: between the first "{" and the next "}"."""
    found = re.search(r"\{(.+?)\}", key)
    assert found is not None
    return found[1]


@given(_namespaces, _tokens)
def test_all_keys_of_a_namespace_lie_in_one_slot(namespace: str, token: str) -> None:
    keys = keys_of(namespace, token)
    assert {hash_tag(key) for key in keys} == {namespace}
    assert len({key_slot(key.encode()) for key in keys}) == 1


@given(_namespaces, _namespaces, _tokens, _tokens)
def test_no_namespace_reaches_the_keys_of_another(
    one: str, other: str, token: str, another: str
) -> None:
    if one != other:
        assert not keys_of(one, token) & keys_of(other, another)
    assert NAMESPACES not in keys_of(one, token)


@given(_namespaces, st.text("abc-", min_size=1, max_size=8), _tokens, _tokens)
def test_no_namespace_that_a_user_names_is_the_staging_set_of_another(
    namespace: str, run: str, token: str, another: str
) -> None:
    staging = f"{namespace}~{run}"
    assert not NAMESPACE.fullmatch(staging)
    assert not keys_of(staging, token) & keys_of(namespace, another)


@given(_namespaces, _tokens)
def test_tokens_never_collide_with_keys_of_another_purpose(namespace: str, token: str) -> None:
    assert len(keys_of(namespace, token)) == len(Keys(namespace).permanent) + 3


@given(st.text(max_size=200))
def test_what_passes_as_a_namespace_holds_no_brace_glob_or_blank(text: str) -> None:
    try:
        check_namespace(text)
    except InvalidInput as refused:
        assert "\n" not in str(refused)
    else:
        assert 1 <= len(text) <= 128
        assert not set(text) & set("{}*?[]^~\\/ \t\n\0'\"")


@pytest.mark.parametrize(
    "namespace",
    ["", "a b", "a*", "*", "a{b}", "a~b", "-a", ".a", "a\n", "\na", "ä", "a" * 129, "a\0", "a/b"],
)
def test_such_a_namespace_is_refused(namespace: str) -> None:
    with pytest.raises(InvalidInput, match="is not allowed"):
        check_namespace(namespace)


# --- scripts


class Recorder:
    """Stands where a client stands; keeps what a script is handed."""

    def __init__(self) -> None:
        self.source = ""
        self.keys: list[str] = []
        self.args: list[Any] = []

    async def execute_command(self, command: str, source: str, count: int, *rest: Any) -> list[Any]:
        if command.startswith("EVALSHA"):
            raise NoScriptError
        self.source, self.keys, self.args = source, list(rest[:count]), list(rest[count:])
        if command.endswith("_RO"):
            return '["same"]'
        return 1 if source == scripts._NOW else [0, "{}"]


def named(script: str, what: str) -> list[str]:
    """Give the names of KEYS or ARGV in a script's header, without what stands in brackets."""
    header = "".join(
        line[3:]
        for line in (LUA / f"{script}.lua").read_text().splitlines(True)
        if line[:3] == "-- "
    )
    found = re.search(rf"^{what}: (.*?)(?=^[A-Z])", header, re.MULTILINE | re.DOTALL)
    assert found is not None
    return [name.strip() for name in re.sub(r"\([^)]*\)", "", found[1]).split(",")]


def unpacked(script: str, what: str) -> int:
    """Return how many of its KEYS or ARGV a script takes up."""
    code = (LUA / f"{script}.lua").read_text()
    if f"unpack({what}" in code:
        found = re.findall(rf"local (.*) = unpack\({what}\b[^)]*\)", code)
        return sum(len(names.split(",")) for names in found)
    return len(set(re.findall(rf"{what}\[(\d+)\]", code)))


K = Keys("n")
CALLS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "commit": lambda client: scripts.commit(client, K, "t", "{}", ttl=1, day="d"),
    "read": lambda client: scripts.read(client, K, "", 0, "", most=1),
    "credit": lambda client: scripts.credit(client, K, "t", "[]", kept=1.0, ttl=1),
    "keep": lambda client: scripts.keep(client, K, "key", "{}", ttl=1),
    "lease": lambda client: scripts.hold(client, K.lease("l"), "me", ttl=1),
    "record": lambda client: scripts.record(client, K, "d", ["r"], {"sha": "00"}, "{}"),
    "feedback": lambda client: scripts.feedback(client, K, "d", "r", [""] * 11),
    "replayed": lambda client: scripts.replayed(client, K, ["id", 1, 1, "me", "1", "0", 0, 0]),
    "known": lambda client: scripts.known(client, K, [("id", 1)]),
    "count": lambda client: scripts.count(client, K.spend("d"), {"calls": 1}, ttl=1),
    "forget_archived": lambda client: scripts.forget_archived(client, K, [1, 2]),
    "claim": lambda client: scripts.claim(client, K, ["me", 1, 1, 1, 0, 1, 1, 1, 1]),
    "extend_lease": lambda client: scripts.extend_lease(client, K, ["me", 1, 1, 1]),
    "return_claim": lambda client: scripts.return_claim(
        client, K, "r", [1, 1, "fail", "", 0, 1, 1, 1]
    ),
    "erase": lambda client: scripts.erase(client, K, ["1"]),
    "now": lambda client: scripts.now(client, K),
    "lacking": lambda client: scripts.lacking(client, K, [("TIME",)]),
    "tell": lambda client: scripts.tell_dropped(client, K),
    "dead": lambda client: scripts.dead(client, K, "retry", [1]),
    "blank": lambda client: scripts.blank(client, K, [(1, "old", "new")]),
}


async def call(script: str) -> Recorder:
    client: Any = Recorder()
    await CALLS[script](client)
    return client


SHARED = {"usage", "episodes", "evidence"}  # other scripts begin with them
FIXED = [
    "commit",
    "credit",
    "read",
    "keep",
    "lease",
    "feedback",
    "replayed",
    "claim",
    "return_claim",
]
# take any number of things
OPEN = ["record", "extend_lease", "dead", "erase", "count", "known", "forget_archived", "blank"]
ALONE = ["now", "lacking", "tell"]  # take no key, but one to know the node by


@pytest.mark.parametrize("script", [*FIXED, *OPEN, *ALONE])
async def test_a_script_is_handed_the_keys_that_its_header_names(script: str) -> None:
    called = await call(script)
    names = [key.partition("}:")[2].partition(":")[0] for key in called.keys]
    assert names == named(script, "KEYS")
    assert len(called.keys) == unpacked(script, "KEYS") + {"record": 2}.get(script, script in ALONE)
    assert (LUA / f"{script}.lua").read_text() in called.source


@pytest.mark.parametrize("script", FIXED)
async def test_a_script_is_handed_as_many_arguments_as_its_header_names(script: str) -> None:
    called = await call(script)
    assert len(called.args) == len(named(script, "ARGV")) == unpacked(script, "ARGV")


def test_every_script_is_held_to_its_header() -> None:
    assert {path.stem for path in LUA.glob("*.lua")} == {*FIXED, *OPEN, *ALONE, *SHARED}
    for path in LUA.glob("*.lua"):
        assert path.read_text().startswith("-- "), "a script says what it does"
