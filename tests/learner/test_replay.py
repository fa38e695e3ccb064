"""Replays: which pairs of answers are asked for, how, and in which order."""

from collections import Counter
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableLambda

from ted_memory import Add, TedMemory, open_memory
from ted_memory.experience.evidence import Sums
from ted_memory.experience.trials import turn
from ted_memory.learner import Learner, reach, replay
from ted_memory.llm.messages import TOOL_RESULTS
from ted_memory.models import SetState, Trial
from ted_memory.protocols import Pair
from ted_memory.settings import make_settings
from tests.conftest import Server
from tests.distill.scripts import CODES, follows, prompt_of, student, teacher, thing_in
from tests.learner.worlds import (
    PEOPLE,
    archive,
    archived,
    blocks,
    complain,
    episode,
    lesson,
    propose,
    replayed,
    runs_of,
    says_nothing,
    settle,
    shown,
    sums,
)

# --- on whose episodes


async def test_a_lesson_is_replayed_on_others_episodes_only(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await complain(
        memory, [episode("apples", i, principal=p) for i, p in enumerate(("bert", "carl"))]
    )
    # its own run, of another name
    await memory.record(episode("apples", principal="dora", run_id="of-apples"))
    await memory.record(episode("apples", 1, principal="zoe"))  # its own principal's
    await memory.record(episode("apples", 2, principal="emil"))  # corrected by its own principal
    await memory.flush()
    for run, who in (("of-apples", "dora"), ("apples-zoe-1", "zoe"), ("apples-emil-2", "zoe")):
        await memory.give_feedback(
            run, score=0.0, correction=CODES["apples"], principal=who, reviewer=True
        )
    await complain(memory, [episode("figs", principal="fritz")])  # about something else
    await settle(memory)

    [id] = await propose(memory, "apples", source="principal:zoe")
    assert (await replayed(memory)).report.replayed == 2
    assert await runs_of(memory, id) == {"apples-bert-0", "apples-carl-1"}

    # the control: without this rule its own episodes would speak for it
    monkeypatch.setattr(reach, "_is_its_own", lambda *_: False)
    await replayed(memory)
    assert len(await runs_of(memory, id)) == 5


async def test_of_those_without_a_name_only_the_run_itself_is_left_out(memory: TedMemory) -> None:
    await complain(memory, [episode("apples", i, principal="anonymous") for i in range(3)])
    await settle(memory)
    [id] = await propose(memory, "apples", source="principal:anonymous", run="apples-anonymous-1")
    await replayed(memory)
    assert await runs_of(memory, id) == {"apples-anonymous-0", "apples-anonymous-2"}


# --- how


async def test_the_students_model_answers_twice_on_each_side(memory: TedMemory) -> None:
    await archive(memory, "apples", PEOPLE[:3])
    [id] = await propose(memory, "apples")
    model = student()
    await replayed(memory, model)
    assert Counter(blocks(model.asked)) == {True: 6, False: 6}
    found = await sums(memory, id)
    assert (found.pairs, found.score_with, found.score_without) == (3, 3, 0)


async def test_a_side_is_worth_the_mean_of_its_answers(memory: TedMemory) -> None:
    told: list[bool] = []

    def forgets(messages: list[BaseMessage]) -> str:
        """Follow the lesson every other time."""
        answer = follows(messages)
        told.append(answer != "no idea")
        return answer if told.count(True) % 2 else "no idea"

    await archive(memory, "apples", PEOPLE[:3])
    [id] = await propose(memory, "apples")
    await replayed(memory, student(forgets))
    assert (await sums(memory, id)).score_with == pytest.approx(1.5)


async def test_the_recorded_tool_results_stand_in_the_prompt_and_nothing_is_called(
    memory: TedMemory,
) -> None:
    called: list[str] = []

    def agent(messages: list[BaseMessage]) -> str:
        called.append(prompt_of(messages))
        return "no idea"

    used = "look_up(apples) -> 17 kilos"
    await archive(memory, "apples", PEOPLE[:2], tools=(used,))
    [id] = await propose(memory, "apples")
    model = student(lambda _: "no idea")
    await replayed(memory, model)
    assert len(model.asked) == 8
    assert all(f"{TOOL_RESULTS}\n- {used}" in prompt_of(prompt) for prompt in model.asked)
    shown = await sums(memory, id)
    assert (shown.pairs, shown.silent) == (0, 2), (
        "both were wrong: of what it is for before a tool is called they tell nothing"
    )

    # an agent, which would use its tools, is not asked
    [other] = await propose(memory, "apples", says="ask somebody else")
    await Learner(
        memory, student=RunnableLambda(agent), teacher=says_nothing(), replay="agent"
    ).run(until_empty=True)
    assert (called, (await sums(memory, other)).pairs) == ([], 0)


async def test_lessons_are_looked_for_by_the_question_and_not_by_what_tools_said(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows_nothing = student(lambda _: "no idea")
    await archive(memory, "apples", PEOPLE[:2], tools=("look_up(apples) -> see figs",))
    figs, apples = await propose(memory, "figs", "apples")
    await replayed(memory, knows_nothing)
    assert [(await sums(memory, id)).silent for id in (figs, apples)] == [0, 2]
    # the control: the last turn as it stands is what tools said
    monkeypatch.setattr(reach, "question", lambda messages: str(messages[-1].text))
    await replayed(memory, knows_nothing)
    assert [(await sums(memory, id)).silent for id in (figs, apples)] == [2, 2]


@pytest.mark.parametrize("top_k", [1, 2])
async def test_a_lesson_without_a_place_in_the_prompt_makes_no_pair_and_no_call(
    valkey: Server, namespace: str, top_k: int
) -> None:
    async with open_memory(
        valkey.url, namespace=namespace, selection="relevant", top_k=top_k
    ) as memory:
        await memory.commit([Add(text="Be brief.", when="code of apples")], author="operator")
        await archive(memory, "apples", PEOPLE[:4])
        [id] = await propose(memory, "apples")
        model = student()
        await replayed(memory, model)
        found = await sums(memory, id)
        calls = (await memory.store.episodes.traffic(namespace)).today.get("replay_calls", 0)
        if top_k == 1:
            assert (model.asked, calls, found) == ([], 0, Sums()), "that says nothing of it"
        else:  # the control: there is a place for both
            assert (len(model.asked), calls, found.pairs, found.score_with) == (16, 16, 4, 4)


async def test_an_episode_of_which_something_else_was_said_since_is_no_measure(
    memory: TedMemory,
) -> None:
    await archive(memory, "apples", PEOPLE[:4])
    [changed, same, *_] = [one.run_id for one in await archived(memory)]
    await memory.give_feedback(changed, score=0.0, correction="c999", principal=PEOPLE[0])
    await memory.give_feedback(same, comment="Thank you.", principal=PEOPLE[1])
    [id] = await propose(memory, "apples")
    model = student()
    assert (await replayed(memory, model)).report.replayed == 3
    assert changed not in {one.run_id for one in await archived(memory)}
    assert len(model.asked) == 12
    assert (await sums(memory, id)).score_with == 3


# --- in which order


async def test_the_best_lesson_goes_first_when_each_has_four_pairs(
    valkey: Server, namespace: str, order: list[Pair]
) -> None:
    async with open_memory(valkey.url, namespace=namespace, episodes_at_once=1) as memory:
        await archive(memory, "apples")
        ids = [
            *await propose(memory, "apples", says="guess"),
            *await propose(memory, "apples"),
            *await propose(memory, "apples", says="ask a friend"),
        ]
        await replayed(memory)
        who = [ids.index(pair.id) for pair in order]
        assert sorted(who[:12]) == [0] * 4 + [1] * 4 + [2] * 4
        rest = who[12:]
        assert rest[: rest.count(1)] == [1] * rest.count(1), (
            "the right one goes on until it is on trial"
        )
        assert rest.count(1) >= 3
        right = await lesson(memory, ids[1])
        assert right is not None
        assert right.state == "trial"
        assert {0, 2} <= set(rest), "then the others"


async def test_one_account_does_not_get_all_pairs_for_what_it_alone_speaks_for(
    valkey: Server, namespace: str, order: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def first_pairs(memory: TedMemory) -> Counter[str]:
        """Return whose lesson has how many of the pairs after the first four of each."""
        await archive(memory, "figs", ["eve"] * 30)
        await archive(memory, "apples", PEOPLE)
        loud, _ = await propose(memory, "figs", "apples")
        order.clear()
        await replayed(memory)
        return Counter("loud" if pair.id == loud else "quiet" for pair in order[8:11])

    async with open_memory(valkey.url, namespace=namespace, episodes_at_once=1) as memory:
        assert (await first_pairs(memory))["quiet"] == 3
    # the control: were all wealth counted, who speaks alone and often would come first
    monkeypatch.setattr(
        replay, "turn", lambda evidence, _: turn(evidence, make_settings(min_principals=1))
    )
    monkeypatch.setattr(replay, "loudest", lambda _: 0)
    async with open_memory(valkey.url, namespace=f"{namespace}-2", episodes_at_once=1) as memory:
        assert (await first_pairs(memory))["loud"] >= 1


async def test_the_speaker_who_was_heard_least_is_next(
    valkey: Server, namespace: str, order: list[Pair]
) -> None:
    async with open_memory(valkey.url, namespace=namespace, episodes_at_once=1) as memory:
        await archive(memory, "apples", [*PEOPLE[:4], *["eve"] * 40])
        await propose(memory, "apples", says="guess")
        await replayed(memory)
        heard = [pair.speaker for pair in order]
        assert set(heard[:5]) == {*PEOPLE[:4], "eve"}, "though all the newest episodes are hers"
        assert heard.count("eve") > 10, "the control: what is left is hers"


# --- what is not replayed


@pytest.mark.parametrize("replay", ["none", "agent", "model"])
async def test_only_a_model_by_itself_replays_and_else_a_lesson_waits_for_a_person(
    memory: TedMemory, replay: Any
) -> None:
    await archive(memory, "apples")
    [id] = await propose(memory, "apples")
    model = student()
    learner = await replayed(memory, model, replay=replay)
    found = await lesson(memory, id)
    assert found is not None
    if replay == "model":  # the control
        assert (learner.report.replayed > 0, found.state) == (True, "trial")
        return
    assert (learner.report.replayed, model.asked, found.state) == (0, [], "proposed")
    assert await memory.render() == ""
    await memory.commit([SetState(id=id, state="active")], author="a person")
    assert CODES["apples"] in await memory.render()


async def test_what_an_operator_wrote_or_waits_for_a_person_is_not_replayed(
    memory: TedMemory,
) -> None:
    await archive(memory, "apples")
    by_hand = await memory.commit(
        [Add(text="Say c000.", when="asked about apples", state=s) for s in ("proposed", "active")],
        author="operator",
    )
    [ended] = await propose(memory, "apples")
    now = await lesson(memory, ended)
    assert now is not None
    await memory.commit([SetState(id=ended, state="trial", trial=Trial(bet=0.5))], author="trials")
    await memory.commit(
        [SetState(id=ended, state="proposed", trial=Trial(ended="it hurt"))], author="trials"
    )
    model = student()
    assert (await replayed(memory, model)).report.replayed == 0
    assert model.asked == []
    assert [await shown(memory, made.id) for made in by_hand.applied] == [
        await shown(memory, "none")
    ] * 2


async def test_an_operators_memory_replays_nothing(valkey: Server, namespace: str) -> None:
    async with open_memory(valkey.url, namespace=namespace, trust="always") as memory:
        await archive(memory, "apples", PEOPLE[:3])
        await propose(memory, "apples")
        assert (await replayed(memory)).report.replayed == 0


async def test_a_proposal_is_still_verified_before_it_waits(memory: TedMemory) -> None:
    asked: list[str] = []

    def counts(messages: list[BaseMessage]) -> str:
        asked.append(thing_in(prompt_of(messages)))
        return "no idea"

    await complain(memory, [episode("apples", principal=p) for p in PEOPLE[:2]])
    learner = Learner(memory, student=student(counts), teacher=teacher())
    await learner.run(until_empty=True)
    assert learner.report.outcomes == {"set_aside": 2}, (
        "a lesson that the student does not follow is not proposed"
    )
    assert len(asked) > 2 * memory.settings.rollouts
    assert len(await memory.load()) == 0
