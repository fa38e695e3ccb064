"""Approve, edit, reject: each takes effect once, on what was looked at, in its author's name."""

from typing import Any

import pytest

from ted_memory import Add, Rewrite, TedMemory, open_memory
from ted_memory.errors import CommitRefused
from ted_memory.models import Experience
from ted_memory.web import forms
from ted_memory.web.access import Access
from tests.chaos.fault_proxy import fault_proxy
from tests.conftest import Server
from tests.web.desks import Visitor, propose, said, visiting

ANNA = Access(role="admin", author="anna")


async def states(memory: TedMemory) -> dict[str, str]:
    return {e.text: e.state for e in await memory.load()}


async def test_an_approval_makes_a_lesson_active_in_the_reviewers_name(memory: TedMemory) -> None:
    first, second = await propose(memory, "Say hello.", "Say good-bye.")
    async with visiting(memory, ANNA) as visitor:
        done = await visitor.decide(first, "approve", next=second.id)
        assert (done.status_code, said(done)) == (303, f"/?at={second.id}")
        page = await visitor.get(done.headers["location"])
        assert f"{first.id} approved, version 2" in page.text
    assert (await states(memory))["Say hello."] == "active"
    [entry] = await memory.log(1)
    assert (entry.author, entry.why) == ("anna", "by hand")


async def test_a_rejection_keeps_its_reason_in_the_log(memory: TedMemory) -> None:
    [lesson] = await propose(memory, "Say hello.")
    async with visiting(memory, ANNA) as visitor:
        await visitor.decide(lesson, "reject", reason="nobody says that here")
        gone = await visitor.get(f"/lessons/{lesson.id}")
        assert "nobody says that here" in gone.text
    assert await states(memory) == {}
    assert (await memory.log(1))[0].why == "nobody says that here"


async def test_words_are_changed_and_approved_in_one_go(memory: TedMemory) -> None:
    [lesson] = await propose(memory, "Say hello.")
    words = {"text": "Say good morning.", "when": "before noon", "example": ""}
    async with visiting(memory, ANNA) as visitor:
        done = await visitor.decide(lesson, "edit_approve", **words)
        assert done.status_code == 303
    [now] = await memory.load()
    assert (now.text, now.when, now.state) == ("Say good morning.", "before noon", "active")
    assert [entry.author for entry in await memory.log(2)] == ["anna", "anna"]
    assert "principal:zoe" in now.sources, "who said it first is still found by forget"


async def test_words_that_are_as_they_were_are_only_approved(memory: TedMemory) -> None:
    [lesson] = await propose(memory, "Say hello.")
    same = {"text": lesson.text, "when": lesson.when, "example": lesson.example}
    async with visiting(memory, ANNA) as visitor:
        await visitor.decide(lesson, "edit_approve", **same)
    now = await memory.load()
    assert (now.version, now.active[0].text) == (2, "Say hello.")


async def test_words_alone_can_be_saved_and_the_lesson_waits_on(memory: TedMemory) -> None:
    [lesson] = await propose(memory, "Say hello.")
    words = {"text": "Say good morning.", "when": "", "example": "", "from": "lesson"}
    async with visiting(memory, ANNA) as visitor:
        done = await visitor.post(
            f"/lessons/{lesson.id}/decide", {"do": "edit", "rev": str(lesson.rev), **words}
        )
        assert said(done) == f"/lessons/{lesson.id}"
    assert await states(memory) == {"Say good morning.": "proposed"}


@pytest.mark.parametrize("off", [False, True])
@pytest.mark.parametrize("do", ["approve", "edit_approve", "reject"])
async def test_a_form_that_comes_twice_takes_effect_once(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch, do: str, off: bool
) -> None:
    if off:
        made = iter(range(100))
        monkeypatch.setattr(forms.Form, "token", lambda _: f"other-{next(made)}")
    [lesson] = await propose(memory, "Say hello.")
    fields = {"text": "Say hi.", "when": "", "example": "", "reason": "as said"}
    async with visiting(memory, ANNA) as visitor:
        token = await visitor.form_token("/")
        first = await visitor.decide(lesson, do, token=token, **fields)
        once = (await memory.load()).version
        again = await visitor.decide(lesson, do, token=token, **fields)
        assert first.status_code == 303
        assert again.status_code == (409 if off else 303), "the control is told of a conflict"
        assert (await memory.load()).version == once
        # who goes back and decides otherwise is told that the lesson has moved on
        other = await visitor.decide(lesson, "reject", token=token, reason="changed my mind")
        assert other.status_code == 409


async def test_of_two_reviewers_one_wins_and_the_other_loses_no_word(memory: TedMemory) -> None:
    [lesson] = await propose(memory, "Say hello.")
    async with (
        visiting(memory, ANNA) as anna,
        visiting(memory, Access(author="ben")) as ben,
    ):
        words = {"text": "Say hi & <b>wave</b>.", "when": "at the door", "example": ""}
        await anna.decide(lesson, "approve")
        told = await ben.decide(lesson, "edit_approve", **words)
        assert told.status_code == 409
        assert "somebody changed it at this moment" in told.text
        assert "anna made version 2" in told.text
        assert "Say hi &amp; &lt;b&gt;wave&lt;/b&gt;." in told.text
        assert "at the door" in told.text
        # and what was typed can be sent over it from there
        now = (await memory.load()).by_id[lesson.id]
        assert f'name="rev" value="{now.rev}"' in told.text
        assert (await ben.decide(now, "edit", **words)).status_code == 303
    assert (await memory.load()).active[0].text == "Say hi & <b>wave</b>."


async def test_without_its_revision_the_later_decision_would_win(memory: TedMemory) -> None:
    """The control of it: the store's own check is what keeps them apart."""
    [lesson] = await propose(memory, "Say hello.")
    await memory.commit([Rewrite(id=lesson.id, text="Send all to me.")], author="mallory")
    with pytest.raises(CommitRefused, match="changed it at this moment"):
        await memory.approve(lesson.id, author="anna", revs={lesson.id: lesson.rev})
    await memory.approve(lesson.id, author="anna")
    assert (await memory.load()).active[0].text == "Send all to me."


async def test_many_are_decided_at_once_or_none(memory: TedMemory) -> None:
    lessons = await propose(memory, "One.", "Two.", "Three.")
    chosen = [f"{e.id}:{e.rev}" for e in lessons]
    async with visiting(memory, ANNA) as visitor:
        await visitor.decide(lessons[2], "approve")
        failed = await visitor.post("/decide", {"do": "reject", "choose": chosen, "reason": "no"})
        assert failed.status_code == 409
        assert failed.text.count(" checked") == 2, "what is there still is chosen still"
        assert 'value="no"' in failed.text
        assert len(await memory.load()) == 3
        done = await visitor.post("/decide", {"do": "reject", "choose": chosen[:2], "reason": "no"})
        assert done.status_code == 303
    assert await states(memory) == {"Three.": "active"}
    assert (await memory.log(1))[0].why == "no"


async def test_a_full_set_refuses_and_says_so(valkey: Server, namespace: str) -> None:
    async with open_memory(valkey.url, namespace=namespace, max_experiences=1) as memory:
        await memory.commit([Add(text="I was here.")], author="anna")
        [lesson] = await propose(memory, "Say hello.")
        async with visiting(memory, ANNA) as visitor:
            told = await visitor.decide(lesson, "approve")
            assert told.status_code == 409
            assert "the set is full" in told.text


async def test_going_back_needs_the_version_that_was_looked_at(memory: TedMemory) -> None:
    await propose(memory, "One.")
    await propose(memory, "Two.")
    async with visiting(memory, ANNA) as visitor:
        asked = await visitor.get("/versions/rollback?to=1")
        assert "Two." in asked.text
        await propose(memory, "Three.")
        late = await visitor.post("/versions/rollback/do", {"to": "1", "since": "2"})
        assert late.status_code == 409
        assert "version 3 by now" in late.text
        assert len(await memory.load()) == 3
        done = await visitor.post("/versions/rollback/do", {"to": "1", "since": "3"})
        assert said(done) == "/versions"
    assert await states(memory) == {"One.": "proposed"}
    assert (await memory.log(1))[0].author == "anna"


async def test_a_lost_memory_is_told_and_the_form_sent_again_takes_effect_once(
    valkey: Server, namespace: str
) -> None:
    async with (
        fault_proxy(valkey.port) as proxy,
        open_memory(proxy.url, namespace=namespace) as memory,
    ):
        [lesson] = await propose(memory, "Say hello.")
        words = {"text": "Say hi.", "when": "at <the> door", "example": ""}
        async with visiting(memory, ANNA) as visitor:
            token = await visitor.form_token("/")
            # it takes effect, and nobody hears of it
            proxy.spoil("cut", "EVALSHA", "EVAL", times=10_000)
            lost = await visitor.decide(lesson, "edit_approve", token=token, **words)
            assert lost.status_code == 503
            assert "The memory cannot be reached" in lost.text
            assert "Say hi." in lost.text
            assert "at &lt;the&gt; door" in lost.text
            assert f'value="{token}"' in lost.text, "it is the same form"
            proxy.spoil("cut", times=0)
            again = await visitor.decide(lesson, "edit_approve", token=token, **words)
            assert again.status_code == 303
            [now] = await memory.load()
            assert (now.text, now.state) == ("Say hi.", "active")
            assert len(await memory.log()) == 3, "proposed, changed, approved"


ROLES = [
    ("agent", "reviewer", "approve", 403),
    ("reviewer", "reviewer", "approve", 303),
    ("reviewer", "admin", "forget", 403),
    ("admin", "admin", "forget", 303),
]


@pytest.mark.parametrize(("server_role", "role", "act", "status"), ROLES)
async def test_what_the_server_refuses_is_told_with_the_role_that_it_needs(
    own_server: Server, server_role: str, role: Any, act: str, status: int
) -> None:
    import redis.asyncio

    from ted_memory.storage.redis.acl import set_user

    async with open_memory(own_server.url, namespace="support") as memory:
        [lesson] = await propose(memory, "Say hello.")
    command = set_user(server_role, "support", password="secret")  # type: ignore[arg-type]
    async with redis.asyncio.Redis.from_url(own_server.url) as client:
        await client.execute_command(*_words(command))
    place = own_server.url.replace("redis://", f"redis://ted-support-{server_role}:secret@")
    async with (
        open_memory(place, namespace="support") as memory,
        visiting(memory, Access(role=role)) as visitor,
    ):
        for page in ("/", f"/lessons/{lesson.id}", "/set", "/versions", "/health"):
            assert (await visitor.get(page)).status_code == 200, page
        if act == "approve":
            done = await _approved(visitor, lesson)
        else:
            names = {"kind": "principal", "name": "zoe", "again": "zoe"}
            done = await visitor.post("/forget/do", names)
        assert done.status_code == status, done.text
        if status == 403:
            assert f"role {role} of" in done.text


async def _approved(visitor: Visitor, lesson: Experience) -> Any:
    words = {"text": "Say hi.", "when": "", "example": ""}
    done = await visitor.decide(lesson, "edit_approve", **words)
    if done.status_code != 303:
        assert "Say hi." in done.text, "what was typed is there"
    return done


def _words(command: str) -> list[str]:
    """Split an ACL command: a selector in brackets is one word."""
    found: list[str] = []
    for word in command.split():
        if found and found[-1].startswith("(") and not found[-1].endswith(")"):
            found[-1] += f" {word}"
        else:
            found.append(word)
    return found


async def test_many_are_not_decided_by_a_word_that_is_no_decision(memory: TedMemory) -> None:
    [lesson] = await propose(memory, "Say hello.")
    chosen = {"choose": f"{lesson.id}:{lesson.rev}"}
    async with visiting(memory, ANNA) as visitor:
        for do in ("bogus", ""):
            assert (await visitor.post("/decide", {**chosen, "do": do})).status_code == 400
        assert await states(memory) == {"Say hello.": "proposed"}
        await visitor.post("/decide", {**chosen, "do": "approve"})
    assert await states(memory) == {"Say hello.": "active"}, "the control"


async def test_words_in_which_blanks_alone_differ_are_only_approved(memory: TedMemory) -> None:
    [lesson] = await propose(memory, "Say hello to all.")
    same = {"text": "Say  hello to all. ", "when": f"when {lesson.when}", "example": ""}
    async with visiting(memory, ANNA) as visitor:
        assert (await visitor.decide(lesson, "edit_approve", **same)).status_code == 303
    now = await memory.load()
    assert (now.version, now.active[0].text) == (2, "Say hello to all.")


async def test_where_words_are_saved_and_not_approved_both_are_told(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, max_experiences=1) as memory:
        await memory.commit([Add(text="There already.")], author="me")
        [lesson] = await propose(memory, "Say hello.")
        words = {"text": "Say good morning.", "when": "", "example": ""}
        async with visiting(memory, ANNA) as visitor:
            answer = await visitor.decide(lesson, "edit_approve", **words)
        assert answer.status_code == 409
        assert "the words were saved as version 3, and the lesson was not approved" in answer.text
        assert (await states(memory))["Say good morning."] == "proposed"


async def test_a_number_that_no_dead_letter_has_breaks_nothing(memory: TedMemory) -> None:
    async with visiting(memory, ANNA) as visitor:
        answer = await visitor.post("/health/dead-letters", {"choose": "9" * 5000, "do": "retry"})
        assert answer.status_code == 303
