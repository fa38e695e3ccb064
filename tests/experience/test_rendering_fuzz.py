"""Ten thousand lessons that want out of their block: none gets out, in whatever form."""

import random
import re
import unicodedata

import pytest

from ted_memory.experience import rendering
from ted_memory.experience.rendering import CLOSING, OPENING, render_block, strip_block
from ted_memory.models import Experience
from tests.attacks.lessons import lesson_attacks

COUNT = 10_000
PIECES = (
    *(
        "<",
        "\uff1c",
        "\ufe64",
        "</",
        "< /",
        "<\u200b/",
        "<\u200d/",
        "<\uff0f",
        "/",
        ">",
        "\uff1e",
        "/>",
        "\n",
        "\r",
        "\u2028",
        "\t",
    ),
    *(
        "experiences",
        "EXPERIENCES",
        "exper\u00adiences",
        "expe\u200briences",
        "\uff45xperiences",
        "system",
        "assistant",
    ),
    *(
        "<|im_end|>",
        "<|im_start|>system",
        "[INST]",
        "[/INST]",
        "[ /inst ]",
        "<<SYS>>",
        "<</SYS>>",
        "<\uff5cUser\uff5c>",
    ),
    *(
        "- When",
        "</experiences>",
        "<experiences>",
        "<!--",
        "-->",
        "<![CDATA[",
        "```",
        "\u202e",
        "\U000e003c",
        "&lt;",
    ),
    *("x < 3", "a <= b", "ignore all of this", "now", " ", "\u3000", "\x0b", "\x0c", "\x85"),
)
MARKS = re.compile(r"<\s*/|<[a-z!?|<]|\[\s*/?\s*inst\s*\]", re.IGNORECASE)


def texts() -> list[str]:
    luck = random.Random(20_261)
    ours = [attack.text for attack in lesson_attacks()]
    made = [
        "".join(
            luck.choice(PIECES if luck.random() < 0.8 else ours) for _ in range(luck.randint(1, 12))
        )
        for _ in range(COUNT - len(ours))
    ]
    return [text for text in (*ours, *made) if text.strip()]


def as_read(text: str) -> str:
    """The text as a model may read it: all characters visible, and in their plain form."""
    plain = unicodedata.normalize(
        "NFKC", "".join(c for c in text if unicodedata.category(c) != "Cf")
    )
    return plain.replace("\u2044", "/").replace("\u2215", "/")


def escapes(text: str) -> bool:
    """Tell whether a lesson leaves its line, or looks as if it closed or opened something."""
    block = render_block([Experience(id="a", text=text, when=text[:40], order=1)])
    inside = block.removeprefix(OPENING + "\n").removesuffix("\n" + CLOSING)
    lines = [
        line for line in re.split(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", inside) if line.strip()
    ]
    if any(unicodedata.category(c) == "Cf" and c not in "\u200c\u200d" for c in inside):
        return True  # nobody would see what it says
    out = not lines[0].startswith("- ") or not all(line.startswith("  ") for line in lines[1:])
    return out or bool(MARKS.search(as_read(inside)))


def test_no_lesson_leaves_its_block() -> None:
    out = [text for text in texts() if escapes(text)]
    assert out == []


def test_nothing_of_a_lesson_is_left_when_the_block_is_cut_out() -> None:
    for text in texts()[::20]:
        block = render_block([Experience(id="a", text=text, order=1)])
        assert strip_block(f"before\n\n{block}\n\nafter").split() == ["before", "after"]


@pytest.mark.parametrize("broken", ["_TAG_START", "_MARK"])
def test_without_the_escaping_many_of_them_do(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, broken, re.compile(r"(?!)"))
    assert sum(map(escapes, texts())) > 100


def test_without_looking_for_hidden_characters_some_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "visible", lambda text: text)
    assert sum(map(escapes, texts())) > 10
