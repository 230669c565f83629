"""Explain trials on a Ray cluster: one task per trial, on a GPU if the cluster has GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

from xlt.data.core.memory import importing_torch
from xlt.data.dataset.schema import Dataset
from xlt.sweep.explain import OnExplained
from xlt.sweep.on_ray.connection import RayConnection, group_by_resources, make_task_options
from xlt.sweep.on_ray.deaths import describe_task_error
from xlt.sweep.on_ray.node_differences import refuse_different_nodes
from xlt.sweep.on_ray.worker import receive, share, use_assigned_cores
from xlt.trainables.results.attributions import Attributions
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec


def explain_on_ray(
    address: str | None,
    specs: Sequence[TrialSpec],
    dataset: Dataset,
    results: Results,
    settings: Explain,
    on_explained: OnExplained,
) -> None:
    """Explain trials on the cluster at an address, or on a local one.

    Ray reuses workers, so a worker usually loads a base model once. Ray restarts a task whose
    worker or node dies, at most twice.
    """
    connection = RayConnection(address)
    try:
        refuse_different_nodes(specs)
        shared = share(specs, dataset)
        running: dict[Any, TrialSpec] = {}
        for launch in group_by_resources(specs):
            task = _explain.options(**make_task_options(launch.bundle))
            for spec in launch.specs:
                running[task.remote(spec, shared, results, settings)] = spec
        pending = list(running)
        while pending:
            (ready,), pending = ray.wait(pending, num_returns=1)
            try:
                attributions = ray.get(ready)
            except ray.exceptions.RayError as error:
                cause = describe_task_error(error)
                attributions = Attributions(settings.resolved(), error=cause)
            on_explained(running[ready], attributions)
    finally:
        connection.close()


@ray.remote(max_retries=2)
def _explain(
    spec: TrialSpec, shared: dict[str, Any], results: Results, settings: Explain
) -> Attributions:
    """Explain a trial in a worker process."""
    with importing_torch():
        from xlt.trainables.inference.explain_kept import explain_kept

    use_assigned_cores()
    return explain_kept(spec, receive(spec, shared), results, settings)
