"""`ted-memory status --metrics`: the funnel and the queue as Prometheus reads them."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from ted_memory import open_memory
from ted_memory.cli.output import metrics
from ted_memory.cli.output.metrics import EVENTS, exposition
from ted_memory.episodes import Episode, Traffic
from ted_memory.learner import Funnel
from ted_memory.llm.spend import Prices, RoleSpend, Spend
from ted_memory.models import Add, Caps, ExperienceSet, Message
from tests.command_line import run_cli
from tests.conftest import Server

ODD = 'a "set"\\of\nmine'


def samples(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(text: str, name: str, **labels: str) -> float:
    """Return the one sample of this name with these labels, whatever its namespace."""
    found = [
        s.value
        for s in samples(text)
        if s.name == f"ted_memory_{name}" and labels.items() <= s.labels.items()
    ]
    [one] = found
    return one


def made(
    namespace: str = "support",
    *,
    prices: Prices | None = None,
    counts: Mapping[str, int] | None = None,
) -> str:
    """Return the metrics of a namespace in which each stage has another number."""
    traffic = Traffic(
        waiting=1, claimed=2, dead=3, bytes=4, oldest=5.5, learners=6, counts=counts or {}
    )
    spend = Spend(student=RoleSpend(calls=7, tokens_in=8, tokens_out=9))
    way = Funnel(
        proposed=10, trial=11, for_a_person=12, active=13, pairs=14, retired=15, learning=spend
    )
    now = ExperienceSet(
        namespace=namespace, epoch="e", version=16, caps=Caps(max_experiences=50, token_budget=2000)
    )
    return exposition(now, traffic, way, prices)


def test_each_number_has_its_name() -> None:
    text = made(counts={name: i for i, name in enumerate(EVENTS, 100)})
    assert [value(text, "queue_episodes", state=s) for s in ("waiting", "claimed", "dead")] == [
        1,
        2,
        3,
    ]
    assert [value(text, n) for n in ("queue_bytes", "oldest_waiting_seconds", "learners")] == [
        4,
        5.5,
        6,
    ]
    assert value(text, "model_calls_today", stage="learning", role="student") == 7
    directions = [{"direction": d, "stage": "learning", "role": "student"} for d in ("in", "out")]
    assert [value(text, "model_tokens_today", **d) for d in directions] == [8, 9]
    stages = ("proposed", "trial", "for_a_person", "active")
    assert [value(text, "lessons", state=s) for s in stages] == [10, 11, 12, 13]
    assert (value(text, "evidence", kind="pairs"), value(text, "set_version")) == (14, 16)
    assert value(text, "lessons_moved_today", move="retired") == 15
    assert [value(text, "episodes_total", event=e) for e in EVENTS] == [
        *range(100, 100 + len(EVENTS))
    ]


def test_every_family_says_what_it_is_and_counters_end_in_total() -> None:
    text = made(prices=Prices(student_in=1))
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation and family.samples for family in families)
    assert {family.type for family in families} == {"counter", "gauge"}
    lines = [line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE")]
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in lines)
    assert len({name for name, _ in lines}) == len(lines) == text.count("# HELP")
    assert text.endswith("\n")


@pytest.mark.parametrize("namespace", ["support", ODD])
def test_a_namespace_is_a_label_whatever_is_in_it(namespace: str) -> None:
    assert {sample.labels["namespace"] for sample in samples(made(namespace))} == {namespace}


def test_without_escapes_it_would_not_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(metrics, "_escaped", lambda text: text)
    with pytest.raises((ValueError, AssertionError)):
        test_a_namespace_is_a_label_whatever_is_in_it(ODD)


def test_what_is_not_known_is_left_out() -> None:
    now = ExperienceSet(
        namespace="n", epoch="e", version=0, caps=Caps(max_experiences=50, token_budget=2000)
    )
    names = {s.name for s in samples(exposition(now, Traffic(), Funnel(), None))}
    missing = {"oldest_waiting_seconds", "last_settled_timestamp_seconds", "cost_today"}
    assert names.isdisjoint(f"ted_memory_{name}" for name in missing)
    at = datetime(2025, 1, 1, tzinfo=UTC)
    text = exposition(now, Traffic(oldest=1, last_settled=at), Funnel(), Prices(currency="EUR"))
    assert {f"ted_memory_{name}" for name in missing} <= {s.name for s in samples(text)}
    assert value(text, "last_settled_timestamp_seconds") == at.timestamp()
    assert value(text, "cost_today", stage="replays", currency="EUR") == 0


def test_the_guide_names_them_all() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "traffic.md").read_text(
        encoding="utf-8"
    )
    rows = [line.split("|") for line in guide.splitlines() if line.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    text = made(prices=Prices())
    kinds = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    kinds |= {"ted_memory_last_settled_timestamp_seconds"}
    assert {name.removeprefix("ted_memory_") for name in kinds} <= told
    assert all(
        f"`{v}`" in guide
        for s in samples(text)
        for k, v in s.labels.items()
        if k not in {"namespace", "currency"}
    )


async def test_the_command_prints_nothing_else(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    at = ["status", "--metrics", "-n", namespace, "--url", valkey.url]
    async with open_memory(valkey.url, namespace=namespace) as memory:
        asked = (Message(role="user", content="Why?"),)
        for i in range(3):
            await memory.record(
                Episode(run_id=f"r{i}", principal="anna", input=asked, output=asked)
            )
        await memory.flush()
        await memory.commit(
            [Add(text="Say so.", state="proposed", sources=("principal:anna",))], author="test"
        )
        done = run_cli(*at, cwd=tmp_path, COLUMNS="20")
    assert (done.returncode, done.stderr) == (0, "")
    assert value(done.stdout, "episodes_total", event="recorded", namespace=namespace) == 3
    assert value(done.stdout, "queue_episodes", state="waiting") == 3
    assert value(done.stdout, "lessons", state="proposed") == 1

    both = run_cli(*at, "--json", cwd=tmp_path)
    assert (both.returncode, both.stdout) == (1, "")
    assert "leave --json, --watch" in both.stderr
