"""One learner: from an episode to a lesson."""

from ted_memory import Add, TedMemory, open_memory
from ted_memory.learner import Learner
from tests.conftest import Server
from tests.distill.scripts import CODES, student, teacher, texts_of
from tests.learner.worlds import PEOPLE, archive, complain, episode, propose, replayed, sums


async def test_an_operator_learns_from_live_traffic_at_once(valkey: Server, namespace: str) -> None:
    async with open_memory(valkey.url, namespace=namespace, trust="always") as memory:
        await complain(memory, [episode("apples")])
        report = await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
        assert report.outcomes == {"learned": 1}, report
        assert await texts_of(memory) == [f"say {CODES['apples']}"]
        [lesson] = await memory.load()
        assert lesson.sources == ("run:apples-anna-0", "principal:anna")
        traffic = await memory.store.episodes.traffic(namespace)
        assert (traffic.waiting, traffic.claimed, traffic.bytes) == (0, 0, 0)
        assert traffic.counts["learned"] == 1


async def test_nothing_from_traffic_is_active_without_evidence(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await complain(memory, [episode("apples", i) for i in range(4)])
        await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
        [lesson] = await memory.load()
        assert (lesson.state, lesson.text) == ("proposed", f"say {CODES['apples']}")
        assert await memory.render() == ""
        for i in range(20):
            shown = await memory.expose(
                "What is the code of apples?", unit=f"u{i}", principal=f"p{i}"
            )
            assert (shown.block, shown.seen, shown.withheld) == ("", (), ())


async def test_what_is_said_twice_is_one_proposal_and_keeps_what_is_known(
    memory: TedMemory,
) -> None:
    await archive(memory, "apples", PEOPLE[:4])
    first, *others = await propose(memory, "apples", "apples", says="guess")
    others += await propose(memory, "apples", says="GUESS", source="principal:yara")
    by_hand = (
        await memory.commit(
            [Add(text="guess", when="asked about apples", state="proposed")], author="me"
        )
    ).applied
    await replayed(memory)
    assert [e.id for e in await memory.load()] == [first, by_hand[0].id]
    assert (await sums(memory, first)).pairs == 4
    assert (await memory.load()).by_id[first].sources == ("run:of-apples", "principal:zoe")
