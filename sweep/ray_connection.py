"""One way to a Ray cluster: the one at an address, the one already connected to, or a local one."""

from __future__ import annotations

import os

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
