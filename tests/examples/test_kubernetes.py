"""The manifests of `examples/kubernetes/`: their fields are KEDA's, and what they name is ours."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ted_memory import TedMemory, open_memory
from ted_memory.settings import Settings
from tests.cli.helpdesk import serve_in_thread
from tests.command_line import run_cli
from tests.conftest import Server
from tests.examples.celery_workers import answer, episode

FOLDER = Path(__file__).parents[2] / "examples" / "kubernetes"
MANIFESTS = sorted(FOLDER.glob("*.yaml"))
# of https://keda.sh/docs/latest: "ScaledObject specification", "Redis Lists", "Prometheus"
SPEC = {
    *("scaleTargetRef", "pollingInterval", "cooldownPeriod", "initialCooldownPeriod"),
    *("idleReplicaCount", "minReplicaCount", "maxReplicaCount", "fallback", "advanced"),
    "triggers",
}
METADATA = {  # by type of trigger: the fields that are required, and all
    "redis": (
        {"address", "listName", "listLength"},
        {
            *("address", "host", "port", "usernameFromEnv", "passwordFromEnv", "listName"),
            *("listLength", "activationListLength", "enableTLS", "unsafeSsl", "databaseIndex"),
        },
    ),
    "prometheus": (
        {"serverAddress", "query", "threshold"},
        {
            *("serverAddress", "query", "queryParameters", "threshold", "activationThreshold"),
            *("namespace", "customHeaders", "ignoreNullValues", "unsafeSsl", "authModes"),
        },
    ),
}


def documents(path: Path) -> dict[str, Any]:
    """Return the documents of a manifest by their kind."""
    found = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return {one["kind"]: one for one in found}


def check_scaled(scaled: dict[str, Any]) -> None:
    """Fail on a field that KEDA has not, or that it cannot read."""
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    spec = scaled["spec"]
    assert set(spec) <= SPEC, f"not a field of KEDA's: {set(spec) - SPEC}"
    assert 0 < spec["minReplicaCount"] < spec["maxReplicaCount"]
    for trigger in spec["triggers"]:
        required, known = METADATA[trigger["type"]]
        given = trigger["metadata"]
        assert required <= set(given) <= known, f"fields of {trigger['type']}: {set(given)}"
        assert all(isinstance(value, str) for value in given.values()), "KEDA reads strings alone"


def learner() -> dict[str, Any]:
    found: dict[str, Any] = documents(FOLDER / "learner.yaml")["Deployment"]
    return found


def container() -> dict[str, Any]:
    [only] = learner()["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_what_scales_learners_has_fields_of_kedas_and_names_the_deployment(path: Path) -> None:
    scaled = documents(path)["ScaledObject"]
    check_scaled(scaled)
    assert scaled["spec"]["scaleTargetRef"] == {"name": learner()["metadata"]["name"]}


def test_a_field_of_another_name_or_a_number_would_be_found() -> None:
    scaled = documents(FOLDER / "learner.yaml")["ScaledObject"]
    for field, value in (("listLen", "20"), ("listLength", 20)):
        wrong = copy.deepcopy(scaled)
        wrong["spec"]["triggers"][0]["metadata"][field] = value
        with pytest.raises(AssertionError, match=r"fields of redis|strings alone"):
            check_scaled(wrong)


def test_a_deployed_learner_has_time_to_stop_and_its_settings_are_ours() -> None:
    spec = learner()["spec"]
    assert "replicas" not in spec, "each apply would set back what KEDA has said"
    pod = spec["template"]
    assert pod["metadata"]["labels"] == spec["selector"]["matchLabels"]
    given = {one["name"]: one.get("value") for one in container()["env"]}
    ours = {name for name in given if name.startswith("TED_MEMORY_")}
    known = {f"TED_MEMORY_{name.upper()}" for name in Settings.model_fields}
    assert ours <= known, f"not a setting: {ours - known}"
    lease = float(given["TED_MEMORY_LEASE_SECONDS"] or 0)
    assert pod["spec"]["terminationGracePeriodSeconds"] > lease


def models(request: dict[str, Any]) -> str:
    """Play the models that the manifest names."""
    roles = {"gpt-5": "teacher", "gpt-5-nano": "student"}
    return answer(request | {"model": roles[request["model"]]})


async def queued(server: Server, namespace: str) -> TedMemory:
    memory = open_memory(server.url, namespace=namespace)
    for number in range(3):
        await memory.record(episode(number))
    await memory.flush()
    return memory


async def test_the_deployed_command_learns_what_kedas_redis_trigger_counts(
    own_server: Server, tmp_path: Path
) -> None:
    trigger = documents(FOLDER / "learner.yaml")["ScaledObject"]["spec"]["triggers"][0]
    key = trigger["metadata"]["listName"]
    namespace = re.findall(r"\{(.*)\}", key)[0]
    async with await queued(own_server, namespace) as memory:
        with redis.Redis.from_url(own_server.url, decode_responses=True) as client:
            assert client.type(key) == "zset", "of the types that KEDA counts"
            assert client.zcard(key) == (await memory.traffic()).waiting == 3
            with serve_in_thread(models) as url:
                command = [*container()["command"], *container()["args"], "--until-empty"]
                own = {"TED_MEMORY_URL": own_server.url, "OPENAI_BASE_URL": url}
                done = run_cli(*command[1:], cwd=tmp_path, **own, OPENAI_API_KEY="none")
            assert done.returncode == 0, done.stderr
            assert client.zcard(key) == 0
        counts = (await memory.traffic()).counts
    assert sum(counts[outcome] for outcome in ("learned", "nothing", "set_aside")) == 3


async def test_the_metric_that_scales_learners_is_one_of_ours_and_counts_what_waits(
    own_server: Server, namespace: str, tmp_path: Path
) -> None:
    trigger = documents(FOLDER / "by_metrics.yaml")["ScaledObject"]["spec"]["triggers"][0]
    query = trigger["metadata"]["query"]
    [(name, label, value)] = re.findall(r'^sum\((\w+)\{(\w+)="(\w+)"\}\)$', query)
    async with await queued(own_server, namespace):
        done = run_cli(
            "status", "--metrics", "-n", namespace, cwd=tmp_path, TED_MEMORY_URL=own_server.url
        )
    samples = [one for of in text_string_to_metric_families(done.stdout) for one in of.samples]
    counted = [one.value for one in samples if one.name == name and one.labels[label] == value]
    assert counted == [3.0]
