"""How many trials machines hold: against counting by hand."""

from __future__ import annotations

from typing import Any

import pytest

from sweep.capacity import Capacity, never_fits, num_processes, num_trials
from trainables.spec import Resources

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
    assert num_processes(nodes, wanted) == processes
    assert num_trials(nodes, wanted) == trials


def test_what_never_fits_is_told_with_what_would() -> None:
    assert never_fits([PLAIN], Resources(cpus=9)) == (
        "a trial needs 9 CPUs, the cluster's nodes have 8 CPUs and 0 GPUs; set resources.cpus=8, "
        "add machines, or give another --address"
    )
    assert never_fits([ONE], Resources(workers=2)) == (
        "a trial needs 2 processes of 1 CPUs and 1 GPU each, the cluster's nodes have 8 CPUs and 1 "
        "GPUs; set resources.workers=1, add machines, or give another --address"
    )
