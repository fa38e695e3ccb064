"""Of lessons that say the same in other words the later is left out, if the first does its work."""

from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import TedMemory
from ted_memory.distill.nodes import verify
from ted_memory.distill.nodes.verify import MOST_ALIKE
from ted_memory.learner import Learner
from tests.distill.scripts import CODES, add, critique, prompt_of, student, teacher, thing_in
from tests.learner.worlds import complain, episode, propose

OTHER_WORDS = "give the code {code} and nothing else"


def understands(messages: list[BaseMessage]) -> str:
    """Follow a lesson about the thing that is asked for, whatever its words."""
    thing, prompt = thing_in(str(messages[-1].text)), prompt_of(messages)
    known = (
        f"about {thing}: " in prompt
        and CODES[thing] in prompt.split(f"about {thing}: ")[1].split("\n")[0]
    )
    return CODES[thing] if known else "no idea"


def in_other_words(messages: list[BaseMessage]) -> str:
    thing = thing_in(prompt_of(messages))
    return critique(add(OTHER_WORDS.format(code=CODES[thing]), f"somebody asked about {thing}"))


async def texts_after(
    memory: TedMemory, thing: str, script: Any = in_other_words, **options: Any
) -> list[str]:
    """Let a user complain about a thing and a learner learn from it; return the set's texts."""
    await complain(memory, [episode(thing, 7, principal="dora")])
    model = student(understands)
    asked = teacher(script)
    report = await Learner(memory, student=model, teacher=asked, **options).run(until_empty=True)
    assert sum(report.outcomes.values()) == 1
    assert len(asked.asked) == 2, (
        "a solution and a critique: what is left out is not asked for again"
    )
    return [e.text for e in await memory.load()]


async def test_a_lesson_that_waits_is_not_said_again_in_other_words(memory: TedMemory) -> None:
    await propose(memory, "apples", "figs")
    assert await texts_after(memory, "apples") == ["say c000", f"say {CODES['figs']}"]
    assert (await memory.store.episodes.traffic(memory.namespace)).counts["nothing"] == 1
    assert len(await memory.store.episodes.archived(memory.namespace)) == 1, (
        "the episode is evidence on it"
    )


@pytest.mark.parametrize("said", [{"says": "say c999"}, {"says": "be polite"}])
async def test_one_that_does_not_do_its_work_is_no_reason_to_leave_a_lesson_out(
    memory: TedMemory, said: dict[str, str]
) -> None:
    await propose(memory, "apples", **said)
    assert await texts_after(memory, "apples") == [
        said["says"],
        "give the code c000 and nothing else",
    ]


@pytest.mark.parametrize(("most", "lessons"), [(MOST_ALIKE, 3), (1, 4)], ids=["", "control"])
async def test_one_less_alike_that_does_its_work_is_enough(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch, most: int, lessons: int
) -> None:
    monkeypatch.setattr(verify, "MOST_ALIKE", most)
    for code in ("c998", "c997"):
        await propose(memory, "apples", says=OTHER_WORDS.format(code=code))
    await propose(memory, "apples")
    assert len(await texts_after(memory, "apples")) == lessons


async def test_a_lesson_about_something_else_is_kept(memory: TedMemory) -> None:
    await propose(memory, "figs")
    assert len(await texts_after(memory, "apples")) == 2


async def test_without_verification_both_would_stand_there(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""

    async def all_of_them(findings: Any, _: Any) -> tuple[Any, str]:
        return findings, ""

    monkeypatch.setattr(verify, "_without_what_was_said", all_of_them)
    await propose(memory, "apples")
    assert len(await texts_after(memory, "apples")) == 2
