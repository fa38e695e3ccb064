"""Is an attempt right?"""

import asyncio
import functools
import importlib.util
import multiprocessing
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableLambda
from openevals.exact import exact_match, exact_match_async
from openevals.llm import create_async_llm_as_judge, create_llm_as_judge

from ted_memory import Sample
from ted_memory.errors import MissingExtra, SettingsError
from ted_memory.grading import formulas
from ted_memory.grading.graders import GRADERS, find_grader, grade
from ted_memory.testing import ScriptedChatModel, wait_until

QUESTION = Sample(id="q", input="?")


async def score(grader: Any, answer: str, reference: str, choices: tuple[str, ...] = ()) -> float:
    return (
        await grade(
            find_grader(grader), Sample(id="q", input="?", choices=choices), answer, reference
        )
    )[0]


@pytest.mark.parametrize(
    ("grader", "answer", "reference", "right"),
    [
        ("exact", "  the ANSWER is: Paris.  ", "paris", True),
        ("exact", "Paris, I think", "Paris", False),
        ("exact", "", "Paris", False),
        ("contains", "It is Paris, of course", "Paris", True),
        ("contains", "Comparison", "Paris", False),
        ("contains", "anything", "", False),
        ("numeric", "10 - 5 = 5", "5", True),
        ("numeric", "1,234.50", "1234.5", True),
        ("numeric", "The answer is 1/3", "0.33333333", True),
        ("numeric", "-3", "3", False),
        ("numeric", "none", "3", False),
        ("numeric", "1/0", "3", False),
        ("numeric", "9" * 400 + "/3", "3", False),
        ("auto", "It costs 7.0", "7", True),
        ("auto", "It costs seven", "7", False),
        ("auto", "seven", "Seven", True),
    ],
)
async def test_graders_by_name(grader: str, answer: str, reference: str, right: bool) -> None:
    assert await score(grader, answer, reference) == float(right)


TEAMS = ("Team A", "Team A Plus", "Team B")


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("Team B", "Team B", True),
        ("C", "Team B", True),
        ("(C)", "Team B", True),
        ("C. because of the fan", "Team B", True),
        ("Answer: C", "C", True),
        ("I would say team b!", "Team B", True),
        ("Team A Plus, surely", "Team A Plus", True),
        ("Team A Plus, surely", "Team A", False),
        ("Team A or Team B", "Team B", False),
        ("D", "Team B", False),
        ("no idea", "Team B", False),
        ("A big mistake", "Team A", False),
    ],
)
async def test_a_choice_is_named_by_text_or_letter_and_only_one_counts(
    answer: str, reference: str, right: bool
) -> None:
    assert await score("auto", answer, reference, TEAMS) == float(right)


async def test_a_grader_may_be_async_and_may_answer_as_openevals_does() -> None:
    async def judge(*, inputs: Any, outputs: str, reference_outputs: str) -> dict[str, Any]:
        return {
            "key": "correctness",
            "score": 0.5,
            "comment": f"{inputs['input']}{outputs}{reference_outputs}",
        }

    assert await grade(judge, QUESTION, "a", "b") == (0.5, "?ab")


NO_SCORES: list[Any] = [
    *(None, "good", "1", 2, -0.1, float("nan"), float("inf"), 1 + 0j, object(), b"1"),
    *({"key": "x"}, {"score": "1"}, {"score": None}, {"score": float("nan")}),
    *(
        [],
        [1.0, 1.0],
        [{"score": 1}, {"score": 1}],
        [None],
        np.float64("nan"),
        np.float32(1.5),
        np.int64(-1),
    ),
]


@pytest.mark.parametrize("given", NO_SCORES, ids=lambda given: type(given).__name__)
async def test_what_is_not_a_score_between_zero_and_one_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="not a score between 0 and 1"):
        await grade(lambda **_: given, QUESTION, "a", "b")


def test_a_grader_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(SettingsError, match="auto, exact, contains"):
        find_grader("magic")
    assert set(GRADERS) >= {"auto", "exact", "contains", "numeric", "multiple_choice", "math"}


# Mathematics.

EQUAL = [
    ("0.5", "1/2"),
    (r"\frac{1}{2}", "1/2"),
    (r"So it is \boxed{50\%}", "1/2"),
    ("50%", "50"),
    ("x = 3", "3"),
    ("3", "x=3"),
    (r"\{2, 1\}", "{1,2}"),
    ("[1, 2)", "[1,2)"),
    (r"5\text{ cm}", "5"),
    ("5 apples", "5"),
    ("Answer: 1,000", "1000"),
    ("(x+1)^2", "x^2+2x+1"),
    (r"2\pi", "2*pi"),
    ("2\u03c0", r"2\pi"),
    ("10**3", "1e3"),
    ("**4**", "4"),
    ("The total is 12 apples", "12"),
    ("Let me think.\nSo we get $x = 7$.", "7"),
    (r"\boxed{\frac{\sqrt{12}}{2}}", r"\sqrt{3}"),
    ("Paris", "Paris"),
]
UNEQUAL = [
    ("4", "3"),
    ("-3", "3"),
    ("0.33", "1/3"),
    ("2 or 3", "2"),
    ("(1, 2)", "[1, 2)"),
    (r"\{1, 2\}", r"\{1, 2, 3\}"),
    ("x = 4", "x = 3"),
    ("x + 1", "x - 1"),
    ("London", "Paris"),
    ("", "3"),
    ("1/0", "3"),
    ("9**9**9", "5"),
    ("7" * 501, "7"),
    ("(" * 20_000, "5"),
]


@pytest.fixture(scope="module")
def _comparer_ends() -> Iterator[None]:
    yield
    formulas.COMPARER.close()


@pytest.mark.usefixtures("_comparer_ends")
@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [*((*pair, True) for pair in EQUAL), *((*pair, False) for pair in UNEQUAL)],
)
async def test_mathematics_is_equal_however_it_is_written(
    answer: str, reference: str, right: bool
) -> None:
    assert await score("math", answer, reference) == float(right)


@pytest.mark.usefixtures("_comparer_ends")
async def test_what_computes_for_ever_is_ended_and_told_and_the_next_answer_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(formulas, "COMPARING", 0.5)
    with pytest.raises(ValueError, match=r"could not be compared with the reference in 0\.5 s"):
        await score("math", "9^{9^{9}}", "5")
    monkeypatch.undo()
    assert await score("math", "1/2", "0.5") == 1


@pytest.mark.usefixtures("_comparer_ends")
async def test_mathematics_does_not_block_a_loop_and_works_in_any_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(formulas, "COMPARING", 0.5)
    slow = asyncio.create_task(score("math", "9^{9^{9}}", "5"))
    beats = 0
    while not slow.done():
        await asyncio.sleep(0.01)
        beats += 1
    assert beats > 10
    with pytest.raises(ValueError, match="could not be compared"):
        await slow
    monkeypatch.undo()
    results: list[float] = []
    threads = [
        threading.Thread(target=lambda: results.append(asyncio.run(score("math", "1/2", "0.5"))))
        for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert results == [1.0, 1.0]


@pytest.mark.usefixtures("_comparer_ends")
async def test_a_comparing_process_that_was_killed_is_started_again() -> None:
    assert await score("math", "1/2", "0.5") == 1
    process = formulas.COMPARER._process
    assert process is not None
    process.kill()
    process.wait()
    assert await score("math", "1/2", "0.5") == 1


def _compare_in_child(results: Any) -> None:
    results.put(formulas.COMPARER.equal("1/2", "0.5"))
    formulas.COMPARER.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("own", [True, False])
def test_a_forked_child_compares_in_a_process_of_its_own(
    monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """Without that it waits for the end of the one that its parent uses."""
    formulas.COMPARER.close()
    assert formulas.COMPARER.equal("1/2", "0.5")
    process = formulas.COMPARER._process
    assert process is not None
    if not own:
        monkeypatch.setattr(formulas._Comparer, "leave_to_parent", lambda self: None)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_compare_in_child, args=(results,), daemon=True)
    child.start()
    try:
        assert results.get(timeout=60 if own else 3)
        assert own
        child.join(30)
        assert process.poll() is None, "the parent's goes on"
        assert formulas.COMPARER.equal("1/2", "0.5")
    except queue.Empty:
        assert not own
    finally:
        child.kill()
        formulas.COMPARER.close()


async def test_a_comparing_process_that_does_not_start_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    formulas.COMPARER.close()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ValueError, match="does not start"):
        await score("math", "1/2", "0.5")


def test_the_comparing_process_ends_with_the_one_that_started_it() -> None:
    code = (
        "import asyncio; from ted_memory.grading import graders as g;"
        "print(asyncio.run(g.mathematics(inputs={}, outputs='1/2', reference_outputs='0.5')),"
        " g.formulas.COMPARER._process.pid)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    right, pid = done.stdout.split()
    assert (right, done.stderr) == ("True", "")
    assert subprocess.run(["kill", "-0", pid], capture_output=True, check=False).returncode != 0


def test_mathematics_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"ted-memory\[math\]"):
        find_grader("math")
    assert find_grader("auto") is GRADERS["auto"]


# Graders of users' own.


async def _async(*, outputs: str, reference_outputs: str) -> float:
    await asyncio.sleep(0)
    return float(outputs == reference_outputs)


class _Object:
    def __call__(self, outputs: str, reference_outputs: str) -> bool:
        return outputs == reference_outputs


class _AsyncObject:
    async def __call__(self, *, inputs: Any, outputs: str, **kwargs: Any) -> dict[str, Any]:
        return {
            "key": "k",
            "score": np.float32(kwargs["reference_outputs"] == outputs),
            "comment": None,
        }


def _with_more(tolerance: float, *, outputs: str, reference_outputs: str) -> bool:
    return tolerance == 0.5 and outputs == reference_outputs


async def _async_with_more(
    *, inputs: Any, outputs: str, reference_outputs: str, tolerance: float
) -> Any:
    return [{"key": "k", "score": np.bool_(outputs == reference_outputs), "comment": "x"}]


GRADERS_OF_USERS: dict[str, Any] = {
    "async": _async,
    "object": _Object(),
    "async object": _AsyncObject(),
    "method": _Object().__call__,
    "partial": functools.partial(_with_more, 0.5),
    "partial of async": functools.partial(_async_with_more, tolerance=0.5),
    "partial of partial": functools.partial(functools.partial(_async_with_more), tolerance=0.5),
    "sync that gives a coroutine": lambda **given: _async_with_more(**given, tolerance=1),
    "only some arguments": lambda outputs, reference_outputs: np.int64(
        outputs == reference_outputs
    ),
    "nothing but the answer": lambda outputs: outputs == "a",
    "list of one": lambda **given: [{"score": given["outputs"] == given["reference_outputs"]}],
    "openevals": exact_match,
    "openevals, async": exact_match_async,
}


@pytest.mark.parametrize("grader", GRADERS_OF_USERS.values(), ids=GRADERS_OF_USERS)
async def test_any_callable_of_openevals_kind_is_a_grader(grader: Any) -> None:
    assert await score(grader, "a", "a") == 1.0
    assert await score(grader, "b", "a") == 0.0


class _JudgeModel(ScriptedChatModel):
    """Gives structured output, as openevals wants it."""

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Runnable[Any, Any]:
        assert "score" in schema["properties"]
        return self | RunnableLambda(
            lambda said: {"score": said.content == "yes", "reasoning": "as it says"}
        )


def _says(messages: list[Any]) -> str:
    return "yes" if "a=a" in str(messages[-1].content) else "no"


@pytest.mark.parametrize("create", [create_llm_as_judge, create_async_llm_as_judge])
async def test_a_judge_of_openevals_is_a_grader(create: Any) -> None:
    judge: BaseChatModel = _JudgeModel(script=_says)
    grader = create(
        prompt="{inputs} {outputs}={reference_outputs}", judge=judge, feedback_key="right"
    )
    assert await grade(grader, QUESTION, "a", "a") == (1.0, "as it says")
    assert await grade(grader, QUESTION, "b", "a") == (0.0, "as it says")


async def test_a_sync_grader_of_a_user_does_not_block_the_loop() -> None:
    release, threads = threading.Event(), set[int]()

    def waits(outputs: str) -> bool:
        threads.add(threading.get_ident())
        return release.wait(10)

    grading_now = asyncio.create_task(grade(waits, QUESTION, "a", "a"))
    await wait_until(lambda: bool(threads))
    release.set()
    assert (await grading_now)[0] == 1.0
    assert threads != {threading.get_ident()}


def _raises(error: BaseException) -> Any:
    def grader(**_: Any) -> bool:
        raise error

    return grader


@pytest.mark.parametrize(
    "error", [RuntimeError("I broke"), KeyError("x"), StopIteration(), TimeoutError()], ids=repr
)
async def test_what_a_grader_raises_is_raised(error: Exception) -> None:
    with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)):
        await asyncio.wait_for(grade(_raises(error), QUESTION, "a", "b"), 5)


async def test_a_grader_that_wants_what_there_is_not_is_told() -> None:
    with pytest.raises(TypeError, match="wanted"):
        await grade(lambda outputs, wanted: True, QUESTION, "a", "b")


async def test_an_absurd_score_is_told_in_few_words() -> None:
    with pytest.raises(ValueError, match="not a score between 0 and 1") as raised:
        await grade(lambda **_: "x" * 100_000, QUESTION, "a", "b")
    assert len(str(raised.value)) < 200
