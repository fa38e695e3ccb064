"""Who gets in, and which requests are turned away. Each check has its control: switched off."""

import time
from typing import Any

import pytest
from starlette.datastructures import URL

from ted_memory import TedMemory, open_memory
from ted_memory.testing import in_memory
from ted_memory.web import access as access_module
from ted_memory.web import forms, guard
from ted_memory.web.access import Access
from ted_memory.web.app import create_app
from tests.conftest import Server
from tests.web.desks import FROM_OURS, Visitor, propose, visiting

PAGES = ("/", "/set", "/playground?q=hello", "/versions", "/health", "/versions/compare")


def switch_off(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    monkeypatch.setattr(module, name, lambda *_: None)


async def test_a_link_opens_the_desk_once_and_is_taken_out_of_the_address(
    scratch: TedMemory,
) -> None:
    told: list[str] = []
    visitor = Visitor(create_app(scratch, on_new_link=told.append))
    token = visitor.app.state.desk.doorkeeper.link_token
    async with visitor.client:
        assert (await visitor.get("/")).status_code == 401
        assert (await visitor.client.head("/enter", params={"token": token})).status_code == 200
        entered = await visitor.come_in()
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"].lower()
        assert all(flag in cookie for flag in ("httponly", "samesite=strict", "max-age="))
        assert (await visitor.get("/")).status_code == 200
    async with Visitor(visitor.app).client as stranger:
        again = await stranger.get("/enter", params={"token": token})
        assert again.status_code == 401
        assert "set-cookie" not in again.headers
        [fresh] = told
        assert (await stranger.get("/enter", params={"token": fresh})).status_code == 303


async def test_no_page_is_seen_without_the_link(scratch: TedMemory) -> None:
    async with Visitor(create_app(scratch)).client as stranger:
        for page in (*PAGES, "/lessons/abcdef", "/forget", "/nothing"):
            found = await stranger.get(page)
            assert found.status_code == 401, page
            assert "default" not in found.text.split("<main")[1], "nothing of the memory is told"


async def test_a_cookie_of_another_desk_or_of_yesterday_opens_nothing(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with visiting(scratch) as visitor, visiting(scratch) as other:
        [theirs] = [value for _, value in other.client.cookies.items()]
        [name] = [name for name, _ in visitor.client.cookies.items()]
        mine = visitor.client.cookies[name]
        visitor.client.cookies.set(name, theirs, domain="127.0.0.1")
        visitor.client.cookies.delete(name, domain="127.0.0.1")
        assert (await visitor.get("/", cookie=f"{name}={theirs}")).status_code == 401
        assert (await visitor.get("/", cookie=f"{name}={mine}")).status_code == 200
        tomorrow = time.time() + access_module.SESSION_SECONDS + 1
        monkeypatch.setattr("time.time", lambda: tomorrow)
        assert (await visitor.get("/", cookie=f"{name}={mine}")).status_code == 401


@pytest.mark.parametrize("off", [False, True])
async def test_a_name_that_was_made_to_lead_here_is_refused(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch, off: bool
) -> None:
    if off:
        switch_off(monkeypatch, guard, "check_host")
    async with visiting(scratch) as visitor:
        for host in ("evil.example", "evil.example:8790", "127.0.0.1.evil.example", "127.0.0.2"):
            assert (await visitor.get("/", host=host)).status_code == (200 if off else 421), host
        for host in ("localhost:8790", "127.0.0.1", "[::1]:8790"):
            assert (await visitor.get("/", host=host)).status_code == 200


async def test_a_stated_name_is_answered(scratch: TedMemory) -> None:
    stated = Access(hosts=frozenset({"desk.example"}))
    visitor = Visitor(create_app(scratch, stated))
    async with visitor.client:
        assert (await visitor.get("/", host="desk.example")).status_code == 401, "past the check"
        assert (await visitor.get("/", host="127.0.0.1")).status_code == 421


ATTACKS = [
    {"origin": "http://evil.example", "sec-fetch-site": "cross-site"},
    {"origin": "null", "sec-fetch-site": "cross-site"},
    {"origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-site"},
    {"origin": "http://127.0.0.1:3000"},
    {"origin": "null"},
    {},
]


@pytest.mark.parametrize("off", [False, True])
@pytest.mark.parametrize("sent", ATTACKS, ids=str)
async def test_what_another_page_sends_is_refused(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch, sent: dict[str, str], off: bool
) -> None:
    if off:
        switch_off(monkeypatch, guard, "check_origin")
    [lesson] = await propose(scratch, "Say hello.")
    async with visiting(scratch) as visitor:
        token = await visitor.form_token("/")
        data = {"form": token, "do": "approve", "rev": str(lesson.rev), "from": "inbox"}
        done = await visitor.client.post(f"/decide/{lesson.id}", data=data, headers=sent)
        assert done.status_code == (303 if off else 403)
        assert len((await scratch.load()).active) == (1 if off else 0)


@pytest.mark.parametrize("off", [False, True])
async def test_a_form_without_its_token_or_with_somebody_elses_is_refused(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch, off: bool
) -> None:
    if off:
        switch_off(monkeypatch, forms, "check_form_token")
    lessons = await propose(scratch, "Say hello.", "Say good-bye.", "Say nothing.")
    async with visiting(scratch) as visitor, visiting(scratch) as other:
        theirs = await other.form_token("/")
        mine = await visitor.form_token("/")
        for lesson, token in zip(lessons, ("", theirs, mine[:-2]), strict=True):
            done = await visitor.decide(lesson, "approve", token=token)
            assert done.status_code == (303 if off else 403), token
    assert len((await scratch.load()).active) == (3 if off else 0)


async def test_another_session_of_the_same_desk_cannot_use_a_form(scratch: TedMemory) -> None:
    [lesson] = await propose(scratch, "Say hello.")
    first = Visitor(create_app(scratch))
    second = Visitor(first.app)
    async with first.client, second.client:
        await first.come_in()
        await second.come_in()
        token = await first.form_token("/")
        assert (await second.decide(lesson, "approve", token=token)).status_code == 403
        assert (await first.decide(lesson, "approve", token=token)).status_code == 303


@pytest.mark.parametrize("off", [False, True])
async def test_large_bodies_and_other_kinds_are_refused(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch, off: bool
) -> None:
    if off:
        switch_off(monkeypatch, guard, "check_body")
        monkeypatch.setattr(guard, "LARGEST_BODY", 10**9)
    [lesson] = await propose(scratch, "Say hello.")
    large = {"reason": "x" * (guard.LARGEST_BODY if not off else 300_000)}
    async with visiting(scratch) as visitor:
        token = await visitor.form_token("/")
        first = await visitor.decide(lesson, "nothing", token=token, **large)
        assert first.status_code == (409 if off else 413)

        async def pieces() -> Any:
            for _ in range(40):
                yield b"x" * 10_000

        kind = {"content-type": guard.FORM, **FROM_OURS}
        streamed = await visitor.client.post("/decide", content=pieces(), headers=kind)
        assert streamed.status_code == (403 if off else 413), "also where no length is told"
        kind["content-type"] = "text/plain"
        body = f"form={token}&do=approve&rev={lesson.rev}&from=inbox"
        done = await visitor.client.post(f"/decide/{lesson.id}", content=body, headers=kind)
        assert done.status_code == (303 if off else 415)


async def test_each_answer_has_the_headers(scratch: TedMemory) -> None:
    async with visiting(scratch) as visitor:
        answers = [await visitor.get(page) for page in (*PAGES, "/nothing", "/static/desk.css")]
        answers.append(await visitor.get("/", host="evil.example"))
        answers.append(await visitor.client.post("/decide", data={}))
        for answer in answers:
            policy = answer.headers["content-security-policy"]
            assert policy == (
                "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
                "frame-ancestors 'none'; base-uri 'none'"
            )
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] == "no-store"


async def test_a_reader_sees_no_button_and_is_refused(scratch: TedMemory) -> None:
    [lesson] = await propose(scratch, "Say hello.")
    async with visiting(scratch, Access(role="reader")) as visitor:
        for page in ("/", f"/lessons/{lesson.id}", "/versions", "/health", "/playground?q=hello"):
            assert 'method="post"' not in (await visitor.get(page)).text, page
        token = visitor.app.state.desk.doorkeeper._signer("form").dumps("x y")
        refused = await visitor.decide(lesson, "approve", token=token)
        assert refused.status_code == 403
        assert "--role reader" in refused.text
    assert not (await scratch.load()).active


ADMINS = [
    ("/versions/rollback/do", {"to": "0", "since": "1"}),
    ("/health/dead-letters", {"do": "drop", "choose": "1"}),
    ("/forget/do", {"kind": "principal", "name": "zoe", "again": "zoe"}),
]


@pytest.mark.parametrize("role", ["reviewer", "admin"])
@pytest.mark.parametrize(("path", "fields"), ADMINS)
async def test_what_an_admin_does_a_reviewer_does_not(
    scratch: TedMemory, path: str, fields: dict[str, str], role: Any
) -> None:
    await propose(scratch, "Say hello.")
    async with visiting(scratch, Access(role=role)) as visitor:
        done = await visitor.post(path, fields)
        assert done.status_code == (403 if role == "reviewer" else 303)
        for page in ("/versions/rollback?to=0", "/forget"):
            assert (await visitor.get(page)).status_code == (403 if role == "reviewer" else 200)


async def test_a_header_that_nobody_stated_is_ignored() -> None:
    memory = in_memory()
    async with Visitor(create_app(memory)).client as stranger:
        told = await stranger.get("/", headers={"x-forwarded-user": "anna"})
        assert told.status_code == 401


async def test_a_trusted_proxy_tells_who_decides() -> None:
    memory = in_memory()
    [lesson] = await propose(memory, "Say hello.")
    stated = Access(trust_header="X-Forwarded-User")
    visitor = Visitor(create_app(memory, stated), **{"x-forwarded-user": "Zoë".encode()})
    async with visitor.client:
        done = await visitor.decide(lesson, "approve")
        assert done.status_code == 303
        assert (await memory.log(1))[0].author == "Zoë"
        token = await visitor.form_token("/health")
        assert token == "", "a reviewer has no form there"
    stranger = Visitor(visitor.app)
    async with stranger.client:
        assert (await stranger.get("/")).status_code == 403, "no name, no desk"
        twice = [("x-forwarded-user", "anna"), ("x-forwarded-user", "admin")]
        assert (await stranger.client.get("/", headers=twice)).status_code == 403
        for name in ("", " ", "a" * 201, "a\x01b"):
            answer = await stranger.client.get("/", headers={"x-forwarded-user": name})
            assert answer.status_code == 403, name


async def test_a_form_of_one_user_of_a_proxy_is_nothing_in_anothers_hands() -> None:
    memory = in_memory()
    [lesson] = await propose(memory, "Say hello.")
    anna = Visitor(create_app(memory, Access(trust_header="x-user")), **{"x-user": "anna"})
    ben = Visitor(anna.app, **{"x-user": "ben"})
    async with anna.client, ben.client:
        token = await anna.form_token("/")
        assert (await ben.decide(lesson, "approve", token=token)).status_code == 403
        assert (await anna.decide(lesson, "approve", token=token)).status_code == 303


async def test_no_link_can_put_words_into_the_desk(scratch: TedMemory) -> None:
    async with visiting(scratch) as visitor:
        forged = await visitor.get("/?said=Your+account+is+closed")
        assert "account" not in forged.text
        real = visitor.app.state.desk.doorkeeper.message("it is done")
        assert "it is done" in (await visitor.get(f"/?said={real}")).text


HOSTS_IN_DISGUISE = ("127.0.0.1/static/x?", "x@127.0.0.1", "127.0.0.1#a", "[", "[::1")


@pytest.mark.parametrize("host", HOSTS_IN_DISGUISE)
async def test_a_host_that_is_no_name_is_refused_and_breaks_nothing(
    scratch: TedMemory, host: str
) -> None:
    async with Visitor(create_app(scratch)).client as stranger:
        for page in ("/set", "/enter"):
            found = await stranger.get(page, headers={"host": host})
            assert found.status_code == 421, page


@pytest.mark.parametrize("off", [False, True])
async def test_who_may_see_a_page_hangs_on_the_page_that_is_routed_to(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch, off: bool
) -> None:
    """Older versions of Starlette read the address from the Host, which any program may send."""
    monkeypatch.setattr(guard, "check_host", lambda *_: None)

    class Deceived(guard.Request):
        @property
        def url(self) -> Any:
            return URL("http://127.0.0.1/static/x")

    monkeypatch.setattr(guard, "Request", Deceived)
    if off:
        monkeypatch.setattr(guard, "is_open_to_all", lambda _: True)
    async with Visitor(create_app(scratch)).client as stranger:
        assert (await stranger.get("/set")).status_code == (200 if off else 401)


async def test_who_has_not_come_in_is_not_told_whose_desk_it_is(valkey: Server) -> None:
    async with (
        open_memory(valkey.url, namespace="secret-customer") as memory,
        visiting(memory) as visitor,
    ):
        async with Visitor(visitor.app).client as stranger:
            for answer in (
                await stranger.get("/"),
                await stranger.get("/", headers={"host": "evil.example"}),
            ):
                assert answer.status_code in {401, 421}
                assert "secret-customer" not in answer.text
        assert "secret-customer" in (await visitor.get("/")).text, "the control"


async def test_an_origin_that_cannot_be_read_is_foreign(scratch: TedMemory) -> None:
    async with visiting(scratch) as visitor:
        answer = await visitor.post("/decide", {"do": "approve"}, origin="http://[")
        assert answer.status_code == 403
