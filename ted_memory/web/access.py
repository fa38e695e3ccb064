"""Who may use the desk, and for what: roles, signed sessions, signed form tokens.

Everything is signed with a secret that only this process knows: a restart signs everybody out.
"""

import secrets
from dataclasses import dataclass, field
from typing import Literal, get_args

from itsdangerous import BadData, URLSafeTimedSerializer

Role = Literal["reader", "reviewer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
SERVER_ROLES = {"reader": "agent", "reviewer": "reviewer", "admin": "admin"}
"""The role of `ted-memory acl` whose user can do what a role of the desk allows."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SESSION_SECONDS = 12 * 3600
MESSAGE_SECONDS = 120  # for which a message to the next page holds
LONGEST_NAME = 200  # characters of a name that a proxy tells


@dataclass(frozen=True)
class Person:
    """Who is at the desk: the author of decisions, the role, and what form tokens are bound to."""

    name: str
    role: Role
    session: str

    def may(self, role: Role) -> bool:
        """Tell whether this person may do what needs a role: each may what those before it may."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True)
class Access:
    """How the desk is guarded.

    Attributes:
        role: of everybody who gets in.
        author: who stands in the log, where no proxy tells a name.
        trust_header: the header in which a proxy tells who is there; "" for none: it is ignored
            then, and people get in by the link.
        hosts: names by which the desk may be called. Any other is a page elsewhere whose name was
            made to lead here (DNS rebinding).
        secret: with which everything is signed.
    """

    role: Role = "reviewer"
    author: str = "desk"
    trust_header: str = ""
    hosts: frozenset[str] = LOOPBACK
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)


class Doorkeeper:
    """Hands out links, sessions, form tokens and messages, and knows them again."""

    def __init__(self, access: Access) -> None:
        self.access = access
        # several desks on one machine share the browser's cookies: ports do not keep them apart
        self.cookie: str = f"ted-memory-desk-{secrets.token_hex(4)}"
        self.link_token: str = secrets.token_urlsafe(24)
        """Opens the desk once; then there is another one."""

    def _signer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.access.secret, salt=purpose)

    def open_with(self, token: str) -> str | None:
        """Give a new session for a link's token, which is used up by it; None for a wrong one."""
        if not secrets.compare_digest(token.encode(), self.link_token.encode()):
            return None
        self.link_token = secrets.token_urlsafe(24)
        return self._signer("session").dumps(secrets.token_hex(8))

    def session_of(self, cookie: str) -> str | None:
        """Tell whose session a cookie is; None where it is not ours, or too old."""
        return self._read("session", cookie, SESSION_SECONDS)

    def form_token(self, person: Person) -> str:
        """Make what a form carries: only who was given it may send it."""
        return self._signer("form").dumps(f"{secrets.token_hex(8)} {person.session}")

    def nonce_of(self, person: Person, token: str) -> str | None:
        """Give what makes this form one of its kind; None where it is not this person's."""
        nonce, _, session = (self._read("form", token, SESSION_SECONDS) or "").partition(" ")
        return nonce if session and session == person.session else None

    def message(self, said: str) -> str:
        """Sign a message for the next page, so that no link can put words into the desk."""
        return self._signer("message").dumps(said)

    def message_of(self, signed: str) -> str:
        """Read a message; "" where it is not ours, or old."""
        return self._read("message", signed, MESSAGE_SECONDS) or ""

    def _read(self, purpose: str, signed: str, longest: int) -> str | None:
        try:
            return str(self._signer(purpose).loads(signed, max_age=longest))
        except BadData:
            return None
