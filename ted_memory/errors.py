"""What can go wrong, as one tree.

::

    TedMemoryError
    ├── SettingsError        a setting, URL or model name that cannot work
    ├── InvalidInput         an edit, sample, token or namespace that breaks a rule (a ValueError)
    │   └── DatasetError     a line of a data set; names file, line and field
    ├── StoreError
    │   ├── StoreUnavailable the server cannot be reached; nothing is known to have been written
    │   ├── StoreRefused     the server refuses user, password or a command; its rights must change
    │   ├── CorruptData      what is stored is not what this version writes
    │   ├── HistoryTrimmed   the version asked for is no longer (or not yet) in the log
    │   ├── ClaimLost        a learner came too late: another one works on its episode
    │   ├── CommitRefused    edits could not be applied; the message says what was kept
    │   └── NotDurable       a commit was written, but not as durably as asked for
    ├── BudgetExceeded       the next model call would cost more than the budget leaves
    ├── ModelError           a model cannot be used at all, such as for a wrong address
    │   └── ModelRefused     its provider refuses the key, the model's name or a parameter
    └── MissingExtra         an optional package is not installed (an ImportError)

Every message says what happened, what was kept, and what to do. None derives from BaseException
directly.
"""

from typing import Any

__all__ = [
    "BudgetExceeded",
    "ClaimLost",
    "CommitRefused",
    "CorruptData",
    "DatasetError",
    "HistoryTrimmed",
    "InvalidInput",
    "MissingExtra",
    "ModelError",
    "ModelRefused",
    "NotDurable",
    "SettingsError",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "TedMemoryError",
]


class TedMemoryError(Exception):
    """Root of everything that this package raises on purpose."""


def reason_of(error: BaseException) -> str:
    """Tell in one line what any error says, for a message of ours; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


class SettingsError(TedMemoryError):
    """A setting has a value that cannot work."""


class InvalidInput(TedMemoryError, ValueError):  # noqa: N818 - reads as a statement about the input
    """Something handed in breaks a rule of this package."""


class DatasetError(InvalidInput):
    """A data set cannot be read; the message names file, line and field."""


class StoreError(TedMemoryError):
    """Something about the stored memory."""


class StoreUnavailable(StoreError):  # noqa: N818
    """The server cannot be reached: it is worth another try later."""


class StoreRefused(StoreError):  # noqa: N818
    """The server is there and refuses the user, the password or a command.

    Another try changes nothing: the user's rights, or the password in the URL, must change.
    """


class CorruptData(StoreError):  # noqa: N818
    """Stored bytes are not what this version of the package writes."""


class HistoryTrimmed(StoreError):  # noqa: N818
    """The version asked for is outside the kept history."""


class ClaimLost(StoreError):  # noqa: N818
    """The claim on an episode is lost to another learner; nothing was written."""


class CommitRefused(StoreError):  # noqa: N818
    """Edits that were to be applied could not be; the message says what was kept."""


class NotDurable(StoreError):  # noqa: N818
    """A commit took effect, but too few replicas, or not the disk, have confirmed it in time.

    ``commit`` is its answer. The same token may be sent again: it waits again.
    """

    def __init__(self, message: str, commit: Any) -> None:
        super().__init__(message)
        self.commit = commit


class BudgetExceeded(TedMemoryError):  # noqa: N818
    """The next model call would cost more than the budget leaves; what is done is kept."""


class ModelError(TedMemoryError):
    """A model cannot be used at all, so that going on would only fail again."""


class ModelRefused(ModelError):  # noqa: N818
    """A provider refuses the key, the model's name or a parameter.

    Another try changes nothing: a setting must change.
    """


class MissingExtra(TedMemoryError, ImportError):  # noqa: N818
    """An optional package is needed and not installed."""

    def __init__(self, package: str, extra: str, what: str) -> None:
        super().__init__(
            f"{what} needs the package {package}; "
            f'install it with: pip install "ted-memory[{extra}]"'
        )
