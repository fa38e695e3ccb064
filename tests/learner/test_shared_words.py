"""A lesson that waits for evidence is found by words that several people use, too."""

from collections.abc import Sequence

import pytest

from ted_memory import Add, TedMemory
from ted_memory.learner import shared_words
from ted_memory.learner.shared_words import SharedWords
from ted_memory.models import Experience, Rewrite, SetState, Trial
from ted_memory.testing import in_memory
from tests.distill.scripts import CODES
from tests.learner.worlds import fill_archive, replayed, sums

PEOPLE = ("anna", "bruno", "carla", "dora", "emil")
NARROW = "a basket of fruit is weighed"  # it shares no word with a question


@pytest.fixture
def memory(namespace: str) -> TedMemory:
    return in_memory(namespace=namespace)


async def proposed(memory: TedMemory, text: str = f"say {CODES['apples']}") -> str:
    """Propose a lesson of zoe's with a condition that no question meets; return its id."""
    lesson = Add(text=text, when=NARROW, state="proposed", sources=("run:1", "principal:zoe"))
    return (await memory.commit([lesson], author="learner")).applied[0].id


async def both_asked(memory: TedMemory, speakers: Sequence[str] = PEOPLE) -> None:
    """Have people ask for the code of apples, and others for that of bananas."""
    await fill_archive(memory, speakers, "apples")
    await fill_archive(memory, [f"{who}-too" for who in speakers], "bananas")


async def words(memory: TedMemory, id: str) -> str:
    return (await memory.load()).by_id[id].index_terms


async def test_a_narrow_lesson_gets_evidence_of_others(memory: TedMemory) -> None:
    id = await proposed(memory)
    await both_asked(memory)
    await replayed(memory)
    assert await words(memory, id) == "apples", "code and what stand with other answers, too"
    assert (await sums(memory, id)).pairs == len(PEOPLE)
    [entry] = [e for e in await memory.log() if "several people" in e.why]
    assert entry.author == "learner"


async def test_without_the_words_nothing_is_evidence_on_it(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""

    async def none(*_: object) -> bool:
        return False

    monkeypatch.setattr(SharedWords, "give", none)
    id = await proposed(memory)
    await both_asked(memory)
    await replayed(memory)
    assert (await sums(memory, id)).pairs == 0


async def test_words_of_two_people_are_theirs(memory: TedMemory) -> None:
    id = await proposed(memory)
    await both_asked(memory, ("anna", "bruno") * 3)
    await replayed(memory)
    assert await words(memory, id) == ""


async def test_where_decisions_take_more_people_words_do_too(namespace: str) -> None:
    memory = in_memory(namespace=namespace, min_principals=6)
    id = await proposed(memory)
    await both_asked(memory)
    await replayed(memory)
    assert await words(memory, id) == ""


async def test_fewer_than_three_people_are_never_enough(namespace: str) -> None:
    memory = in_memory(namespace=namespace, min_principals=1)
    id = await proposed(memory)
    await both_asked(memory, ("anna", "bruno") * 3)
    await replayed(memory)
    assert await words(memory, id) == ""


async def test_without_examples_nothing_of_what_people_asked_is_kept(namespace: str) -> None:
    memory = in_memory(namespace=namespace, examples=False)
    id = await proposed(memory)
    await both_asked(memory)
    await replayed(memory)
    assert await words(memory, id) == ""


async def test_a_lesson_that_tells_no_answer_that_was_right_gets_none(memory: TedMemory) -> None:
    id = await proposed(memory, "weigh the fruit before you answer")
    await both_asked(memory)
    await replayed(memory)
    assert await words(memory, id) == ""


async def test_what_is_known_of_a_lesson_stays_when_its_words_change(memory: TedMemory) -> None:
    id = await proposed(memory)
    await both_asked(memory, PEOPLE[:3])
    await replayed(memory)
    assert (await sums(memory, id)).pairs == 3
    await fill_archive(memory, ("frieda", "gustav", "hanna"), "apples")
    await memory.commit(
        [Rewrite(id=id, text=f"say {CODES['apples']}", index_terms="", sources=("run:1",))],
        author="learner",
    )
    await replayed(memory)
    assert await words(memory, id) == "apples"
    assert (await sums(memory, id)).pairs == 6


@pytest.mark.parametrize("state", ["trial", "active"])
async def test_a_lesson_that_users_see_keeps_its_words(memory: TedMemory, state: str) -> None:
    id = await proposed(memory)
    trial = Trial(bet=0.5) if state == "trial" else None
    await memory.commit([SetState(id=id, state=state, trial=trial)], author="trials")
    await both_asked(memory)
    await replayed(memory)
    assert await words(memory, id) == ""


async def test_a_lesson_that_a_person_has_edited_is_left_alone(memory: TedMemory) -> None:
    id = await proposed(memory)
    by_hand = Rewrite(id=id, text=f"say {CODES['apples']}", index_terms="scales")
    await memory.commit([by_hand], author="a person")
    await both_asked(memory)
    await replayed(memory)
    assert await words(memory, id) == "scales"


async def test_words_that_too_few_people_still_use_are_taken_back(memory: TedMemory) -> None:
    id = await proposed(memory)
    await both_asked(memory, PEOPLE[:3])
    await replayed(memory)
    assert await words(memory, id) == "apples"
    await memory.forget("principal", "anna")
    await replayed(memory)
    assert await words(memory, id) == ""


async def test_the_archive_is_read_again_when_a_tenth_of_it_is_new(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = shared_words.shared_words

    def counted(asked: Sequence[object], *args: object, **more: object) -> object:
        read.append(len(asked))
        return real(asked, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(shared_words, "shared_words", counted)
    lesson = Experience(
        id="abcdef", text="say c000", when=NARROW, state="proposed", sources=("run:1",)
    )
    keeper, base = SharedWords(), await memory.load()
    await fill_archive(memory, [f"user-{i}" for i in range(24)])
    archived = await memory.store.episodes.archived(memory.namespace)
    for size in range(20, 25):
        archive = {one.seq: one for one in archived[:size]}
        await keeper.give([lesson], base, archive, memory)
    assert read == [20, 23]
