"""Data sets: from rows of any kind to samples."""

import base64
import binascii
import mimetypes
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ted_memory.datasets.mappings import Mapping, find_mapping
from ted_memory.datasets.rows import Place, Row, read_rows
from ted_memory.errors import DatasetError
from ted_memory.models import Sample

_KINDS = ("image/png", "image/jpeg", "image/gif", "image/webp")
_NEEDED = "a PNG, JPEG, GIF or WEBP is needed"
_LONGEST_PATH = 4096  # characters; what is longer is an image as base64, or nothing


def read_samples(
    path: str | Path,
    *,
    limit: int | None = None,
    mapping: str | Mapping = "auto",
    split: str | None = None,
) -> list[Sample]:
    """Read the samples of a data set; no more than `limit` rows are read.

    The path tells what it is: a .csv file with a header, a .parquet file or a folder of them, a
    folder that ``save_to_disk`` of the package datasets wrote; anything else is JSON Lines. A
    folder with several splits needs `split`. Parquet and saved data sets need the extra
    ``ted-memory[data]``.

    A row is ``{"id", "input": text or messages, "reference"?, "solution"?, "choices"?, "images"?,
    "category"?}``. Without an id the row's number is the id. Images are http(s) or ``data:`` URLs,
    bare base64 of a PNG, JPEG, GIF or WEBP, paths relative to the file, or ``{"bytes", "path"}`` as
    Hugging Face keeps them; files are read now. `mapping` says how other columns become these:
    "mathvision", "visualpuzzles", "ted" for none, or a function from a row to a sample's fields.
    "auto" picks one by the first row's columns.

    Raises:
        DatasetError: it cannot be read, is empty, or a row is malformed; names row and field.
        MissingExtra: a package is not installed that reads this kind of file.
        SettingsError: there is no such mapping.
    """
    path = Path(path)
    if limit is not None and limit < 0:
        raise DatasetError(f"limit is {limit}; give how many samples to read, or None for all")
    chosen = find_mapping(mapping, ())  # a wrong name is told before a large file is opened
    samples: list[Sample] = []
    for place, row in islice(read_rows(path, split=split), limit):
        if not samples:
            chosen = find_mapping(mapping, row)
        samples.append(_sample(place, row, chosen))
    if not samples and limit != 0:
        lines = path.is_file() and path.suffix.lower() not in {".csv", ".parquet"}
        advice = "write one JSON object a line" if lines else "give it at least one row"
        raise DatasetError(f"the data set {path} has no samples; {advice}")
    _check_ids(path, samples)
    return samples


def _check_ids(path: Path, samples: list[Sample]) -> None:
    numbers: dict[str, int] = {}
    for number, sample in enumerate(samples, 1):
        if sample.id in numbers:
            raise DatasetError(
                f"{path}, samples {numbers[sample.id]} and {number}: "
                f"field 'id' is {sample.id!r} in both"
            )
        numbers[sample.id] = number


def _sample(place: Place, row: Row, mapping: Mapping) -> Sample:
    try:
        fields = mapping(row)
    except KeyError as error:  # a user's own mapping
        raise DatasetError(f"{place}: field {error} is missing") from None
    except ValueError as error:
        raise DatasetError(f"{place}: {error}") from None
    if fields.get("id") is None:
        fields = {**fields, "id": str(place.number)}
    if isinstance(fields["id"], int):
        fields["id"] = str(fields["id"])
    if isinstance(fields.get("reference"), int | float):
        fields["reference"] = str(fields["reference"])
    if isinstance(fields.get("images"), list | tuple):
        fields["images"] = [_image(place, row, image) for image in fields["images"]]
    try:
        return Sample.model_validate(fields)
    except ValidationError as error:
        raise DatasetError(f"{place}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    # of a union's alternatives only the field's name is worth telling
    field = str(first["loc"][0]) if first["loc"] else ""
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"field {field!r}: {message}" if field else message


def _image(place: Place, row: Row, image: Any) -> str:
    try:
        return _url(place.folder, image)
    except ValueError as error:
        # a mapping hands on what a column holds: tell the column that a user can find
        column = next((name for name, value in row.items() if value is image), "images")
        raise DatasetError(f"{place}: field {column!r}: {error}") from None


def _url(folder: Path, image: Any) -> str:
    """Make an http(s) or ``data:`` URL of an image.

    Raises:
        ValueError: it is none, or of a kind that models do not take.
    """
    if isinstance(image, dict) and {"bytes", "path"} >= image.keys():
        image = _kept(image)
    if isinstance(image, bytes):
        return _data_url(image, _sniffed(image))
    if not isinstance(image, str):
        raise ValueError(f"text is needed, not {type(image).__name__}")
    if image.startswith(("http://", "https://", "data:")):
        return image
    file = folder / image
    url = _url_of_file(file) if len(image) < _LONGEST_PATH else None
    url = url or _url_of_base64(image)
    if url is None:
        raise ValueError(f"there is no file {str(file)[:200]!r}")
    return url


def _kept(image: dict[str, Any]) -> Any:
    """Take the bytes or the path that Hugging Face's data sets keep of an image."""
    content, path = image.get("bytes"), image.get("path")
    if content is None and path is None:
        raise ValueError("the image has neither bytes nor a path")
    return path if content is None else content


def _url_of_file(file: Path) -> str | None:
    """Read an image; None: there is no such file."""
    try:
        if not file.is_file():
            return None
        content = file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror})") from None
    # what it is counts, not how it is called: servers refuse a JPEG that says it is a PNG
    return _data_url(content, _sniffed(content) or mimetypes.guess_type(file.name)[0])


def _url_of_base64(text: str) -> str | None:
    """Name the kind of a bare base64 image; None: it is something else."""
    try:
        kind = _sniffed(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return None
    return f"data:{kind};base64,{text}" if kind else None


def _data_url(content: bytes, kind: str | None) -> str:
    if kind not in _KINDS:
        raise ValueError(f"this is no image that models take; {_NEEDED}")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _sniffed(content: bytes) -> str | None:
    """Tell the kind of an image by its first bytes."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    marks = {
        b"\x89PNG": "image/png",
        b"\xff\xd8\xff": "image/jpeg",
        b"GIF87a": "image/gif",
        b"GIF89a": "image/gif",
    }
    return next((kind for mark, kind in marks.items() if content.startswith(mark)), None)
