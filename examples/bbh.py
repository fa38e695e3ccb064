"""Tasks of BIG-bench Hard as samples: public data that nobody here wrote.

They come out of the source package ``bigbench`` on the Python package index (358 MB, Apache 2.0), which is downloaded
and read, never installed. The single files are kept beside the local models.
"""

import json
import random
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from examples.local_models.fetch import FetchError, models_folder
from ted_memory import Sample

PACKAGE = "bigbench==1.0.0"
TRAIN, HELD_OUT = 24, 40
SEED = 20261124


def read_task(name: str) -> tuple[list[Sample], list[Sample]]:
    """Return training and held-out samples of a multiple-choice task; always the same ones.

    Raises:
        FetchError: the package cannot be downloaded.
    """
    path = models_folder() / "bbh" / f"{name}.json"
    if not path.exists():
        _fetch(name, path)
    examples = json.loads(path.read_text(encoding="utf-8"))["examples"]
    chosen = random.Random(SEED).sample(range(len(examples)), TRAIN + HELD_OUT)
    samples = [_sample(name, i, examples[i]) for i in chosen]
    return samples[:TRAIN], samples[TRAIN:]


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


def _fetch(name: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        done = subprocess.run([*command, PACKAGE, "-d", folder], capture_output=True, text=True, check=False)
        archives = list(Path(folder).glob("bigbench-*.tar.gz"))  # what pip then makes of it is of no interest
        if not archives:
            raise FetchError(f"{PACKAGE} cannot be downloaded: {done.stderr.strip()[-300:]}")
        with tarfile.open(archives[0]) as archive:
            member = next(m for m in archive if m.name.endswith(f"benchmark_tasks/{name}/task.json"))
            content = archive.extractfile(member)
            if content is None:
                raise FetchError(f"{PACKAGE} has no task {name!r}")
            path.write_bytes(content.read())
