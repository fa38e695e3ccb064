"""The record of a run, by which it is taken up again: what is done is not paid for twice."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from ted_memory.distill.state import Evidence
from ted_memory.llm.calls import Calls, hash_images
from ted_memory.llm.spend import Spend
from ted_memory.memory.client import TedMemory
from ted_memory.models import ExperienceSet

Record = Mapping[str, Any]

_SET: TypeAdapter[ExperienceSet] = TypeAdapter(ExperienceSet)


def dump_set(snapshot: ExperienceSet) -> Record:
    """Turn a set into a part of a record; `read_set` is the way back."""
    dumped: Record = _SET.dump_python(snapshot, mode="json")
    return dumped


def read_set(dumped: Record) -> ExperienceSet:
    """Parse a set that stands in a record."""
    return _SET.validate_python(dumped)


def _without_images(value: Any) -> Any:
    """Return JSON-able data with hashes for the images that a model or a provider quoted."""
    if isinstance(value, str):
        return hash_images(value)
    if isinstance(value, Mapping):
        return {key: _without_images(part) for key, part in value.items()}
    return [_without_images(part) for part in value] if isinstance(value, list | tuple) else value


class Records:
    """What a run has done so far, by key.

    ``run``, ``sample:<id>``, ``evidence:<pass>:<round>``, ``tidied``, ``indexed``,
    ``gate:<test>:<id>:<number>``, ``stage:<set>:<id>``, ``shown:<way>:<id>``,
    ``turns:<phase>:<set>:<id>``, ``chosen-stage``, ``chosen-way``, ``reference:<id>``, and
    ``spent``: what all calls have cost.
    """

    def __init__(self, staging: TedMemory, calls: Calls, records: Mapping[str, Record]) -> None:
        self._staging = staging
        self._calls = calls
        self._records = dict(records)
        self.failed: dict[str, Record] = {}
        """Samples of which nothing is known.

        They are kept by this process only: the next start tries them again.
        """

    @classmethod
    async def load(cls, staging: TedMemory, calls: Calls) -> "Records":
        """Load the records of the run that works in this staging set.

        `calls` go on counting from what was spent until then.
        """
        records = cls(staging, calls, await staging.repository.load_progress())
        if "spent" in records:
            calls.spent = Spend.model_validate(records["spent"])
        return records

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def __getitem__(self, key: str) -> Record:
        return self._records[key]

    async def save(self, key: str, record: Record) -> None:
        """Keep a record, durably, and what was spent until now."""
        if key != "run":  # that one holds the set as it is; the others hold what models wrote
            record = _without_images(record)
        await self._put(key, record)
        await self.save_spent()

    async def save_spent(self) -> None:
        """Keep what was spent until now."""
        await self._put("spent", self._calls.spent.model_dump())

    async def _put(self, key: str, record: Record) -> None:
        await self._staging.repository.save_progress(key, record)
        self._records[key] = json.loads(json.dumps(record))

    def count(self, prefix: str) -> int:
        """Return how many records there are of a kind."""
        return sum(key.startswith(prefix) for key in self._records)

    @property
    def evidence(self) -> list[Evidence]:
        """What verification found, of all passes."""
        return [
            found
            for key, record in self._records.items()
            if key.startswith("evidence:")
            for found in record["of"]
        ]

    async def save_evidence(self, name: str, found: Sequence[Evidence]) -> None:
        """Keep what a verification found, before anything is committed because of it."""
        key = f"evidence:{name}"
        before = self._records.get(key, {"of": []})["of"]  # of a pass that was cut off
        await self.save(key, {"of": [*before, *found]})

    @property
    def samples(self) -> dict[str, Record]:
        """The samples that are done, by id."""
        return {
            key[7:]: record for key, record in self._records.items() if key.startswith("sample:")
        }
