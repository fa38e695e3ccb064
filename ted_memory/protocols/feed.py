"""What is promised of commits that are told of as they are made."""

from typing import Protocol


class CommitListener(Protocol):
    """Who wants to hear of commits."""

    def told(self, epoch: str, version: int) -> None:
        """Hear that a set is at this version now; epoch "" when it was dropped.

        Called on the event loop on which it was asked for. What is said may be late, or wrong: only
        what is read counts.
        """
        ...


class CommitFeed(Protocol):
    """Tells of the commits to one set, whoever makes them, as far as the store can.

    It saves time and promises nothing. A commit may not be told of, and several that come close
    together may be told of as one. Who has to know reads.
    """

    def watch(self, listener: CommitListener) -> None:
        """Tell a listener from soon on, on the running event loop; no I/O here, and no error.

        It ends a minute after the last call of this, so who is in use calls it again. The listener
        is held weakly.
        """
        ...

    @property
    def live(self) -> bool:
        """Whether commits are told of now, on one event loop at least."""
        ...
