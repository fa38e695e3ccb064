"""Data sets as files: what is read, and what a message says about what can't be."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ted_memory.datasets import read_samples
from ted_memory.errors import DatasetError

PNG = b"\x89PNG\r\n\x1a\n0000"
PNG_TEXT = base64.b64encode(PNG).decode()


def _file(folder: Path, *lines: Any) -> Path:
    path = folder / "data.jsonl"
    path.write_text(
        "\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines), encoding="utf-8"
    )
    return path


def test_a_line_is_a_sample(tmp_path: Path) -> None:
    line = {
        "id": "a",
        "input": "1+1?",
        "reference": 2,
        "solution": "2",
        "choices": ["1", "2"],
        "category": "sums",
    }
    second = {
        "input": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    }
    first, other = read_samples(_file(tmp_path, line, "", second))
    assert (first.id, first.reference, first.choices, first.category) == (
        "a",
        "2",
        ("1", "2"),
        "sums",
    )
    assert (other.id, other.text, other.reference) == ("3", "Be brief.\nHi", None)


def test_numbers_may_stand_where_text_is_needed(tmp_path: Path) -> None:
    [sample] = read_samples(_file(tmp_path, {"id": 7, "input": "?", "reference": 0.5}))
    assert (sample.id, sample.reference) == ("7", "0.5")


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    path = _file(tmp_path, *({"input": f"{i}?"} for i in range(5)))
    assert [s.id for s in read_samples(path, limit=2)] == ["1", "2"]


def test_images_are_paths_urls_and_base64(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.jpg").write_bytes(b"jpeg")
    images = [
        "a.png",
        "b.jpg",
        "https://example.org/c.png",
        f"data:image/gif;base64,{PNG_TEXT}",
        PNG_TEXT,
    ]
    [sample] = read_samples(_file(tmp_path, {"input": "What is this?", "images": images}))
    assert sample.images == (
        f"data:image/png;base64,{PNG_TEXT}",
        f"data:image/jpeg;base64,{base64.b64encode(b'jpeg').decode()}",
        "https://example.org/c.png",
        f"data:image/gif;base64,{PNG_TEXT}",
        f"data:image/png;base64,{PNG_TEXT}",
    )


GOOD = {"input": "1+1?"}
MALFORMED: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "not JSON"),
    "a list": ([], "a JSON object is needed"),
    "no input": ({"id": "a"}, "field 'input'"),
    "empty input": ({"input": " "}, "field 'input' is empty"),
    "input of a wrong type": ({"input": 7}, "field 'input'"),
    "an unknown role": ({"input": [{"role": "tool", "content": "x"}]}, "field 'input'"),
    "an unknown field": ({"input": "?", "answer": "2"}, "field 'answer'"),
    "choices as text": ({"input": "?", "choices": "AB"}, "field 'choices'"),
    "images as text": ({"input": "?", "images": "a.png"}, "field 'images'"),
    "an image that is a number": ({"input": "?", "images": [1]}, "field 'images'"),
    "an image that is not there": ({"input": "?", "images": ["no.png"]}, "field 'images'"),
    "a reference of a wrong type": ({"input": "?", "reference": ["2"]}, "field 'reference'"),
    "an id of a wrong type": ({"id": ["a"], "input": "?"}, "field 'id'"),
    "half a character": ('{"input": "\\ud800"}', "field 'input'"),
}


@pytest.mark.parametrize(("line", "told"), MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_named_with_file_line_and_field(
    tmp_path: Path, line: Any, told: str
) -> None:
    path = _file(tmp_path, GOOD, line)
    with pytest.raises(DatasetError) as failure:
        read_samples(path)
    assert f"{path}, line 2" in str(failure.value)
    assert told in str(failure.value)
    assert "\n" not in str(failure.value)


def test_ids_that_stand_twice_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"samples 1 and 3: field 'id' is 'a' in both"):
        read_samples(_file(tmp_path, {"id": "a", "input": "?"}, GOOD, {"id": "a", "input": "!"}))


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        read_samples(tmp_path / "none.jsonl")
    with pytest.raises(DatasetError, match="no samples"):
        read_samples(_file(tmp_path, "", " "))
    (tmp_path / "latin").write_bytes(b'{"input": "\xe9"}')
    with pytest.raises(DatasetError, match="not UTF-8"):
        read_samples(tmp_path / "latin")
