"""Data sets: JSON Lines, one sample a line."""

import base64
import json
import mimetypes
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ted_memory.errors import DatasetError
from ted_memory.models import Sample


def read_samples(path: str | Path, *, limit: int | None = None) -> list[Sample]:
    """Return the samples of a JSON Lines file.

    A line is ``{"id", "input": text or messages, "reference"?, "solution"?, "choices"?, "images"?, "category"?}``.
    Without an id the line's number is the id. Images are http(s) or ``data:`` URLs, bare base64 of a PNG, or paths
    relative to the file; files are read now.

    Raises:
        DatasetError: the file cannot be read, is empty, or a line is malformed; names line and field.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DatasetError(f"the data set {path} cannot be read: {reason}") from None
    samples = [_sample(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not samples:
        raise DatasetError(f"the data set {path} has no samples; write one JSON object a line")
    lines_of: dict[str, int] = {}
    for number, sample in enumerate(samples, 1):
        if sample.id in lines_of:
            raise DatasetError(
                f"{path}, samples {lines_of[sample.id]} and {number}: field 'id' is {sample.id!r} in both"
            )
        lines_of[sample.id] = number
    return samples[:limit]


def _sample(path: Path, number: int, line: str) -> Sample:
    where = f"{path}, line {number}"
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise DatasetError(f"{where}: not JSON ({error})") from None
    if not isinstance(fields, dict):
        raise DatasetError(f"{where}: a JSON object is needed, not {type(fields).__name__}")
    fields = {"id": str(number), **fields}
    if isinstance(fields["id"], int):
        fields["id"] = str(fields["id"])
    if isinstance(fields.get("reference"), int | float):
        fields["reference"] = str(fields["reference"])
    if isinstance(fields.get("images"), list):
        fields["images"] = [_image(where, path.parent, image) for image in fields["images"]]
    try:
        return Sample.model_validate(fields)
    except ValidationError as error:
        raise DatasetError(f"{where}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    # of a union's alternatives only the field's name is worth telling
    field = str(first["loc"][0]) if first["loc"] else ""
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"field {field!r}: {message}" if field else message


def _image(where: str, folder: Path, image: Any) -> str:
    if not isinstance(image, str):
        raise DatasetError(f"{where}: field 'images': text is needed, not {type(image).__name__}")
    if image.startswith(("http://", "https://", "data:")):
        return image
    file = folder / image
    try:
        if len(image) < 4096 and file.is_file():
            kind = mimetypes.guess_type(file.name)[0] or "image/png"
            return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
    except OSError as error:
        raise DatasetError(f"{where}: field 'images': {file} cannot be read ({error.strerror})") from None
    try:
        if base64.b64decode(image, validate=True).startswith(b"\x89PNG"):
            return f"data:image/png;base64,{image}"
    except ValueError:
        pass
    raise DatasetError(f"{where}: field 'images': there is no file {str(file)[:200]!r}")
