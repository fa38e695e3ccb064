"""Thousands of broken answers: no error escapes, and what is not exactly right removes nothing."""

import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.utils.json import parse_partial_json
from langchain_openai.chat_models.base import _convert_dict_to_message
from pydantic import ValidationError

from ted_memory.distill.nodes.compactor import trusted
from ted_memory.distill.nodes.critic import in_its_own_words
from ted_memory.distill.proposals import Compaction, Critique, check_edits, to_edits
from ted_memory.llm import structured
from ted_memory.llm.calls import Calls
from ted_memory.llm.structured import StructuredModel
from ted_memory.models import Add, Caps, Edit, Experience, ExperienceSet, Merge, Remove, Rewrite
from tests.chaos.sizes import FULL, report, size

TASK = "What is the code of apples?"
LESSONS = {f"abcde{c}": f"say c00{i} and no more" for i, c in enumerate("fghjkmnp")}
SET = ExperienceSet(
    "test",
    "epoch",
    1,
    Caps(max_experiences=20, token_budget=2000),
    tuple(Experience(id=id, text=text, when="asked about apples") for id, text in LESSONS.items()),
)
HUGE = 5_000_000


def edit(
    op: str,
    *ids: str,
    text: str = "say c000 and c001 and no more",
    when: str = "asked about apples",
) -> Any:
    return {
        "op": op,
        "ids": ids,
        "when": "" if op == "remove" else when,
        "text": "" if op == "remove" else text,
    }


def answer(*edits: Any, **fields: Any) -> str:
    return json.dumps(
        {"reason": "It d\u00efd not know.", "edits": edits, **fields}, ensure_ascii=False
    )


REMOVES = answer(edit("remove", "abcdef"))
MERGES = answer(edit("merge", "abcdef", "abcdeg"))
REWRITES = answer(edit("rewrite", "abcdeh", text="say c002"), helped=["abcdef"], hurt=["abcdeg"])
ALL = answer(
    edit("merge", "abcdej", "abcdek"),
    edit("remove", "abcdef"),
    edit("rewrite", "abcdeh", text="say c002"),
)
WHOLE = (REMOVES, MERGES, REWRITES, ALL)
CUTS = [
    whole.encode()[:end].decode("utf-8", "surrogateescape")
    for whole in WHOLE
    for end in range(len(whole.encode()))
]

Change = Callable[[str, random.Random], str]


def _somewhere(text: str, rng: random.Random, junk: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + junk + text[at:]


def _one_of(*pairs: tuple[str, str]) -> Change:
    """Put the second of a pair in the place of the first."""
    return lambda whole, rng: whole.replace(*rng.choice(pairs), 1)


def _values(*new: str) -> Change:
    """Put something else in the place of a value."""
    old = ['"remove"', '"merge"', '"abcdef"', '["abcdef"]', '"It d\u00efd not know."', '""']
    return lambda whole, rng: whole.replace(rng.choice(old), rng.choice(new), 1)


def _around(*frames: str) -> Change:
    """Put the whole into a frame, in the place of a star."""
    return lambda whole, rng: rng.choice(frames).replace("*", whole)


def _anywhere(*junk: str) -> Change:
    return lambda whole, rng: _somewhere(whole, rng, rng.choice(junk))


def _deeper(whole: str, rng: random.Random) -> str:
    times = rng.choice([2, 900, 5000])
    return whole.replace("[", "[" * times, 1).replace("]", "]" * times, 1)


def _wrapped(whole: str, rng: random.Random) -> str:
    times = rng.choice([1, 2, 900, 5000])
    return '{"answer": ' * times + whole + "}" * times


CHANGES: dict[str, Change] = {
    "as it was": _around("*"),
    "cut": lambda whole, rng: whole[: rng.randrange(len(whole))],
    "cut and closed": lambda whole, rng: (
        whole[: rng.randrange(len(whole))] + rng.choice(["]}", "}]}", '"}]}', '"]}]}'])
    ),
    "begun in the middle": lambda whole, rng: whole[rng.randrange(1, len(whole)) :],
    "deeper": _wrapped,
    "deeper inside": _deeper,
    "never closed": lambda whole, rng: (
        whole[:-1] + ', "x": ' + rng.choice("[{") * rng.choice([2, 20_000])
    ),
    "double key": _one_of(
        ('"op": ', '"op": "add", "op": '),
        ('"edits"', '"edits": [], "edits"'),
        ('"ids"', '"ids": [], "ids"'),
    ),
    "key spelled twice": _one_of(('"op": ', '"\\u006fp": "add", "op": ')),
    "not a number": _values("NaN", "Infinity", "-Infinity", "nan", "-NaN", "1e999"),
    "other type": _values(
        "null", "true", "0", "-1.5", "[]", "{}", '[["abcdef"]]', '{"a": 1}', "'remove'", "remove"
    ),
    "huge number": _values("9" * 5000, "-" + "9" * 30_000, "1e400000", "0." + "3" * 5000),
    "half a character": _values('"\ud800"', '"\\ud800"', '"\\udc00\\ud800"', '"\udcff"'),
    "unknown field": _one_of(('"reason"', '"sure": 1, "reason"'), ('"op"', '"x": null, "op"')),
    "unknown name": _one_of(
        *(('"reason"', f'"{name}": 1, "reason"') for name in ("x" * 20_000, "a\\nb", "\\u0000"))
    ),
    "unknown id": _one_of(
        *(("abcdef", id) for id in ("zzzzzz", "ABCDEF", "abcdef ", "", "x" * 20_000, "\u0430bcdef"))
    ),
    "html": _around("<html><body>*</body></html>", "<pre>*</pre>", "<!-- -->*"),
    "fence": _around(
        *(
            "```json\n*\n```",
            "```\n*\n```",
            "```json\n*",
            "*\n```",
            "```json\n*\n```\nDone.",
            "```python\n*\n```",
        ),
        *("````\n*\n````", "```json\n*\n```\nor\n```json\n*\n```"),
    ),
    "thoughts": _around(
        *(
            "<think>hm</think>*",
            "<think>hm *",
            "*<think>hm</think>",
            "<think>a</think><think>b</think>*",
        ),
        *(
            "<think>*</think>",
            "<think>a<think>b</think>c</think>*",
            "</think>*",
            "<think>" * 3000 + "*",
        ),
    ),
    "thoughts inside": _anywhere("<think>or not</think>", "<think>", "</think>"),
    "byte order mark": _around("\ufeff*", "\xef\xbb\xbf*", "\ufffe*"),
    "prose around": _around("Here you are: *", "* I hope this helps.", "**", "*,", "*\x00", "[*]"),
    "other quotes": lambda whole, rng: whole.replace('"', rng.choice(["'", "\u201c", '\\"', "`"])),
    "python": lambda whole, _: str(strictly(whole)),
    "comments": _one_of((", ", ", // why\n"), (", ", ", /* why */ "), (", ", ",, ")),
    "comma left over": _one_of(("}]", "},]"), ("]", ",]")),
    "control characters": _anywhere("\n", "\t", "\x00", "\x1b[0m", "\u2028", "\x7f"),
    "blanks": _around(" *", "*\n\n", "\t*\r\n", "\u00a0*", "\u2003*", "\x0c*"),
    "as text": lambda whole, _: json.dumps(whole),
    "nothing": lambda _, rng: rng.choice(["", " ", "null", "{}", "[]", "0", '""', "true", "\x00"]),
    "junk": lambda whole, rng: _somewhere(
        whole, rng, "".join(map(chr, rng.choices(range(0xFFFF), k=5)))
    ),
}

_FILL: dict[str, Callable[[], str]] = {
    "letters": lambda: "x" * HUGE,
    "wide letters": lambda: "\u4e00" * (HUGE // 3),
    "brackets": lambda: "[" * HUGE,
    "blanks in front": lambda: " " * HUGE + REMOVES,
    "blanks in a fence": lambda: "```json\n" + " " * HUGE + "\n",
    "fences": lambda: "```json\n" * (HUGE // 8),
    "thoughts without an end": lambda: "<think>" * (HUGE // 7),
    "thoughts in front": lambda: "<think>" + "hm " * (HUGE // 3) + "</think>" + REMOVES,
    "in the reason": lambda: REMOVES.replace("It d", "It d" * (HUGE // 4)),
    "many edits": lambda: answer(*[edit("remove", "abcdef")] * (HUGE // 60)),
    "many keys": lambda: REMOVES[:-1] + "".join(f', "k{i}": {i}' for i in range(HUGE // 16)) + "}",
    "a number": lambda: REMOVES.replace('"abcdef"', "9" * HUGE),
}


def big(names: int, each: int) -> Iterator[tuple[str, str]]:
    for name, fill in itertools.islice(_FILL.items(), names):
        text = fill()
        for _ in range(each):
            yield f"5 MB: {name}", text


def mutated(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Names and texts of changes: cuts at every byte, or at a sample of them, then all others."""
    rng = random.Random(seed)
    cuts = CUTS if len(CUTS) < count / 2 else rng.sample(CUTS, count // 4)
    yield from (("cut at a byte", text) for text in cuts)
    names = itertools.cycle(CHANGES)
    for _ in range(count - len(cuts)):
        name = next(names)
        text = CHANGES[name](rng.choice(WHOLE), rng)
        yield (
            name,
            CHANGES[rng.choice(list(CHANGES))](text, rng)
            if rng.random() < 0.2 and text.startswith('{"r')
            else text,
        )


# ---- the three ways on which an answer comes


def _tool_calls(*texts: str) -> AIMessage:
    """Return what LangChain's OpenAI client makes of tool calls with these arguments."""
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "Critique", "arguments": text}}
        for i, text in enumerate(texts)
    ]
    message = _convert_dict_to_message({"role": "assistant", "content": "", "tool_calls": calls})
    assert isinstance(message, AIMessage)
    return message


def _streamed(text: str) -> AIMessage:
    """Return the same of a stream, whose parser completes what was cut off."""
    chunk = {"name": "Critique", "args": text, "id": "c0", "index": 0, "type": "tool_call_chunk"}
    return AIMessageChunk(content="", tool_call_chunks=[chunk])  # type: ignore[list-item]


# told by the provider: nothing to estimate
USAGE = UsageMetadata(input_tokens=1, output_tokens=1, total_tokens=2)

WAYS: dict[str, Callable[[str], Any]] = {
    "text": lambda text: AIMessage(content=text, usage_metadata=USAGE),
    "json_schema": lambda text: {
        "raw": AIMessage(content=[{"type": "text", "text": text}], usage_metadata=USAGE),
        "parsed": None,
    },
    "function call": lambda text: {"raw": _tool_calls(text), "parsed": None},
    "streamed call": _streamed,
    "two calls": lambda text: _tool_calls(text, text),
}


class Says(Runnable[Any, Any]):
    """Says one thing whenever it is asked, and takes no time for it: what is timed is ours."""

    def __init__(self, output: Any) -> None:
        self.output = output
        self.asked = 0

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        self.asked += 1
        return self.output


# ---- what must hold


def strictly(text: str) -> Any:
    """What a text says if it is exact JSON with known ids, else None. Shares no code with ours."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    def none(_name: str) -> Any:
        raise AssertionError

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=none)
        ids = {id for proposed in value["edits"] for id in proposed.get("ids", ())}
    except (ValueError, RecursionError, AssertionError, KeyError, TypeError, AttributeError):
        return None
    return value if ids <= set(LESSONS) else None


def takes(edits: list[Edit]) -> list[tuple[str, ...]]:
    """Return what these edits do to lessons that are there already."""
    out: list[tuple[str, ...]] = []
    for e in edits:
        assert isinstance(e, Add | Rewrite | Merge | Remove)
        if not isinstance(e, Add):
            out.append((e.op, *(e.ids if isinstance(e, Merge) else [e.id])))
    return out


@dataclass
class Handling:
    """Sends answers through all that stands between a model and a commit; counts the results."""

    answers: int = 0
    refused: int = 0
    taken: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"all": [], "5 MB": []})

    async def handle(self, name: str, text: str) -> None:
        for way, deliver in WAYS.items():
            try:
                output = deliver(text)
            except ValidationError:  # the client raises by itself when arguments are no object
                self.refused += 1
                continue
            for shape in (Critique, Compaction):
                edits, problem = await self._ask(name, output, shape)
                where = f"{name}, as {way}, {shape.__name__}: {text[:300]!r}"
                assert "\n" not in problem, where
                assert len(problem) <= structured.LONGEST_PROBLEM, where
                said = takes(edits)
                self.taken.update(kind for kind, *_ in said)
                if said:
                    exactly = strictly(text)
                    assert exactly is not None, f"{said} out of what is not strict: {where}"
                    meant = [(p["op"], *dict.fromkeys(p.get("ids", ()))) for p in exactly["edits"]]
                    assert all(one in meant for one in said), where

    async def _ask(self, name: str, output: Any, shape: type[Any]) -> tuple[list[Edit], str]:
        says, critical = Says(output), shape is Critique
        asks, ids = StructuredModel(says, Calls(4)), list(LESSONS)
        question: list[BaseMessage] = [HumanMessage(content="What did you learn?")]
        began = time.perf_counter()
        result = await asks.ask(
            question, shape, lambda given: check_edits(given.edits, ids, may_add=critical)
        )
        edits: list[Edit] = []
        if result.value is not None:
            proposed = result.value.edits
            if critical:
                proposed = [in_its_own_words(p, SET.active, TASK, ()) for p in proposed]
            edits = to_edits(
                proposed, SET.active, state="active", sources=(), additions_only=result.repaired
            )
            edits = edits if critical else trusted(edits, SET, words_kept=True)
        took = (time.perf_counter() - began) / says.asked
        self.seconds["5 MB" if name.startswith("5 MB") else "all"].append(took)
        self.answers += says.asked
        return edits, result.problem

    def p99(self, kind: str) -> float:
        times = sorted(self.seconds[kind])
        return times[max(0, int(len(times) * 0.99) - 1)]

    def fast_enough(self, what: str) -> None:
        figures = {kind: self.p99(kind) for kind, times in self.seconds.items() if times}
        told = ", ".join(f"p99 {p99 * 1000:.2f} ms ({kind})" for kind, p99 in figures.items())
        report(f"{what}: {self.answers} answers handled, {told}; took {dict(self.taken)}")
        assert max(figures.values()) < 0.005 or not FULL, told


async def test_no_broken_answer_escapes_or_takes_a_lesson_away() -> None:
    handling, count = Handling(), 0
    for name, text in itertools.chain(
        big(size(4, len(_FILL)), size(1, 3)), mutated(size(600, 10_000), seed=3)
    ):
        await handling.handle(name, text)
        count += 1
    assert count >= size(600, 10_000)
    assert set(handling.taken) == {"remove", "merge", "rewrite"}, "what is strict is taken"
    handling.fast_enough(f"{count} mutated answers, {len(WAYS)} ways each")


async def test_random_bytes_in_an_answer_take_no_lesson_away() -> None:
    handling, rng, count = Handling(), random.Random(11), 0
    until = time.monotonic() + size(3.0, 60.0)
    while time.monotonic() < until:
        await handling.handle("bytes", _damaged(rng.choice(WHOLE).encode(), rng))
        count += 1
    handling.fast_enough(f"{count} answers with random bytes")


def _damaged(data: bytes, rng: random.Random) -> str:
    for _ in range(rng.choice([0, 1, 1, 1, 2, 5])):
        at, length = rng.randrange(len(data) + 1), rng.choice([0, 1, 1, 2, 30])
        junk = rng.choice(
            [
                b"",
                rng.randbytes(1),
                rng.randbytes(rng.randrange(9)),
                data[at : at + 40],
                b'"',
                b"}",
                b"\\",
            ]
        )
        data = data[:at] + junk + data[at + length :]
    return data.decode("utf-8", rng.choice(["surrogateescape", "replace", "ignore"]))


# ---- controls: a handling that is too kind is found


def _lenient(text: str, shape: type[Any]) -> Any:
    """Complete what was cut off, as LangChain's parser does, and take whatever fits."""
    try:
        return shape.model_validate(parse_partial_json(text))
    except ValueError as error:
        raise structured.BadOutput(str(error)[:100].replace("\n", " ")) from None


async def test_a_parser_that_completes_what_was_cut_off_would_be_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(structured, "parse", _lenient)
    with pytest.raises(AssertionError, match="out of what is not strict: cut at a byte"):
        for text in CUTS:
            await Handling().handle("cut at a byte", text)


async def test_trust_in_arguments_that_were_parsed_by_others_would_be_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw_text = structured._raw_text
    monkeypatch.setattr(structured, "_raw_text", lambda message: (raw_text(message)[0], True))
    with pytest.raises(AssertionError, match="cut at a byte, as streamed call"):
        for text in CUTS:
            await Handling().handle("cut at a byte", text)
