"""One learner: from an episode to a lesson, and what becomes of an episode when something goes wrong."""

from ted_memory import TedMemory, open_memory
from ted_memory.learner import Learner
from tests.conftest import Server
from tests.distill.scripts import CODES, student, teacher, texts_of
from tests.learner.worlds import complain, episode


async def test_an_operator_learns_from_live_traffic_at_once(valkey: Server, namespace: str) -> None:
    async with open_memory(valkey.url, namespace=namespace, trust="operator") as memory:
        await complain(memory, [episode("apples")])
        report = await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
        assert report.outcomes == {"learned": 1}, report
        assert await texts_of(memory) == [f"say {CODES['apples']}"]
        [lesson] = await memory.load()
        assert lesson.sources == ("run:apples-anna-0", "principal:anna")
        traffic = await memory.store.episodes.traffic(namespace)
        assert (traffic.waiting, traffic.claimed, traffic.bytes) == (0, 0, 0)
        assert traffic.counts["learned"] == 1


async def test_two_principals_lead_a_lesson_to_its_trial_and_one_does_not(valkey: Server, namespace: str) -> None:
    async with open_memory(valkey.url, namespace=namespace, canary_share=0.5) as memory:
        await complain(memory, [episode("apples", principal="anna")])
        learner = Learner(memory, student=student(), teacher=teacher())
        await learner.run(until_empty=True)
        [lesson] = await memory.load()
        assert lesson.state == "proposed", "nothing from traffic is active without evidence"
        assert await memory.render() == ""

        await complain(memory, [episode("apples", i, principal="anna") for i in range(1, 4)])
        await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
        [lesson] = await memory.load()
        assert lesson.state == "proposed", "one principal cannot do it alone"

        await complain(memory, [episode("apples", principal="bert")])
        learner = Learner(memory, student=student(), teacher=teacher())
        await learner.run(until_empty=True)
        [lesson] = await memory.load()
        assert {"principal:anna", "principal:bert"} <= set(lesson.sources)
        await learner_looks(memory)
        [lesson] = await memory.load()
        assert lesson.state == "trial", lesson


async def learner_looks(memory: TedMemory) -> None:
    from ted_memory.learner.trials import look

    await look(memory, "somebody", shadow=True)


async def test_attempts_of_others_lead_a_lesson_from_the_shadow_to_the_users(valkey: Server, namespace: str) -> None:
    async with open_memory(valkey.url, namespace=namespace, canary_share=0.5, trial_outcomes=10) as memory:
        await complain(memory, [episode("apples", principal=p) for p in ("anna", "bert")])
        await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
        await learner_looks(memory)
        await complain(memory, [episode("apples", i, principal="carl") for i in range(12)])
        await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
        await learner_looks(memory)
        [lesson] = await memory.load()
        assert lesson.trial and lesson.trial.exposure == 0.5, lesson

        for i in range(60):
            shown = await memory.expose("What is the code of apples?", unit=f"u{i}", principal="dora")
            right = bool(shown.seen)
            one = episode("apples", i, principal=f"p{i}", answer=CODES["apples"] if right else "no", seen=shown.seen)
            await memory.record(one.model_copy(update={"withheld": shown.withheld}))
            await memory.flush()
            assert await memory.give_feedback(one.run_id, score=float(right), principal=f"p{i}") == "credited"
        await learner_looks(memory)
        [lesson] = await memory.load()
        assert lesson.state == "active", (lesson, await memory.usage())
        assert CODES["apples"] in await memory.render()
