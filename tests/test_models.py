"""The small real models of the demo: a student that follows lessons, a teacher that writes them.

They are fetched once (about 1.6 GB) and kept in the user's cache folder. TED_MEMORY_SKIP_MODELS=1
leaves them out.
"""

import json
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from langchain_core.language_models import BaseChatModel

from examples.demo import DATA, SETTINGS, Choice, models
from examples.local_models import FetchError
from ted_memory import Add, TedMemory, open_memory
from ted_memory.datasets import read_samples
from ted_memory.distill import distill
from ted_memory.evaluation import evaluate
from ted_memory.llm.calls import model_name
from ted_memory.testing import ScriptedChatModel

pytestmark = [
    # the models' clients keep connections, each for one loop
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.models,
    pytest.mark.xdist_group("models"),
    pytest.mark.timeout(1200),  # the first time they are fetched
    pytest.mark.skipif(
        bool(os.environ.get("TED_MEMORY_SKIP_MODELS")),
        reason="TED_MEMORY_SKIP_MODELS is set: no real models",
    ),
]

TOPICS = ("voucher", "invoice")
TRAIN = [s for s in read_samples(DATA / "train.jsonl") if s.category in TOPICS][:2]
OTHERS = [s for s in read_samples(DATA / "heldout.jsonl") if s.category in TOPICS]
# greedy: what is asserted must not hang on a throw of dice
QUICK = {"temperature": 0.0, "measure_presentation": False}

Pair = tuple[BaseChatModel, BaseChatModel]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair() -> AsyncIterator[Pair]:
    try:
        with models(Choice(None, None), Choice(None, None)) as both:
            yield both
            for model in both:
                await model.root_async_client.close()
    except FetchError as error:
        pytest.fail(f"{error} To leave these tests out, set TED_MEMORY_SKIP_MODELS=1.")


@pytest.fixture
def memory(tmp_path_factory: pytest.TempPathFactory) -> TedMemory:
    home = str(tmp_path_factory.mktemp("home"))
    return open_memory(home=home, namespace="helpdesk", **SETTINGS | QUICK | {"validation": 0.0})


async def test_the_real_student_follows_a_right_lesson(pair: Pair, memory: TedMemory) -> None:
    async with memory:
        rules = {s.category: s.reference for s in OTHERS}
        await memory.commit(
            [Add(when=topic, text=f"answer {team}.") for topic, team in rules.items()], author="me"
        )
        result = await evaluate(OTHERS, student=pair[0], memory=memory)
    assert result.without.accuracy <= 0.5
    assert result.with_.accuracy >= 0.8


async def test_the_real_teacher_teaches_the_real_student(pair: Pair, memory: TedMemory) -> None:
    student, teacher = pair
    async with memory:
        report = await distill(
            TRAIN, student=student, teacher=teacher, memory=memory, name="helpdesk"
        )
        assert report.learned >= 1, report.reasons
        result = await evaluate(OTHERS, student=student, memory=memory)
    assert result.difference.mean > 0.2
    assert report.spend.teacher.calls >= len(TRAIN)
    assert report.spend.teacher.tokens_out > 0
    assert report.spend.student.estimated == 0, "the servers count the tokens themselves"


async def test_lessons_of_one_real_student_are_tested_on_the_next(
    pair: Pair, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """When the 1.5B replaces the 0.5B, what helps it too is held; the rest is proposed again."""
    student, larger = pair
    right, wrong = (
        Add(when="gift voucher", text="answer team R."),
        Add(when="invoice", text="answer team K."),
    )
    silent = ScriptedChatModel(
        script=lambda _: json.dumps({"reason": "", "edits": []}), name_told="nobody"
    )
    home = str(tmp_path_factory.mktemp("home"))
    async with open_memory(
        home=home, namespace="swap", **SETTINGS | QUICK | {"rollouts": 1}
    ) as memory:
        await memory.commit([right, wrong], author="me", models={"student": model_name(student)})
        report = await distill(TRAIN, student=larger, teacher=silent, memory=memory, name="swap")
        now = await memory.load()
    assert {lesson.lesson: lesson.verdict for lesson in report.carried} == {
        "When gift voucher: answer team R.": "held",
        "When invoice: answer team K.": "hurt",
    }
    assert [e.when for e in now.active] == ["gift voucher"]
    assert [e.when for e in now.proposed] == ["invoice"]
    assert now.models["student"] == model_name(larger)
