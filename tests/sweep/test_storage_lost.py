"""Sweeps on an object store that fails for a while, and on a disk that becomes full."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ctrl_c import started_xlt
from result_folders import finished, trial_files
from rich.console import Console
from s3_server import S3, serve_s3_to_processes
from small_disks import fill, mounted_disk
from waiting import wait_for

from xlt.data.core import retry as patience
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.run import RunOutcome, run_sweep
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult

NUM_TRIALS = 10
OFTEN = "storage.checkpoint_minutes=0"

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]

needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="a small file system needs root")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    """Start before the cluster, whose processes inherit the credentials from the environment."""
    with serve_s3_to_processes() as served:
        yield served


@pytest.fixture(scope="module")
def undisturbed(experiment_file: Path, tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    root = str(tmp_path_factory.mktemp("undisturbed") / "results")
    return run_sweep(load_experiment(experiment_file), root, backend="inline")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    with mounted_disk(tmp_path / "disk", "1m") as folder:
        yield folder


class Outage:
    """An object store that answers with errors, or very slowly, for a while.

    Attributes:
        began: Start of the outage; 0 before it.
        num_refused: Number of refused requests.
        written: Written keys, in order.
    """

    def __init__(self, seconds: float, begins: Callable[[str, str], bool]) -> None:
        self._seconds, self._begins = seconds, begins
        self.began, self.num_refused = 0.0, 0
        self.written: list[str] = []

    @property
    def records(self) -> set[str]:
        """Keys of finished trials, without the repeated requests of S3's client after a timeout."""
        return {key for key in self.written if key.endswith("trial.json")}

    def __call__(self, method: str, key: str) -> tuple[int, str] | None:
        if not self.began and self._begins(method, key):
            self.began = time.monotonic()
        elapsed = time.monotonic() - self.began
        if self.began and elapsed < self._seconds:
            self.num_refused += 1
            if elapsed > self._seconds / 2:
                time.sleep(4)
            return 500, "InternalError"
        if method == "PUT":
            self.written.append(key)
        return None


@pytest.mark.ray
def test_a_store_that_fails_for_a_while_costs_no_trial(
    s3: S3, experiment_file: Path, ray_address: str, undisturbed: RunOutcome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    outage = Outage(60, lambda method, key: len(outage.records) == 2)
    uri = s3.bucket()
    monkeypatch.setattr(s3, "fault", outage)
    output = io.StringIO()
    outcome = run_sweep(
        load_experiment(experiment_file, [OFTEN]), uri, console=Console(file=output)
    )
    assert outage.num_refused > 3
    assert outcome.ledger.failed == {} and len(outcome.ledger.done) == NUM_TRIALS
    assert "will restart" not in output.getvalue()
    assert run_sweep(load_experiment(experiment_file, [OFTEN]), uri).num_run == 0
    assert trial_files(outcome.results) == trial_files(undisturbed.results)


@pytest.mark.ray
def test_a_search_waits_for_its_store_but_not_if_access_is_denied(
    s3: S3, experiment_file: Path, ray_address: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    values = yaml.safe_load(experiment_file.read_text())
    values |= {"models": values["models"][2:], "seeds": [0]}
    values["search"] = {"learning_rate": [3e-3, 3e-2], "dev_rows": 8, "num_folds": 2}
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(values))
    rates = tmp_path / "rates.yaml"
    command = ["search", str(file), "--out", str(rates), "--results"]

    def deny(method: str, key: str) -> tuple[int, str] | None:
        is_denied = method == "PUT" and "searches/" in key and s3.asked.count((method, key)) > 1
        return (403, "AccessDenied") if is_denied else None

    monkeypatch.setattr(s3, "fault", deny)
    assert main([*command, s3.bucket()]) == 2
    error = capsys.readouterr().err
    assert "cannot be written any more: " in error and "Traceback" not in error

    outage = Outage(15, lambda method, key: method == "PUT" and key.endswith("trial.json"))
    uri = s3.bucket()
    monkeypatch.setattr(s3, "fault", outage)
    assert main([*command, uri]) == 0, capsys.readouterr().err
    assert outage.num_refused > 3
    assert len(yaml.safe_load(rates.read_text())["cells"]) == 2
    plan = Results(uri).read_search("tiny")
    assert plan and plan.is_finished
    tried = [config for cell in plan.cells for config in cell.configs]
    assert len(tried) == 4  # 2 cells x 2 rates
    assert len(outage.records) == sum(config.num_tried for config in tried)


@pytest.mark.ray
@needs_mount
def test_a_disk_that_gets_space_in_time_costs_no_trial(
    small_disk: Path, experiment_file: Path, undisturbed: RunOutcome
) -> None:
    root = small_disk / "r"
    with started_xlt("run", str(experiment_file), "--results", str(root)) as process:
        wait_for(lambda: finished(root), 200)
        fill(small_disk)
        before = finished(root)
        assert len(before) < NUM_TRIALS
        time.sleep(5)
        assert process.poll() is None and finished(root) == before
        (small_disk / "filler").unlink()
        _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert before.items() <= finished(root).items()
    assert trial_files(Results(str(root))) == trial_files(undisturbed.results)


@needs_mount
def test_a_disk_that_stays_full_ends_the_run_and_the_same_command_resumes(
    small_disk: Path, experiment_file: Path, undisturbed: RunOutcome,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 4.0)
    root = small_disk / "r"
    saved = Results.save

    def save(self: Results, result: TrialResult) -> dict[str, Any]:
        """Half a trial is on the disk when it is full."""
        if len(finished(root)) == 3:
            fill(small_disk)
        return saved(self, result)

    command = ["run", str(experiment_file), "--results", str(root), "--backend", "inline"]
    with monkeypatch.context() as patch:
        patch.setattr(Results, "save", save)
        assert main(command) == 2
    error = capsys.readouterr().err
    assert "cannot be written any more: [Errno 28]" in error and "free space" in error
    assert "Traceback" not in error
    before = finished(root)
    assert len(before) == 3
    fill(small_disk)  # also what the half trial had
    assert main(command) == 2
    assert "cannot be written: [Errno 28]" in capsys.readouterr().err
    (small_disk / "filler").unlink()
    assert main(command) == 0
    assert before.items() <= finished(root).items()
    assert trial_files(Results(str(root))) == trial_files(undisturbed.results)
