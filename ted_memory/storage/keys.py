"""All key names. One namespace's keys share one hash tag, so that every script stays in one slot.

Grammar::

    ted:{<namespace>}:meta               hash    format, epoch, version, caps, counters
    ted:{<namespace>}:experiences        hash    id -> item (see codec)
    ted:{<namespace>}:usage              hash    id -> counters, as they are now
    ted:{<namespace>}:ranking            hash    usage, as it was at the last commit
    ted:{<namespace>}:log                hash    version -> entry
    ted:{<namespace>}:purged             set     digests of sources that must never come back
    ted:{<namespace>}:progress           hash    key -> record of a run, 30 days
    ted:{<namespace>}:lease:<name>       string  who does what only one should do at a time, until it ends by itself
    ted:{<namespace>}:applied:<token>    string  the answer that this commit's token had, 7 days
    ted:{<namespace>}:credited:<token>   string  this credit's token was used, 7 days
    ted:namespaces                       set     all namespaces

A run works in a staging set, ``<namespace>~<run>``: "~" can't stand in a namespace that a user names.
"""

from dataclasses import dataclass

NAMESPACES = "ted:namespaces"


@dataclass(frozen=True)
class Keys:
    """The keys of one namespace."""

    namespace: str

    def _key(self, name: str) -> str:
        return f"ted:{{{self.namespace}}}:{name}"

    @property
    def meta(self) -> str:
        return self._key("meta")

    @property
    def experiences(self) -> str:
        return self._key("experiences")

    @property
    def usage(self) -> str:
        return self._key("usage")

    @property
    def ranking(self) -> str:
        return self._key("ranking")

    @property
    def log(self) -> str:
        return self._key("log")

    @property
    def purged(self) -> str:
        return self._key("purged")

    @property
    def progress(self) -> str:
        return self._key("progress")

    def lease(self, name: str) -> str:
        return self._key(f"lease:{name}")

    def applied(self, token: str) -> str:
        return self._key(f"applied:{token}")

    def credited(self, token: str) -> str:
        return self._key(f"credited:{token}")

    @property
    def any_key(self) -> str:
        """A glob for every key of the namespace. Names hold no character that a glob would read."""
        return self._key("*")

    @property
    def permanent(self) -> tuple[str, ...]:
        """Every key that does not end by itself."""
        return (self.meta, self.experiences, self.usage, self.ranking, self.log, self.purged)
