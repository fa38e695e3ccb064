"""What a person has sent by a form, read once and checked."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import Request

from ted_memory.web.access import Person
from ted_memory.web.desk import Desk
from ted_memory.web.guard import Refused, is_number

MOST_FIELDS = 2000
TOKEN = "form"  # noqa: S105 - the name of the field
TYPED = {
    "text": "What to do",
    "when": "When it applies",
    "example": "Example",
    "reason": "Reason",
    "question": "Question",
    "name": "Name",
}
"""Fields that people type into, by their labels: what failed shows them again."""


@dataclass(frozen=True)
class Form:
    """Fields by name, the last one where a name comes twice; ``chosen`` has all ticked boxes."""

    action: str
    fields: Mapping[str, str]
    chosen: tuple[str, ...]
    nonce: str
    person: Person

    def get(self, name: str) -> str:
        """Give a field as it was typed, without blanks around it; "" where there is none."""
        return self.fields.get(name, "").strip()

    def number(self, name: str) -> int:
        """Give a field that is a number.

        Raises:
            Refused: it is not.
        """
        value = self.get(name)
        if not is_number(value):
            raise Refused(400, f"the form lacks the number {name}; nothing was changed")
        return int(value)

    @property
    def typed(self) -> Mapping[str, str]:
        """What a person typed, by label."""
        return {name: self.fields[name] for name in TYPED if self.fields.get(name)}

    def token(self) -> str:
        """Name the commit: the same for the same form with the same words, however often it comes.

        Who goes back in the browser and decides otherwise sends another one.
        """
        fields = sorted((k, v) for k, v in self.fields.items() if k != TOKEN)
        said = repr((self.nonce, self.action, fields, self.chosen))
        return f"desk-{hashlib.sha256(said.encode('utf-8', 'replace')).hexdigest()[:40]}"


async def read_form(request: Request, desk: Desk) -> Form:
    """Read a form that this person was given.

    Raises:
        Refused: it is not a form of this desk, or was given to somebody else.
    """
    try:
        body = (await request.body()).decode("utf-8")
        pairs = parse_qsl(body, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Refused(400, "this form cannot be read; nothing was changed") from None
    fields = {name: value.replace("\r\n", "\n") for name, value in pairs}
    person: Person = request.state.person
    form = Form(
        action=request.url.path,
        fields=fields,
        chosen=tuple(value for name, value in pairs if name == "choose"),
        nonce=desk.doorkeeper.nonce_of(person, fields.get(TOKEN, "")) or "",
        person=person,
    )
    request.state.form = form
    check_form_token(form)
    return form


def check_form_token(form: Form) -> None:
    """Turn away a form that was not made for this person by this process."""
    if not form.nonce:
        raise Refused(
            403,
            "this form is older than the desk, which was started anew, or was given to somebody "
            "else; nothing was changed. What you typed stands below: open the page again",
        )
