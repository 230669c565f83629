"""tune_all: one run of Ray Tune, for trials of a grid and for configs of a search."""

from __future__ import annotations

import errno
import logging
import tempfile
from collections.abc import Callable
from typing import Any, TypeAlias

from ray import tune

from xlt.data.core.errors import InputError
from xlt.sweep.driver.scratch import scratch_folder
from xlt.sweep.machines.ray_folder import find_ray_folder

logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # no tracebacks; Progress reports deaths

Request: TypeAlias = (
    "tune.PlacementGroupFactory | Callable[[dict[str, Any]], tune.PlacementGroupFactory]"
)
"""Resource request of all trials, or a function from a config to a request."""


def tune_all(
    trainable: Callable[..., None],
    shared: dict[str, Any],
    resources: Request,
    *,
    tune_config: tune.TuneConfig,
    callback: tune.Callback,
    stop: tune.Stopper,
) -> None:
    """Run one Tuner to its end, and delete its own files: results lie in the result folders.

    Args:
        trainable: Function of a config and ``shared``.
        shared: Data that is sent once to each process.
        resources: Resource request of a trial.
        tune_config: Searcher, scheduler and limits of the Tuner.
        callback: Receiver of Tune's events.
        stop: Decides when trials must end.

    Raises:
        InputError: The disk of Ray's own files on this machine is full.
    """
    try:
        with scratch_folder("tune") as scratch:
            tune.Tuner(
                tune.with_resources(tune.with_parameters(trainable, shared=shared), resources),
                tune_config=tune_config,
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=str(scratch),
                    callbacks=[callback],
                    stop=stop,
                    verbose=0,
                ),
            ).fit()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"Ray Tune cannot write its own files: {error}; finished trials are kept; free space "
            f"in {find_ray_folder()} and {tempfile.gettempdir()}, or set RAY_TMPDIR and TMPDIR to "
            "folders on another disk, then start again"
        ) from error


class StopAll(tune.Stopper):
    """Ends all trials when a condition becomes true, e.g. results can no longer be written.

    Args:
        condition: Function that is called after every report.
    """

    def __init__(self, condition: Callable[[], bool]) -> None:
        self._condition = condition

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: the condition cannot be pickled, and Tune never restores this run."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: no trial ends early alone."""
        return False

    def stop_all(self) -> bool:
        """Return whether all trials must end."""
        return self._condition()
