"""What storage promises. Everything above `storage` knows only this."""

from ted_memory.protocols.cipher import Cipher
from ted_memory.protocols.feed import CommitFeed, CommitListener
from ted_memory.protocols.sets import (
    ABSENT,
    Change,
    CommitRequest,
    ExperienceStore,
    Progress,
    Settle,
)
from ted_memory.protocols.traffic import (
    TOLD_FIRST,
    CreditRules,
    EpisodeQueue,
    KnownEvidence,
    Pair,
    PairVerdict,
    RecordLimits,
    Shown,
)
from ted_memory.protocols.vectors import VectorHead, VectorStore

__all__ = [
    "ABSENT",
    "TOLD_FIRST",
    "Change",
    "Cipher",
    "CommitFeed",
    "CommitListener",
    "CommitRequest",
    "CreditRules",
    "EpisodeQueue",
    "ExperienceStore",
    "KnownEvidence",
    "Pair",
    "PairVerdict",
    "Progress",
    "RecordLimits",
    "Settle",
    "Shown",
    "VectorHead",
    "VectorStore",
]
