"""Trials in a real MLflow server, read back with its client: needs `make exits`."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from loopback_servers import answering, find_free_port, served
from result_folders import save_done
from tracked_trials import (
    CANARY,
    LOSSES,
    check_counts,
    ids,
    save_trials,
    sent,
    track,
)

from xlt.trainables.results.result import Results

pytestmark = [
    pytest.mark.exits,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="make exits installs the trackers"),
    pytest.mark.filterwarnings("ignore"),  # of the packages of trackers
]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return save_trials(tmp_path / "results")


@pytest.fixture(scope="module")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow")
    port = find_free_port()
    url = f"http://127.0.0.1:{port}"
    program = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    program += ["--backend-store-uri", f"sqlite:///{folder}/db", "--host", "127.0.0.1"]
    program += ["--artifacts-destination", str(folder / "artifacts")]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with served(program, url, folder / "log", os.environ | quiet):
        yield url


def mlflow_runs(uri: str, experiment: str = "test") -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The client; the active runs of trials and of cells by name, each of which must be one."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = list(client.search_runs([found.experiment_id], max_results=1000))
    trials = {r.data.tags["xlt.trial_id"]: r for r in runs if "xlt.trial_id" in r.data.tags}
    cells = {r.data.tags["xlt.cell"]: r for r in runs if "xlt.trial_id" not in r.data.tags}
    assert len(runs) == len(trials) + len(cells)
    return client, trials, cells


def test_mlflow(results: Results, mlflow_uri: str) -> None:
    again = check_counts(results, f"mlflow={mlflow_uri}")
    client, trials, cells = mlflow_runs(mlflow_uri)
    assert sorted(trials) == ids(results)
    assert {*cells} == {"elyza x ja0", "elyza x ja16"}
    for trial_id, run in trials.items():
        assert run.info.run_name == trial_id
        assert run.data.tags["mlflow.parentRunId"] == cells[run.data.tags["xlt.cell"]].info.run_id
    done = trials[again]
    assert done.info.status == "FINISHED"
    assert done.data.metrics["f1"] == 0.5  # 0.25 before
    assert done.data.params["training.batch_size"] == "16"
    assert done.data.tags["versions.torch"] == "2.11.0"
    steps = client.get_metric_history(done.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in steps] == [*zip((1, 2, 3), LOSSES, strict=True)]
    assert done.info.end_time - done.info.start_time == 1500  # timings say 1.5 s
    failed = next(run for run in trials.values() if run.info.status == "FAILED")
    assert failed.data.tags["error"] == "ValueError"
    assert client.list_artifacts(done.info.run_id) == []


def test_mlflow_finds_a_run_whose_sending_was_interrupted(
    results: Results, mlflow_uri: str
) -> None:
    trial_id = ids(results)[0]
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_uri)
    plan = results.read_plan("test").model_copy(update={"experiment": "interrupted"})
    results.save_experiment(plan, "name: interrupted\n")
    experiment = client.create_experiment("interrupted")
    client.create_run(experiment, tags={"xlt.trial_id": trial_id})
    named = ["--experiment", "interrupted"]
    assert (
        sent(results, *named, "--to", f"mlflow={mlflow_uri}") == "3 sent, 1 replaced, 0 unchanged"
    )
    assert mlflow_runs(mlflow_uri, "interrupted")[1][trial_id].info.status == "FINISHED"


def test_mlflow_has_deleted_the_experiment(results: Results, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_uri)
    plan = results.read_plan("test").model_copy(update={"experiment": "deleted"})
    results.save_experiment(plan, "name: deleted\n")
    client.delete_experiment(client.create_experiment("deleted"))
    done = track(results, "--experiment", "deleted", "--to", f"mlflow={mlflow_uri}")
    assert done.returncode == 2
    assert f"mlflow={mlflow_uri}: experiment 'deleted' was deleted there; restore" in done.stderr


def test_mlflow_gets_files_and_many_steps(
    results: Results, mlflow_uri: str, tmp_path: Path
) -> None:
    num_steps = 640  # more values than one request may hold
    columns = {name: [1.0] * num_steps for name in ("loss", "learning_rate", "grad_norm")}
    history = pa.table({"step": range(num_steps), **columns})
    trial_id = save_done(results, "elyza", "ja0", 0, {"f1": 0.5}, history=history)
    plan = results.read_plan("test").model_copy(update={"experiment": "files"})
    results.save_experiment(plan, "name: files\n")
    sent(results, "--experiment", "files", "--to", f"mlflow={mlflow_uri}", "--artifacts")
    client, trials, _ = mlflow_runs(mlflow_uri, "files")
    run_id = trials[trial_id].info.run_id
    assert len(client.get_metric_history(run_id, "train/loss")) == num_steps
    names = {file.path for file in client.list_artifacts(run_id)}
    assert names == {"trial.json", "predictions.parquet"}
    record = client.download_artifacts(run_id, "trial.json", str(tmp_path))
    assert json.loads(Path(record).read_text())["metrics"] == {"f1": 0.5}


def test_mlflow_without_a_server(results: Results) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = track(results, "--to", f"mlflow={uri}")
        secret = uri.replace("://", f"://me:{CANARY}@")
        unnamed = track(results, "--to", "mlflow", MLFLOW_TRACKING_URI=secret)
    assert done.returncode == unnamed.returncode == 2
    assert f"mlflow: MLflow at {uri} does not answer" in unnamed.stderr
    assert CANARY not in unnamed.stderr + unnamed.stdout
    assert done.stderr.startswith(f"xlt: mlflow={uri}: MLflow at {uri} does not answer within 10 s")
    assert "it has 0 of 4 trials, and the same command sends the others" in done.stderr


def test_mlflow_refuses_credentials(results: Results) -> None:
    with answering(401) as uri:
        secret = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": CANARY}
        done = track(results, "--to", f"mlflow={uri}", **secret)
    assert done.returncode == 2
    assert "refuses the credentials; set MLFLOW_TRACKING_USERNAME and" in done.stderr
    assert CANARY not in done.stderr + done.stdout
