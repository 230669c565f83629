"""Preempted machines, SIGTERM, and trials that hang, on real clusters."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ctrl_c import started_xlt
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2
from result_folders import trial_files
from rich.console import Console

from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.on_ray.preemption import request_preemption
from xlt.sweep.on_ray.tune import backend as tune_backend
from xlt.sweep.run import run_sweep
from xlt.trainables.results.result import Results

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos]
LONG = ["training.num_train_epochs=200", "storage.checkpoint_minutes=0.005", "seeds=[0]"]
"""A trial that has trained for a third of a second has a checkpoint, which shows that it runs."""


@pytest.fixture(scope="module")
def undisturbed(
    experiment_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    root = str(tmp_path_factory.mktemp("undisturbed") / "r")
    outcome = run_sweep(load_experiment(experiment_file, LONG), root, backend="inline")
    return trial_files(outcome.results)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head that runs no trial, and two nodes with a CPU each."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def are_running(root: Path, count: int) -> bool:
    """Whether a trial is done, and so many others have checkpoints."""
    checkpoints = list(root.glob("checkpoints/*.safetensors"))
    return any(root.glob("trials/*/trial.json")) and len(checkpoints) >= count


def resumed(results: Results) -> list[int]:
    """List the steps from which trials resumed."""
    records = [results.state(name).record or {} for name in results.trial_ids()]
    return [step for record in records for step in record["execution"]["resumed_at_steps"]]


def text_of(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def when(condition: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    def wait() -> None:
        deadline = time.monotonic() + 300
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_trials_on_a_drained_node_resume_on_another_node(
    cluster: Cluster, experiment_file: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    first = next(n["NodeID"] for n in ray.nodes() if n["Resources"].get("CPU"))
    console = Console(file=StringIO(), width=200)

    def drain() -> None:
        accepted, why = GcsClient(address=cluster.address).drain_node(
            first,
            autoscaler_pb2.DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION,
            "spot",
            int(1000 * (time.time() + 120)),
        )
        assert accepted, why

    request_preemption()  # as a run of this driver before did, which was stopped
    root = tmp_path / "r"
    drained = when(lambda: are_running(root, 2), drain)
    outcome = run_sweep(
        load_experiment(experiment_file, LONG), str(root), address=cluster.address, console=console
    )
    drained.join()
    assert not outcome.ledger.pending
    assert resumed(outcome.results), "no trial was preempted, so this test proves nothing"
    assert "preempted at step" in text_of(console)
    assert trial_files(outcome.results) == undisturbed


@pytest.mark.parametrize("backend", ["ray", "inline"])
def test_running_trials_save_a_checkpoint_after_sigterm(
    backend: str, experiment_file: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    root = tmp_path / "r"
    arguments = ["run", str(experiment_file), "--results", str(root), "--backend", backend]
    arguments += [word for setting in LONG for word in ("--set", setting)]
    with started_xlt(*arguments) as process:
        while not are_running(root, 1):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=200)
    assert process.returncode == 130, errors
    steps = {int(step) for step in re.findall(r"preempted at step (\d+)", errors)}
    assert steps, errors
    assert "the same command runs the other trials" in errors
    assert "Traceback" not in errors
    assert list(root.glob("checkpoints/*.safetensors"))
    assert not list(root.glob("experiments/*.lease.json"))
    outcome = run_sweep(load_experiment(experiment_file, LONG), str(root), backend="inline")
    assert steps == set(resumed(outcome.results))
    assert trial_files(outcome.results) == undisturbed


def test_a_trial_that_hangs_is_killed_and_restarted(
    experiment_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pack never ends, like a kernel or a read that hangs."""
    trainable, marker = tune_backend._trainable, tmp_path / "hung"

    def hanging_once(config: dict[str, Any], shared: dict[str, Any]) -> None:
        import xlt.trainables.trial.run_pack

        if not marker.exists():
            marker.touch()
            xlt.trainables.trial.run_pack.run_pack = lambda *_, **__: time.sleep(
                600
            )  # of this process
        trainable(config, shared)

    monkeypatch.setattr(tune_backend, "_trainable", hanging_once)
    console = Console(file=StringIO(), width=200)
    settings = [
        "patterns=[{ja8: {source_rows: 24}}]",
        "resources={stall_minutes: 0.5}",
        "seeds=[0]",
    ]
    outcome = run_sweep(
        load_experiment(experiment_file, settings), str(tmp_path / "r"), console=console
    )
    assert marker.exists()
    assert len(outcome.ledger.done) == len(outcome.grid.specs)
    assert "its process died; the trial will restart" in text_of(console)


def test_a_trial_whose_process_stays_stopped_is_killed_and_restarted(
    experiment_file: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    root = tmp_path / "r"
    arguments = ["run", str(experiment_file), "--results", str(root)]
    settings = [*LONG, "resources={stall_minutes: 0.5}"]
    arguments += [word for setting in settings for word in ("--set", setting)]
    with started_xlt(*arguments) as process:
        while not (workers := list_busy_workers(process.pid)):
            assert process.poll() is None
            time.sleep(0.05)
        workers[0].suspend()
        _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    assert "its process died; the trial will restart" in errors
    # Records hold the resources, which differ here.
    files, expected = (
        {name: content for name, content in own.items() if not name.endswith("trial.json")}
        for own in (trial_files(Results(str(root))), undisturbed)
    )
    assert files == expected


def list_busy_workers(driver: int) -> list[psutil.Process]:
    """List the processes that run trials: each has started the process that watches it."""
    busy = []
    for process in psutil.Process(driver).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            if process.name().startswith("ray::Impl") and process.children():
                busy.append(process)
    return busy
