"""The way to a Ray cluster, that at an address or a local one, and what a trial reserves there."""

from __future__ import annotations

import os
from collections.abc import Sequence

# Read by Ray at import: no usage statistics, no loggers of Tune's own (result folders replace
# them and they cost half of the overhead), rare snapshots (they are never restored from).
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "120")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

from data.errors import InputError
from trainables.spec import TrialSpec


class RayConnection:
    """A connection to a cluster.

    Args:
        address: Of a running cluster; None: RAY_ADDRESS, else a new local one.

    Raises:
        InputError: There is no cluster at the address, or none could be started.
    """

    def __init__(self, address: str | None = None) -> None:
        self._mine = not ray.is_initialized()
        if self._mine:
            try:
                ray.init(
                    address=address,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="ERROR",
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise InputError(
                    f"no Ray cluster at {address or 'this machine'}: {error}; "
                    "start one, mend --address, or do without (--backend inline)"
                ) from error

    def close(self) -> None:
        """Disconnect, if this connection was made here; ends a cluster that was started for it."""
        if self._mine:
            ray.shutdown()


def by_resources(specs: Sequence[TrialSpec]) -> list[tuple[dict[str, float], list[TrialSpec]]]:
    """What a trial reserves, and the trials that reserve it, in the order given.

    Raises:
        InputError: No node of the cluster can ever hold such a trial.
    """
    gpus = ray.cluster_resources().get("GPU", 0)
    found = []
    for request in sorted({spec.resources for spec in specs}, key=str):
        bundle = {"CPU": request.cpus, **({"GPU": request.gpus} if gpus else {})}
        _refuse_infeasible(bundle)
        found.append((bundle, [spec for spec in specs if spec.resources == request]))
    return found


def _refuse_infeasible(bundle: dict[str, float]) -> None:
    """Refuse a request that no node can ever hold, because Ray would wait for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(k, 0) >= v for k, v in bundle.items()) for node in nodes):
        have = [{k: node.get(k, 0) for k in bundle} for node in nodes]
        raise InputError(
            f"a trial needs {bundle} on one node, the cluster's nodes have {have}; "
            "lower resources or add a node"
        )
