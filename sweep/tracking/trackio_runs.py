"""Runs in Trackio's local database, which ``trackio show`` and ``trackio sync`` read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from xlt.sweep.tracking.problems import failed
from xlt.sweep.tracking.runs import TrackedRun

DIGEST = "xlt.digest"
"""Key of the digest among the settings of a run."""


class TrackioRuns:
    """Runs of an experiment in a folder of Trackio.

    Trackio's ``import_csv`` writes into its database in the same way. ``trackio.init`` would ask
    the Hugging Face Hub for the user's name, and measure this machine.

    Args:
        place: Folder of the databases; empty: TRACKIO_DIR, else Trackio's default.
        experiment: Name of the experiment, the project there.

    Raises:
        InputError: The folder cannot be used, or Trackio reserves the name.
    """

    def __init__(self, place: str, experiment: str) -> None:
        if place:
            os.environ["TRACKIO_DIR"] = str(Path(place).expanduser().absolute())  # read on import
        from trackio.sqlite_storage import SQLiteStorage

        self._storage, self._project = SQLiteStorage, experiment
        with self._explained():
            SQLiteStorage.validate_project_name(experiment)
            configs = SQLiteStorage.get_all_run_configs(experiment)
        self.known = {name: str(config.get(DIGEST, "")) for name, config in configs.items()}

    def send(self, run: TrackedRun) -> None:
        """Write a run; its id is the trial id."""
        ended = datetime.fromtimestamp(run.ended, UTC).isoformat()
        config = {
            **run.params,
            **run.tags,
            "status": run.status,
            "_Group": run.cell,
            "_Created": ended,
            DIGEST: run.digest,
        }
        steps = [*run.history]
        last = steps[-1][0] + 1 if steps else 0
        steps.append((last, run.metrics or {"failed": 1.0}))
        with self._explained():
            self._storage.delete_run(self._project, run.trial_id, run_id=run.trial_id)
            self._storage.bulk_log(
                self._project,
                run.trial_id,
                [dict(values) for _, values in steps],
                steps=[step for step, _ in steps],
                timestamps=[ended] * len(steps),
                config=config,
                run_id=run.trial_id,
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of Trackio into an InputError."""
        try:
            yield
        except Exception as error:  # of Trackio or a package beneath it
            raise failed("Trackio", error) from error
