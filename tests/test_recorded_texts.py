"""An episode that leaves the process has no secrets, is not too long, and lacks our own block."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ted_memory import Add, TedMemory
from ted_memory.capture.recorder import Hooks
from ted_memory.capture.texts import fit, size_of
from ted_memory.episodes import Episode
from ted_memory.errors import InvalidInput
from ted_memory.experience.rendering import OPENING
from ted_memory.models import Message
from ted_memory.settings import make_settings
from ted_memory.testing import in_memory
from ted_memory.testing.oracle.store import InMemoryStore
from tests.spy_log import recorded, spied, taken_in

KEY = "sk-" + "a1B2" * 12
PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "input": lambda text: {"input": (Message(role="user", content=text),)},
    "output": lambda text: {"output": (Message(role="assistant", content=text),)},
    "system": lambda text: {"input": (Message(role="system", content=text),)},
    "block": lambda text: {
        "input": (Message(role="user", content=({"type": "text", "text": text},)),)
    },
    "image url": lambda text: {
        "input": (Message(role="user", content=({"type": "image", "url": f"x: {text}"},)),)
    },
    "other block": lambda text: {
        "input": (Message(role="user", content=({"type": "note", "parts": [text]},)),)
    },
    "tools": lambda text: {"tools": (text,)},
    "tags": lambda text: {"tags": (text,)},
    "error": lambda text: {"error": text},
}


def hooked(redact: Callable[[str], str] | None, **given: Any) -> TedMemory:
    return TedMemory(
        InMemoryStore(), make_settings(namespace="test", **given), "test", hooks=Hooks(redact)
    )


async def kept(memory: TedMemory, **fields: Any) -> Episode:
    """Return what the store holds of an episode."""
    await memory.record(Episode(run_id="r", **fields))
    [episode] = await recorded(memory)
    await memory.aclose()
    return episode


# --- secrets


@pytest.mark.parametrize("place", PLACES)
async def test_a_secret_leaves_the_process_nowhere(place: str) -> None:
    episode = await kept(in_memory(), **PLACES[place](f"My key is {KEY}, keep it."))
    told = episode.model_dump_json()
    assert KEY not in told
    assert "My key is [key], keep it." in told


@pytest.mark.parametrize("place", PLACES)
async def test_a_hook_of_the_users_own_takes_the_place_of_ours(place: str) -> None:
    episode = await kept(
        hooked(lambda text: text.replace("Anna", "***")), **PLACES[place](f"Anna has {KEY}.")
    )
    assert f"*** has {KEY}." in episode.model_dump_json()


async def test_who_and_which_conversation_it_was_stays_as_it_is() -> None:
    """An address in their place would make one person of all that have one."""
    memory = in_memory()
    episode = await kept(
        memory, principal="anna@example.com", thread_id="anna@example.com/1", input=()
    )
    assert (episode.principal, episode.thread_id) == ("anna@example.com", "anna@example.com/1")


async def test_what_is_said_of_a_run_is_looked_through_too() -> None:
    memory = in_memory()
    await memory.record(Episode(run_id="r"))
    await memory.give_feedback("r", score=0.0, comment=f"not {KEY}", correction=f"it is {KEY}")
    [claim] = (await _claims(memory)).claims
    assert (claim.feedback[0].comment, claim.feedback[0].correction) == ("not [key]", "it is [key]")
    await memory.aclose()


async def _claims(memory: TedMemory) -> Any:
    log = memory.store.episodes
    return await log.claim("test", "somebody", lease=60, count=100, max_deliveries=3, alone=False)


async def test_a_hook_that_raises_loses_only_the_run_that_it_met_and_that_is_counted() -> None:
    def picky(text: str) -> str:
        if "bad" in text:
            raise ValueError("I do not like this")
        return text

    memory = hooked(picky)
    for name in ("good", "bad", "fine"):
        await memory.record(Episode(run_id=name, error=name))
    await memory.flush()
    assert [e.run_id for e in taken_in(memory)] == ["good", "fine"]
    health = memory.health()
    assert (health.recorded, health.dropped, health.buffered) == (2, 1, 0)
    assert memory.recorder.last_error == "a run could not be recorded: I do not like this"
    with pytest.raises(InvalidInput, match="I do not like this"):
        await memory.give_feedback("good", score=1.0, comment="bad")
    await memory.aclose()


async def test_a_hook_that_gives_no_text_loses_only_the_run_and_that_is_counted() -> None:
    memory = hooked(lambda text: None)  # type: ignore[arg-type,return-value]
    await memory.record(Episode(run_id="r", error="x"))
    await memory.flush()
    assert (taken_in(memory), memory.health().dropped) == ([], 1)
    await memory.aclose()


async def test_the_hook_is_not_shown_what_is_too_much_to_be_kept() -> None:
    shown = []
    memory = hooked(lambda text: shown.append(len(text)) or text, episode_size=10_000)  # type: ignore[func-returns-value]
    long = tuple(Message(role="user", content="word " * 2_000) for _ in range(100))
    await kept(memory, input=long)
    assert 0 < sum(shown) < 30_000


def test_a_text_is_not_cut_within_a_key() -> None:
    """The half that is left would not look like one."""
    halves = 0
    for before in range(900, 1100):
        text = f"{'x' * (before - 1)} {KEY} {'y ' * 4000}"
        [told] = fit(Episode(run_id="r", tools=(text,)), 4096).tools
        assert size_of(Episode(run_id="r", tools=(told,))) <= 4096
        assert KEY in told or "sk-" not in told
        halves += before < 1024 < before + len(KEY)
    assert halves > 40, "some of them would be cut there"


# --- size

HOSTILE = st.text(st.characters(codec="utf-8"), max_size=300) | st.sampled_from(
    ["\x00" * 2000, "\U0001f600" * 1000, "word " * 5000, '"' * 3000, "x" * 20_000]
)
BLOCK = st.fixed_dictionaries({"type": st.just("text"), "text": HOSTILE}) | st.fixed_dictionaries(
    {
        "type": st.sampled_from(["image", "thoughts"]),
        "url": HOSTILE,
        "blob": HOSTILE,
        "more": st.lists(HOSTILE, max_size=2),
    }
)
MESSAGE = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant"]),
    content=HOSTILE | st.lists(BLOCK, max_size=8).map(tuple),
)
EPISODES = st.builds(
    Episode,
    run_id=st.just("r" * 200),
    thread_id=HOSTILE,
    principal=st.just("\U0001f600" * 200),
    input=st.lists(MESSAGE, max_size=12).map(tuple),
    output=st.lists(MESSAGE, max_size=12).map(tuple),
    tools=st.lists(HOSTILE, max_size=12).map(tuple),
    tags=st.lists(HOSTILE, max_size=12).map(tuple),
    model=HOSTILE,
    error=HOSTILE,
    seen=st.lists(st.just("abcdef"), max_size=50).map(tuple),
    images=st.lists(st.just("sha256:" + "0" * 64), max_size=50).map(tuple),
)
CREDITED = {
    "run_id",
    "principal",
    "seen",
    "withheld",
    "counted",
    "epoch",
    "version",
    "started_at",
    "latency",
}


@given(EPISODES, st.sampled_from([1024, 4096, 65_536]))
@example(Episode(run_id="r", tags=("x" * 5000,) * 3), 1024)
@settings(max_examples=150, deadline=None)
def test_an_episode_is_never_larger_than_it_may_be(episode: Episode, size: int) -> None:
    made = fit(episode, size)
    bare = size_of(
        episode.model_copy(update={name: () if name != "error" else "" for name in SAID} | EMPTY)
    )
    assert size_of(made) <= max(size, bare)
    assert made.model_dump(include=CREDITED) == episode.model_dump(include=CREDITED), (
        "what it is credited by stays"
    )
    if size_of(episode) <= size:
        assert made == episode


SAID = ("input", "output", "tools", "tags", "images", "error")
EMPTY = {"thread_id": "", "model": ""}


async def test_the_latest_messages_stay_and_images_that_are_gone_are_not_sent() -> None:
    old, new = "sha256:" + "0" * 64, "sha256:" + "1" * 64
    messages = [Message(role="user", content=({"type": "image", "blob": old},))]
    messages += [Message(role="user", content=f"{i} " + "word " * 200) for i in range(50)]
    messages += [
        Message(
            role="user",
            content=({"type": "text", "text": "the question"}, {"type": "image", "blob": new}),
        )
    ]
    memory, _ = spied(episode_size=8192)
    whole = Episode(run_id="r", input=tuple(messages), images=(old, new))
    memory.recorder.put("r", lambda: (whole, {old: b"old", new: b"new"}))
    [episode] = await recorded(memory)
    assert size_of(episode) <= 8192
    assert episode.question == "the question"
    assert episode.images == (new,)
    assert await memory.store.episodes.images("test", [old, new]) == {new: b"new"}
    await memory.aclose()


async def test_a_long_correction_is_cut_like_a_long_episode() -> None:
    memory = in_memory(episode_size=4096)
    await memory.record(Episode(run_id="r"))
    await memory.give_feedback("r", score=0.0, correction="word " * 10_000)
    [claim] = (await _claims(memory)).claims
    assert len(claim.correction) < 1100
    await memory.aclose()


# --- half characters


@pytest.mark.parametrize("place", ["input", "output", "block", "other block"])
async def test_half_a_character_loses_no_episode(place: str) -> None:
    memory = in_memory()
    episode = await kept(memory, **PLACES[place]("half \ud83d of it"))
    assert "half ? of it" in episode.model_dump_json()
    assert memory.health().dropped == 0


# --- our own block

SHAPES: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in the middle": lambda block: f"You are kind.\n\n{block}\n\nBe quick.",
    "twice": lambda block: f"{block} and {block}",
    "in one line": lambda block: " ".join(block.split()),
    "as JSON": json.dumps,
    "as JSON in JSON": lambda block: json.dumps(json.dumps(block)),
    "as Python": repr,
    "cut off": lambda block: " ".join(block.split())[: len(OPENING) + 20] + " ...",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", PLACES)
async def test_an_episode_never_holds_our_own_block(place: str, shape: str) -> None:
    told = await _with_block(place, shape)
    assert "Lessons from" not in told
    assert "Turn it off" not in told
    if shape == "in the middle":
        assert "You are kind." in told
        assert "Be quick." in told


async def test_a_block_that_is_not_taken_out_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the test above sees a block where there is one."""
    monkeypatch.setattr("ted_memory.capture.cleaning.without_block", str)
    for place in PLACES:
        assert "Turn it off" in await _with_block(place, "as it is")


async def _with_block(place: str, shape: str) -> str:
    memory = in_memory()
    await memory.commit([Add(text="Turn it off and on again.")], author="me")
    episode = await kept(memory, **PLACES[place](SHAPES[shape](await memory.render())))
    return episode.model_dump_json()
