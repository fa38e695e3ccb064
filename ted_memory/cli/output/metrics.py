"""How learning from traffic goes, for Prometheus.

The text format: https://prometheus.io/docs/instrumenting/exposition_formats/. What is counted since
the beginning is a counter, and its name ends in ``_total``. What is counted since midnight (UTC) is
a gauge that begins at 0 each day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ted_memory.cli.output.funnel import costs
from ted_memory.models import ExperienceSet

if TYPE_CHECKING:  # what brings LangChain is imported where it is needed
    from ted_memory.episodes import Traffic
    from ted_memory.learner import Funnel
    from ted_memory.llm.spend import Prices

EVENTS = (
    "recorded",
    "learned",
    "nothing",
    "set_aside",
    "dead",
    "dropped",
    "limited",
    "expired",
    "retried",
)
"""What may become of an episode: the totals of `episodes.Traffic`."""


@dataclass(frozen=True)
class Metric:
    """One family of samples: each has its labels, beside the namespace, and a value."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]


def exposition(now: ExperienceSet, traffic: Traffic, way: Funnel, prices: Prices | None) -> str:
    """Write all metrics of one namespace; with prices also what today has cost."""
    return exposition_of_all([(now, traffic, way)], prices)


def exposition_of_all(
    sets: Iterable[tuple[ExperienceSet, Traffic, Funnel]], prices: Prices | None
) -> str:
    """Write the metrics of several namespaces: each family once, with the samples of all."""
    families: dict[str, list[str]] = {}
    for now, traffic, way in sets:
        for one in (*_of_the_queue(traffic), *_of_the_way(now, way), *_of_the_day(way, prices)):
            if one.samples:
                families.setdefault(_head(one), []).extend(_lines(one, now.namespace))
    return "".join(head + "".join(lines) for head, lines in families.items())


def _of_the_queue(traffic: Traffic) -> list[Metric]:
    waiting = {"waiting": traffic.waiting, "claimed": traffic.claimed, "dead": traffic.dead}
    counts = {name: traffic.counts.get(name, 0) for name in EVENTS}
    oldest = [] if traffic.oldest is None else [traffic.oldest]
    settled = [] if traffic.last_settled is None else [traffic.last_settled.timestamp()]
    return [
        Metric(
            "episodes_total", "counter", "Episodes by what became of them.", _each("event", counts)
        ),
        Metric(
            "queue_episodes", "gauge", "Episodes that are not settled yet.", _each("state", waiting)
        ),
        Metric("queue_bytes", "gauge", "Bytes that they take.", _one(traffic.bytes)),
        Metric(
            "oldest_waiting_seconds",
            "gauge",
            "Age of the oldest episode that waits.",
            _one(*oldest),
        ),
        Metric(
            "last_settled_timestamp_seconds",
            "gauge",
            "When an episode was last settled.",
            _one(*settled),
        ),
        Metric("learners", "gauge", "Learners at work.", _one(traffic.learners)),
    ]


def _of_the_way(now: ExperienceSet, way: Funnel) -> list[Metric]:
    lessons = {
        "proposed": way.proposed,
        "trial": way.trial,
        "for_a_person": way.for_a_person,
        "active": way.active,
    }
    # lessons go and take their evidence with them, so that these are no counters
    evidence = {"pairs": way.pairs, "outcomes": way.outcomes, "comparisons": way.comparisons}
    return [
        Metric("set_version", "gauge", "Version of the experience set.", _one(now.version)),
        Metric(
            "archived_episodes",
            "gauge",
            "Graded episodes that are kept for replays.",
            _one(way.archived),
        ),
        Metric(
            "lessons", "gauge", "Lessons from traffic by where they stand.", _each("state", lessons)
        ),
        Metric(
            "evidence", "gauge", "Evidence on the lessons that are there.", _each("kind", evidence)
        ),
    ]


def _of_the_day(way: Funnel, prices: Prices | None) -> list[Metric]:
    moved = {
        "trials_begun": way.trials_begun,
        "activated": way.activated,
        "retired": way.retired,
        "demoted": way.demoted,
    }
    calls: list[tuple[Mapping[str, str], float]] = []
    tokens: list[tuple[Mapping[str, str], float]] = []
    for stage, spend in (("learning", way.learning), ("replays", way.replays)):
        for role, used in (("student", spend.student), ("teacher", spend.teacher)):
            of = {"stage": stage, "role": role}
            calls.append((of, used.calls))
            tokens += [
                ({**of, "direction": "in"}, used.tokens_in),
                ({**of, "direction": "out"}, used.tokens_out),
            ]
    spent, currency = costs(way, prices) or {}, prices.currency if prices else ""
    paid = [({"stage": stage, "currency": currency}, cost) for stage, cost in spent.items()]
    return [
        Metric(
            "lessons_moved_today",
            "gauge",
            "What learners did with lessons today (UTC).",
            _each("move", moved),
        ),
        Metric("model_calls_today", "gauge", "Model calls today (UTC).", calls),
        Metric("model_tokens_today", "gauge", "Tokens today (UTC).", tokens),
        Metric(
            "replay_calls_today",
            "gauge",
            "Student calls for replays today (UTC).",
            _one(way.replay_calls),
        ),
        Metric(
            "replay_calls_a_day",
            "gauge",
            "How many of them a day may take.",
            _one(way.replay_calls_a_day),
        ),
        Metric("cost_today", "gauge", "What today (UTC) has cost.", paid),
    ]


def _one(*values: float) -> list[tuple[Mapping[str, str], float]]:
    return [({}, value) for value in values]


def _each(label: str, values: Mapping[str, float]) -> list[tuple[Mapping[str, str], float]]:
    return [({label: name}, value) for name, value in values.items()]


def _head(metric: Metric) -> str:
    name = f"ted_memory_{metric.name}"
    return f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n"


def _lines(metric: Metric, namespace: str) -> Iterator[str]:
    for labels, value in metric.samples:
        all_labels = {"namespace": namespace, **labels}
        pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in all_labels.items())
        yield f"ted_memory_{metric.name}{{{pairs}}} {value!r}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
