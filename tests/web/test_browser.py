"""The desk in a real browser: two widths, by keyboard alone, hostile lessons, two reviewers."""

import re
from typing import Any

import pytest

from bench.desk_scene import play
from ted_memory import Add, TedMemory, open_memory
from ted_memory.testing import wait_until
from ted_memory.web import desk as desk_module
from ted_memory.web import guard
from ted_memory.web.access import Access
from tests.attacks.lessons import lesson_attacks
from tests.chaos.fault_proxy import fault_proxy
from tests.conftest import Server
from tests.web.conftest import Browser
from tests.web.desks import propose

pytestmark = pytest.mark.xdist_group("browser")

MOST_KEYS = 40  # for 20 proposals, without the letters of reasons
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


async def pages_of(memory: TedMemory) -> list[str]:
    now = await memory.load()
    return [
        *("/", "/set", "/playground?q=My+parcel+is+late", "/versions", "/health"),
        *("/versions/compare?old=1&new=2", "/versions/rollback?to=2", "/forget"),
        *(f"/lessons/{e.id}" for e in (now.active[0], now.trial[0], now.proposed[0])),
    ]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
async def test_each_page_fits_its_width_and_is_accessible(
    memory: TedMemory, browse: Browser, width: int, scheme: str
) -> None:
    """No horizontal scroll bar, and nothing that axe-core finds."""
    from axe_playwright_python.base import AXE_SCRIPT

    await play(memory)
    paths = await pages_of(memory)

    def problems(page: Any) -> list[str]:
        page.evaluate(AXE_SCRIPT)
        told = page.evaluate("axe.run({resultTypes: ['violations']})")
        found = [f"{v['id']}: {v['nodes'][0]['html'][:150]}" for v in told["violations"]]
        if page.evaluate(WIDER) > 0:
            found.append(f"wider than {width}")
        return found

    def look() -> list[str]:
        page = browse.window(width, 900, color_scheme=scheme)
        found = []
        for path in paths:
            page.goto(browse.base + path)
            found += [f"{path}: {problem}" for problem in problems(page)]
        page.evaluate(
            "document.querySelector('main').innerHTML = '<input><canvas width=3000></canvas>'"
        )
        assert {problem.partition(":")[0] for problem in problems(page)} >= {
            "label",
            f"wider than {width}",
        }, "the control: what is wrong is found"
        return found

    assert await browse(look) == []


async def test_twenty_proposals_are_cleared_by_keyboard_with_few_keys(
    memory: TedMemory, browse: Browser
) -> None:
    """Each is approved by one key; each fourth is rejected with a reason."""
    await propose(memory, *(f"Say {number} things." for number in range(20)))

    def clear() -> int:
        page = browse.window()
        page.goto(browse.base + "/?sort=oldest")
        keys = 0
        for number in range(20):
            page.wait_for_selector(f"h2:text-is('{20 - number} to decide')")
            at = page.inner_text(".proposal .text")
            assert at == f"Say {number} things.", "the next one is opened by itself"
            page.wait_for_selector(".decisions *:focus")
            if number % 4 == 3:
                page.keyboard.press("Tab")
                page.keyboard.type("no")
                keys += 1
            page.keyboard.press("Enter")
            keys += 1
        page.wait_for_selector("text=Nothing waits for you")
        return keys

    keys = await browse(clear)
    now = await memory.load()
    assert (len(now.active), len(now)) == (15, 15)
    reasons = [entry.why for entry in await memory.log(20)]
    assert (reasons.count("no"), reasons.count("by hand")) == (5, 15)
    assert keys <= MOST_KEYS
    assert keys == 25


async def test_all_is_reached_by_keyboard_alone(memory: TedMemory, browse: Browser) -> None:
    """Edit, save, ticked boxes, search and a question, without a mouse and without a script."""
    first, *_, last = await propose(memory, "Say one.", "Say two.", "Say three.", "Say four.")

    def tab_to(page: Any, wanted: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({wanted!r})"):
                return
        raise AssertionError(f"the keyboard does not reach {wanted}")

    def work_without_a_script() -> None:
        page = browse.window(java_script_enabled=False)
        page.goto(f"{browse.base}/?at={last.id}")
        assert page.locator("*:focus").inner_text() == "Approve"
        page.keyboard.press("Tab")
        page.keyboard.type("not needed")
        page.keyboard.press("Enter")
        page.locator("p.said", has_text=f"{last.id} rejected").wait_for()
        assert page.locator("*:focus").inner_text() == "Approve"

    def work_with_keys() -> str:
        page = browse.window()
        page.goto(f"{browse.base}/?at={first.id}")
        page.wait_for_selector(".decisions *:focus")
        tab_to(page, "summary")
        page.keyboard.press("Enter")
        tab_to(page, "textarea[name=text]")
        page.keyboard.press("Control+a")
        page.keyboard.type("Say one thing.")
        tab_to(page, "button[value=edit_approve]")
        page.keyboard.press("Enter")
        page.wait_for_selector("h2:text-is('2 to decide')")
        page.wait_for_selector(".decisions *:focus")
        for _ in range(2):
            tab_to(page, "input[type=checkbox]")
            page.keyboard.press("Space")
        tab_to(page, "#many-reason")
        page.keyboard.type("both the same")
        page.keyboard.press("Enter")  # in the field of a reason it never approves
        page.wait_for_selector("text=Nothing waits for you")
        tab_to(page, "nav a[href='/playground']")
        page.keyboard.press("Enter")
        page.wait_for_selector("textarea:focus")
        page.keyboard.type("what is thing 0?")
        tab_to(page, "form.ask button")
        page.keyboard.press("Enter")
        page.wait_for_url("**/playground?q=*")
        return str(page.inner_text("main"))

    await browse(work_without_a_script)
    shown = await browse(work_with_keys)
    assert "Say one thing." in shown
    now = await memory.load()
    assert [e.text for e in now] == ["Say one thing."]
    assert (await memory.log(1))[0].why == "both the same"


async def test_access_keys_go_on_edit_give_a_reason_and_approve(
    memory: TedMemory, browse: Browser
) -> None:
    first, second, _ = await propose(memory, "Say one.", "Say two.", "Say three.")

    def work() -> None:
        page = browse.window()
        keys = page.context.new_cdp_session(page)

        def press_with_alt(letter: str) -> None:
            told = {"key": letter, "text": letter, "unmodifiedText": letter, "modifiers": 1}
            keys.send("Input.dispatchKeyEvent", {"type": "keyDown", **told})

        page.goto(f"{browse.base}/?at={first.id}&sort=oldest")
        page.wait_for_selector(".decisions *:focus")
        press_with_alt("n")
        page.wait_for_url(f"**/?at={second.id}*")
        page.wait_for_selector(".decisions *:focus")
        press_with_alt("e")
        page.wait_for_selector("details[open]")
        press_with_alt("r")
        page.wait_for_selector("input[name=reason]:focus")
        press_with_alt("p")
        page.wait_for_url(f"**/?at={first.id}*")
        page.wait_for_selector(".decisions *:focus")
        press_with_alt("a")
        page.locator("p.said", has_text=f"{first.id} approved").wait_for()

    await browse(work)
    assert [e.id for e in (await memory.load()).active] == [first.id]


MARKUP = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</textarea><script>alert(1)</script>",
    "' autofocus onfocus=alert(1) x='",
    "<svg onload=alert(1)>",
    "<style>@import url(//evil.example/x)</style>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<form action=//evil.example><button autofocus>Approve</button></form>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "{{ 7 * 7 }}{% raw %}${7*7}<%= 7*7 %>",
    "<a href=javascript:alert(1) accesskey=a>x</a>",
    "</title><script>alert(1)</script>",
    "<!--<b style=position:fixed;inset:0>x</b>",
)


def hostile() -> list[Add]:
    """Make 800 hostile lessons: each attack as it is, and with three kinds of markup."""
    found = []
    for number, attack in enumerate(lesson_attacks()):
        for more in range(4):
            markup = MARKUP[(number * 3 + more) % len(MARKUP)] if more else ""
            text, when = f"{attack.text} {markup}", f"{attack.when} {markup}"
            source = f"principal:{markup or attack.kind}"
            found.append(Add(text=text, when=when, state="proposed", sources=(source,)))
    return found


ROOMY: dict[str, Any] = {"max_experiences": 2000, "token_budget": 10**6}


@pytest.fixture
async def memory_of_attacks(memory: TedMemory) -> TedMemory:
    lessons = hostile()
    assert len(lessons) == 800
    await memory.commit(
        lessons, author="<script>alert(2)</script>", why="<img src=x onerror=alert(3)>"
    )
    return memory


async def test_eight_hundred_hostile_lessons_run_no_script_and_break_no_policy(
    memory_of_attacks: TedMemory, browse: Browser
) -> None:
    now = await memory_of_attacks.load()
    odd = [now.proposed[i].id for i in range(1, 60, 8)]

    def look() -> int:
        page = browse.window()
        seen = 0
        for number in range(1, 17):
            page.goto(f"{browse.base}/set?sort=oldest&page={number}")
            seen += page.locator(".rows > li").count()
        for id in odd:
            page.goto(f"{browse.base}/?at={id}")
            page.goto(f"{browse.base}/lessons/{id}")
        for path in (
            "/versions",
            "/health",
            "/playground?q=" + "%3Cscript%3Ealert(1)%3C/script%3E",
        ):
            page.goto(browse.base + path)
        assert page.locator("script, iframe, base, style, img").count() == 0
        return seen

    assert await browse(look) == 800


async def test_without_escaping_the_policy_would_be_what_reports_them(
    memory_of_attacks: TedMemory, browse: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: without autoescape the browser reports, without the policy a script runs."""
    made = desk_module._templates()
    monkeypatch.setattr(made, "autoescape", False)
    app = browse.app
    object.__setattr__(app.state.desk, "templates", made)
    browse.expects_troubles = True

    def look() -> list[str]:
        page = browse.window()
        page.goto(f"{browse.base}/set?sort=oldest")
        page.wait_for_timeout(0)
        return list(browse.troubles)

    reported = await browse(look)
    assert any("Content Security Policy" in trouble for trouble in reported), reported
    assert not any("dialog" in trouble for trouble in reported), "the policy holds by itself"
    browse.troubles.clear()
    monkeypatch.setitem(guard.HEADERS, "Content-Security-Policy", "img-src 'self'")
    ran = await browse(look)
    assert any("dialog: 1" in trouble for trouble in ran), ran


async def test_two_reviewers_on_one_proposal_one_wins_and_the_other_is_told(
    memory: TedMemory, browse: Browser
) -> None:
    await propose(memory, "Say hello.", "Say good-bye.")

    def work() -> tuple[str, str]:
        one, other = browse.window(), browse.window(390, 844)
        for page in (one, other):
            page.goto(browse.base + "/?sort=oldest")
        other.click("summary")
        other.fill("textarea[name=text]", "Say hello twice.")
        one.click("text=Approve >> nth=0")
        one.wait_for_selector("h2:text-is('1 to decide')")
        other.click("button[value=edit_approve]")
        other.wait_for_selector("text=Your decision was not taken")
        told = other.inner_text("main")
        kept = other.input_value("textarea[name=text]")
        other.click("button[value=edit]")
        other.wait_for_selector("text=changed, version")
        return told, kept

    told, kept = await browse(work)
    assert re.search(r"anna made version 2", told)
    assert kept == "Say hello twice."
    [active] = (await memory.load()).active
    assert active.text == "Say hello twice."


async def test_a_lost_redis_says_so_keeps_what_was_typed_and_goes_on(
    valkey: Server, namespace: str, chromium: Any
) -> None:
    from tests.web.conftest import browser_at

    async with (
        fault_proxy(valkey.port) as proxy,
        open_memory(proxy.url, namespace=namespace) as memory,
        browser_at(chromium, memory, Access(author="anna")) as browse,
    ):
        await propose(memory, "Say hello.")

        def type_and_send() -> tuple[Any, str, str]:
            page = browse.window()
            page.click("summary")
            page.fill("textarea[name=text]", 'Say hello "twice".\n\nLoudly.')
            page.click("button[value=edit_approve]")
            page.wait_for_selector("text=The memory cannot be reached")
            return page, page.inner_text("main"), page.input_value("textarea[name=text]")

        proxy.spoil("cut", "EVALSHA", "EVAL", times=10_000)
        page, told, kept = await browse(type_and_send)
        assert "Send it again when the memory is back" in told
        assert kept == 'Say hello "twice".\n\nLoudly.'
        proxy.spoil("cut", times=0)

        def send_again() -> None:
            assert page.evaluate("document.activeElement.innerText") == "Send again"
            page.keyboard.press("Enter")
            page.wait_for_selector("text=Nothing waits for you")

        await browse(send_again)
        [lesson] = await memory.load()
        assert (lesson.state, lesson.text) == ("active", 'Say hello "twice".\n\nLoudly.')
        assert (await memory.load()).version == 3, "proposed, changed, approved: once each"
        await wait_until(lambda: browse.troubles == [])
