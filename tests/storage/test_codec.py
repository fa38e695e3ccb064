"""Stored bytes become types in one place: what went in comes back, and all else is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ted_memory.errors import CorruptData
from ted_memory.models import Experience, Presentation, Usage
from ted_memory.storage.redis import codec, replies

_texts = st.text(st.characters(codec="utf-8"), max_size=40)
_experiences = st.builds(
    Experience,
    id=st.text("abc123", min_size=1, max_size=6),
    text=_texts,
    when=_texts,
    state=st.sampled_from(["proposed", "trial", "active"]),
    sources=st.lists(_texts, max_size=3).map(tuple),
    parents=st.lists(st.text("abc123", min_size=1), max_size=3).map(tuple),
    rev=st.integers(0, 10**9),
    order=st.integers(0, 10**9),
    tokens=st.integers(0, 10**6),
)
HEAD = ["epoch", "7", "stamp", "50", "2000", str(codec.FORMAT), "1", "", ""]


@given(_experiences)
def test_any_lesson_comes_back_as_it_was(experience: Experience) -> None:
    assert codec.decode_item(experience.id, codec.encode_item(experience)) == experience


@given(st.lists(_experiences, max_size=5, unique_by=lambda e: e.id))
def test_many_at_once_come_back_as_one_by_one(experiences: list[Experience]) -> None:
    items = [(e.id, codec.encode_item(e)) for e in experiences]
    assert codec.decode_items(items) == experiences
    in_order = sorted(experiences, key=lambda e: (e.order, e.id))
    assert [id for id, _ in codec.in_order(reversed(items))] == [e.id for e in in_order]


ODD = [
    ("id", '1|1|active|1|{"text": "x", "id": "another", "rev": 9}'),
    ('i"d', '1|1|active|1|{"text": "x"}'),
    ("i\\d", '1|1|active|1|{"text": "x"}'),
    ("id", '1|1|active","text":"y|1|{"text": "x"}'),
    ("id", '1|1,"text":"y"|active|1|{"text": "x"}'),
    ("id", '1|1|active|1},{"id":"id","text":"y"|{"text": "x"}'),
    ("id", "1|1|active|1|{}"),
    ("id", "1|1|active|1|null"),
    ("id", "nonsense"),
    ("id", '1|1|active|1|{"text": "x",'),
    ("id", '1|1|active|1|{"text": "x", "order": 12'),
]


@pytest.mark.parametrize("odd", ODD)
def test_what_is_odd_is_read_among_many_as_by_itself(odd: tuple[str, str]) -> None:
    good = Experience(id="good", text="x")
    items = [("good", codec.encode_item(good)), odd]
    try:
        alone = codec.decode_item(*odd)
    except CorruptData as error:
        with pytest.raises(CorruptData) as caught:
            codec.decode_items(items)
        assert str(caught.value) == str(error)
    else:
        assert codec.decode_items(items) == [good, alone]


@pytest.mark.parametrize("raw", ["nonsense", "1|x|active|1|{}", ""])
def test_an_item_without_a_place_is_told_by_its_id(raw: str) -> None:
    good = Experience(id="good", text="x")
    items = [("good", codec.encode_item(good)), ("k3x", raw)]
    with pytest.raises(CorruptData, match="experience 'k3x' cannot be read"):
        codec.in_order(item for item in items)


@given(st.builds(Usage, **{name: st.floats(0, 1e6) for name in Usage.model_fields}))
def test_usage_goes_in_the_order_of_its_fields(usage: Usage) -> None:
    [(_, counters)] = codec.encode_usages({"id": usage})
    assert codec.decode_usages([("id", "|".join(map(repr, counters)))]) == {"id": usage}


def test_counters_that_a_newer_package_added_are_left_out() -> None:
    counters = "|".join(str(i) for i in range(len(Usage.model_fields) + 2))
    assert codec.decode_usages([("id", counters)])["id"].n_with == 0
    assert codec.decode_usages([("id", counters)])["id"].hurt == len(Usage.model_fields) - 1


@given(st.text(max_size=30))
def test_no_other_text_passes_for_a_lesson_or_raises_anything_else(raw: str) -> None:
    with pytest.raises(CorruptData) as caught:
        codec.decode_item("id", raw)
    assert "experience 'id'" in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        '1|1|active|1|{"text": 1}',
        '1|1|active|1|{"text": "x", "when": 1}',
        '1|1|gone|1|{"text": "x"}',
        '|1|active|1|{"text": "x"}',
        '1|1|active|1|"text"',
        "1|1|active|1|null",
        "1|1|active|1",
    ],
)
def test_a_lesson_that_is_damaged_is_told_by_its_id(raw: str) -> None:
    with pytest.raises(CorruptData, match="experience 'k3x' cannot be read"):
        codec.decode_item("k3x", raw)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "names",
        "names\n",
        "names\n{}",
        "names\n[]",
        'names\n{"changes": [1]}',
        'names\n{"changes": null}',
    ],
)
def test_an_entry_of_the_log_that_is_damaged_is_told(raw: str) -> None:
    with pytest.raises(CorruptData, match="an entry of the log"):
        codec.decode_log_entry(raw)


@pytest.mark.parametrize(
    "raw", ["", "[]", "{}", '{"epoch": "e", "version": 1, "items": [{}]}', "null"]
)
def test_an_answer_that_is_damaged_is_told(raw: str) -> None:
    with pytest.raises(CorruptData, match="the answer that this token had"):
        replies.decode_answer(raw, (), (), repeated=True)


@pytest.mark.parametrize("raw", ["", "[1]", "1", "null", "{"])
def test_a_record_that_is_damaged_is_told_by_its_key(raw: str) -> None:
    with pytest.raises(CorruptData, match="the record 'sample-1' of a run"):
        codec.decode_record("sample-1", raw)


async def test_a_namespace_in_a_newer_format_says_to_upgrade() -> None:
    newer = [*HEAD[:5], str(codec.FORMAT + 1), *HEAD[6:]]
    with pytest.raises(CorruptData) as caught:
        await replies.decode_set(
            "support", None, ["all", newer, ["id", json.dumps({"of": "a kind unknown today"})], []]
        )
    message = str(caught.value)
    assert "'support'" in message
    assert f"format {codec.FORMAT + 1}" in message
    assert "Upgrade the package" in message
    assert "\n" not in message


async def test_the_format_of_today_is_read() -> None:
    read = await replies.decode_set(
        "support", None, ["all", HEAD, ["id", '1|1|active|1|{"text": "x"}'], []]
    )
    assert read is not None
    assert (read.version, read.by_id["id"].text) == (7, "x")


async def test_a_head_that_is_damaged_is_told_by_its_namespace() -> None:
    for place in (1, 3, 4, 5, 6, 7, 8):
        head = [*HEAD]
        head[place] = "x"
        with pytest.raises(CorruptData, match="the head of namespace 'support'"):
            await replies.decode_set("support", None, ["all", head, [], []])


@pytest.mark.parametrize(
    ("stored", "read_as"),
    [
        (False, None),
        ("", None),
        ("{}", Presentation()),
        (
            '{"selection": "relevant", "top_k": 1, "of": "a kind unknown today"}',
            Presentation(selection="relevant", top_k=1),
        ),
    ],
)
async def test_how_a_set_is_shown_is_read_where_it_is_absent_or_says_more(
    stored: object, read_as: object
) -> None:
    read = await replies.decode_set("support", None, ["all", [*HEAD[:8], stored], [], []])
    assert read is not None
    assert read.presentation == read_as


@pytest.mark.parametrize("stored", ["1", "[1]", '{"selection": "by chance"}', '{"top_k": 0}', "{"])
async def test_how_a_set_is_shown_that_is_damaged_is_told(stored: str) -> None:
    with pytest.raises(CorruptData, match="the head of namespace 'support'"):
        await replies.decode_set("support", None, ["all", [*HEAD[:8], stored], [], []])
