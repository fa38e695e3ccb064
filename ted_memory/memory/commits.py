"""What a commit says: checked before anything is sent, and under the caps that hold."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from ted_memory.errors import CommitRefused, InvalidInput
from ted_memory.experience.edits import plan
from ted_memory.fields import check_text
from ted_memory.models import Caps, Commit, Edit, ExperienceSet, Presentation, Rejected, Usage
from ted_memory.protocols import ABSENT, Change, CommitRequest, Settle
from ted_memory.settings import SetSettings

CapName = Literal["max_experiences", "token_budget"]
CAP_NAMES: tuple[CapName, ...] = get_args(CapName)
TOKEN_LIMIT = 200
REASONS = {
    "unknown": "there is no such id (see `ted-memory show`)",
    "cap": "the set is full; remove something, or raise max_experiences or token_budget",
    "unchanged": "it is so already",
    "conflict": "somebody changed it at this moment; look at it again",
    "too long": "the lesson is longer than max_text",
    "empty": "the lesson is empty",
    "too many sources": (
        "it comes from as many sources as one lesson may, all of which `forget` must find; "
        "drop it and add it anew"
    ),
    "purged": "one of its sources was purged",
}
"""Why an edit was refused, for a person (see `models.Rejected`)."""


@dataclass(frozen=True)
class CommitTerms:
    """What a commit says beside its edits; see `TedMemory.commit` for what each of them means.

    Attributes:
        expect_version: the set must be at this version, else every edit is a conflict.
        max_text: characters that a lesson may have here, where the settings allow less: what is
            brought back may be older than the setting.
    """

    author: str
    why: str = ""
    token: str | None = None
    atomic: bool = False
    expect_version: int | None = None
    usage: Mapping[str, Usage] | None = None
    models: Mapping[str, str] | None = None
    presentation: Presentation | None = None
    settle: Settle | None = None
    max_text: int = 0

    @property
    def are_enough(self) -> bool:
        """Whether they are worth a commit without edits."""
        return bool(self.models) or self.presentation is not None or self.settle is not None


def commit_request(
    edits: Sequence[Edit], base: ExperienceSet, terms: CommitTerms, settings: SetSettings
) -> CommitRequest:
    """Say to the store what these edits, which were made on ``base``, should do.

    Raises:
        InvalidInput: a token, an author, a reason or an id cannot be stored.
    """
    token = checked_token(secrets.token_hex(16) if terms.token is None else terms.token)
    author = checked("author", terms.author)
    why = checked("why", terms.why, may_be_empty=True)
    usage = checked_usage(terms.usage)
    caps = caps_for(base, settings)
    max_text = max(settings.max_text, terms.max_text)
    changes = plan(edits, _under(base, caps), author=author, max_text=max_text)
    return CommitRequest(
        changes=changes,
        author=author,
        why=why,
        token=token,
        atomic=terms.atomic,
        expect_version=terms.expect_version,
        caps=caps,
        stated=_stated_caps(settings),
        history=settings.history_versions,
        base=_looked_at(base, changes),
        usage=usage,
        models=terms.models or {},
        presentation=terms.presentation,
        settle=terms.settle,
    )


def _under(base: ExperienceSet, caps: Caps) -> ExperienceSet:
    """Return the same set with other caps; what is worked out of its lessons stays."""
    if caps == base.caps:
        return base
    made = replace(base, caps=caps)
    derived = vars(base).keys() - {field.name for field in fields(base)}
    vars(made).update({name: vars(base)[name] for name in derived})
    return made


def _looked_at(base: ExperienceSet, changes: Sequence[Change]) -> tuple[str, int, str]:
    """Name the version that changes were planned on, where they rest on anything in it.

    Additions do not. To look a version up the store has to read its whole entry in the log, which
    after an import is as large as the set.
    """
    rests_on_it = any(rev != ABSENT for change in changes for _, rev in change.expects)
    return (base.epoch, base.version, base.stamp) if rests_on_it else ("", 0, "")


def caps_for(base: ExperienceSet, settings: SetSettings) -> Caps:
    """Tell the caps that hold with the next commit: the set's own, and what the settings state."""
    stated = settings.model_dump(include={str(name) for name in _stated_caps(settings)})
    return base.caps.model_copy(update=stated)


def _stated_caps(settings: SetSettings) -> tuple[CapName, ...]:
    return tuple(name for name in CAP_NAMES if name in settings.model_fields_set)


def refuse_unless_whole(commit: Commit) -> Commit:
    """Pass on a commit that took effect as a whole.

    Raises:
        CommitRefused: an edit of it was refused; the message says which, and why.
    """
    refused = [r for r in commit.rejected if r.reason != "aborted"]
    if refused:
        told = "; ".join(_refusal(one) for one in refused)
        raise CommitRefused(f"nothing was changed: {told}")
    return commit


def _refusal(rejected: Rejected) -> str:
    """Say why an edit was refused, and of which lesson; a new one has no id yet."""
    id, reason = getattr(rejected.edit, "id", ""), REASONS.get(rejected.reason, rejected.reason)
    return f"{id}: {reason}" if id else reason


def checked_token(token: str) -> str:
    """Pass on a token that can be stored. Raises InvalidInput."""
    if len(checked("token", token)) > TOKEN_LIMIT:
        raise InvalidInput(f"the token has {len(token)} characters; use at most {TOKEN_LIMIT}")
    return token


def checked_usage(usage: Mapping[str, Usage] | None) -> dict[str, Usage]:
    """Pass on usage whose ids can be stored. Raises InvalidInput."""
    return {checked("an id of the usage", id): counters for id, counters in (usage or {}).items()}


def checked(name: str, value: str, *, may_be_empty: bool = False) -> str:
    """Pass on a text that says something and can be stored; ``name`` is what the message calls it.

    Raises:
        InvalidInput: it is empty, or holds half a character (a lone surrogate).
    """
    if not value and not may_be_empty:
        raise InvalidInput(f"{name} is empty; say who or what this commit comes from")
    try:
        return check_text(value)
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}") from None
