"""The paper's protocol on a small data set of its shape: real files and pictures."""

import base64
import io
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import typer
from PIL import Image

from examples import paper
from ted_memory.testing import Reply
from tests.cli.helpdesk import serve_in_thread
from tests.command_line import run_script
from tests.evaluation.pictures import COLOURS, picture

ROOT = Path(__file__).parent.parent
PLACES = {"red": "harbour", "green": "forest", "blue": "tower"}
MEANINGS = {"red": r"\frac{7}{2}", "green": "11", "blue": "13"}


def rows(each: int) -> list[dict[str, Any]]:
    """Flags whose colour only the picture shows, and whose meaning only a lesson tells."""
    return [
        {
            "id": f"{colour}-{number}",
            "question": f"Flag {number} flies at the {PLACES[colour]}. "
            "For which number does it stand? <image1>",
            "options": [],
            "image": f"images/{colour}.png",
            "decoded_image": {"bytes": picture(colour), "path": None},
            "answer": MEANINGS[colour],
            "solution": None,
            "level": 1,
            "subject": PLACES[colour],
        }
        for colour in COLOURS
        for number in range(each)
    ]


def made(each: int) -> datasets.Dataset:
    table = {name: [row[name] for row in rows(each)] for name in rows(1)[0]}
    return datasets.Dataset.from_dict(table).cast_column("decoded_image", datasets.Image())


def seen(request: dict[str, Any]) -> str:
    """Decode a request's picture, as the server of a model that sees would, and name its colour."""
    content = [
        block
        for m in request["messages"]
        if isinstance(m["content"], list)
        for block in m["content"]
    ]
    [url] = {block["image_url"]["url"] for block in content if block["type"] == "image_url"}
    with Image.open(
        io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"), validate=True))
    ) as image:
        pixel = image.convert("RGB").getpixel((4, 4))
    return next(name for name, rgb in COLOURS.items() if rgb == pixel)


def answer(request: dict[str, Any]) -> Reply | str:
    """Play a student that sees colours and knows no flags, and a teacher that knows both."""
    if request["model"] == "studnet":
        return Reply(status=404, text="The model studnet does not exist")
    colour = seen(request)
    prompt = json.dumps(request["messages"])
    if request["model"] == "teacher":
        if "edits" not in prompt:
            return rf"\boxed{{{MEANINGS[colour]}}}"
        edit = {
            "op": "add",
            "ids": [],
            "when": f"flag, {PLACES[colour]}",
            "text": f"{colour} is {3.5 if colour == 'red' else MEANINGS[colour]}",
        }
        return json.dumps({"reason": "flags", "edits": [edit], "helped": [], "hurt": []})
    lesson = re.search(rf"{colour} is ([\d.]+)", prompt)
    return rf"\boxed{{{lesson.group(1) if lesson else 0}}}"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serve_in_thread(answer) as url:
        yield url


@pytest.fixture
def run(server: str, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def start(*args: str | Path, student: str = "student") -> subprocess.CompletedProcess[str]:
        options = ["--home", str(tmp_path / "home")]
        for role, name in (("student", student), ("teacher", "teacher")):
            options += [f"--{role}", name, f"--{role}-base-url", server]
        return run_script("examples.paper", *map(str, args), *options, cwd=ROOT, TERM="dumb")

    return start


def test_a_saved_data_set_is_learned_from_and_measured_beside_the_paper(
    run: Any, tmp_path: Path
) -> None:
    made(8).save_to_disk(tmp_path / "set")
    done = run(tmp_path / "set", "--train", "9", "--report", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    found = re.search(
        r"yours: student +15 +0\.000 +([\d.]+) +\+[\d.]+  \(95 % interval \+([\d.]+) to",
        done.stdout,
    )
    assert found, done.stdout
    assert float(found.group(1)) >= 0.6
    assert float(found.group(2)) > 0
    assert re.search(r"the paper: Qwen3-VL-8B +0\.627 +0\.702 +\+0\.075", done.stdout)
    assert "The paper's models differ from yours" in done.stdout
    assert "9 samples: " in done.stdout
    assert (
        json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))["evaluation"][
            "samples"
        ]
        == 15
    )


def test_splits_and_json_with_the_student_of_the_paper(run: Any, tmp_path: Path) -> None:
    # the small split is also part of the large one, as MathVision's are
    datasets.DatasetDict(testmini=made(3), test=made(5)).save_to_disk(tmp_path / "set")
    splits = ("--train-split", "testmini", "--test-split", "test", "--train", "9")
    done = run(
        tmp_path / "set",
        *splits,
        "--test-limit",
        "5",
        "--repeats",
        "2",
        "--json",
        student="qwen3-vl-8b-it",
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["benchmark"] == "mathvision"
    assert told["paper"] == {
        "student": "Qwen3-VL-8B",
        "before": 0.627,
        "after": 0.702,
        "same_student": True,
    }
    assert (told["learning"]["samples"], told["learning"]["gate"]) == (9, None)
    assert (told["evaluation"]["samples"], told["evaluation"]["repeats"]) == (5, 2)
    assert (told["evaluation"]["without"]["accuracy"], told["evaluation"]["with"]["accuracy"]) == (
        0,
        1,
    )


def test_training_and_test_have_no_task_in_common_and_a_seed_repeats(tmp_path: Path) -> None:
    datasets.DatasetDict(testmini=made(2), test=made(4)).save_to_disk(tmp_path / "set")

    def parts(splits: tuple[str, str], seed: int, limit: int | None = None) -> paper.Parts:
        return paper.read_parts(
            tmp_path / "set", "mathvision", splits, train=4, limit=limit, seed=seed
        )

    for splits in (("testmini", "test"), ("test", "test")):
        train, test = parts(splits, 0)
        assert (len(train), len(test)) == (4, 8)
        assert not {s.id for s in train} & {s.id for s in test}
        assert parts(splits, 0) == (train, test)
        assert parts(splits, 1).train != train
        limited = parts(splits, 0, limit=3)
        assert (limited.train, len(limited.test)) == (train, 3)
        assert {s.id for s in limited.test} < {s.id for s in test}


def _puzzles(folder: Path) -> None:
    columns = {"category": "spatial", "question": "?", "options": None, "answer": "A"}
    lines = [columns | {"id": n, "image": f"data:image/png;base64,{n}"} for n in range(3)]
    (folder / "set").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


def test_visual_puzzles_are_known_by_their_columns_and_graded_by_letter(tmp_path: Path) -> None:
    _puzzles(tmp_path)
    assert paper.find_benchmark(tmp_path / "set", None, None) == "visualpuzzles"
    assert paper.choose_grader(None, "visualpuzzles") == "auto"


@pytest.mark.parametrize(
    ("said", "right"),
    [
        (r"\boxed{C}", True),
        (r"\boxed{\text{C}}", True),
        (r"\boxed{C. 3}", True),
        (r"\boxed{3}", True),
        ("B", False),
    ],
)
async def test_mathvision_takes_a_choice_however_it_is_written(said: str, right: bool) -> None:
    given = {"choices": ["1", "2", "3"]}
    assert await paper.letter_or_formula(inputs=given, outputs=said, reference_outputs="C") is right


BAD: dict[str, tuple[list[str], str]] = {
    "no such split": (
        ["--train-split", "trian"],
        "has no split 'trian'; give split= one of testmini, test",
    ),
    "several splits": ([], "has several splits"),
    "a test split alone": (["--test-split", "test"], "--test-split needs --train-split"),
    "too few samples": (
        ["--train-split", "test"],
        "too few samples with an answer: 12 to choose --train 100 from",
    ),
    "none left": (
        ["--train-split", "testmini", "--train", "6"],
        "then 0 to measure on; give a smaller --train",
    ),
    "an unknown benchmark": (
        ["--benchmark", "mathvista"],
        "there is no benchmark 'mathvista'; use one of mathvision",
    ),
    "an unknown grader": (["--train-split", "test", "--grader", "mth"], "there is no grader 'mth'"),
    "a wrong setting": (
        ["--train-split", "test", "--train", "2", "--selection", "some"],
        "setting selection='some'",
    ),
}


@pytest.mark.parametrize(("args", "told"), BAD.values(), ids=BAD)
def test_bad_input_is_told_in_one_line(
    args: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    datasets.DatasetDict(testmini=made(2), test=made(4)).save_to_disk(tmp_path / "set")
    capsys.readouterr()  # datasets shows its progress
    assert _in_process(str(tmp_path / "set"), *args) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("paper: ")
    assert told in line


def test_other_columns_and_missing_files_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.jsonl").write_text('{"input": "1+1?", "reference": "2"}', encoding="utf-8")
    for name, told in (
        ("own.jsonl", "are those of no benchmark"),
        ("none.jsonl", "cannot be read: No such file"),
    ):
        assert _in_process(str(tmp_path / name)) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert told in line


def test_a_wrong_model_is_told_in_one_line(run: Any, tmp_path: Path) -> None:
    made(2).save_to_disk(tmp_path / "set")
    done = run(tmp_path / "set", "--train", "2", student="studnet")
    assert done.returncode == 1
    assert "studnet does not exist" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def _in_process(*args: str) -> int:
    """Run the program here: nothing that is tested this way comes to call a model."""
    app = typer.Typer()
    app.command()(paper.main)
    with pytest.raises(SystemExit) as ended:
        app([*args, "--student", "a", "--teacher", "b"])
    return int(ended.value.code or 0)
