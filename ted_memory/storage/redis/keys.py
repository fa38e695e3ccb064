"""All key names. One namespace's keys share one hash tag, so that every script stays in one slot.

Each begins with ``ted:{<namespace>}:``, and then there is::

    meta               hash    format, epoch, version, caps, counters
    experiences        hash    id -> item (see codec)
    usage              hash    id -> counters, as they are now
    ranking            hash    usage, as it was at the last commit
    usage_before       hash    id -> usage with earlier students (see commit.lua)
    uncommitted        set     ids whose usage has changed since the last commit
    log                hash    version -> entry
    vectors            hash    digest of a lesson's condition -> vector; and whose they are
    purged             set     digests of sources that must never come back
    progress           hash    key -> record of a run, 30 days
    lease:<name>       string  who does what only one should do at a time, until it ends by itself
    applied:<token>    string  the answer that this commit's token had, 7 days
    credited:<token>   string  this credit's token was used, 7 days
    traffic            hash    counters of the episodes, and the last fence
    episodes           hash    seq -> episode (its bytes, its JSON)
    waiting            zset    seq by the time from which it may be begun
    claimed            zset    seq by the time at which its claim ends
    holders            hash    seq -> fence and number of claims
    dead               hash    seq -> why it could not be learned from
    learners           zset    learner by the time at which it counts as gone, one lease
    run:<run id>       hash    what a run saw, and what was said of it, 30 days
    image:<sha256>     hash    an image, and the seqs of episodes that hold it; ends with runs
    evidence           hash    id -> what replays and outcomes have shown (see evidence.lua)
    archive            hash    seq -> a graded episode, for replays
    archived           zset    seq of these, oldest first
    rate:<day>         hash    episodes and outcomes of each principal, 2 days
    spend:<day>        hash    what learning from episodes cost, 8 days

Beside them::

    ted:namespaces     set     all namespaces
    ted:traffic        set     namespaces with episodes

And a channel, on which each new version is told of::

    ted:{<namespace>}:commits

A run works in a staging set, ``<namespace>~<run>``: "~" can't stand in a namespace that a user
names.
"""

from dataclasses import dataclass

NAMESPACES = "ted:namespaces"
WITH_TRAFFIC = "ted:traffic"


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
    def usage_before(self) -> str:
        return self._key("usage_before")

    @property
    def uncommitted(self) -> str:
        return self._key("uncommitted")

    @property
    def log(self) -> str:
        return self._key("log")

    @property
    def vectors(self) -> str:
        return self._key("vectors")

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
    def traffic(self) -> str:
        return self._key("traffic")

    @property
    def episodes(self) -> str:
        return self._key("episodes")

    @property
    def waiting(self) -> str:
        return self._key("waiting")

    @property
    def claimed(self) -> str:
        return self._key("claimed")

    @property
    def holders(self) -> str:
        return self._key("holders")

    @property
    def dead(self) -> str:
        return self._key("dead")

    @property
    def learners(self) -> str:
        return self._key("learners")

    @property
    def evidence(self) -> str:
        return self._key("evidence")

    @property
    def archive(self) -> str:
        return self._key("archive")

    @property
    def archived(self) -> str:
        return self._key("archived")

    def run(self, run_id: str) -> str:
        return self._key(f"run:{run_id}")

    def image(self, digest: str) -> str:
        return self._key(f"image:{digest}")

    def rate(self, day: str) -> str:
        return self._key(f"rate:{day}")

    def spend(self, day: str) -> str:
        return self._key(f"spend:{day}")

    @property
    def commits(self) -> str:
        """The channel on which new versions are told of; of the slot in which the keys are."""
        return self._key("commits")

    @property
    def any_key(self) -> str:
        """A glob for every key of the namespace. Names hold no character that a glob would read."""
        return self._key("*")

    @property
    def permanent(self) -> tuple[str, ...]:
        """Every key that does not end by itself."""
        return (
            self.meta,
            self.experiences,
            self.usage,
            self.ranking,
            self.usage_before,
            self.uncommitted,
            self.log,
            self.vectors,
            self.purged,
            self.evidence,
            self.archive,
            self.archived,
            *self.of_traffic,
        )

    @property
    def of_traffic(self) -> tuple[str, ...]:
        """Where episodes wait; in the order of the scripts on them."""
        return (self.traffic, self.episodes, self.waiting, self.claimed, self.holders, self.dead)
