"""Whose the folder of an embedded server is.

What others can write there, they can put into everybody's prompt.
"""

import os
import stat
from collections.abc import Collection
from pathlib import Path

from ted_memory.errors import StoreUnavailable

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_UNTOUCHED = "nothing in it was read or changed"
_ADVICE = "set TED_MEMORY_HOME to a folder of your own (a new one below it will do), or give a URL"


def make_private(folder: Path, files: Collection[str] | None = None) -> None:
    """Make a folder that nobody else can write into, or take one that is so.

    One that others may write into is closed to them where nothing lies in it but ``files`` (None:
    whatever lies there), which are ours by name, and all of these belong to us: with user-private
    groups a folder made by hand is often open to its group. Where anything else lies in it, others
    may be meant to write there, and where something is another's, others have written.

    Raises:
        StoreUnavailable: it belongs to somebody else, or must be closed by hand; nothing was read
            or changed.
        OSError: it cannot be made or looked at.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found, me = folder.stat(), os.getuid()
    if found.st_uid != me:
        raise StoreUnavailable(
            f"{folder} belongs to user {found.st_uid} (this is user {me}), who could write into "
            f"every prompt; {_UNTOUCHED}; {_ADVICE}"
        )
    if not found.st_mode & OTHERS_WRITE:
        return
    why = f"{folder} can be written by others (mode {stat.S_IMODE(found.st_mode):o})"
    against = _against_closing(folder, files)
    if against or found.st_mode & stat.S_ISVTX:
        told = "; ".join([why, *against, _UNTOUCHED])
        raise StoreUnavailable(
            f"{told}; look at what lies in it and take the right away (chmod go-w), or {_ADVICE}"
        )
    folder.chmod(0o700)
    if folder.stat().st_mode & OTHERS_WRITE:
        raise StoreUnavailable(
            f"{why}, and its file system keeps no modes; {_UNTOUCHED}; {_ADVICE}"
        )


def _against_closing(folder: Path, files: Collection[str] | None) -> list[str]:
    """Say what of others lies in a folder, and what may be meant for others: the first of each."""
    inside = sorted(folder.iterdir())
    foreign = [path.name for path in inside if path.lstat().st_uid != os.getuid()]
    shared = [path.name for path in inside if files is not None and path.name not in files]
    return [
        *(f"{name} in it is somebody else's" for name in foreign[:1]),
        *(f"{name} in it is no file of ours" for name in shared[:1]),
    ]
