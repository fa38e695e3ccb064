"""Data sets as CSV, Parquet and Hugging Face folders, written by the packages in common use."""

import base64
import builtins
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from ted_memory.datasets import read_samples
from ted_memory.errors import DatasetError, MissingExtra
from ted_memory.grading.graders import auto, grade
from ted_memory.llm.messages import sample_messages
from ted_memory.models import Sample
from ted_memory.testing import ScriptedChatModel
from tests.evaluation.pictures import COLOURS, data_url, picture, seen_colours

QUESTION = {"input": "What colour is this?", "choices": list(COLOURS)}


def _csv(folder: Path, *rows: list[Any]) -> Path:
    path = folder / "data.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def _saved(folder: Path, colours: list[str] | None = None, **more: list[Any]) -> Path:
    """Save questions about pictures; the reference is the colour, unless `more` has another."""
    shown = colours or list(COLOURS)
    columns = {name: [value] * len(shown) for name, value in QUESTION.items()}
    images = [[{"bytes": picture(colour), "path": None}] for colour in shown]
    kinds = {"images": datasets.List(datasets.Image())}
    made = datasets.Dataset.from_dict(columns | {"reference": shown, "images": images} | more)
    made.cast(datasets.Features(made.features | kinds)).save_to_disk(folder)
    return folder


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


async def _scores(samples: list[Sample]) -> list[float]:
    model = ScriptedChatModel(script=lambda messages: seen_colours(messages)[0])
    answers = [str(model.invoke(sample_messages(sample)).content) for sample in samples]
    return [
        (await grade(auto, sample, answer, str(sample.reference)))[0]
        for sample, answer in zip(samples, answers, strict=True)
    ]


def _refused(path: Path, **options: Any) -> str:
    with pytest.raises(DatasetError) as failure:
        read_samples(path, **options)
    assert "\n" not in str(failure.value)
    return str(failure.value)


async def test_a_model_sees_the_pictures_of_a_saved_data_set(tmp_path: Path) -> None:
    samples = read_samples(_saved(tmp_path / "set"))
    assert [s.images for s in samples] == [(data_url(picture(colour)),) for colour in COLOURS]
    assert await _scores(samples) == [1.0, 1.0, 1.0]


async def test_a_model_that_sees_another_picture_is_wrong(tmp_path: Path) -> None:
    # negative control of the test above: with the pictures in another order no answer is right
    samples = read_samples(
        _saved(tmp_path / "set", ["green", "blue", "red"], reference=list(COLOURS))
    )
    assert await _scores(samples) == [0.0, 0.0, 0.0]


async def test_a_column_of_single_pictures_stays_the_bytes_that_were_saved(tmp_path: Path) -> None:
    shown = picture("green", "JPEG")
    columns = {
        "id": [3],
        "category": ["spatial"],
        "question": ["Which?"],
        "options": [list(COLOURS)],
        "answer": ["B"],
    }
    made = datasets.Dataset.from_dict(columns | {"image": [{"bytes": shown, "path": "3.jpg"}]})
    made.cast_column("image", datasets.Image()).save_to_disk(tmp_path / "set")
    assert isinstance(
        datasets.load_from_disk(str(tmp_path / "set")).features["image"], datasets.Image
    )
    samples = read_samples(tmp_path / "set")
    assert samples[0].images == (data_url(shown, "image/jpeg"),)  # not one byte is encoded anew
    assert await _scores(samples) == [1.0]


def test_a_data_set_of_several_splits_needs_one(tmp_path: Path) -> None:
    names = {"train": "red", "test": "green"}
    splits = {
        name: datasets.Dataset.from_dict({"input": [f"Is it {colour}?"], "reference": ["yes"]})
        for name, colour in names.items()
    }
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "set")
    assert read_samples(tmp_path / "set", split="test")[0].text == "Is it green?"
    assert "has several splits; give split= one of train, test" in _refused(tmp_path / "set")
    assert "has no split 'dev'; give split= one of train, test" in _refused(
        tmp_path / "set", split="dev"
    )
    datasets.DatasetDict(test=splits["test"]).save_to_disk(tmp_path / "one")
    assert read_samples(tmp_path / "one")[0].text == "Is it green?"
    assert "has no split 'dev'" in _refused(tmp_path / "set" / "test", split="dev")


def test_names_of_classes_are_read_and_not_their_numbers(tmp_path: Path) -> None:
    kinds = datasets.Features(
        {"input": datasets.Value("string"), "category": datasets.ClassLabel(names=["sum", "set"])}
    )
    rows = {"input": ["1+1?", "Is 1 in {1}?", "?"], "category": [0, 1, -1]}
    datasets.Dataset.from_dict(rows, features=kinds).save_to_disk(tmp_path / "set")
    assert [s.category for s in read_samples(tmp_path / "set")] == ["sum", "set", None]


def test_reading_a_saved_data_set_writes_nothing(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "set")
    before = _files(tmp_path)
    code = (
        "import socket, sys\n"
        "from ted_memory.datasets import read_samples\n"
        "assert not {'datasets', 'pyarrow', 'pandas', 'PIL'} & set(sys.modules)\n"
        "def refuse(*_): raise AssertionError('a connection is made')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "print(len(read_samples(sys.argv[1])))\n"
    )
    home = {
        "HOME": str(tmp_path),
        "HF_HOME": str(tmp_path / "hub"),
        "PATH": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(folder)],
        cwd=tmp_path,
        env=home | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("3\n", "")
    assert _files(tmp_path) == before


def test_a_parquet_file_of_a_picture_data_set_is_read(tmp_path: Path) -> None:
    columns = {name: [value] * 2 for name, value in QUESTION.items()}
    images = [
        [{"bytes": picture("red"), "path": "a.png"}],
        [{"bytes": None, "path": "pictures/b.webp"}],
    ]
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "b.webp").write_bytes(picture("blue", "WEBP"))
    path = tmp_path / "data.parquet"
    parquet.write_table(
        pa.table(columns | {"id": [7, None], "images": images, "solution": [None, "look"]}), path
    )
    first, second = read_samples(path)
    assert (first.id, first.images, first.solution) == ("7", (data_url(picture("red")),), None)
    assert (second.id, second.images) == ("2", (data_url(picture("blue", "WEBP"), "image/webp"),))
    assert second.solution == "look"


def test_a_folder_of_parquet_files_is_one_data_set(tmp_path: Path) -> None:
    for name in ("a", "b"):
        parquet.write_table(
            pa.table({"input": [f"{name}1?", f"{name}2?"]}), tmp_path / f"{name}.parquet"
        )
    assert [(s.id, s.text) for s in read_samples(tmp_path)] == [
        ("1", "a1?"),
        ("2", "a2?"),
        ("3", "b1?"),
        ("4", "b2?"),
    ]
    assert "has no splits" in _refused(tmp_path, split="a")


def test_parquet_files_named_as_on_the_hub_have_splits(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("test-00000-of-00002", "test-00001-of-00002", "train-00000-of-00001"):
        parquet.write_table(
            pa.table({"input": [f"{name}?"]}), tmp_path / "data" / f"{name}.parquet"
        )
    assert "give split= one of test, train" in _refused(tmp_path)
    assert [s.text[:10] for s in read_samples(tmp_path, split="test")] == [
        "test-00000",
        "test-00001",
    ]


def test_no_more_rows_are_read_than_the_limit(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"input": ["a?"] * 3 + [" "]}), tmp_path / "data.parquet")
    assert len(read_samples(tmp_path / "data.parquet", limit=3)) == 3
    assert read_samples(tmp_path / "data.parquet", limit=0) == []
    assert "row 4: field 'input' is empty" in _refused(tmp_path / "data.parquet")
    assert "limit is -1" in _refused(tmp_path / "data.parquet", limit=-1)


def test_cells_of_a_csv_may_hold_lists(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture("red"))
    header = ["id", "input", "reference", "choices", "images", "solution"]
    listed = [json.dumps(list(COLOURS)), json.dumps(["a.png", "https://example.org/b.png"])]
    path = _csv(
        tmp_path,
        header,
        ["007", "Two\nlines, and a comma?", "1.50", *listed, ""],
        ["8", "?", "", "", "", "s"],
    )
    first, second = read_samples(path)
    assert (first.id, first.text, first.reference) == ("007", "Two\nlines, and a comma?", "1.50")
    assert (first.choices, first.solution) == (tuple(COLOURS), None)
    assert first.images == (data_url(picture("red")), "https://example.org/b.png")
    assert (second.choices, second.reference, second.images, second.solution) == ((), None, (), "s")


def test_a_csv_from_a_spreadsheet_begins_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"\xef\xbb\xbfinput,reference\r\n1+1?,2\r\n\r\n2+2?,4\r\n")
    assert [(s.id, s.text, s.reference) for s in read_samples(tmp_path / "data.csv")] == [
        ("1", "1+1?", "2"),
        ("2", "2+2?", "4"),
    ]


BAD_CSV = {
    "a list that is none": (
        "input,choices\n?,\"['a', 'b']\"\n",
        "line 2: field 'choices': write a JSON list",
    ),
    "too few cells": ("input,reference\n1?,2\n\n1?\n", "line 4: 1 cells, but the header has 2"),
    "too many cells": ("input\n1,5?\n", "line 2: 2 cells, but the header has 1"),
    "a name twice": ("input,input\n1?,2?\n", "line 1: two columns have the same name"),
    "an open quote": ('input\n"1?\n', "after line 1: unexpected end of data"),
    "an unknown column": ("input,answr\n1?,2\n", "line 2: field 'answr'"),
    "no input": (
        "question,answer\n1?,2\n",
        "line 2: field 'input' is missing among 'question', 'answer'",
    ),
    "no rows": ("input\n", "has no samples; give it at least one row"),
    "nothing": ("", "has no samples"),
}


@pytest.mark.parametrize(("text", "told"), BAD_CSV.values(), ids=BAD_CSV)
def test_what_is_wrong_in_a_csv_is_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "data.csv").write_text(text, encoding="utf-8")
    message = _refused(tmp_path / "data.csv")
    assert told in message
    assert str(tmp_path / "data.csv") in message


BAD_IMAGES: dict[str, tuple[Any, str]] = {
    "no picture": ({"bytes": b"%PDF-1.7", "path": "a.png"}, "a PNG, JPEG, GIF or WEBP is needed"),
    "nothing": ({"bytes": None, "path": None}, "neither bytes nor a path"),
    "a file that is not there": ({"bytes": None, "path": "no.png"}, "there is no file"),
}


@pytest.mark.parametrize(("image", "told"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_wrong_image_is_named_with_file_row_and_field(
    tmp_path: Path, image: Any, told: str
) -> None:
    good = {"bytes": picture("red"), "path": None}
    parquet.write_table(
        pa.table({"input": ["?", "?"], "images": [[good], [good, image]]}), tmp_path / "a.parquet"
    )
    assert f"{tmp_path / 'a.parquet'}, row 2: field 'images': " in _refused(tmp_path / "a.parquet")
    assert told in _refused(tmp_path / "a.parquet")


def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("no Parquet", encoding="utf-8")
    assert "a.parquet cannot be read: " in _refused(tmp_path / "a.parquet")
    assert "No such file" in _refused(tmp_path / "b.parquet")
    assert "has no splits" in _refused(tmp_path / "a.parquet", split="train")
    (tmp_path / "empty").mkdir()
    assert "neither Parquet files nor" in _refused(tmp_path / "empty")
    (tmp_path / "empty" / "dataset_info.json").write_text("{", encoding="utf-8")
    assert "empty cannot be read: " in _refused(tmp_path / "empty")


@pytest.mark.parametrize("package", ["datasets", "pyarrow"])
def test_a_missing_package_is_named_with_its_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _saved(tmp_path / "set") if package == "datasets" else tmp_path / "a.parquet"
    if package == "pyarrow":
        parquet.write_table(pa.table({"input": ["?"]}), path)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingExtra, match=rf'needs the package {package}; .*"ted-memory\[data\]"'
    ) as failure:
        read_samples(path)
    assert str(path) in str(failure.value)


def test_text_files_need_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        assert name.partition(".")[0] not in {"datasets", "pyarrow"}
        return imported(name, *rest)

    path = _csv(tmp_path, ["input"], ["1+1?"])
    for name in ("datasets", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert len(read_samples(path)) == 1


async def test_paths_urls_and_base64_stand_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "red.png").write_bytes(picture("red"))
    (tmp_path / "lies.png").write_bytes(picture("green", "JPEG"))
    bare = {
        kind: base64.b64encode(picture("blue", kind)).decode()
        for kind in ("PNG", "JPEG", "GIF", "WEBP")
    }
    images = [
        "pictures/red.png",
        "lies.png",
        data_url(picture("blue")),
        *bare.values(),
        "https://example.org/c.png",
    ]
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"input": "What is this?", "images": images}), encoding="utf-8")
    [sample] = read_samples(path)
    told = [image.partition(";")[0] for image in sample.images]
    assert told == [
        "data:image/png", "data:image/jpeg", "data:image/png",
        *(f"data:image/{kind.lower()}" for kind in bare), "https://example.org/c.png",
    ]  # fmt: skip
    here = sample.model_copy(update={"images": sample.images[:-1]})
    assert seen_colours(sample_messages(here)) == ["red", "green", *["blue"] * 5]


def test_base64_of_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(
        json.dumps({"input": "?", "images": [base64.b64encode(b"BM6").decode()]}), encoding="utf-8"
    )
    assert "line 1: field 'images': there is no file" in _refused(path)


def test_a_line_separator_within_text_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(
        json.dumps({"input": "a\u2028b\x85c"}, ensure_ascii=False) + "\r\n",
        encoding="utf-8",
        newline="",
    )
    assert read_samples(path)[0].text == "a\u2028b\x85c"
