"""A provider's final refusal ends a run at once or lets a learner pause; nothing is set aside."""

import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from ted_memory import TedMemory, open_memory
from ted_memory.distill import Judge, distill
from ted_memory.errors import ModelRefused
from ted_memory.evaluation import evaluate
from ted_memory.learner import Learner
from ted_memory.learner import learner as learner_module
from ted_memory.llm import calls as calls_module
from ted_memory.testing import Provider, ScriptedServer, in_memory, wait_until
from tests.conftest import Server
from tests.distill.scripts import CODES, add, critique, samples, student, teacher, thing_in
from tests.learner.worlds import complain, episode

TO_NONE = (
    r"temperature=0\.7 for gpt-5-nano, the student; "
    r"set temperature to none \(TED_MEMORY_TEMPERATURE=none, "
)
HERE = Provider(models=("gpt-5-nano", "gpt-5"), key="right")


def answer(request: dict[str, Any]) -> str:
    """Play a student that follows lessons and a teacher that knows, by the request's model."""
    prompt = "\n".join(str(m["content"]) for m in request["messages"])
    thing = thing_in(prompt)
    if request["model"] == "gpt-5-nano":
        return CODES[thing] if f"about {thing}: say {CODES[thing]}" in prompt else "no idea"
    if '"edits"' not in prompt:
        return CODES[thing]
    return critique(add(f"say {CODES[thing]}", f"asked about {thing}"))


def scripted() -> ScriptedServer:
    return ScriptedServer(answer, provider=HERE)


def client(
    server: ScriptedServer, name: str = "gpt-5-nano", key: str = "right", **options: Any
) -> ChatOpenAI:
    return ChatOpenAI(
        model=name, base_url=server.base_url, api_key=SecretStr(key), max_retries=0, **options
    )


async def test_with_the_defaults_these_models_learn() -> None:
    async with scripted().serve() as server:
        report = await distill(
            samples(),
            student=client(server),
            teacher=client(server, "gpt-5"),
            memory=in_memory(trust="always"),
        )
    assert (report.set_aside, report.promoted, server.refused) == (0, True, [])


async def test_a_refused_temperature_ends_a_run_with_the_setting_to_change() -> None:
    memory = in_memory(temperature=0.7, trust="always")
    async with scripted().serve() as server:
        with pytest.raises(
            ModelRefused,
            match=rf"{TO_NONE}.*0 of 12 samples are done and kept; call again to go on$",
        ):
            await distill(samples(), student=client(server), teacher=teacher(), memory=memory)
        assert {reply.param for reply in server.refused} == {"temperature"}
        # samples under way, each attempt once
        most = memory.settings.concurrency * memory.settings.rollouts
        assert len(server.refused) <= most < 10 * memory.settings.rollouts
    assert (await memory.load()).version == 0


async def test_without_the_rule_every_sample_would_be_set_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls_module, "refusal_of", lambda _: None)
    async with scripted().serve() as server:
        report = await distill(
            samples(),
            student=client(server),
            teacher=teacher(),
            memory=in_memory(temperature=0.7, validation=0),
        )
    assert report.set_aside == report.samples == 12


@pytest.mark.parametrize(
    ("name", "key", "said"),
    [
        ("gpt-5", "wrong", r"API key \(OPENAI_API_KEY\) set, right"),
        ("gpt-6", "right", "Is the model's name right"),
    ],
)
async def test_what_was_done_before_a_refusal_is_kept_and_gone_on_from(
    name: str, key: str, said: str
) -> None:
    memory = in_memory(trust="always", validation=0, concurrency=1)
    async with scripted().serve() as server:
        master = client(server, "gpt-5")
        later = client(server, name, key)

        def revoke(step: Any) -> None:
            if step.done >= 3:
                master.openai_api_key, master.model_name = later.openai_api_key, later.model_name
                master.async_client = later.async_client

        with pytest.raises(
            ModelRefused, match=rf"{said}.* 3 of 12 samples are done and kept; call again to go on$"
        ):
            await distill(
                samples(), student=student(), teacher=master, memory=memory, on_progress=revoke
            )
        report = await distill(
            samples(), student=student(), teacher=client(server, "gpt-5"), memory=memory
        )
    assert (report.resumed, report.set_aside) == (3, 0)


async def test_a_judge_that_is_refused_ends_the_run_too() -> None:
    async with scripted().serve() as server:
        judge = Judge(client(server, "gpt-5").bind(temperature=0.7))
        with pytest.raises(ModelRefused, match=r"refuses temperature=0\.7 for gpt-5, "):
            await distill(
                samples(), student=student(), teacher=teacher(), memory=in_memory(), grader=judge
            )


async def test_an_evaluation_ends_with_the_same_line(scratch: TedMemory) -> None:
    async with scripted().serve() as server:
        made_with = client(server, "gpt-5-nano", extra_body={"temperature": 0.7})
        with pytest.raises(
            ModelRefused,
            match=r"gpt-5-nano, the student; make the model without temperature.*call again",
        ):
            await evaluate(samples(), student=made_with, memory=scratch)
    assert len(server.requests) <= scratch.settings.concurrency


# A learner.


async def test_a_learner_pauses_says_so_and_makes_no_dead_letters(
    valkey: Server,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(learner_module, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(learner_module, "LONGEST_PAUSE", 0.02)
    # what was refused does not wait for it
    monkeypatch.setattr(learner_module, "RETRY_AFTER", 60.0)
    options = {"trust": "always", "max_deliveries": 1, "rollouts": 1, "verify_calls": 0}
    async with (
        scripted().serve() as server,
        open_memory(valkey.url, namespace=namespace, **options) as memory,
    ):
        await complain(memory, [episode(thing) for thing in list(CODES)[:4]])
        refused = open_memory(valkey.url, namespace=namespace, temperature=0.7, **options)
        learner = Learner(refused, student=client(server), teacher=client(server, "gpt-5"))
        with caplog.at_level(logging.WARNING, logger="ted_memory"):
            await learner.run(until_empty=True)
        assert learner.report.refused.startswith(
            "the provider refuses temperature=0.7 for gpt-5-nano"
        )
        assert "learner: paused, and no episode is lost: the provider refuses" in caplog.text
        assert set(learner.report.outcomes) == {"released"}
        traffic = await memory.store.episodes.traffic(namespace)
        assert (traffic.waiting, traffic.claimed, traffic.dead) == (4, 0, 0)
        report = await Learner(memory, student=client(server), teacher=client(server, "gpt-5")).run(
            until_empty=True
        )
        assert (report.outcomes, report.refused) == ({"learned": 4}, "")
        await refused.aclose()


async def test_a_key_that_is_revoked_while_others_still_get_answers_is_no_episode_s_fault(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_module, "RETRY_AFTER", 0.0)
    monkeypatch.setattr(learner_module, "FIRST_PAUSE", 0.05)
    options = {"trust": "always", "max_deliveries": 1, "rollouts": 1, "verify_calls": 0}
    mended = False

    def picky(request: dict[str, Any]) -> Any:
        if "figs" in json.dumps(request) and not mended:
            refusal = Provider(key="another").refusal(request, "wrong")
            return refusal and replace(refusal, delay=1.5)  # the others are learned from meanwhile
        return answer(request)

    server = ScriptedServer(picky)
    async with server.serve(), open_memory(valkey.url, namespace=namespace, **options) as memory:
        await complain(memory, [episode(thing) for thing in (*list(CODES)[:4], "figs")])
        learner = Learner(memory, student=client(server), teacher=client(server, "gpt-5"))
        await learner.run(until_empty=True)
        traffic = await memory.store.episodes.traffic(namespace)
        assert (traffic.waiting, traffic.dead) == (1, 0)
        mended = True
        await wait_until(lambda: not learner._must_pause())
        await learner.run(until_empty=True)
        assert (learner.report.outcomes["learned"], learner.report.refused) == (5, "")
