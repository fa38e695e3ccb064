"""The report in a folder: for machines, for people, and whole or not at all."""

import errno
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from ted_memory import Add, TedMemory
from ted_memory.distill import Report
from ted_memory.distill.report import SetSize
from ted_memory.errors import InvalidInput, MissingExtra
from ted_memory.evaluation import Evaluation, compare_with_training, evaluate, write_report
from ted_memory.evaluation.markdown import plain
from ted_memory.evaluation.report import beside
from ted_memory.evaluation.results import Arm, CategoryResult, Difference, Failure
from ted_memory.llm.spend import Prices, RoleSpend, Spend
from ted_memory.models import ExperienceSet, Usage
from tests.distill.scripts import CODES, samples, student
from tests.evaluation.test_plots import CAPS, HOSTILE

PRICES = Prices(student_in=1.0, student_out=2.0, teacher_in=30.0, teacher_out=60.0, currency="EUR")
EMPTY = ExperienceSet(namespace="test", epoch="", version=0, caps=CAPS)

LEARNING = Report(
    namespace="test", version=4, samples=12, learned=4, set_aside=1,
    experiences=SetSize(active=4, tokens=100),
    spend=Spend(
        student=RoleSpend(calls=60, tokens_in=1_000_000, tokens_out=500_000),
        teacher=RoleSpend(calls=9, tokens_in=100_000, tokens_out=50_000),
    ),
    seconds=1.5, promoted=True, gate=None, resumed=0, collapsed=0,
)  # fmt: skip


def evaluation(**fields: Any) -> Evaluation:
    given: dict[str, Any] = {
        "namespace": "test", "version": 0, "samples": 8,
        "without": Arm(accuracy=0.25), "with_": Arm(accuracy=0.75),
        "difference": Difference(mean=0.5, low=0.1, high=0.8), "mcnemar_p": 0.03, "spend": Spend(),
    }  # fmt: skip
    return Evaluation(**{**given, **fields})


async def report_of(memory: TedMemory, folder: Path, **options: Any) -> list[Path]:
    """Measure a memory and write all that there is to tell."""
    result = await evaluate(
        samples(), student=student(), memory=memory, checkpoints=2, prices=PRICES
    )
    snapshot = await memory.load()
    usage = (
        {snapshot.experiences[0].id: Usage(weight=20, weighted_difference=12)}
        if len(snapshot)
        else {}
    )
    return write_report(
        folder,
        result,
        snapshot=snapshot,
        usage=usage,
        log=await memory.log(limit=snapshot.version),
        **options,
    )


async def teach(memory: TedMemory, count: int = 3) -> None:
    for thing in list(CODES)[:count]:
        await memory.commit(
            [Add(text=f"say {CODES[thing]}", when=f"asked about {thing}")], author="me"
        )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rendered(path: Path) -> str:
    return MarkdownIt("commonmark").enable("table").render(path.read_text(encoding="utf-8"))


def rows_of(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", one, re.DOTALL) for one in rows]


async def test_all_files_are_written_and_named(scratch: TedMemory, tmp_path: Path) -> None:
    await teach(scratch)
    paths = await report_of(scratch, tmp_path / "a" / "b")
    assert [path.name for path in paths] == [
        "report.json", "report.md", "learning_curve.png", "lift.png", "set_size.png",
    ]  # fmt: skip
    assert {path.name for path in paths} == set(contents(tmp_path / "a" / "b"))
    for path in paths[2:]:
        with Image.open(path) as opened:
            assert opened.size > (300, 200)
        assert f"]({path.name})" in paths[1].read_text()
        assert f'src="{path.name}"' in rendered(paths[1])


async def test_the_json_has_all_figures(scratch: TedMemory, tmp_path: Path) -> None:
    await teach(scratch)
    training = compare_with_training(5.0, 10, 2.5)
    paths = await report_of(scratch, tmp_path, learning=LEARNING, training=training, prices=PRICES)
    fields = json.loads(paths[0].read_text(encoding="utf-8"))
    told = fields["evaluation"]
    assert {
        "samples",
        "without",
        "with",
        "difference",
        "mcnemar_p",
        "spend",
        "repeats",
        "curve",
        "cost",
    } <= set(told)
    assert (told["with"]["accuracy"], told["categories"][0]["with"]) == (0.75, 1.0)
    assert [point["version"] for point in told["curve"]] == [0, 1, 3]
    assert (fields["version"], fields["caps"]["max_experiences"]) == (3, 50)
    assert [s["active"] for s in fields["sizes"]] == [0, 1, 2, 3]
    assert [(e["text"], e["measured"]) for e in fields["experiences"]][:2] == [
        ("say c000", True),
        ("say c001", False),
    ]
    assert (
        fields["experiences"][0]["low"]
        < fields["experiences"][0]["lift"]
        < fields["experiences"][0]["high"]
    )
    assert fields["learning"]["cost"] == pytest.approx(1.0 + 1.0 + 3.0 + 3.0)
    assert (fields["learning"]["samples"], fields["learning"]["currency"]) == (12, "EUR")
    assert fields["training"]["times_cheaper"] == 5.0


async def test_the_tables_say_what_was_measured(scratch: TedMemory, tmp_path: Path) -> None:
    await teach(scratch)
    paths = await report_of(scratch, tmp_path, learning=LEARNING, prices=PRICES)
    rows = rows_of(rendered(paths[1]))
    assert ["12", "0.000", "0.750", "+0.750"] in [one[:4] for one in rows]
    assert ["apples", "3", "0.000", "1.000", "+1.000"] in rows
    assert ["dates", "3", "0.000", "0.000", "+0.000"] in rows
    assert ["3", "3", "0.750", "+0.2500"] in rows, "the last point of the curve"
    assert ["0", "0", "0.000", "-"] in rows, "no lesson, no gain of one"
    assert ["learning, teacher", "9", "100,000", "50,000", "0"] in rows
    assert ["measuring, student", "36"] in [one[:2] for one in rows]
    lessons = [one for one in rows if len(one) == 7]
    assert [one[-1] for one in lessons[1:]] == [
        f"When asked about {t}: say {CODES[t]}" for t in list(CODES)[:3]
    ]
    # the prior's precision 1 / 0.2^2 and the evidence's 20 / 0.25 add up to 105
    mean, half = 12 / 0.25 / 105, 1.644854 / math.sqrt(105)
    assert lessons[1][1:4] == [
        f"{mean:+.3f}",
        f"{mean - half:+.3f} to {mean + half:+.3f}",
        "active",
    ]
    assert lessons[2][1:3] == ["-", "-"], "not measured"
    text = paths[1].read_text(encoding="utf-8")
    assert "Learning cost 8.00 EUR." in text
    assert re.search(r"Measuring cost 0\.00\d+ EUR\.", text)


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (Difference(mean=0.5, low=0.1, high=0.8), "student is better"),
        (Difference(mean=-0.5, low=-0.8, high=-0.1), "**worse**"),
        (Difference(mean=0.2, low=-0.1, high=0.5), "show no difference"),
        (Difference(mean=0.0, low=0.0, high=0.0), "show no difference"),
    ],
)
def test_the_verdict_follows_the_interval(
    tmp_path: Path, difference: Difference, verdict: str
) -> None:
    written = write_report(
        tmp_path, evaluation(difference=difference), snapshot=EMPTY, usage={}, log=()
    )
    assert verdict in written[1].read_text()


async def test_hostile_texts_stay_texts(scratch: TedMemory, tmp_path: Path) -> None:
    await scratch.commit(
        [Add(text=HOSTILE, when="](javascript:x) ![i](http://x/y.png) *b* _c_ ~~d~~")], author="me"
    )
    hostile = evaluation(
        version=1,
        categories=(
            CategoryResult(category=HOSTILE, samples=8, without=0.25, with_=0.75, difference=0.5),
        ),
        failures=(
            Failure(
                sample="| a |\n\n# b",
                reason="half a \ud800 character, `code` <img src=x onerror=y>",
            ),
        ),
    )
    now, log = await scratch.load(), await scratch.log()
    paths = write_report(tmp_path, hostile, snapshot=now, usage={}, log=log)
    html = rendered(paths[1])
    assert "<script" not in html
    assert "<img src=x" not in html
    assert re.findall(r'<img src="([^"]*)"', html) == ["lift.png", "set_size.png"]
    assert set(re.findall(r'href="([^"]*)"', html)) == {"report.json"}
    assert not re.search(r"<(code|em|strong|s)\b", html)
    rows = rows_of(html)
    line = " ".join(HOSTILE.replace("\x1b", " ").replace("\u202e", " ").split())
    shown = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert [shown, "8", "0.250", "0.750", "+0.500"] in rows
    assert [one for one in rows if len(one) == 7][1][-1].endswith(f"*b* _c_ ~~d~~: {shown}")
    assert rows[-1] == ["| a | # b", "half a character, `code` &lt;img src=x onerror=y&gt;"]
    assert {len(one) for one in rows} == {2, 4, 5, 6, 7}, "no cell fell apart"
    fields = json.loads(paths[0].read_text(encoding="utf-8"))
    assert fields["experiences"][0]["text"] == now.experiences[0].text, "machines get it as it is"


@pytest.mark.parametrize(
    "text", ["a|b", "a\\|b", "a\\\\|b", "`a|b`", "<b>x</b>", "&lt;", "a  \n b", "[x](y)", "**x**"]
)
def test_any_text_is_shown_literally_in_a_table(text: str) -> None:
    html = (
        MarkdownIt("commonmark")
        .enable("table")
        .render(f"| x | y |\n| --- | --- |\n| {plain(text)} | z |\n")
    )
    literal = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert rows_of(html)[1] == [literal, "z"]


def test_an_empty_memory_has_a_report_without_plots(tmp_path: Path) -> None:
    paths = write_report(tmp_path, evaluation(), snapshot=EMPTY, usage={}, log=())
    assert [path.name for path in paths] == ["report.json", "report.md"]
    assert "There are none." in paths[1].read_text()
    assert "![" not in paths[1].read_text()


def test_samples_without_a_category_are_shown_with_a_dash(tmp_path: Path) -> None:
    categories = (
        CategoryResult(category=None, samples=8, without=0.25, with_=0.75, difference=0.5),
    )
    paths = write_report(
        tmp_path, evaluation(categories=categories), snapshot=EMPTY, usage={}, log=()
    )
    assert ["-", "8", "0.250", "0.750", "+0.500"] in rows_of(rendered(paths[1]))


async def test_a_set_that_changed_after_it_was_measured_is_told(
    scratch: TedMemory, tmp_path: Path
) -> None:
    await teach(scratch)
    log, now = await scratch.log(), await scratch.load()
    assert (
        "changed since"
        in write_report(tmp_path, evaluation(version=2), snapshot=now, usage={}, log=log)[
            1
        ].read_text()
    )
    same = write_report(tmp_path, evaluation(version=3), snapshot=now, usage={}, log=log)[
        1
    ].read_text()
    assert "changed since" not in same
    assert re.search(r"version 3 \(\d{4}-\d\d-\d\d \d\d:\d\d UTC\)", same)


@pytest.mark.parametrize(
    ("learning", "outcome", "reached"),
    [
        (1.0, "20 times cheaper", True),
        (10.0, "2 times cheaper", False),
        (4.0, "5 times cheaper", False),  # the claim is more than 5
        (20.0, "cost the same", False),
        (50.0, "2.5 times dearer", False),
        (0.0, "beyond any factor", True),
    ],
)
def test_the_comparison_with_training_is_told_whichever_way_it_comes_out(
    tmp_path: Path, learning: float, outcome: str, reached: bool
) -> None:
    text = "\n".join(beside(compare_with_training(learning, 8, 2.5), "EUR"))
    assert outcome in text
    assert "arXiv 2603.26778" in text
    assert "more than 5 times" in text
    assert ("does **not** bear that out" in text) is not reached
    assert "20.00 EUR" in text
    training = compare_with_training(learning, 8, 2.5)
    paths = write_report(
        tmp_path, evaluation(), snapshot=EMPTY, usage={}, log=(), training=training
    )
    assert outcome in paths[1].read_text()


async def test_without_matplotlib_nothing_is_written_unless_plots_are_not_wanted(
    scratch: TedMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await teach(scratch)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"ted-memory\[plots\]"):
        await report_of(scratch, tmp_path / "wanted")
    assert not (tmp_path / "wanted").exists()
    paths = await report_of(scratch, tmp_path / "unwanted", plots=False)
    assert [path.name for path in paths] == ["report.json", "report.md"]
    assert "![" not in paths[1].read_text()


async def test_a_full_disk_leaves_the_older_report_as_it_was(
    scratch: TedMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await teach(scratch, 2)
    await report_of(scratch, tmp_path)
    before = contents(tmp_path)
    await teach(scratch)
    whole, written = Path.write_bytes, list[str]()

    def full(path: Path, content: bytes) -> int:
        written.append(path.name)
        if len(written) == 3:
            whole(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InvalidInput, match="No space left"):
        await report_of(scratch, tmp_path)
    assert len(written) == 3
    assert contents(tmp_path) == before


async def test_a_report_that_is_stopped_while_writing_leaves_nothing_half_done(
    scratch: TedMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await teach(scratch)

    def stopped(path: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        await report_of(scratch, tmp_path)
    assert contents(tmp_path) == {}


def test_a_folder_that_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for folder in (file, file / "below"):
        with pytest.raises(InvalidInput, match="cannot be written"):
            write_report(folder, evaluation(), snapshot=EMPTY, usage={}, log=())
    assert file.read_text() == "mine"


async def test_a_second_report_replaces_the_first_and_leaves_other_files_alone(
    scratch: TedMemory, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    await teach(scratch, 1)
    await report_of(scratch, tmp_path)
    await teach(scratch)
    paths = await report_of(scratch, tmp_path)
    assert len(json.loads(paths[0].read_text())["experiences"]) == 4
    assert set(contents(tmp_path)) == {*(path.name for path in paths), "notes.txt"}
