"""The least-privilege users do their work in a cluster, too."""

import pytest

from ted_memory import Add, open_memory
from ted_memory.errors import StoreRefused
from ted_memory.storage.redis import acl
from ted_memory.testing import wait_until
from tests.chaos.topologies import ClusterSetup
from tests.conftest import SERVERS

pytestmark = pytest.mark.xdist_group("topologies")


async def test_each_role_works_in_a_cluster_and_no_further() -> None:
    binary = SERVERS["valkey"]
    assert binary is not None
    with ClusterSetup(binary) as cluster:
        for node in cluster.nodes:
            for role in acl.ROLES:
                node.call(*acl.set_user(role, "support", password=role).split())
        for role in ("admin", "learner", "reviewer"):
            async with open_memory(as_role(cluster, role), namespace="support") as memory:
                commit = await memory.commit([Add(text=f"By the {role}.")], author=role)
                assert commit.applied
        async with open_memory(
            as_role(cluster, "agent"), namespace="support", read_timeout=5.0
        ) as memory:
            assert "By the learner." in await memory.render()
            await wait_until(lambda: memory.health().pushed)
            with pytest.raises(StoreRefused, match="refuses us"):
                await memory.commit([Add(text="Mine.")], author="agent")


def as_role(cluster: ClusterSetup, role: str) -> str:
    return cluster.url.replace("://", f"://ted-support-{role}:{role}@", 1)
