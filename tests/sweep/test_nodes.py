"""Resources of machines, read from the GPU driver, the system and a cluster."""

from __future__ import annotations

import pytest
from preflights import A100, V100

from xlt.data.core.errors import InputError
from xlt.sweep.check.machines import read_nodes
from xlt.sweep.machines.nodes import parse_gpus, read_node


def test_gpus_are_parsed_from_nvidia_smi() -> None:
    text = (
        "0, GPU-aa, NVIDIA A100-SXM4-80GB, 81920, 8.0\n1, GPU-bb, Tesla V100-SXM2-16GB, 16384, 7.0"
    )
    assert parse_gpus(text, None) == (A100, V100)
    assert parse_gpus(text, ["1"]) == (V100,)
    assert parse_gpus(text, ["GPU-aa"]) == (A100,)
    assert parse_gpus(text, [""]) == parse_gpus("", None) == ()


def test_resources_of_this_machine() -> None:
    node = read_node()
    assert node.num_cpus >= 1
    assert 2**28 < node.memory < 2**50
    assert node.hub_cache_free > 0


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
def test_resources_of_a_cluster(ray_address: str) -> None:
    (node,) = read_nodes(ray_address)
    assert (node.num_cpus, node.num_gpus) == (2, 0)
    assert node.name == read_node().name


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
def test_a_machine_that_died_before_it_answered_is_left_out(
    ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xlt.sweep.on_ray import nodes as ray_nodes

    real_nodes = ray_nodes.ray.nodes
    dead = {"NodeID": "ab" * 28, "Alive": True, "Resources": {"CPU": 8.0}}
    dead["NodeManagerAddress"] = "10.0.0.9"
    lists = [
        [dead, *real_nodes()],
        [dead, *real_nodes()],
    ]  # the head notices later
    monkeypatch.setattr(ray_nodes.ray, "nodes", lambda: lists.pop() if lists else real_nodes())
    (node,) = read_nodes(ray_address)
    assert node.num_cpus == 2
    assert not lists
    monkeypatch.setattr(ray_nodes.ray, "nodes", lambda: [dead])
    monkeypatch.setattr(ray_nodes, "ANSWER_SECONDS", 3)
    with pytest.raises(InputError, match=r"node .* gives no answer: .*install"):
        read_nodes(ray_address)
