"""What is promised of commits that are told of as they are made."""

from typing import Protocol


class CommitListener(Protocol):
    """Who wants to hear of commits."""

    def told(self, epoch: str, version: int) -> None:
        """Hear that a set is at this version now.

        Epoch "" and version 0 stand for a set that was dropped, and for what may have been missed.
        Called on the event loop on which it was asked for. What is said may be late, or wrong: only
        what is read counts.
        """
        ...

    def is_in_use(self) -> bool:
        """Say whether to go on: asked when nothing was heard of the listener for a minute."""
        ...

    def unwatched(self) -> None:
        """Hear that it is told no more, since it is not in use or its event loop ends."""
        ...


class CommitFeed(Protocol):
    """Tells of the commits to one set, whoever makes them, as far as the store can.

    It saves time and promises nothing. A commit may not be told of, and several that come close
    together may be told of as one. Who has to know reads.
    """

    def watch(self, listener: CommitListener) -> None:
        """Tell a listener from soon on, on the running event loop; no I/O here, and no error.

        It ends when the listener is not in use for a minute. To call this again does no harm. The
        listener is held weakly.
        """
        ...

    @property
    def live(self) -> bool:
        """Whether commits are told of now, on one event loop at least."""
        ...
