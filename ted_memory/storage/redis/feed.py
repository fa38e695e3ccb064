"""What tells the listeners of one process of commits to one namespace."""

from dataclasses import dataclass

from ted_memory.protocols import CommitListener
from ted_memory.storage.redis.clients import Clients


@dataclass(frozen=True)
class RedisFeed:
    """A `CommitFeed` over the channel of a namespace."""

    clients: Clients
    channel: str

    def watch(self, listener: CommitListener) -> None:
        self.clients.get().subscriber.watch(self.channel, listener)

    @property
    def live(self) -> bool:
        return self.clients.hears(self.channel)
