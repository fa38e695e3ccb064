"""Published data sets, in small: their columns become samples that can be asked and graded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from ted_memory.datasets import read_samples
from ted_memory.datasets.mappings import MAPPINGS
from ted_memory.errors import DatasetError, SettingsError
from ted_memory.grading.graders import auto, grade
from ted_memory.llm.messages import sample_messages
from ted_memory.models import Sample
from tests.evaluation.pictures import data_url, picture, seen_colours

SUM = {
    "id": "1", "question": "How much is the sum in the picture? <image1>", "options": [],
    "image": "images/1.png", "answer": "12", "solution": "7 + 5", "level": 2,
    "subject": "arithmetic",
}  # fmt: skip
CHOICE = {
    "id": "2", "question": "Of 1 and 23 and 45, which digit is red?",
    "options": ["1", "2", "3", "4", "5"], "image": "images/1.png", "answer": "C",
    "solution": "", "level": 1, "subject": "counting",
}  # fmt: skip
IN_PICTURE = CHOICE | {
    "id": "3",
    "options": ["A", "B", "C", "D", "E"],
    "question": "Which figure is red?",
}
MATHVISION = [SUM, CHOICE, IN_PICTURE]

WORDS = {
    "id": 3, "category": "spatial", "question": "How much cheese?",
    "options": ["32", "35", "37", "40"], "answer": "C",
}  # fmt: skip
FIGURES = {
    "id": 1, "category": "inductive", "question": "Which option completes it?",
    "options": None, "answer": "D",
}  # fmt: skip
# one without options comes first, as in what is published
VISUALPUZZLES = [FIGURES, WORDS]


def _table(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _mathvision_lines(folder: Path) -> Path:
    (folder / "images").mkdir()
    (folder / "images" / "1.png").write_bytes(picture("red"))
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, MATHVISION)), encoding="utf-8")
    return folder / "test.jsonl"


def _mathvision_parquet(folder: Path) -> Path:
    # as on the Hub: the path of a file that is not there, and the picture itself
    shown = {"decoded_image": [{"bytes": picture("red"), "path": "1.png"}] * 3}
    (folder / "data").mkdir()
    parquet.write_table(
        pa.table(_table(MATHVISION) | shown),
        folder / "data" / "test-00000-of-00001-3532b8d3.parquet",
    )
    return folder


def _mathvision_saved(folder: Path) -> Path:
    shown = {"decoded_image": [{"bytes": picture("red"), "path": None}] * 3}
    made = datasets.Dataset.from_dict(_table(MATHVISION) | shown).cast_column(
        "decoded_image", datasets.Image()
    )
    made.save_to_disk(folder / "set")
    return folder / "set"


def _visualpuzzles(folder: Path) -> Path:
    shown = {"image": [{"bytes": picture("blue"), "path": None}] * 2}
    made = datasets.Dataset.from_dict(_table(VISUALPUZZLES) | shown).cast_column(
        "image", datasets.Image()
    )
    datasets.DatasetDict(train=made).save_to_disk(folder / "set")
    return folder / "set"


def _asked(sample: Sample) -> str:
    return str(sample_messages(sample)[-1].text)


async def _score(sample: Sample, answer: str) -> float:
    return (await grade(auto, sample, answer, str(sample.reference)))[0]


@pytest.mark.parametrize("write", [_mathvision_lines, _mathvision_parquet, _mathvision_saved])
def test_mathvision_is_read_however_it_comes(write: Callable[[Path], Path], tmp_path: Path) -> None:
    free, choice, figures = read_samples(write(tmp_path))
    assert (free.id, free.reference, free.solution, free.category) == (
        "1",
        "12",
        "7 + 5",
        "arithmetic",
    )
    assert free.input == f"{SUM['question']} Put the final answer in \\boxed{{}}."
    assert (free.choices, free.images) == ((), (data_url(picture("red")),))
    assert (choice.choices, choice.reference, choice.solution) == (
        ("1", "2", "3", "4", "5"),
        "C",
        None,
    )
    assert figures.choices == ("A", "B", "C", "D", "E")
    assert seen_colours(sample_messages(figures)) == ["red"]


def test_choices_are_shown_once_with_their_letters(tmp_path: Path) -> None:
    # each of these choices also stands in the question by chance
    _, choice, figures = read_samples(_mathvision_lines(tmp_path))
    assert _asked(choice).startswith(
        f"{CHOICE['question']} Answer with the letter of the right choice in \\boxed{{}}"
    )
    assert _asked(choice).count("Choices:\nA) 1\nB) 2\nC) 3\nD) 4\nE) 5") == 1
    assert _asked(choice).count("Choices:") == 1
    assert "Choices:" not in _asked(figures)


async def test_mathvision_is_graded_by_letter_text_and_number(tmp_path: Path) -> None:
    free, choice, figures = read_samples(_mathvision_lines(tmp_path))
    assert [await _score(free, x) for x in (r"So \boxed{12}", r"\boxed{12.0}", r"\boxed{13}")] == [
        1,
        1,
        0,
    ]
    said = (
        r"\boxed{C}",
        "The answer is C.",
        r"It is \boxed{3}.",
        r"\boxed{B}",
        r"\boxed{2}",
        "I can't tell",
    )
    assert [await _score(choice, x) for x in said] == [1, 1, 1, 0, 0, 0]
    assert [await _score(figures, x) for x in (r"\boxed{C}", "C", r"\boxed{D}")] == [1, 1, 0]


async def test_visualpuzzles_are_read_and_graded(tmp_path: Path) -> None:
    figures, words = read_samples(_visualpuzzles(tmp_path))
    assert (figures.id, figures.category, figures.choices, figures.reference) == (
        "1",
        "inductive",
        (),
        "D",
    )
    assert (
        figures.input
        == "Which option completes it? Answer with the letter of the right choice only."
    )
    assert figures.images == (data_url(picture("blue")),)
    assert [await _score(figures, x) for x in ("D", "d.", "Answer: D", "A", "Delta")] == [
        1,
        1,
        1,
        0,
        0,
    ]
    assert (words.choices, words.reference) == (("32", "35", "37", "40"), "C")
    assert "A) 32\nB) 35\nC) 37\nD) 40" in _asked(words)
    assert [await _score(words, x) for x in ("C", "(C)", "37", "B", "35")] == [1, 1, 1, 0, 0]


def test_a_mapping_may_be_named_or_given(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"question": "1+1?", "answer": 2}), encoding="utf-8")
    named = read_samples(path, mapping="mathvision")
    assert (named[0].id, named[0].reference, named[0].category) == ("1", "2", None)
    given = read_samples(
        path, mapping=lambda row: {"input": row["question"], "reference": row["answer"]}
    )
    assert (given[0].input, given[0].reference) == ("1+1?", "2")
    with pytest.raises(DatasetError, match="line 1: field 'prompt' is missing"):
        read_samples(path, mapping=lambda row: {"input": row["prompt"]})
    with pytest.raises(
        DatasetError, match=r"line 1: field 'input' is missing among 'question', 'answer'; name the"
    ):
        read_samples(path)
    with pytest.raises(
        SettingsError,
        match="no mapping 'mathvsion'; use one of auto, ted, mathvision, visualpuzzles",
    ):
        read_samples(path, mapping="mathvsion")


def test_null_in_our_own_columns_means_not_given(tmp_path: Path) -> None:
    columns = {
        "input": ["?"],
        "reference": [None],
        "choices": [None],
        "images": [None],
        "category": [None],
    }
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    [sample] = read_samples(tmp_path / "a.parquet")
    assert sample == Sample(id="1", input="?")


def test_our_own_columns_win_over_those_of_others() -> None:
    assert MAPPINGS["ted"]({"input": "?", "id": 1}) == {"input": "?", "id": 1}
    with pytest.raises(TypeError):
        MAPPINGS["mine"] = MAPPINGS["ted"]  # type: ignore[index]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no question": ({"question": None}, "field 'question' is missing"),
    "a question of a wrong type": (
        {"question": ["?"]},
        "field 'question': text is needed, not list",
    ),
    "no answer": ({"answer": None}, "field 'answer' is missing"),
    "options as text": ({"options": "A, B"}, "field 'options': a list is needed, not str"),
    "an option of a wrong type": (
        {"options": ["1", None]},
        "field 'options': text is needed, not NoneType",
    ),
    "no such picture": ({"image": "images/none.png"}, "field 'image': there is no file"),
    "a picture of a wrong type": ({"image": 5}, "field 'image': text is needed, not int"),
}


@pytest.mark.parametrize(("change", "told"), BAD.values(), ids=BAD)
def test_a_wrong_column_is_named_as_its_file_has_it(
    change: dict[str, Any], told: str, tmp_path: Path
) -> None:
    path = _mathvision_lines(tmp_path)
    path.write_text("\n".join(map(json.dumps, [SUM, CHOICE | change])), encoding="utf-8")
    with pytest.raises(DatasetError) as failure:
        read_samples(path)
    assert f"{path}, line 2: {told}" in str(failure.value)


def test_a_puzzle_without_its_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(WORDS | {"image": None}), encoding="utf-8")
    with pytest.raises(DatasetError, match="line 1: field 'image' is missing"):
        read_samples(path)


def test_blank_options_stand_in_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    for options in ([], ["", " "]):
        path.write_text(
            json.dumps(WORDS | {"options": options, "image": data_url(picture("red"))}),
            encoding="utf-8",
        )
        assert read_samples(path)[0].choices == ()
