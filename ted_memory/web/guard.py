"""Which requests are turned away before any page sees them.

A desk on loopback is reachable by every page that its user's browser has open, and by every program
of the machine. So each request must name a host that is ours (DNS rebinding), and come from who has
signed in; and one that changes something must come from a page of ours (Origin, Sec-Fetch-Site), in
a body of bounded size, from somebody who may change something. The signed form token is checked
where the form is read (`forms`).
"""

from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ted_memory.web.access import LONGEST_NAME, Access, Doorkeeper, Person

LARGEST_BODY = 256 * 1024  # bytes
FORM = "application/x-www-form-urlencoded"
MOST_DIGITS = 15
NO_PART_OF_A_HOST = frozenset("/?#@\\")
CHANGES_NOTHING = frozenset({"GET", "HEAD"})

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""Of every answer."""


def is_number(text: str) -> bool:
    """Tell whether this is a whole number, of no more digits than any number of the desk has."""
    return text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS


def number_or(otherwise: int, text: str) -> int:
    """Read a whole number, or take another where there is none."""
    return int(text) if is_number(text) else otherwise


class Refused(Exception):  # noqa: N818 - reads as a statement about the request
    """A request is turned away. ``status`` is that of HTTP; the message says what to do."""

    def __init__(self, status: int, told: str) -> None:
        super().__init__(told)
        self.status = status


class Guard:
    """Stands before all pages. A request that passes has its `Person` in ``request.state``."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        doorkeeper: Doorkeeper,
        refuse: Callable[[Request, Refused], ASGIApp],
    ) -> None:
        self._app = app
        self._doorkeeper = doorkeeper
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with the reason why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        app = self._app
        try:
            self._check(request)
        except Refused as refused:
            app = self._refuse(request, refused)
        await app(scope, _capped(receive), send_with_headers)

    def _check(self, request: Request) -> None:
        access = self._doorkeeper.access
        check_host(request, access)
        # what is routed by: older versions of Starlette make `request.url` of what a Host says
        if is_open_to_all(request.scope["path"]):
            return
        person = who_is_there(request, self._doorkeeper)
        request.state.person = person
        if request.method not in CHANGES_NOTHING:
            check_origin(request)
            check_body(request)
            check_may_change(person)


def is_open_to_all(path: str) -> bool:
    """Tell what may be seen before one has come in: the door, and the style sheet."""
    return path == "/enter" or path.startswith("/static/")


def check_host(request: Request, access: Access) -> None:
    """Turn away what was not sent to a name of ours."""
    named = request.headers.getlist("host")
    is_name = len(named) == 1 and NO_PART_OF_A_HOST.isdisjoint(named[0])
    host = _parts(f"//{named[0]}").hostname if is_name else None
    if host not in access.hosts:
        raise Refused(
            421,
            f"this desk does not answer to the name {host!r}. Start it with --allowed-host to "
            "give it a name",
        )


def _parts(url: str) -> SplitResult:
    """Take an address apart; nothing of one that cannot be read."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def who_is_there(request: Request, doorkeeper: Doorkeeper) -> Person:
    """Tell who sent a request; turn away whom nobody knows."""
    access = doorkeeper.access
    if access.trust_header:
        name = _name_told(request, access.trust_header)
        return Person(name, access.role, f"user {name}")
    session = doorkeeper.session_of(request.cookies.get(doorkeeper.cookie, ""))
    if session is None:
        raise Refused(
            401,
            "open the desk by the link that it has printed where it was started. Each link works "
            "once, and it prints the next one then",
        )
    return Person(access.author, access.role, session)


def _name_told(request: Request, header: str) -> str:
    """Read the name that a proxy tells. Of two a caller has sent one."""
    told = request.headers.getlist(header)
    name = told[0].encode("latin-1", "replace").decode("utf-8", "replace") if told else ""
    name = name.strip()
    if len(told) != 1 or not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
        raise Refused(
            403,
            f"the proxy before this desk has told no name in {header}, or more than one. It must "
            "set the header itself, and take out what callers send",
        )
    return name


def check_origin(request: Request) -> None:
    """Turn away what another page has sent.

    Browsers send Origin: null from pages that tell no referrer, as ours do; Sec-Fetch-Site, which
    no page can set, decides then.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    told = origin not in {None, "null"}
    is_ours = _parts(origin).netloc == request.headers["host"] if told and origin else True
    if site not in {None, "same-origin"} or not is_ours or (site is None and not told):
        raise Refused(
            403,
            "this was not sent from a page of this desk; nothing was changed. Use a current "
            "browser, over https or on the machine itself",
        )


def check_body(request: Request) -> None:
    """Turn away what is no form, or says that it is too large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise Refused(415, "only forms of this desk are read here; nothing was changed")
    length = request.headers.get("content-length", "0")
    if not is_number(length) or int(length) > LARGEST_BODY:
        raise Refused(413, f"more than {LARGEST_BODY:,} bytes; nothing was changed")


def check_may_change(person: Person) -> None:
    """Turn away who may only read."""
    if not person.may("reviewer"):
        raise Refused(403, "this desk was started for reading (--role reader); nothing was changed")


def _capped(receive: Receive) -> Receive:
    """Bound a body whose length nobody has told."""
    seen = 0

    async def receive_some() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > LARGEST_BODY:
            raise Refused(413, f"more than {LARGEST_BODY:,} bytes; nothing was changed")
        return message

    return receive_some
