"""How many trials machines hold: against counting by hand."""

from __future__ import annotations

from typing import Any

import pytest

from xlt.data.core.errors import InputError
from xlt.sweep.machines.capacity import (
    Capacity,
    count_processes,
    count_trials,
    explain_misfit,
    read_capacity,
)
from xlt.trainables.spec.resources import Resources

PLAIN = Capacity(num_cpus=8, num_gpus=0)
ONE, TWO = Capacity(num_cpus=8, num_gpus=1), Capacity(num_cpus=3, num_gpus=2)


@pytest.mark.parametrize(
    ("nodes", "request_of", "processes", "trials"),
    [
        ([PLAIN], {}, 8, 8),
        ([PLAIN], {"cpus": 3}, 2, 2),
        ([PLAIN, PLAIN], {"cpus": 5, "workers": 2}, 2, 1),
        ([ONE, TWO], {}, 3, 3),
        ([ONE, TWO, PLAIN], {}, 3, 3),  # GPUs count where any machine has one
        ([ONE, TWO], {"gpus": 0.0}, 11, 11),
        ([TWO], {"gpus": 0.5}, 3, 3),  # of CPUs
        ([Capacity(num_cpus=8, num_gpus=2)], {"gpus": 0.4}, 4, 4),  # 0.2 of each is left
        ([Capacity(num_cpus=8, num_gpus=1)], {"gpus": 0.2}, 5, 5),
        ([ONE, TWO], {"workers": 2}, 3, 1),
        ([ONE], {"workers": 2}, 1, 0),
        ([PLAIN], {"cpus": 9}, 0, 0),
    ],
)
def test_what_fits(
    nodes: list[Capacity], request_of: dict[str, Any], processes: int, trials: int
) -> None:
    wanted = Resources.parse(request_of)
    assert count_processes(nodes, wanted) == processes
    assert count_trials(nodes, wanted) == trials


def test_what_never_fits_is_told_with_what_would() -> None:
    assert explain_misfit([PLAIN], Resources(cpus=9)) == (
        "a trial needs 9 CPUs, the cluster's nodes have 8 CPUs and 0 GPUs; set resources.cpus=8, "
        "add machines, or give another --address"
    )
    assert explain_misfit([ONE], Resources(workers=2)) == (
        "a trial needs 2 processes of 1 CPUs and 1 GPU each, the cluster's nodes have 8 CPUs and 1 "
        "GPUs; set resources.workers=1, add machines, or give another --address"
    )


H100, A100 = {"accelerator_type:H100": 1.0}, {"accelerator_type:A100": 1.0, "disk": 2.0}
FAST = Capacity(num_cpus=8, num_gpus=4, others=H100)
SLOW = Capacity(num_cpus=8, num_gpus=4, others=A100)


@pytest.mark.parametrize(
    ("request_of", "trials"),
    [
        ({}, 8),
        ({"accelerator_type": "H100"}, 4),
        ({"custom_resources": {"disk": 1}}, 2),
        ({"custom_resources": {"disk": 0.5}, "accelerator_type": "A100"}, 4),
        ({"custom_resources": {"disk": 1}, "accelerator_type": "H100"}, 0),
        ({"accelerator_type": "B200"}, 0),
    ],
)
def test_types_of_gpus_and_own_resources_count(request_of: dict[str, Any], trials: int) -> None:
    assert count_trials([FAST, SLOW], Resources.parse(request_of)) == trials


def test_a_type_or_resource_that_no_node_has_is_told_with_those_there_are() -> None:
    wanted = Resources.parse({"accelerator_type": "B200", "custom_resources": {"tape": 1}})
    assert explain_misfit([FAST, SLOW], wanted) == (
        "a trial needs 1 CPUs and 1 GPU and 1 tape and type B200, the cluster's nodes have 8 CPUs "
        "and 4 GPUs and type H100, 8 CPUs and 4 GPUs and type A100 and 2 disk; set "
        "resources.accelerator_type to one of these, or remove it, start nodes with tape (ray "
        "start --resources), add machines, or give another --address"
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"GPU": 1.0}, "GPU: reserved by Ray; set cpus"),
        ({"disk": 0.0}, "disk: reserve more"),
    ],
)
def test_own_resources_are_neither_rays_nor_nothing(values: dict[str, float], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Resources.parse({"custom_resources": values})


def test_what_ray_lists_of_a_node_beside_what_trials_reserve_is_left_out() -> None:
    listed = {"CPU": 2.0, "memory": 1e9, "object_store_memory": 1e8, "node:10.0.0.1": 1.0} | A100
    assert read_capacity(listed) == Capacity(num_cpus=2, num_gpus=0, others=A100)
