"""The rows of a data set, from JSON Lines, CSV, Parquet, or a Hugging Face data set on disk."""

import csv
import json
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from ted_memory.errors import DatasetError, MissingExtra

Row = dict[str, Any]

LISTS = ("choices", "options", "images")
"""Columns in which CSV, which knows only text, holds JSON lists."""

_BATCH = 64  # rows with pictures are large, and a limit should not read much more than it needs
_PART = re.compile(r"(.+)-\d+-of-\d+.*")  # how the Hub names files: test-00000-of-00002.parquet


@dataclass(frozen=True)
class Place:
    """Where a row stands; printed in front of what is wrong with it.

    ``number`` is the row's id when it has none.
    """

    file: Path
    unit: str
    """What is counted in this kind of file: line or row."""
    count: int
    number: int

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.count}"

    @property
    def folder(self) -> Path:
        """What paths of images are relative to."""
        return self.file if self.file.is_dir() else self.file.parent


Rows = Iterator[tuple[Place, Row]]


def read_rows(path: Path, *, split: str | None = None) -> Rows:
    """Read the rows of a file or folder, as they are asked for.

    What is in them is not checked.

    Raises:
        DatasetError: it cannot be read, or has no such split. Some of this shows only while rows
            are taken.
        MissingExtra: a package is not installed that reads this kind of file.
    """
    try:
        folder = stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if folder:
        return _read_folder(path, split)
    if split is not None:
        raise DatasetError(f"the data set {path} has no splits; leave out split={split!r}")
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, [path])
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_json_lines(path)


def _read_folder(path: Path, split: str | None) -> Rows:
    if (path / "dataset_dict.json").is_file() or (path / "dataset_info.json").is_file():
        return _read_saved(path, split)
    parts: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(path.rglob("*.parquet")):
        named = _PART.fullmatch(file.stem)
        parts[named.group(1) if named else ""].append(file)
    if not parts:
        raise DatasetError(
            f"the data set {path} is a folder with neither Parquet files "
            "nor what save_to_disk of datasets writes"
        )
    if list(parts) == [""] and split is None:
        return _read_parquet(path, parts[""])
    return _read_parquet(path, parts[_chosen(path, [name for name in parts if name], split)])


def _chosen(path: Path, splits: Iterable[str], split: str | None) -> str:
    names = list(splits)
    if not names:
        raise DatasetError(f"the data set {path} has no splits; leave out split={split!r}")
    if split is None and len(names) == 1:
        return names[0]
    if split in names:
        return str(split)
    problem = f"has no split {split!r}" if split is not None else "has several splits"
    raise DatasetError(f"the data set {path} {problem}; give split= one of {', '.join(names)}")


def _read_json_lines(path: Path) -> Rows:
    try:
        # utf-8-sig: editors on Windows begin a file with a mark
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            place = Place(path, "line", number, number)
            yield place, _json_object(place, line)


def _json_object(place: Place, line: str) -> Row:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise DatasetError(f"{place}: not JSON ({error})") from None
    except RecursionError:
        raise DatasetError(f"{place}: not JSON that can be read (nested too deeply)") from None
    if not isinstance(fields, dict):
        raise DatasetError(f"{place}: a JSON object is needed, not {type(fields).__name__}")
    return fields


def _read_csv(path: Path) -> Rows:
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if len(set(header)) < len(header):
                raise DatasetError(f"{path}, line 1: two columns have the same name")
            for number, cells in enumerate(filter(None, reader), 1):
                line = reader.line_num
                place = Place(path, "line", line, number)
                if len(cells) != len(header):
                    raise DatasetError(
                        f"{place}: {len(cells)} cells, but the header has {len(header)}"
                    )
                pairs = zip(header, cells, strict=True)
                yield place, {name: _cell(place, name, cell) for name, cell in pairs}
    except csv.Error as error:
        # the limit of the module csv holds for the whole process: not ours to change
        raise DatasetError(
            f"{path}, after line {line}: {error}; is it CSV? Large cells need another format"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None


def _cell(place: Place, name: str, cell: str) -> Any:
    if not cell.strip():
        return None  # CSV cannot tell an empty text from none
    if name not in LISTS:
        return cell
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise DatasetError(
            f'{place}: field {name!r}: write a JSON list, such as ["a", "b"], not {cell[:80]!r}'
        )
    return found


def _read_parquet(path: Path, files: list[Path]) -> Rows:
    pa, parquet = _module("pyarrow", path), _module("pyarrow.parquet", path)
    number = 0  # goes on from file to file: the files of a folder are one data set
    for file in files:
        try:
            with parquet.ParquetFile(file) as opened:
                count = 0
                for batch in opened.iter_batches(batch_size=_BATCH):
                    for row in batch.to_pylist():
                        number, count = number + 1, count + 1
                        yield Place(file, "row", count, number), row
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _unreadable(file, error) from None


def _read_saved(path: Path, split: str | None) -> Rows:
    datasets, pa = _module("datasets", path), _module("pyarrow", path)
    try:
        loaded = datasets.load_from_disk(str(path))
        if isinstance(loaded, datasets.DatasetDict):
            loaded = loaded[_chosen(path, loaded, split)]
        elif split not in {None, str(loaded.split)}:
            raise DatasetError(f"the data set {path} has no split {split!r}; leave it out")
        classes = {
            name: kind
            for name, kind in loaded.features.items()
            if isinstance(kind, datasets.ClassLabel)
        }
        number = 0
        # as Arrow keeps them: pictures stay the bytes that were saved, in whatever column, and no
        # cache is written
        for batch in loaded.with_format("arrow").iter(batch_size=_BATCH):
            for row in batch.to_pylist():
                number += 1
                named = {name: _class(kind, row[name]) for name, kind in classes.items()}
                yield Place(path, "row", number, number), row | named
    except DatasetError:
        raise
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None


def _class(kind: Any, value: int | None) -> str | None:
    # -1 stands for "not told"
    return None if value is None or value < 0 else str(kind.int2str(value))


def _module(name: str, path: Path) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtra(error.name or name, "data", f"the data set {path}") from error


def _unreadable(path: Path, error: Exception) -> DatasetError:
    if isinstance(error, UnicodeDecodeError):
        reason = "it is not UTF-8 text"
    else:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    return DatasetError(f"the data set {path} cannot be read: {reason}")
