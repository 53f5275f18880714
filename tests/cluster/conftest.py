"""Ray clusters on this machine: one for the tests of a module, and one of two machines."""

import pytest

from demure.cluster.choose import open_executor


@pytest.fixture(scope="module", autouse=True)
def no_address():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="module")
def executor(no_address):
    """Three workers on a cluster that starts with the first test that asks for it, and ends with the module."""
    with open_executor("ray", workers=3, device="cpu") as executor:
        yield executor


@pytest.fixture
def second_machine(no_address, monkeypatch):
    """The second of two raylets of one core each, as on two machines, whose cluster ``RAY_ADDRESS`` names.

    For the first test of a module, since a process has one connection to Ray at a time.
    """
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")
    machine = {"num_cpus": 1, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=machine)
    try:
        second = cluster.add_node(**machine)
        cluster.wait_for_nodes()
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        yield second
    finally:
        ray.shutdown()
        cluster.shutdown()
