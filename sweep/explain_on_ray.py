"""Explaining trials over a Ray cluster: a task a trial, on a GPU where the cluster has GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sweep.ray_connection import RayConnection, by_resources, task_options  # isort: skip  sets what Ray reads at import

import ray

from data.schema import Dataset
from sweep.explain import Told
from sweep.ray_worker import receive, share
from trainables.attributions import Attributions
from trainables.explain.settings import Explain
from trainables.result import Results
from trainables.spec import TrialSpec


def explain_on_ray(
    address: str | None,
    specs: Sequence[TrialSpec],
    dataset: Dataset,
    results: Results,
    settings: Explain,
    told: Told,
) -> None:
    """Explain over the cluster at an address, or a local one.

    Workers are used again, so that a base model mostly is loaded once a worker. A task whose
    worker or node dies is started again twice by Ray.
    """
    connection = RayConnection(address)
    try:
        shared = share(specs, dataset)
        running: dict[Any, TrialSpec] = {}
        for launch in by_resources(specs):
            task = _explain.options(**task_options(launch.bundle))
            for spec in launch.specs:
                running[task.remote(spec, shared, results.uri, settings)] = spec
        pending = list(running)
        while pending:
            (ready,), pending = ray.wait(pending, num_returns=1)
            try:
                made = ray.get(ready)
            except ray.exceptions.RayError as error:
                made = Attributions(settings.resolved(), error=f"its worker process ended: {error}")
            told(running[ready], made)
    finally:
        connection.close()


@ray.remote(max_retries=2)
def _explain(
    spec: TrialSpec, shared: dict[str, Any], results: str, settings: Explain
) -> Attributions:
    """One trial, in a worker process."""
    from trainables.explain.trial import explain_kept

    return explain_kept(spec, receive(spec, shared), Results(results), settings)
