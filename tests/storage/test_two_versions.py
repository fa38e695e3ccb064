"""A newer package works beside an older one, which leaves out the fields it does not know."""

import json
from typing import Any

import pytest
import redis
from pydantic import ValidationError

from ted_memory import Add, Episode, Experience, Feedback, open_memory
from ted_memory.learner import Learner
from ted_memory.storage.redis import codec
from ted_memory.storage.redis.keys import Keys
from tests.conftest import Server
from tests.distill.scripts import student, teacher
from tests.learner.worlds import complain, episode

NEWER = {"of_a_newer_package": {"a": [1, 2]}}
CHEAP: dict[str, Any] = {"trust": "always", "rollouts": 1, "verify_calls": 0, "read_timeout": 5.0}


def _grown(text: str) -> str:
    """Return a JSON object with fields of a newer package, in all objects that stand in it."""

    def grow(value: Any) -> Any:
        if isinstance(value, list):
            return [grow(one) for one in value]
        return (
            {**{k: grow(v) for k, v in value.items()}, **NEWER}
            if isinstance(value, dict)
            else value
        )

    return json.dumps(grow(json.loads(text)))


async def test_agents_read_lessons_log_and_presentation_of_a_newer_package(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await memory.commit([Add(text="One.", when="asked")], author="me")
        keys = Keys(namespace)
        with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
            for id, item in client.hgetall(keys.experiences).items():
                head, _, body = item.rpartition("|{")
                client.hset(keys.experiences, id, f"{head}|{_grown('{' + body)}")
        older = open_memory(valkey.url, namespace=namespace, **CHEAP)
        assert "One." in await older.render()
        await older.commit([Add(text="Two.")], author="older")
        assert {e.text for e in await memory.load()} == {"One.", "Two."}
        await older.aclose()


async def test_a_learner_learns_from_what_a_newer_package_recorded(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await complain(memory, [episode("apples")])
        keys = Keys(namespace)
        with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
            for seq, stored in client.hgetall(keys.episodes).items():
                size, _, body = stored.partition("|")
                client.hset(keys.episodes, seq, f"{size}|{_grown(body)}")
            [run] = client.keys(keys.run("*"))
            told = {k: v for k, v in client.hgetall(run).items() if k.startswith("f")}
            client.hset(run, mapping={place: _grown(said) for place, said in told.items()})
        report = await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
        assert report.outcomes == {"learned": 1}
        assert (await memory.store.episodes.archived(namespace))[0].sample.reference


def test_every_stored_type_leaves_out_what_it_does_not_know() -> None:
    lesson = Experience(
        id="abc", text="x", when="y", sources=("a",), metadata={"kept": {"as": "it is"}}
    )
    head, _, body = codec.encode_item(lesson).rpartition("|{")
    grown = codec.decode_item("abc", f"{head}|{json.dumps({**json.loads('{' + body), **NEWER})}")
    assert grown == lesson
    said = Feedback(run_id="r", score=0.5, comment="well")
    assert codec.decode_feedback(_grown(said.model_dump_json())) == said
    one = Episode(run_id="r", seen=("abc",))
    assert codec.decode_episode(_grown(one.model_dump_json(exclude_defaults=True))) == one


@pytest.mark.parametrize("made", [Experience, Episode, Feedback, Add])
def test_what_is_handed_in_must_be_known(made: Any) -> None:
    """The control: it is reading alone that is tolerant."""
    with pytest.raises(ValidationError, match="of_a_newer_package"):
        made.model_validate({"id": "a", "text": "x", "run_id": "r", **NEWER})
