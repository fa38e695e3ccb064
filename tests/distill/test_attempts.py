"""How a critic reads an attempt: premises, steps, conclusion.

Also lessons in languages that write no words apart.
"""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda

from ted_memory import TedMemory
from ted_memory.distill.attempts import (
    LONGEST,
    MOST_STEPS,
    Attempt,
    describe_attempts,
    take_apart,
    whole_attempts,
)
from ted_memory.llm.messages import LONGEST_RESULT, tool_calls
from ted_memory.models import Experience, Trajectory
from ted_memory.retrieval.bm25 import WordRetriever
from ted_memory.retrieval.selection import match
from tests.distill.scripts import one_pass, prompt_of, right_lesson, role, sample, teacher

# --- taken apart


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("1. Take 3.\n2. Add 4.\nAnswer: 7", ("Take 3.", "Add 4.")),
        ("1) Take 3.\n2) Add 4.\nAnswer: 7", ("Take 3.", "Add 4.")),
        ("(1) Take 3.\n(2) Add 4.\nFinal answer: 7", ("Take 3.", "Add 4.")),
        ("- Take 3.\n- Add 4.\nAnswer: 7", ("Take 3.", "Add 4.")),
        ("* Take 3.\n\u2022 Add 4.\nThe answer is 7", ("Take 3.", "Add 4.")),
        ("Step 1: Take 3.\nStep 2: Add 4.\nAnswer: 7", ("Take 3.", "Add 4.")),
        ("Steps:\n1. Take 3.\n2. Add 4,\n   not 5.\nAnswer: 7", ("Take 3.", "Add 4, not 5.")),
        ("Take 3. Add 4!\nIs that it?\nAnswer: 7", ("Take 3.", "Add 4!", "Is that it?")),
        ("<think>Take 3. Add 4.</think>\nAnswer: 7", ("Take 3.", "Add 4.")),
        ("Take 3.\nAdd 4.\n\\boxed{7}", ("Take 3.", "Add 4.")),
        ("Nimm 3.\nDazu 4.\nAlso die Antwort ist 7", ("Nimm 3.", "Dazu 4.")),
        ("3を取る。4を足す。\n答えは7です", ("3を取る。", "4を足す。")),
        ("3を取る。4を足す。\nAnswer: 7", ("3を取る。", "4を足す。")),
    ],
)
def test_steps_are_items_or_sentences(text: str, steps: tuple[str, ...]) -> None:
    assert take_apart(text) == Attempt("", steps, "7")


def test_what_stands_before_a_list_is_taken_as_given() -> None:
    text = "Given:\nThere are 3 apples.\nAnna has 4.\nSteps:\n1. Add them.\nAnswer: 7"
    assert take_apart(text) == Attempt("There are 3 apples. Anna has 4.", ("Add them.",), "7")


@pytest.mark.parametrize("text", ["7", " Paris ", "", "  \n ", "\\boxed{x+1}", "Answer: no"])
def test_one_word_has_no_steps(text: str) -> None:
    taken = take_apart(text)
    assert (taken.premises, taken.steps) == ("", ())
    assert taken.conclusion == text.strip().removeprefix("\\boxed{").removesuffix("}").removeprefix(
        "Answer: "
    )


def test_a_conclusion_at_the_end_of_the_reasoning_takes_none_of_it_away() -> None:
    """Most answers to "think step by step" are one paragraph that ends with the answer."""
    taken = take_apart("Anna takes 3 apples. Ben adds 4. So the answer is 7")
    assert taken.conclusion == "7"
    assert taken.steps[:2] == ("Anna takes 3 apples.", "Ben adds 4.")


def test_a_last_line_that_happens_to_end_like_the_answer_stays() -> None:
    taken = take_apart("Answer: 7\nI checked it, since 20 - 3 = 17")
    assert taken.conclusion == "7"
    assert "I checked it, since 20 - 3 = 17" in taken.steps


def test_thoughts_are_steps_and_what_follows_them_is_the_conclusion() -> None:
    taken = take_apart("<think>\nTake 3. Add 4.\n</think>\n\n7")
    assert taken == Attempt("", ("Take 3.", "Add 4."), "7")


def test_tool_calls_come_before_the_steps_of_the_text() -> None:
    taken = take_apart("So it is late.\nAnswer: 7", ["look(1) -> 7"])
    assert taken == Attempt("", ("look(1) -> 7", "So it is late."), "7")
    assert take_apart("7", ["look(1) -> 7"]) == Attempt("", ("look(1) -> 7",), "7")


# --- described


def attempt(text: str, score: float | None = 0.0, **fields: Any) -> Trajectory:
    return Trajectory(text=text, score=score, **fields)


def test_a_critic_is_shown_the_parts_in_order() -> None:
    told = describe_attempts(
        [attempt("We have 3.\n1. Add 4.\n2. Look.\nAnswer: 8", comment="one too many")]
    )
    lines = [line.strip() for line in told.splitlines()]
    assert lines == [
        "- 1 x score 0 (one too many):",
        "premises: We have 3.",
        "step 1: Add 4.",
        "step 2: Look.",
        "conclusion: 8",
    ]


def test_short_answers_stay_in_one_line() -> None:
    assert describe_attempts([attempt("7")]) == "- 1 x score 0: 7"


def test_the_same_attempts_are_counted_once() -> None:
    told = describe_attempts(
        [attempt("7"), attempt("8", 1.0), attempt("7"), attempt("7", 1.0), attempt("7")]
    )
    assert told.splitlines() == ["- 3 x score 0: 7", "- 1 x score 1: 8", "- 1 x score 1: 7"]
    assert describe_attempts([]) == ""


def test_an_attempt_without_an_answer_says_why() -> None:
    assert describe_attempts([attempt("", None, error="too slow")]) == "- 1 x no answer: too slow"


@pytest.mark.parametrize("newline", ["\n", " "])
def test_a_long_attempt_keeps_its_beginning_and_its_conclusion(newline: str) -> None:
    middle = newline.join(f"Then I look at number {i}, which is not it." for i in range(500))
    told = describe_attempts(
        [attempt(f"FIRST I read.{newline}{middle}\nLAST I see it.\nAnswer: CONCLUSION")]
    )
    assert len(told) < 2 * LONGEST
    assert all(word in told for word in ("FIRST", "LAST", "CONCLUSION", "more steps"))
    assert "number 250," not in told
    assert f"step {MOST_STEPS + 1}:" in told, "the line that says how many are left out"
    assert f"step {MOST_STEPS + 2}:" not in told


def test_a_long_attempt_without_parts_keeps_its_end_too() -> None:
    told = describe_attempts([attempt("FIRST " + "blah " * 2000 + "CONCLUSION")])
    assert len(told) < LONGEST + 100
    assert "FIRST" in told
    assert told.endswith("CONCLUSION")


# --- whole


def headings(*given: Trajectory) -> list[str]:
    return [line for line in whole_attempts(given, 1000).splitlines() if line.startswith("## ")]


def test_whole_attempts_stand_best_first_and_those_without_a_score_last() -> None:
    given = (
        attempt("", None, error="too slow"),
        attempt("8"),
        attempt("7", 1.0),
        attempt("6", 0.5),
    )
    assert headings(*given) == [
        "## Attempt 1 (score 1)",
        "## Attempt 2 (score 0.5)",
        "## Attempt 3 (score 0)",
        "## Attempt 4 (no answer)",
    ]
    assert whole_attempts(given, 1000).endswith("(no answer: too slow)")


def test_an_answer_that_no_grader_scored_is_an_answer() -> None:
    given = attempt("7", None, error="the grader failed: away")
    assert headings(given) == ["## Attempt 1 (not graded)"]
    assert describe_attempts([given]) == "- 1 x not graded: 7"


def test_the_same_text_under_several_verdicts_stands_once_with_all_of_them() -> None:
    given = (
        attempt("7", comment="too short"),
        attempt("8", 0.4),
        attempt("7", 1.0, comment="right"),
        attempt("7", comment="too short"),
        attempt("7", None, error="the grader failed: away"),
    )
    first, second = headings(*given)
    assert first == "## Attempt 1 (score 0.4)", "what is right one time in three is no better"
    said = "1 x score 1, graded: right; 2 x score 0, graded: too short; 1 x not graded"
    assert second == f"## Attempt 2 (4 times the same: {said})"
    assert whole_attempts(given, 1000).count("7") == 1
    assert headings(attempt("7"), attempt("7")) == ["## Attempt 1 (score 0, 2 times the same)"]


def test_where_attempts_part_is_told_of_the_best_and_the_worst_that_have_a_score() -> None:
    shared = "1. Read it.\n2. "
    right, wrong = attempt(f"{shared}Add.\nAnswer: 7", 1.0), attempt(f"{shared}Guess.\nAnswer: 9")
    cut_off = attempt(f"{shared}Doubt.", None, error="too slow")
    told = whole_attempts([cut_off, wrong, right], 1000)
    assert told.startswith(
        "The best and the worst attempt agree in their first 1 steps. "
        "Then the best one goes on: Add."
    )
    assert "and the worst one: Guess." in told
    assert "agree" not in whole_attempts([cut_off, right], 1000), (
        "one that has a score is not the best and the worst"
    )


_PIECES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "1. ",
            "- ",
            "\n",
            "Step 2: ",
            "<think>",
            "</think>",
            "\\boxed{",
            "}",
            "Answer: ",
            "answer is ",
            "。",
            "! ",
        ]
    ),
    st.integers(0, 9000).map(lambda n: "word " * (n // 3)),
)
TEXTS = st.lists(_PIECES, max_size=12).map("".join)


@settings(deadline=None)
@given(TEXTS, st.lists(st.text(max_size=700), max_size=20), st.text(max_size=400))
def test_any_text_can_be_shown_and_is_short(text: str, tools: list[str], comment: str) -> None:
    told = describe_attempts(
        [Trajectory(text=text, tools=tuple(tools), score=0.0, comment=comment)]
    )
    # besides the text: the comment, and the names of the parts
    assert len(told) <= LONGEST + 200 + 20 * (MOST_STEPS + 4)
    taken = take_apart(text, tools)
    assert taken.conclusion or not text.strip() or "nswer" in text
    assert taken.steps[: len(tools)] == tuple(tools)


# --- agents


def turn(*calls: tuple[str, dict[str, Any], str], says: str, asked: str = "?") -> list[BaseMessage]:
    messages: list[BaseMessage] = [HumanMessage(asked)]
    for i, (name, args, result) in enumerate(calls):
        call = {"name": name, "args": args, "id": f"call{i}"}
        messages += [AIMessage("", tool_calls=[call]), ToolMessage(result, tool_call_id=f"call{i}")]
    return [*messages, AIMessage(says)]


def test_an_agents_calls_are_told_with_their_results() -> None:
    messages = turn(
        ("look", {"at": "Zürich"}, "rain\n  12 degrees"), ("add", {"a": 1, "b": 2}, "3"), says="3"
    )
    told = ('look({"at": "Zürich"}) -> rain 12 degrees', 'add({"a": 1, "b": 2}) -> 3')
    assert tool_calls({"messages": messages}) == told
    assert tool_calls(messages) == told
    earlier = turn(("old", {}, "old"), says="old")
    assert tool_calls({"messages": [*earlier, *messages]}) == told, "only those of the last turn"


@pytest.mark.parametrize(
    "output", [None, "hi", 7, [], {}, {"messages": None}, AIMessage("hi"), {"answer": "hi"}]
)
def test_what_is_no_agent_has_no_calls(output: Any) -> None:
    assert tool_calls(output) == ()


def test_a_call_that_got_no_result_says_so() -> None:
    call = {"name": "look", "args": {}, "id": "c"}
    assert tool_calls([HumanMessage("?"), AIMessage("", tool_calls=[call])]) == (
        "look({}) -> (no result)",
    )


async def test_a_critic_sees_what_an_agent_did(scratch: TedMemory) -> None:
    result = "START " + "x" * 5000 + " END"

    def agent(messages: list[BaseMessage]) -> dict[str, Any]:
        call = {"name": "search", "args": {"query": "code of apples"}, "id": "one"}
        did = [AIMessage("", tool_calls=[call]), ToolMessage(result, tool_call_id="one")]
        return {"messages": [*messages, *did, AIMessage("I searched.\nAnswer: no idea")]}

    critic = teacher(right_lesson)
    await one_pass(scratch, sample("apples"), student=RunnableLambda(agent), teacher=critic)  # type: ignore[arg-type]
    [first, *_] = [prompt_of(messages) for messages in critic.asked if role(messages) == "critic"]
    [line] = [line for line in first.splitlines() if "search(" in line]
    assert '[tool call] search({"query": "code of apples"}) -> START xxx' in line
    assert len(line) <= LONGEST_RESULT + 100, "the result is shortened"
    assert "END" not in line
    assert "I searched.\nAnswer: no idea" in first
    assert first.count("search(") == 1, "five attempts were the same"


# --- languages that write no words apart


CJK = {
    "refund": ("顾客要求退款", "先问订单号。"),
    "password": ("忘记登录密码", "发送重置链接。"),
    "delivery": ("包裹延迟送达", "查看物流页面。"),
    "weather": ("天気予報を聞かれた", "気象庁を見る。"),
    "train": ("電車の時刻を調べる", "時刻表を開く。"),
    "cat": ("ねこのごはん", "朝と夜にあげる。"),
}
LESSONS = [
    Experience(id=id, when=when, text=text, order=i)
    for i, (id, (when, text)) in enumerate(CJK.items(), 1)
]


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("我买的鞋子不合适,可以退款吗?", "refund"),
        ("我忘记了我的登录密码怎么办", "password"),
        ("我的包裹为什么还没有送达?", "delivery"),
        ("明日の天気を教えてください", "weather"),
        ("東京行きの電車は何時ですか。時刻を教えて", "train"),
        ("ねこにごはんをあげる時間は?", "cat"),
    ],
)
def test_chinese_and_japanese_questions_find_their_lesson(question: str, best: str) -> None:
    assert [e.id for e in WordRetriever().rank_now(LESSONS, question)][:1] == [best]
    mixed = [*LESSONS, Experience(id="english", when="a refund, a password", text="Ask.", order=9)]
    random.Random(1).shuffle(mixed)
    assert WordRetriever().rank_now(mixed, question)[0].id == best


@pytest.mark.parametrize(
    "question", ["请写一首关于月亮的诗", "ピアノの弾き方", "what rhymes with moon?", "漢"]
)
def test_unrelated_questions_find_no_chinese_or_japanese_lesson(question: str) -> None:
    assert WordRetriever().rank_now(LESSONS, question) == []


def test_a_lesson_without_a_condition_is_found_by_its_text() -> None:
    lesson = Experience(id="moon", text="中秋节吃月饼。", order=1)
    assert WordRetriever().rank_now([lesson], "中秋节应该吃什么") == [lesson]
    assert WordRetriever().rank_now([lesson], "春天去哪里旅游") == []


def test_a_single_character_matches_only_itself() -> None:
    documents = ["猫", "犬", "猫舍"]
    scores = match(documents, "猫")
    assert scores[1] == 0


def test_chinese_and_english_words_stand_side_by_side() -> None:
    lessons = [
        Experience(id="py", when="用Python写代码", text="a", order=1),
        Experience(id="go", when="Go语言", text="b"),
    ]
    assert [e.id for e in WordRetriever().rank_now(lessons, "怎么学Python?")] == ["py"]
    assert [e.id for e in WordRetriever().rank_now(lessons, "write Python")] == ["py"]
