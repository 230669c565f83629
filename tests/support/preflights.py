"""Preflights of small experiments on machines that are only said to be there."""

from __future__ import annotations

from typing import Any

import yaml

from xlt.sweep.check.outcome import CheckOutcome
from xlt.sweep.check.preflight import Preflight
from xlt.sweep.check.registry import run_checks
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.machines.nodes import Gpu, Node
from xlt.sweep.planning.grid import expand
from xlt.sweep.planning.ledger import read_ledger
from xlt.sweep.planning.prepare import prepare
from xlt.trainables.results.result import Results

GIB = 2**30
A100 = Gpu("NVIDIA A100-SXM4-80GB", 80 * GIB, (8, 0))
V100 = Gpu("Tesla V100-SXM2-16GB", 16 * GIB, (7, 0))


def make_node(num_cpus: int = 8, gpus: tuple[Gpu, ...] = (), **changes: Any) -> Node:
    values: dict[str, Any] = {
        "name": "node", "num_cpus": num_cpus, "num_gpus": len(gpus), "gpus": gpus,
        "memory": 64 * GIB, "hub_cache": "/hub", "hub_cache_free": 500 * GIB,
        "torch": "2.13.0+cu130" if gpus else "2.13.0+cpu",
    }  # fmt: skip
    return Node(**(values | changes))


def preflight(experiment: Experiment, *nodes: Node, **options: Any) -> Preflight:
    grid = expand(prepare(experiment))
    location = Results(experiment.storage.results)
    states = read_ledger(location, [spec.trial_id for spec in grid.specs]).states
    return Preflight(grid, location, nodes or (make_node(),), states, **options)


def one(name: str, looked_at: Preflight) -> CheckOutcome:
    (outcome,) = run_checks(looked_at, [name])
    return outcome


def told(outcome: CheckOutcome, severity: str = "error") -> str:
    return "\n".join(p.sentence for p in outcome.problems if p.severity == severity)


def with_settings(experiment: Experiment, **settings: Any) -> Experiment:
    """The experiment with all of its models given the same resources and more."""
    return Experiment.parse(yaml.safe_load(experiment.to_yaml()) | settings)
