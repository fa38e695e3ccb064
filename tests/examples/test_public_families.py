"""Families of other authors' data, read from files of the same form as the downloads."""

import json
import zipfile
from pathlib import Path

import pytest

from examples.families import FAMILIES
from examples.families.bfcl import ANSWERS, TASKS, WHEEL
from examples.families.public import CODES, MACHINES, PER_INTENT, PER_MACHINE
from examples.families.teacher import make_teacher
from ted_memory import Experience
from ted_memory.experience.rendering import render_block


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TED_MEMORY_MODELS", str(tmp_path))
    return tmp_path


def keep_task(folder: Path, name: str, examples: list[dict[str, object]]) -> None:
    path = folder / "bbh" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"examples": examples}), encoding="utf-8")


def test_intents_are_asked_for_by_codes_that_say_nothing(kept: Path) -> None:
    intents = list(CODES)
    examples: list[dict[str, object]] = [
        {
            "input": f"Utterance: please do {name} {i}.",
            "target_scores": {n: int(n == name) for n in intents},
        }
        for name in intents
        for i in range(12)
    ]
    keep_task(kept, "intent_recognition", examples)
    train, held_out = FAMILIES["intents"].read()
    assert (len(train), len(held_out)) == (
        len(intents) * PER_INTENT[0],
        len(intents) * PER_INTENT[1],
    )
    assert {s.text for s in train}.isdisjoint(s.text for s in held_out)
    assert all(s.reference == CODES[s.category or ""][0] for s in (*train, *held_out))
    assert make_teacher(FAMILIES["intents"]).invoke(train[0].text).text == train[0].reference


def test_machines_have_lists_that_a_grader_reads(kept: Path) -> None:
    for task in MACHINES:
        lists = [{"input": f"[{i}, 2, 3, 4]", "target": [f"[{i}]"]} for i in range(20)]
        keep_task(kept, f"list_functions/{task}", [{"input": "[]", "target": "[]"}, *lists])
    family = FAMILIES["machines"]
    train, held_out = family.read()
    assert (len(train), len(held_out)) == (
        len(MACHINES) * PER_MACHINE[0],
        len(MACHINES) * PER_MACHINE[1],
    )
    sample = held_out[0]
    assert family.score(sample, f"It gives {sample.reference}.") == 1
    assert family.score(sample, "[7, 7]") == 0
    assert family.score(sample, "no list") == 0


async def test_turns_that_begin_with_a_forgotten_step_are_found(kept: Path) -> None:
    calls = [
        "lockDoors(unlock=False)",
        "pressBrakePedal(pedalPosition=1.0)",
        "startEngine(ignitionMode='START')",
    ]
    rows = [
        ("multi_turn_base_1", [("How are you?", ["ls()"]), ("Start the engine, please.", calls)]),
        (
            "multi_turn_base_2",
            [("Start it, the doors are locked.", ["startEngine(ignitionMode='START')"])],
        ),
    ]
    path = kept / "bfcl" / WHEEL
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as wheel:
        tasks = [
            {"id": id, "question": [[{"role": "user", "content": said}] for said, _ in turns]}
            for id, turns in rows
        ]
        answers = [{"id": id, "ground_truth": [made for _, made in turns]} for id, turns in rows]
        wheel.writestr(TASKS, "\n".join(map(json.dumps, tasks)))
        wheel.writestr(ANSWERS, "\n".join(map(json.dumps, answers)))
    family = FAMILIES["bfcl"]
    [sample], held_out = family.read()
    assert (sample.id, sample.category, held_out) == ("multi_turn_base_1-1", "engine", [])
    assert family.student
    forgetful = str(family.student().invoke(sample.text).text)
    assert family.score(sample, forgetful) == pytest.approx(1 / 3)
    rule = next(rule for rule in family.rules if rule.kind == "engine")
    lesson = Experience(id="a1", text=rule.text, when=rule.when)
    asked = f"{sample.text}\n\n{render_block([lesson])}"
    assert family.score(sample, str(family.student().invoke(asked).text)) == 1
