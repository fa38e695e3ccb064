"""Tasks of BIG-bench Hard as samples: public data that nobody here wrote.

They come out of the source package ``bigbench`` on the Python package index (358 MB, Apache 2.0),
which is downloaded and read, never installed. The single files are kept beside the local models.
"""

import json
import random
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from examples.local_models.fetch import FetchError, models_folder
from ted_memory import Sample

PACKAGE = "bigbench==1.0.0"
TRAIN, HELD_OUT = 24, 40
SEED = 20261124
TASKS = ("date_understanding", "navigate", "intent_recognition", "list_functions")
"""What the examples use: kept together, since one file costs the whole download."""
MEMBER = re.compile(r"benchmark_tasks/(?P<name>(?P<task>\w+)(?:/\w+)?)/task\.json$")


def read_task(name: str) -> tuple[list[Sample], list[Sample]]:
    """Training and held-out samples of a multiple-choice task; always the same ones.

    Raises:
        FetchError: the package cannot be downloaded.
    """
    examples = read_examples(name)
    chosen = random.Random(SEED).sample(range(len(examples)), TRAIN + HELD_OUT)
    samples = [_sample(name, i, examples[i]) for i in chosen]
    return samples[:TRAIN], samples[TRAIN:]


def read_examples(name: str) -> list[dict[str, Any]]:
    """The examples of a task or, as ``task/part``, of one of its parts, as the benchmark has them.

    Raises:
        FetchError: the package cannot be downloaded, or has no such task.
    """
    folder = models_folder() / "bbh"
    path = folder / f"{name}.json"
    if not path.exists():
        _fetch(folder, {name.partition("/")[0], *TASKS})
    if not path.exists():
        raise FetchError(f"{PACKAGE} has no task {name!r}")
    examples: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["examples"]
    return examples


def _sample(task: str, number: int, example: dict[str, Any]) -> Sample:
    scores: dict[str, float] = example["target_scores"]
    choices = sorted(scores)
    question = f"{example['input'].strip()}\nAnswer with one of these, and nothing else:"
    return Sample(
        id=f"{task}-{number}",
        input="\n".join([question, *(f"- {choice}" for choice in choices)]),
        reference=max(choices, key=lambda choice: scores[choice]),
        choices=tuple(choices),
    )


def _fetch(folder: Path, tasks: Collection[str]) -> None:
    """Download the package once, and put the files of these tasks and their parts into a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary",
            ":all:",
        ]
        done = subprocess.run(
            [*command, PACKAGE, "-d", scratch], capture_output=True, text=True, check=False
        )
        # what pip then makes of it is of no interest
        archives = list(Path(scratch).glob("bigbench-*.tar.gz"))
        if not archives:
            raise FetchError(f"{PACKAGE} cannot be downloaded: {done.stderr.strip()[-300:]}")
        with tarfile.open(archives[0]) as archive:
            for member in archive:
                found = MEMBER.search(member.name)
                content = archive.extractfile(member) if found and found["task"] in tasks else None
                if found and content:
                    path = folder / f"{found['name']}.json"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content.read())
