"""Runs in MLflow: an experiment for ours, a parent run for each cell, a child for each trial."""

from __future__ import annotations

import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xlt.data.core.errors import InputError
from xlt.sweep.tracking.problems import (
    ANSWER_SECONDS,
    failed,
    hide_password,
    no_answer,
    wrong_credentials,
)
from xlt.sweep.tracking.runs import TrackedRun

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(ANSWER_SECONDS),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""Settings of MLflow's client, unless the user has others. By default it waits for minutes, sends
data on its use to MLflow's makers, and prints two lines for each run."""
TRIAL, CELL, DIGEST = "xlt.trial_id", "xlt.cell", "xlt.digest"
"""Tags by which runs are found again, because MLflow makes ids of its own. The digest is written
last, so that a run without it is incomplete."""
PARENT = "mlflow.parentRunId"
MOST_METRICS, MOST_PARAMS, MOST_RUNS = 800, 100, 1000
"""Sizes of requests, which may hold 100 parameters, and 1000 parameters, tags and metrics."""
MAX_CHARACTERS = 500
"""Length of a parameter that MLflow has accepted since version 1.28."""
CREDENTIALS = (
    "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, in the "
    "environment"
)


class MlflowRuns:
    """Runs of an experiment in an MLflow server or database.

    Args:
        place: Tracking URI; empty: MLFLOW_TRACKING_URI, else MLflow's default.
        experiment: Name of the experiment, there and here.

    Raises:
        InputError: The server does not answer, or refuses the credentials or the experiment.
    """

    def __init__(self, place: str, experiment: str) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient, get_tracking_uri

        self._where = f"MLflow at {hide_password(place or get_tracking_uri())}"
        self.known: dict[str, str] = {}
        self._runs: dict[str, list[str]] = defaultdict(list)
        self._cells: dict[str, str] = {}
        with self._explained():
            self._client = MlflowClient(tracking_uri=place or None)
            there = self._client.get_experiment_by_name(experiment)
            if there and there.lifecycle_stage == "deleted":
                raise InputError(
                    f"experiment {experiment!r} was deleted there; restore it (mlflow experiments "
                    f"restore -x {there.experiment_id}), or remove it for good (mlflow gc)"
                )
            self._id = there.experiment_id if there else self._client.create_experiment(experiment)
            for run in self._list_runs():
                tags = run.data.tags
                if TRIAL in tags:
                    self._runs[tags[TRIAL]].append(run.info.run_id)
                    self.known[tags[TRIAL]] = tags.get(DIGEST, "")
                elif CELL in tags:
                    self._cells[tags[CELL]] = run.info.run_id

    def send(self, run: TrackedRun) -> None:
        """Write a run below the one of its cell, then delete earlier ones of the trial."""
        with self._explained():
            parent = self._cells.get(run.cell)
            if parent is None:
                parent = self._start(run.cell, {CELL: run.cell}, run.started)
                self._client.set_terminated(parent, "FINISHED", _milliseconds(run.ended))
                self._cells[run.cell] = parent
            earlier = self._runs[run.trial_id]
            own = {TRIAL: run.trial_id, CELL: run.cell, PARENT: parent}
            run_id = self._start(run.trial_id, own | dict(run.tags), run.started)
            self._runs[run.trial_id] = [run_id]
            self._log_files(run_id, run.artifacts)
            status = "FINISHED" if run.status == "finished" else "FAILED"
            self._client.set_terminated(run_id, status, _milliseconds(run.ended))
            self._log(run_id, run)
            for old in earlier:
                self._client.delete_run(old)

    def _list_runs(self) -> Iterator[Any]:
        """All runs of the experiment that are not deleted."""
        token = None
        while True:
            page = self._client.search_runs([self._id], max_results=MOST_RUNS, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _start(self, name: str, tags: Mapping[str, str], started: float) -> str:
        run = self._client.create_run(self._id, _milliseconds(started), dict(tags), name)
        return str(run.info.run_id)

    def _log_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        if files:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in files.items():
                    (Path(folder) / name).write_bytes(content)
                self._client.log_artifacts(run_id, folder)

    def _log(self, run_id: str, run: TrackedRun) -> None:
        """Write settings and metrics in as few requests as possible, the digest in the last."""
        from mlflow.entities import Metric, Param, RunTag

        now = _milliseconds(run.ended)
        metrics = [
            Metric(name, value, now, step)
            for step, values in ((0, run.metrics), *run.history)
            for name, value in values.items()
        ]
        params = [Param(name, str(value)[:MAX_CHARACTERS]) for name, value in run.params.items()]
        while len(metrics) > MOST_METRICS or len(params) > MOST_PARAMS:
            self._client.log_batch(run_id, metrics[:MOST_METRICS], params[:MOST_PARAMS])
            metrics, params = metrics[MOST_METRICS:], params[MOST_PARAMS:]
        self._client.log_batch(run_id, metrics, params, [RunTag(DIGEST, run.digest)])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of MLflow's client into an InputError."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except InputError:
            raise
        except MlflowException as error:
            text, refused = str(error), ("UNAUTHENTICATED", "PERMISSION_DENIED")
            if error.error_code in refused or re.search("error code 40[13]", text):
                raise wrong_credentials(self._where, CREDENTIALS) from error
            if "failed with exception" in text or "timed out" in text:
                raise no_answer(self._where) from error
            raise failed(self._where, error) from error
        except Exception as error:  # of a package beneath MLflow's client
            raise failed(self._where, error) from error


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
