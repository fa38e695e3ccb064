"""Hostile names and texts: refused before a write, or kept in their own namespace alone."""

import random
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Archived, Claim, Episode
from ted_memory.errors import InvalidInput, TedMemoryError
from ted_memory.experience.rendering import tidy_text
from ted_memory.fields import NAMESPACE
from ted_memory.memory import client as face
from ted_memory.models import Add, Message, Remove, Rewrite, Sample, Usage
from ted_memory.protocols import Pair, Settle, VectorHead
from ted_memory.storage.redis.keys import NAMESPACES, WITH_TRAFFIC, Keys
from tests.chaos.sizes import report, size
from tests.conftest import Server, assert_only_known_keys

NEIGHBOUR = "neighbour"
PIECES = (
    *(
        "a",
        "b",
        "x",
        "0",
        "_",
        ".",
        ":",
        "-",
        "~",
        NEIGHBOUR,
        "meta",
        "log",
        "ted",
        "ted:namespaces",
        "applied:t",
    ),
    *(
        "*",
        "?",
        "[a-z]",
        "[^x]",
        "{",
        "}",
        "{}",
        "}{",
        "{neighbour}",
        "}:meta",
        "neighbour}:meta",
        "ted:{neighbour}:meta",
    ),
    *(
        "\x00",
        "\n",
        "\r\n",
        "\t",
        " ",
        "..",
        "../",
        "/",
        "\\",
        "'",
        '"',
        "%s",
        "%00",
        "$0",
        "|",
        "|1|active|5|{}",
        ";",
    ),
    *(
        "ä",
        "\u2028",
        "\u202e",
        "\ufeff",
        "\U0001f600",
        "e\u0301",
        "\ud800",
        "\udfff",
        "*3\r\n$3\r\nDEL\r\n",
        "\x7f",
    ),
)
PLAIN = (
    "a",
    "b",
    "Z",
    "0",
    "9",
    "_",
    ".",
    ":",
    "-",
    "..",
    NEIGHBOUR,
    "meta",
    ":meta",
    "namespaces",
    "applied:t",
    "ted:",
)
KNOWN = re.compile(
    r"meta|experiences|usage|ranking|uncommitted|log|purged|progress|applied:.*|credited:.*"
    r"|traffic|episodes|waiting|claimed|holders|dead|learners|run:.*|image:.*|rate:.*|spend:.*"
    r"|evidence|archive|archived",
    re.DOTALL,
)
PASSING = (b"applied:", b"credited:", b"run:", b"image:", b"rate:", b"spend:", b"learners")
LISTS = {NAMESPACES.encode(), WITH_TRAFFIC.encode()}


class TouchedError(AssertionError):
    """Something was touched that belongs to somebody else."""


@dataclass
class Fuzz:
    """A neighbour with known contents, and hostile names beside it."""

    client: "Redis"
    neighbour: TedMemory
    rng: random.Random = field(default_factory=lambda: random.Random(11))
    refused: int = 0
    accepted: int = 0
    odd: Counter[str] = field(default_factory=Counter)
    """Errors that are none of ours and no ValidationError."""
    claims: list[Claim] = field(default_factory=list)
    replayed: Counter[str] = field(default_factory=Counter)
    before: dict[bytes, bytes] = field(default_factory=dict)

    def name(self, pieces: tuple[str, ...] = PIECES) -> str:
        made = "".join(self.rng.choice(pieces) for _ in range(self.rng.randrange(5)))
        return made * self.rng.choice((1, 1, 1, 1, 1, 1, 1, 1, 1, 2000))

    def namespace(self) -> str:
        return (
            self.name(self.rng.choice((PIECES, PLAIN, PLAIN)))
            if self.rng.random() < 0.98
            else uuid.uuid4().hex
        )

    async def keys(self) -> set[bytes]:
        return {key async for key in self.client.scan_iter(count=1000)}

    async def listed(self) -> set[str]:
        return {name.decode() for key in LISTS for name in await self.client.smembers(key)}

    async def contents(self) -> dict[bytes, bytes]:
        """Return all keys but the lists of namespaces, each as the server would dump it."""
        names = sorted(await self.keys() - LISTS)
        pipeline = self.client.pipeline(transaction=False)
        for key in names:
            pipeline.dump(key)
        return dict(zip(names, await pipeline.execute(), strict=True))

    async def one(self, namespace: str) -> None:
        """Use a namespace in every way there is; after that no other namespace may be different."""
        try:
            memory = self.neighbour.for_namespace(namespace)
        except InvalidInput as error:
            assert "\n" not in str(error)
            self.refused += 1
        else:
            self.accepted += 1
            await self._use(memory)
        await self.clean_up(namespace)

    async def _use(self, memory: TedMemory) -> None:
        name = self.name
        ids: list[str] = [name(), name()]
        with_usage = {name(): Usage(n_with=1), name(): Usage(helped=1)}

        async def add() -> None:
            edit = Add(
                text=name(), when=name(), sources=(name(), name()), metadata={name(): name()}
            )
            commit = await memory.commit(
                [edit], author=name(), why=name(), token=name(), usage=with_usage
            )
            # the same word twice, as a token
            for applied in () if commit.repeated else commit.applied:
                ids.append(applied.id)
                got = (await memory.load()).by_id[applied.id]
                assert (got.text, got.sources) == (
                    tidy_text(edit.text),
                    tuple(dict.fromkeys(edit.sources)),
                )
                self.odd["other metadata came back"] += got.metadata != edit.metadata

        async def rewrite() -> None:
            edits = [Rewrite(id=ids[-1], text=name() + "."), Remove(id=name())]
            await memory.commit(edits, author=name(), token=name())

        store, own = memory.store, memory.namespace
        steps: tuple[tuple[str, Callable[[], Awaitable[Any]]], ...] = (
            ("add", add),
            ("add", add),
            ("rewrite", rewrite),
            (
                "credit",
                lambda: memory.credit({ids[-1]: Usage(n_with=1), **with_usage}, token=name()),
            ),
            ("save progress", lambda: store.save_progress(own, name(), {name(): name()})),
            ("load progress", lambda: store.load_progress(own)),
            ("tombstone", lambda: store.tombstone(own, name())),
            ("record", lambda: self._record(memory, ids[-1])),
            ("record", lambda: self._record(memory, ids[-1])),
            ("rate", lambda: self._rate(memory)),
            ("claim", lambda: self._claim(memory)),
            ("archive", lambda: self._archive(memory)),
            ("replay", lambda: self._replay(memory, ids[-1])),
            ("replay", lambda: self._replay(memory, name())),
            ("evidence", lambda: store.episodes.evidence(own, [ids[-1], name()])),
            ("learn", lambda: self._learn(memory)),
            ("count", lambda: store.episodes.count(own, {name(): 1})),
            ("usage", memory.usage),
            ("log", memory.log),
            ("rollback", lambda: memory.rollback(0)),
            ("render", lambda: memory.render(name())),
        )
        for what, step in steps:
            await self._attempt(what, step)

    async def _attempt(self, what: str, step: Callable[[], Awaitable[Any]]) -> None:
        """Take one step. What is refused must have written nothing."""
        seen = await self.keys(), await self.listed()
        try:
            await step()
        # ValueError: also pydantic's ValidationError, when an edit is made
        except (TedMemoryError, ValueError) as error:
            known = isinstance(error, InvalidInput | ValidationError)
            if known and (await self.keys(), await self.listed()) != seen:
                raise TouchedError(f"refused, but something was written: {error!r}") from error
            if not isinstance(error, TedMemoryError | ValidationError):
                assert await self.keys() == seen[0]
                self.odd[f"{what}: {type(error).__name__}"] += 1

    async def _record(self, memory: TedMemory, seen: str) -> None:
        run_id, said = self.name(), (Message(role="user", content=self.name()),)
        images = {uuid.uuid4().hex: b"data:,"}
        one = Episode(
            run_id=run_id, principal=self.name(), input=said, seen=(seen,), images=tuple(images)
        )
        memory.recorder.put(run_id, lambda: (one, images))
        await memory.flush()

    async def _rate(self, memory: TedMemory) -> None:
        name = self.name
        await memory.give_feedback(
            name(), score=1.0, comment=name(), principal=name() or "somebody"
        )

    async def _learn(self, memory: TedMemory) -> None:
        log, me = memory.store.episodes, self.name()
        limits = {"lease": 9, "count": 1, "max_deliveries": 1}
        for claim in (await log.claim(memory.namespace, me, alone=False, **limits)).claims:
            await log.extend_lease(memory.namespace, me, [claim], lease=9)
            await log.return_claim(
                memory.namespace, claim, counts=True, reason=self.name(), delay=0, max_deliveries=1
            )

    async def _claim(self, memory: TedMemory) -> None:
        log = memory.store.episodes
        found = await log.claim(
            memory.namespace, self.name(), lease=9, count=1, max_deliveries=1, alone=False
        )
        self.claims = list(found.claims)

    async def _archive(self, memory: TedMemory) -> None:
        for claim in self.claims:
            sample = Sample(id=self.name() or "s", input=self.name())
            named = {"run_id": self.name(), "principal": self.name(), "speaker": self.name()}
            kept = Archived(seq=claim.seq, sample=sample, **named)
            bounds = {"max_archived": 9, "max_archive_bytes": 99_999}
            settle = Settle(
                seq=claim.seq, fence=claim.fence, outcome="nothing", archive=kept, **bounds
            )
            await memory.commit([], author="me", settle=settle)

    async def _replay(self, memory: TedMemory, id: str) -> None:
        log, own = memory.store.episodes, memory.namespace
        seq = next((one.seq for one in await log.archived(own)), 1)
        pair = Pair(id=id, since=99, seq=seq, speaker=self.name(), score_with=1, score_without=0)
        self.replayed[await log.replayed(own, pair)] += 1

    async def clean_up(self, namespace: str) -> None:
        """Look at every key that is there now; forget what is the namespace's own."""
        now = await self.contents()
        listed = await self.listed()
        if not listed <= {NEIGHBOUR, namespace}:
            raise TouchedError(f"{namespace!r} listed as {listed}")
        own = set(now) - set(self.before)
        for key in own:
            check_key(key.decode(), namespace)
        for key, dumped in self.before.items():
            if now.get(key) != dumped:
                raise TouchedError(f"{namespace!r} changed {key!r}")
        if own or namespace in listed:  # a name is listed before its first commit
            await self.neighbour.store.drop(namespace)
            left = set(await self.contents()) - set(self.before)
            if left:
                assert all(
                    key.removeprefix(f"ted:{{{namespace}}}:".encode()).startswith(PASSING)
                    for key in left
                )
                await self.client.unlink(*left)
        if await self.contents() != self.before:
            raise TouchedError(f"dropping {namespace!r} changed something else")


def check_key(key: str, namespace: str) -> None:
    """Refuse a key that a cluster would not put where the namespace's other keys are."""
    opened = key.find("{")
    tag = key[opened + 1 : key.find("}", opened + 1)] if opened >= 0 else ""
    head = f"ted:{{{namespace}}}:"
    if (
        not tag
        or tag != namespace
        or not key.startswith(head)
        or not KNOWN.fullmatch(key.removeprefix(head))
    ):
        raise TouchedError(f"{namespace!r} wrote {key[:200]!r}")


async def _traffic(memory: TedMemory, seen: str) -> None:
    """Have episodes wait, be claimed, be dead and be archived, with evidence on what they saw."""
    version = (await memory.load()).version
    for i in range(4):
        given = {"seen": (seen,), "version": version, "withhold_share": 0.1}
        await memory.record(Episode(run_id=f"r{i}", principal="somebody", **given))
    await memory.flush()
    await memory.give_feedback("r0", score=1.0, principal="somebody")
    log, limits = memory.store.episodes, {"lease": 999, "count": 1, "max_deliveries": 1}
    [claim] = (await log.claim(NEIGHBOUR, "me", alone=False, **limits)).claims
    await log.return_claim(NEIGHBOUR, claim, counts=True, reason="no", delay=0, max_deliveries=1)
    [claim] = (await log.claim(NEIGHBOUR, "me", alone=False, **limits)).claims
    kept = Archived(seq=claim.seq, run_id="r1", sample=Sample(id="r1", input="What?"))
    bounds = {"max_archived": 9, "max_archive_bytes": 9999}
    settle = Settle(seq=claim.seq, fence=claim.fence, outcome="nothing", archive=kept, **bounds)
    await memory.commit([], author="me", settle=settle)
    await log.claim(NEIGHBOUR, "me", alone=False, **limits)


@asynccontextmanager
async def fuzz(server: Server) -> AsyncIterator[Fuzz]:
    async with (
        Redis.from_url(server.url) as client,
        open_memory(server.url, namespace=NEIGHBOUR) as neighbour,
    ):
        models = {"student": "earlier"}
        await neighbour.commit(
            [Add(text="One."), Add(text="Two.")], author="neighbour", token="t", models=models
        )
        [one, two] = await neighbour.load()
        await neighbour.credit({one.id: Usage(n_with=1)}, token="t")
        again: dict[str, Any] = {
            "models": {"student": "present"},
            "usage": {one.id: Usage(n_with=2)},
        }
        await neighbour.commit(
            [Rewrite(id=two.id, text="Second.")], author="neighbour", token="t2", **again
        )
        await neighbour.store.save_progress(NEIGHBOUR, "a", {"n": 1})
        await neighbour.store.tombstone(NEIGHBOUR, "someone")
        head = VectorHead(model="words", dimension=1)
        await neighbour.store.vectors(NEIGHBOUR).save(head, {"a": b"\x00\x00"}, keep=["a"])
        await _traffic(neighbour, one.id)
        made = Fuzz(client, neighbour)
        made.before = await made.contents()
        expected = {*Keys(NEIGHBOUR).permanent, Keys(NEIGHBOUR).progress}
        assert expected <= {key.decode() for key in made.before}
        yield made


async def test_hostile_names_are_refused_or_stay_in_their_own_namespace(server: Server) -> None:
    wanted = size(300, 10_000)
    async with fuzz(server) as fuzzing:
        while fuzzing.refused + fuzzing.accepted < wanted:
            namespace = fuzzing.namespace()
            if namespace != NEIGHBOUR:
                await fuzzing.one(namespace)
        assert min(fuzzing.refused, fuzzing.accepted) > wanted / 10, "both ways are taken"
        report(
            f"fuzzed names: {fuzzing.refused} namespaces refused, {fuzzing.accepted} used, "
            "no foreign key touched"
        )
    await assert_only_known_keys(server.url)


async def test_whatever_is_refused_is_refused_with_an_error_of_ours(server: Server) -> None:
    async with fuzz(server) as fuzzing:
        for _ in range(size(100, 1000)):
            await fuzzing.one("fine")
        await assert_only_known_keys(server.url)
        assert not +fuzzing.odd
        assert fuzzing.replayed["counted"], "hostile words reach the evidence, too"


@pytest.mark.parametrize("metadata", [{"a": float("nan")}, {"\ud800": "a"}])
async def test_metadata_that_json_cannot_hold_is_refused(
    server: Server, metadata: dict[str, Any]
) -> None:
    async with fuzz(server) as fuzzing:
        with pytest.raises((TedMemoryError, ValidationError)):
            await fuzzing.neighbour.commit([Add(text="Three.", metadata=metadata)], author="me")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
async def test_usage_that_is_no_number_is_refused(server: Server, number: float) -> None:
    async with fuzz(server) as fuzzing:
        [one, _] = await fuzzing.neighbour.load()
        with pytest.raises((TedMemoryError, ValidationError)):
            await fuzzing.neighbour.credit({one.id: Usage(n_with=number)}, token="none")


async def test_hostile_words_to_a_namespace_that_is_in_use_change_no_other(server: Server) -> None:
    async with fuzz(server) as fuzzing:
        for _ in range(size(30, 500)):
            await fuzzing.one("neighbour:")
    await assert_only_known_keys(server.url)


@pytest.mark.parametrize("namespace", ["neighbour}:meta{x", "neighbour}", "", "a}b", "{neighbour}"])
async def test_without_the_check_of_namespaces_a_hash_tag_is_found_in_anothers_place(
    server: Server, monkeypatch: pytest.MonkeyPatch, namespace: str
) -> None:
    assert not NAMESPACE.fullmatch(namespace)
    monkeypatch.setattr(face, "check_namespace", lambda namespace: namespace)
    async with fuzz(server) as fuzzing:
        with pytest.raises(TouchedError):
            for _ in range(20):
                await fuzzing.one(namespace)


async def test_a_neighbour_that_changes_is_found_out(server: Server) -> None:
    async with fuzz(server) as fuzzing:
        await fuzzing.one("fine")
        await fuzzing.neighbour.commit([Add(text="Three.")], author="neighbour")
        with pytest.raises(TouchedError):
            await fuzzing.one("fine")
    await assert_only_known_keys(server.url)
