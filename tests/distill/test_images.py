"""Pictures reach models that see, and none of their bytes is ever stored."""

import asyncio
import base64
import contextlib
import io
import json
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import redis.asyncio
from langchain_core.messages import BaseMessage
from PIL import Image

from ted_memory import Sample, TedMemory, open_memory
from ted_memory.distill import Report, distill
from ted_memory.errors import ModelError
from ted_memory.models import Message
from ted_memory.testing import Script, ScriptedChatModel, in_memory
from tests.conftest import Server
from tests.distill.scripts import (
    add,
    critique,
    one_pass,
    prompt_of,
    role,
    student,
    teacher,
    texts_of,
)
from tests.evaluation.pictures import COLOURS, data_url, seen_colours

ANSWERS = {"red": "R7", "green": "G4", "blue": "B9"}
SCENES = {"red": "fire", "green": "grass", "blue": "water"}
ASKED = "Which code belongs to this picture of fire, grass or water?"


def framed(colour: str, size: int, kind: str = "PNG") -> bytes:
    """Draw a picture of one colour with a black frame: no two sizes have the same bytes."""
    image, out = Image.new("RGB", (size, size)), io.BytesIO()
    image.paste(COLOURS[colour], (2, 2, size - 2, size - 2))
    image.save(out, kind)
    return out.getvalue()


def noisy(colour: str, seed: int) -> bytes:
    """Draw a picture that no compression makes small: noise, with its colour in the corner."""
    chance, out = random.Random(seed), io.BytesIO()
    image = Image.frombytes("RGB", (32, 32), chance.randbytes(32 * 32 * 3))
    image.paste(COLOURS[colour], (0, 0, 8, 8))
    image.save(out, "PNG")
    return out.getvalue()


# --- what models see


ELSEWHERE = {
    f"https://pictures.example/{c}-{size}.png": framed(c, size)
    for c in COLOURS
    for size in (16, 24)
}


LABELS = {label: label for label in (answer.casefold() for answer in ANSWERS.values())}


def with_data(colour: str, size: int) -> dict[str, Any]:
    return {"input": ASKED, "images": (data_url(framed(colour, size)),)}


def with_address(colour: str, size: int) -> dict[str, Any]:
    return {"input": ASKED, "images": (f"https://pictures.example/{colour}-{size}.png",)}


def within_a_message(colour: str, size: int) -> dict[str, Any]:
    block = {
        "type": "image",
        "base64": base64.b64encode(framed(colour, size)).decode(),
        "mime_type": "image/png",
    }
    text = {"type": "text", "text": ASKED}
    return {
        "input": (
            Message(role="system", content="Look."),
            Message(role="user", content=(text, block)),
        )
    }


HOW = [with_data, with_address, within_a_message]


def picture_of(how: Callable[[str, int], dict[str, Any]], colour: str, size: int) -> Sample:
    return Sample(id=f"{colour}-{size}", reference=ANSWERS[colour], **how(colour, size))


def seen_by(messages: list[BaseMessage]) -> list[str]:
    """Name the colours of a call's pictures.

    Those at an address are fetched, as a provider does.
    """
    fetched = []
    for message in messages:
        for block in message.content if isinstance(message.content, list) else []:
            if isinstance(block, Mapping) and "url" in block:
                content = base64.b64encode(ELSEWHERE[str(block["url"])]).decode()
                fetched.append({"type": "image", "base64": content, "mime_type": "image/png"})
            else:
                fetched.append(block)
    return seen_colours([BaseMessage(content=fetched, type="human")])


def looks(messages: list[BaseMessage]) -> str:
    """Answer by a lesson about the very colour that is seen."""
    [colour] = seen_by(messages)
    lesson = f"When {SCENES[colour]}, {colour}: say {ANSWERS[colour]}"
    return ANSWERS[colour] if lesson in prompt_of(messages) else "no idea"


def knows_by_sight(messages: list[BaseMessage]) -> str:
    [colour] = seen_by(messages)
    return ANSWERS[colour]


def teaches_by_sight(messages: list[BaseMessage]) -> str:
    [colour] = seen_by(messages)
    return critique(add(f"say {ANSWERS[colour]}", f"{SCENES[colour]}, {colour}"))


def models() -> tuple[ScriptedChatModel, ScriptedChatModel]:
    return student(looks), teacher(teaches_by_sight, solves=knows_by_sight)


@pytest.mark.parametrize("how", HOW)
async def test_every_role_sees_the_picture(
    scratch: TedMemory, how: Callable[[str, int], dict[str, Any]]
) -> None:
    learner, expert = models()
    out = await one_pass(
        scratch, picture_of(how, "red", 16), student=learner, teacher=expert, labels=LABELS
    )
    assert out["status"] == "learned", out["note"]
    assert learner.asked
    assert {role(messages) for messages in expert.asked} == {"teacher", "critic"}
    assert {tuple(seen_by(messages)) for messages in (*learner.asked, *expert.asked)} == {("red",)}
    assert out["solution"] == "R7"
    assert not any(data_of(16) & pieces(prompt_of(messages)) for messages in expert.asked), (
        "bytes stand in the text"
    )


def data_of(size: int) -> set[str]:
    return {
        text
        for colour in COLOURS
        for text in pieces(base64.b64encode(framed(colour, size)).decode())
    }


@pytest.mark.parametrize("how", HOW)
async def test_a_lesson_helps_on_another_picture_of_that_colour(
    how: Callable[[str, int], dict[str, Any]],
) -> None:
    learner, expert = models()
    scratch = in_memory(trust="always", shown_share=1.0)  # each attempt sees what was learned
    before = await one_pass(
        scratch, picture_of(how, "red", 24), student=student(lambda _: "?"), teacher=teacher(boring)
    )
    assert {t["score"] for t in before["graded"]} == {0.0}
    await one_pass(
        scratch, picture_of(how, "red", 16), student=learner, teacher=expert, labels=LABELS
    )
    assert await texts_of(scratch) == ["say R7"]
    after = await one_pass(
        scratch, picture_of(how, "red", 24), student=learner, teacher=expert, labels=LABELS
    )
    assert {t["score"] for t in after["graded"]} == {1.0}
    assert after["status"] == "nothing", "there is nothing left to learn"
    # negative control: on a picture of another colour it does not help, and another lesson is
    # written
    other = await one_pass(
        scratch, picture_of(how, "blue", 24), student=learner, teacher=expert, labels=LABELS
    )
    assert {t["score"] for t in other["graded"]} == {0.0}
    assert await texts_of(scratch) == ["say R7", "say B9"]


def boring(_messages: list[BaseMessage]) -> str:
    return critique()


async def test_with_another_picture_in_its_place_the_critic_writes_another_lesson(
    scratch: TedMemory,
) -> None:
    learner, expert = models()
    given = picture_of(with_data, "red", 16)
    swapped = given.model_copy(
        update={"images": with_data("green", 16)["images"], "reference": "G4"}
    )
    await one_pass(scratch, swapped, student=learner, teacher=expert, labels=LABELS)
    assert await texts_of(scratch) == ["say G4"]


async def test_a_model_that_is_shown_no_picture_cannot_answer(scratch: TedMemory) -> None:
    learner, expert = models()
    blind = Sample(id="blind", input=ASKED, reference="R7")
    out = await one_pass(scratch, blind, student=learner, teacher=expert)
    assert out["status"] == "set_aside", "the scripts of these tests would answer without looking"


# --- what is stored


WINDOW = 20  # characters of base64: no other text has that many of a picture's in a row


def pieces(text: str) -> set[str]:
    return {text[i : i + WINDOW] for i in range(max(0, len(text) - WINDOW + 1))}


def quoted_pieces(samples: list[Sample]) -> set[str]:
    return {
        piece for s in samples for image in s.images for piece in pieces(image.partition(",")[2])
    }


class Watched:
    """All that was ever found under a namespace and its staging sets."""

    def __init__(self, url: str, memory: TedMemory) -> None:
        self.memory = memory
        self.client = redis.asyncio.Redis.from_url(url, decode_responses=True)
        self.texts: set[str] = set()
        self.rounds = 0

    async def look(self) -> None:
        async for key in self.client.scan_iter(match=f"ted:{{{self.memory.namespace}*", count=1000):
            kind = await self.client.type(key)
            if kind == "hash":
                found = [t for pair in (await self.client.hgetall(key)).items() for t in pair]
            elif kind == "set":
                found = list(await self.client.smembers(key))
            else:
                found = [await self.client.get(key) or ""]
            self.texts.update([key, *found])
        self.rounds += 1


@contextlib.asynccontextmanager
async def watched(url: str, memory: TedMemory) -> AsyncIterator[Watched]:
    """Look all the time, and once more before a run forgets its staging set."""
    seen, over, drop = Watched(url, memory), asyncio.Event(), memory.store.drop

    async def look_then_drop(namespace: str) -> None:
        await seen.look()
        await drop(namespace)

    async def watch() -> None:
        while not over.is_set():
            await seen.look()
            await asyncio.sleep(0.002)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory.store, "drop", look_then_drop)
        watching = asyncio.create_task(watch())
        try:
            yield seen
        finally:
            over.set()
            await watching
            await seen.look()
            await seen.client.aclose()


class ProviderError(Exception):
    """What a client raises; 409 is neither tried again nor the end of a run."""

    status_code = 409


# how providers and their clients quote what they were sent
QUOTES: dict[str, Callable[[str], str]] = {
    "url": lambda url: f"invalid image_url: {url} is too small",
    "bare": lambda url: f"cannot decode {url.partition(',')[2]}",
    "json": lambda url: json.dumps({"error": {"message": f"bad image {url}"}}),
    "escaped": lambda url: json.dumps({"error": url}).replace("/", "\\/"),
    "twice": lambda url: f"first {url} then {url}",
    "cut": lambda url: f"invalid image_url: {url[:120]}... (truncated)",
    "wrapped": lambda url: (
        "cannot decode\n" + base64.encodebytes(base64.b64decode(url.partition(",")[2])).decode()
    ),
    "urlsafe": lambda url: (
        "cannot decode " + url.partition(",")[2].translate(str.maketrans("+/", "-_"))
    ),
}


def pictures(draw: Callable[[str, int], bytes]) -> list[Sample]:
    return [
        Sample(
            id=f"{c}-{i}",
            input=f"Which code for {SCENES[c]}?",
            images=(data_url(draw(c, 16 + i)),),
            reference=ANSWERS[c],
        )
        for c in ("red", "blue")
        for i in range(3)
    ]


async def distilled(
    memory: TedMemory, given: list[Sample], failing: str, error: Exception
) -> Report:
    """Distil with one role that fails.

    At the gate the student does so once all samples are learned.
    """
    phase = [""]

    def says(name: str, otherwise: Script) -> Script:
        def script(messages: list[BaseMessage]) -> str:
            if failing == name or (failing, name, phase[0]) == ("gate", "student", "validate"):
                raise error
            return otherwise(messages)

        return script

    def grader(*, outputs: str, reference_outputs: str) -> bool:
        if failing == "grader":
            raise error
        return outputs == reference_outputs

    return await distill(
        given,
        student=student(says("student", looks)),
        teacher=teacher(
            says("critic", teaches_by_sight),
            solves=says("teacher", knows_by_sight),
            compactor=says("compactor", lambda _: '{"reason": "fine", "edits": []}'),
        ),
        memory=memory,
        grader=grader,
        on_progress=lambda told: phase.__setitem__(0, told.phase),
    )


async def leaks(
    url: str, namespace: str, given: list[Sample], failing: str, error: Exception
) -> list[str]:
    """Run with a role that fails so; return all stored or reported texts with a picture's bytes."""
    forbidden = quoted_pieces(given)
    async with (
        open_memory(url, namespace=namespace, compact_every=1) as memory,
        watched(url, memory) as seen,
    ):
        report = await distilled(memory, given, failing, error)
    told = report.model_dump_json()
    assert seen.rounds > 2
    told_of = {"critic": report.reasons, "gate": report.gate.failures if report.gate else ()}
    assert told_of.get(failing, True), "the error went nowhere: this shows nothing"
    return [text[:500] for text in (*seen.texts, told) if forbidden & pieces(text)]


@pytest.mark.parametrize("draw", [noisy, framed])
@pytest.mark.parametrize("failing", ["student", "teacher", "critic", "compactor", "gate", "grader"])
async def test_no_bytes_of_a_picture_are_stored_whichever_role_fails(
    valkey: Server, namespace: str, failing: str, draw: Callable[[str, int], bytes]
) -> None:
    given = pictures(draw)
    assert (
        await leaks(
            valkey.url, namespace, given, failing, ProviderError(QUOTES["url"](given[0].images[0]))
        )
        == []
    )


@pytest.mark.parametrize("draw", [noisy, framed])
@pytest.mark.parametrize("quote", QUOTES.values(), ids=QUOTES)
async def test_no_bytes_of_a_picture_are_stored_however_a_provider_quotes_them(
    valkey: Server, namespace: str, quote: Callable[[str], str], draw: Callable[[str, int], bytes]
) -> None:
    given = pictures(draw)
    assert (
        await leaks(
            valkey.url, namespace, given, "critic", ProviderError(quote(given[0].images[0]))
        )
        == []
    )


async def test_a_provider_that_quotes_a_picture_is_still_understood(
    valkey: Server, memory: TedMemory
) -> None:
    given = pictures(noisy)
    report = await distilled(
        memory, given, "critic", ProviderError(QUOTES["url"](given[0].images[0]))
    )
    [reason] = {told.reason for told in report.reasons}
    assert re.search(r"invalid image_url: sha256:[0-9a-f]{16} is too small", reason)


async def test_no_bytes_of_a_picture_stand_in_the_error_that_ends_a_run(
    valkey: Server, memory: TedMemory
) -> None:
    given = pictures(noisy)
    error = ProviderError(QUOTES["url"](given[0].images[0]))
    error.status_code = 401
    async with watched(valkey.url, memory) as seen:
        with pytest.raises(ModelError) as raised:
            await distilled(memory, given, "critic", error)
    assert [
        text for text in (*seen.texts, str(raised.value)) if quoted_pieces(given) & pieces(text)
    ] == []
    assert "sha256:" in str(raised.value)


@pytest.mark.parametrize(
    "who", ["student", "teacher", "critic in prose", "critic in a lesson", "critic in its reason"]
)
async def test_no_bytes_of_a_picture_are_stored_when_a_model_repeats_them(
    valkey: Server, memory: TedMemory, who: str
) -> None:
    given = pictures(noisy)
    forbidden, quoted = quoted_pieces(given), given[0].images[0][:350]
    lesson = {
        "critic in prose": f"I see {quoted}",
        "critic in a lesson": critique(add(f"say {quoted}", "fire, red")),
        "critic in its reason": json.dumps(
            {"reason": quoted, "edits": [add("say nothing", "fire, red")]}
        ),
    }.get(who, critique(add("say nothing", "fire, red")))
    async with watched(valkey.url, memory) as seen:
        report = await distill(
            given,
            student=student(lambda _: quoted if who == "student" else "no idea"),
            teacher=teacher(
                lambda _: lesson, solves=lambda _: quoted if who == "teacher" else "R7"
            ),
            memory=memory,
        )
    found = [
        text[:300] for text in (*seen.texts, report.model_dump_json()) if forbidden & pieces(text)
    ]
    assert found == []


async def test_bytes_of_a_picture_that_were_stored_would_be_found(
    valkey: Server, memory: TedMemory
) -> None:
    [given, *_] = pictures(noisy)
    async with watched(valkey.url, memory) as seen:
        staging = memory.staging("run")
        await staging.store.save_progress(staging.namespace, "sample:x", {"note": given.images[0]})
        await staging.store.drop(staging.namespace)
    assert [text for text in seen.texts if quoted_pieces([given]) & pieces(text)] != []
