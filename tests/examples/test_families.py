"""Families of tasks: references pass their graders, rules do what they say, teachers are right."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from examples.families import FAMILIES, Family
from examples.families.__main__ import ORDER, write_table
from examples.families.arms import arms
from examples.families.measure import Measurement, add_differences
from examples.families.teacher import make_teacher
from ted_memory import Add, Sample
from ted_memory.distill.profiles import SMALL
from ted_memory.distill.proposals import Critique
from ted_memory.testing import ScriptedChatModel

FETCHED = {"bfcl", "intents", "machines", "dates"}  # their data are downloaded at first use
OFFLINE = [family for name, family in FAMILIES.items() if name not in FETCHED]
REPLIES, LOGLINES, TOOLS, MUSEUM = (
    FAMILIES[name] for name in ("replies", "loglines", "tools", "museum")
)


@pytest.mark.parametrize("family", OFFLINE, ids=lambda family: family.name)
def test_a_reference_is_right_and_silence_is_not(family: Family) -> None:
    for sample in (*family.read().train, *family.read().held_out):
        assert family.score(sample, sample.reference or "") == 1
        assert family.score(sample, "") == 0


@pytest.mark.parametrize("family", OFFLINE, ids=lambda family: family.name)
def test_what_is_held_out_can_be_learned_and_was_not_seen(family: Family) -> None:
    train, held_out = family.read()
    assert {s.text for s in train}.isdisjoint(s.text for s in held_out)
    assert {s.category for s in held_out} <= {s.category for s in train}
    assert family.read() == (train, held_out)
    assert {rule.kind for rule in family.rules} <= {"", *(s.category for s in train)}


def test_the_museum_has_two_letters_an_office() -> None:
    train, held_out = MUSEUM.read()
    offices = [s.reference for s in train]
    assert len(set(offices)) == 10
    assert all(offices.count(office) == 2 for office in set(offices))
    assert len(held_out) == 40


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ahoy from Brindle! We write soon.", 0.25),
        ("Ahoy from Brindle! It is in file F-25. Keep it rolling!", 0.75),
        ("It is in file F-25, and we answer within 14 days.", 0.5),
        ("Ahoy from Brindle! File F-25 or P-17, within 14 days. Keep it rolling!", 0.75),
    ],
)
def test_a_reply_is_graded_in_quarters(text: str, expected: float) -> None:
    sample = next(s for s in REPLIES.read().train if s.category == "refund")
    assert REPLIES.score(sample, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("KX | 12 | Hamm | Lena | S4", 0.75),
        ("KX | Hamm | 12 | Lena | S4 //ok", 0.75),
        ("12 boxes from Hamm //ok", 0.25),
    ],
)
def test_a_line_is_graded_in_quarters(text: str, expected: float) -> None:
    sample = Sample(id="1", input="x", reference="KX | 12 | Hamm | Lena | S4 //ok")
    assert LOGLINES.score(sample, text) == expected


async def measured(lessons: list[Add], family: Family = TOOLS) -> dict[str, Any]:
    assert family.student is not None
    train, held_out = family.read()
    measurement = Measurement(family, family.student(), held_out[:9])
    found = {arm.name: await measurement.arm(arm) for arm in await arms(family, train, lessons)}
    add_differences(found)
    return found


async def test_the_scripted_student_does_as_the_rules_say() -> None:
    figures = await measured(TOOLS.lessons)
    assert figures["none"]["accuracy"] < 0.2
    assert figures["all, system"]["accuracy"] == 1
    assert figures["best 1, user"]["accuracy"] == 1
    assert figures["all, system"]["difference"]["low"] > 0.5


@pytest.mark.parametrize(
    "lesson",
    [
        "answer find(Alder), pay(#, 1250), note(#).",
        "Always make sure that your calls are right.",
        "the right calls were three.",
    ],
)
async def test_labels_and_good_advice_do_nothing_for_it(lesson: str) -> None:
    figures = await measured([Add(text=lesson)])
    assert figures["all, system"]["accuracy"] <= 0.34


async def test_it_takes_a_rule_in_other_words() -> None:
    told = await measured([Add(text="Amounts go into pay in cents: 12.50 euros is 1250.")])
    assert told["all, system"]["accuracy"] > told["none"]["accuracy"]


def critic_prompt(sample: Sample, known: str = "(none)") -> list[Any]:
    return SMALL.prompts["critic"].messages(
        task=sample.text,
        reference=sample.reference or "",
        solution="(none)",
        attempts="- 5 x score 0: ?",
        experiences=known,
    )


@pytest.mark.parametrize("family", OFFLINE, ids=lambda family: family.name)
def test_the_teacher_answers_as_a_real_one_must(family: Family) -> None:
    teacher, sample = make_teacher(family), family.read().train[0]
    assert (
        teacher.invoke(
            [SystemMessage(SMALL.prompts["teacher"].variable), HumanMessage(sample.text)]
        ).text
        == sample.reference
    )
    critique = Critique.model_validate_json(str(teacher.invoke(critic_prompt(sample)).text))
    fitting = [rule for rule in family.rules if rule.fits(sample)]
    assert [edit.when for edit in critique.edits] == [rule.when for rule in fitting[:3]]
    tidied = teacher.invoke(
        SMALL.prompts["compactor"].messages(experiences="a1 answer X.", budget="9 lessons")
    )
    assert json.loads(str(tidied.text))["edits"] == []


def test_the_teacher_does_not_repeat_what_is_known() -> None:
    teacher, sample = make_teacher(TOOLS), TOOLS.read().train[0]
    first, *others = (rule for rule in TOOLS.rules if rule.fits(sample))
    critique = Critique.model_validate_json(
        str(teacher.invoke(critic_prompt(sample, f"a1 {first.text}")).text)
    )
    assert [edit.text for edit in critique.edits] == [rule.text for rule in others]


def test_the_teacher_takes_no_known_lessons_example_for_the_task() -> None:
    """A lesson may carry another sample's whole task, also a longer one."""
    lines = FAMILIES["loglines"]
    teacher, train = (
        make_teacher(lines),
        sorted(lines.read().train, key=lambda sample: len(sample.text)),
    )
    shortest, longest = (
        train[0],
        next(s for s in reversed(train) if s.category != train[0].category),
    )
    known = f"a1 When something: do it. Example: {longest.text} => {longest.reference}"
    critique = Critique.model_validate_json(
        str(teacher.invoke(critic_prompt(shortest, known)).text)
    )
    assert [edit.when for edit in critique.edits] == ["", "", shortest.category]


def test_the_teacher_asked_again_proposes_one_rule_in_the_words_of_the_task() -> None:
    teacher, sample = make_teacher(MUSEUM), MUSEUM.read().train[0]
    prompt = critic_prompt(sample)
    first = str(teacher.invoke(prompt).text)
    again = [*prompt, AIMessage(first), HumanMessage("It did not pass. Write a better one.")]
    [edit] = Critique.model_validate_json(str(teacher.invoke(again).text)).edits
    assert edit.when.startswith(json.loads(first)["edits"][0]["when"])
    assert edit.when != json.loads(first)["edits"][0]["when"]


def test_the_teacher_writes_an_example_where_the_prompt_has_a_field_for_it() -> None:
    teacher = make_teacher(REPLIES)
    sample = REPLIES.read().train[0]
    rule = next(rule for rule in REPLIES.rules if rule.kind == sample.category)
    system, task = critic_prompt(sample)
    plain = json.loads(str(teacher.invoke([system, task]).text))
    assert "comparison" not in plain
    assert not any("example" in edit for edit in plain["edits"])
    fields = SystemMessage(
        f"{system.text}\n- comparison: where they part.\n- example: one worked example."
    )
    richer = json.loads(str(teacher.invoke([fields, task]).text))
    assert richer["comparison"]
    assert richer["edits"][-1]["example"] == rule.example


async def test_the_scripted_student_of_methods_follows_procedures_and_is_led_astray_by_labels() -> (
    None
):
    methods = FAMILIES["methods"]
    right = await measured(methods.lessons, methods)
    labels = await measured(
        [Add(text=f"answer {verdict}.") for verdict in ("none", "plane", "hold")], methods
    )
    vague = await measured([Add(text="Think well about the 30 days.")], methods)
    assert right["all, system"]["accuracy"] == 1
    assert right["best 1, user"]["accuracy"] == 1
    assert labels["all, system"]["accuracy"] <= 0.5
    assert vague["all, system"]["accuracy"] == vague["none"]["accuracy"]


async def test_each_arm_shows_what_its_name_says() -> None:
    train, held_out = LOGLINES.read()
    found = {arm.name: arm for arm in await arms(LOGLINES, train, LOGLINES.lessons)}
    sample = held_out[0]
    prompts = {name: (await arm.prompt(sample))[0] for name, arm in found.items()}
    blocks = {name: "\n".join(str(m.text) for m in messages) for name, messages in prompts.items()}
    assert blocks["none"] == sample.text
    assert set(found) == set(ORDER)
    assert blocks["all, user"].count("\n- ") == len(LOGLINES.rules)
    assert blocks["best 1, user"].count("\n- ") == 3
    assert blocks["3 retrieved, user"].count("Answer: ") == 3
    nearest = next(s for s in train if s.category == sample.category)
    assert f"{nearest.reference}".split(" | ")[0] in blocks["1 retrieved, user"]
    assert [m.type for m in prompts["1 retrieved, turns"]] == ["human", "ai", "human"]
    assert all(len(messages) == 1 for name, messages in prompts.items() if name.endswith("user"))


async def test_the_same_prompt_is_asked_for_once() -> None:
    student = ScriptedChatModel(script=lambda _: "x")
    measurement = Measurement(LOGLINES, student, LOGLINES.read().held_out[:2])
    [none, *_] = await arms(LOGLINES, [], [])
    await measurement.arm(none)
    await measurement.arm(none)
    assert len(student.asked) == 2


def test_the_table_has_a_row_for_each_family_and_student(tmp_path: Path) -> None:
    arm = {"accuracy": 0.5, "tokens": 0, "answers": []}
    for name in ("tools", "museum"):
        figures = {
            "family": name,
            "student": "scripted",
            "held_out": 9,
            "arms": {"best 1, user": arm, "none": arm},
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(figures), encoding="utf-8")
    write_table(tmp_path)
    rows = [
        line
        for line in (tmp_path / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    assert rows[0] == "| family | student | held out | none | best 1, user |"
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| museum", "| tools"]
