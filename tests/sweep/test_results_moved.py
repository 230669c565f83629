"""The results location is moved, deleted or unmounted while a command runs, and may return."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from ctrl_c import started_xlt
from result_folders import finished, trial_files
from s3_server import ENVIRONMENT, serve_s3
from waiting import wait_for

from xlt.data.core import retry as patience
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.run import run_sweep
from xlt.trainables.inference import kept_model
from xlt.trainables.results.layout import MARKER
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult

NUM_TRIALS = 10
INLINE = ("--backend", "inline")
OFTEN = ("--set", "storage.checkpoint_minutes=0")
GONE = "is gone (was it moved, deleted or unmounted?)"

needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="a mount point needs root")


@pytest.fixture(scope="module")
def undisturbed(
    experiment_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    root = str(tmp_path_factory.mktemp("undisturbed") / "results")
    return trial_files(run_sweep(load_experiment(experiment_file), root, backend="inline").results)


def command(file: Path, root: str | Path, *options: str) -> list[str]:
    return ["run", str(file), "--results", str(root), *OFTEN, *options]


def before_save(patch: pytest.MonkeyPatch, num_done: int, act: Callable[[Results], object]) -> None:
    """Call a function once, when that many trials are done and the next is to be saved."""
    saved, num_saved = Results.save, 0

    def save(self: Results, result: TrialResult) -> dict[str, Any]:
        nonlocal num_saved
        if num_saved == num_done:
            act(self)
        num_saved += 1
        return saved(self, result)

    patch.setattr(Results, "save", save)


def test_a_folder_that_is_moved_back_in_time_costs_nothing(
    experiment_file: Path, tmp_path: Path, undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    root, away = tmp_path / "r", tmp_path / "away"

    def move(results: Results) -> None:
        root.rename(away)
        threading.Timer(2.0, lambda: away.rename(root)).start()

    before_save(monkeypatch, 3, move)
    assert main(command(experiment_file, root, *INLINE)) == 0
    assert trial_files(Results(str(root))) == undisturbed


@pytest.mark.parametrize("below", [True, False])
def test_a_folder_that_stays_away_ends_the_run_and_its_trials_are_kept(
    below: bool, experiment_file: Path, tmp_path: Path, undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 2.0)
    root, away = tmp_path / "r", tmp_path / "away"

    def move(results: Results) -> None:
        root.rename(away)
        if below:
            root.mkdir()

    with monkeypatch.context() as patch:
        before_save(patch, 3, move)
        assert main(command(experiment_file, root, *INLINE)) == 2
    what = "is another folder now, without xlt-results.json (was it" if below else GONE
    (error,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("xlt: "))
    assert f"cannot be written any more: {root} {what}" in error
    assert "finished trials are kept" in error and "move or mount the location back" in error
    assert not list(root.glob("*"))
    before = finished(away)
    assert len(before) == 3
    (away / "experiments" / "tiny.lease.json").unlink()  # its holder, this process, still runs
    assert main(command(experiment_file, away, *INLINE)) == 0
    assert before.items() <= finished(away).items()
    assert trial_files(Results(str(away))) == undisturbed


def test_trials_without_their_marker_are_adopted_on_request(
    experiment_file: Path, tmp_path: Path, undisturbed: dict[str, bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    root = tmp_path / "r"
    assert main(command(experiment_file, root, *INLINE, "--only", "model=llama")) == 0
    copied = tmp_path / "copied"
    shutil.copytree(root / "trials", copied / "trials")
    capsys.readouterr()
    assert main(command(experiment_file, copied, *INLINE)) == 2
    assert "`xlt run ... --adopt`" in capsys.readouterr().err
    before = finished(copied)
    assert main(command(experiment_file, copied, *INLINE, "--adopt")) == 0
    assert before.items() <= finished(copied).items()
    assert trial_files(Results(str(copied))) == undisturbed


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Results]:
    """An empty location in a store, with short waits."""
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 2.0)
    monkeypatch.setattr("xlt.sweep.driver.lease.SETTLE_SECONDS", 0.1)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with serve_s3() as s3:
        yield Results(s3.bucket())


def test_a_bucket_without_the_marker_gets_no_more_trials(
    experiment_file: Path, bucket: Results, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    before_save(monkeypatch, 1, lambda saved: saved.fs.delete_dir(saved.root))
    assert main(command(experiment_file, bucket.uri, *INLINE)) == 2
    assert GONE in capsys.readouterr().err
    assert bucket.sizes() == {}


def test_a_bucket_with_the_results_of_another_sweep_gets_no_trial(
    experiment_file: Path, bucket: Results, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def replace(saved: Results) -> None:
        saved.fs.delete_dir(saved.root)
        time.sleep(1.1)  # a store keeps the second in which an object was written
        Results(saved.uri).prepare()

    before_save(monkeypatch, 1, replace)
    assert main(command(experiment_file, bucket.uri, *INLINE)) == 2
    assert "is another results location now" in capsys.readouterr().err
    assert list(bucket.sizes()) == [MARKER]


def test_explanations_wait_for_their_location_and_end_with_one_sentence(
    experiment_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 4.0)
    root, away = tmp_path / "r", tmp_path / "away"
    some = ("--set", "storage.keep_models=adapters", "--only", "model=llama,pattern=ja8")
    assert main(command(experiment_file, root, *INLINE, *some)) == 0
    explain = ["explain", str(root), *INLINE, "--method", "occlusion", "--rows", "2"]
    read_weights, moves = kept_model.read_kept_weights, [lambda: None]

    def move_and_read(results: Results, trial_id: str) -> Any:
        if moves:
            root.rename(away)
            moves.pop()()
        return read_weights(results, trial_id)

    monkeypatch.setattr(kept_model, "read_kept_weights", move_and_read)
    assert main(explain) == 2
    error = capsys.readouterr().err
    assert f"{root} {GONE}" in error.splitlines()[-1] and "Traceback" not in error
    away.rename(root)
    moves.append(threading.Timer(2.0, lambda: away.rename(root)).start)
    assert main(explain) == 0
    assert "2 trials explained" in capsys.readouterr().out


# --- on Ray -------------------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A mount point, whose content is in the folder ``real`` beside it."""
    root = tmp_path / "r"
    root.mkdir()
    (tmp_path / "real").mkdir()
    mount(root)
    yield root
    subprocess.run(["umount", "--lazy", str(root)], check=False, stderr=subprocess.DEVNULL)


def mount(root: Path) -> None:
    subprocess.run(["mount", "--bind", str(root.parent / "real"), str(root)], check=True)


def unmount(root: Path) -> None:
    subprocess.run(["umount", "--lazy", str(root)], check=True)


def files_after_loss(root: Path) -> dict[str, bytes]:
    """Files of trials, without two traces that the loss of their location may leave.

    A file that was being written stays (`xlt clean` lists it), and a checkpoint that could not be
    written is recorded.
    """
    files = trial_files(Results(str(root)))
    for name in list(files):
        if name.endswith(".partial"):
            del files[name]
        elif name.endswith("trial.json"):
            record = json.loads(files[name])
            record["execution"]["checkpoint_error"] = ""
            files[name] = json.dumps(record).encode()
    return files


@contextmanager
def run_without_mount(file: Path, root: Path) -> Iterator[subprocess.Popen[str]]:
    """A run whose results location is unmounted after two trials."""
    with started_xlt(*command(file, root)) as process:
        wait_for(lambda: len(finished(root)) > 1, 400, process)
        unmount(root)
        yield process


@pytest.mark.ray
@pytest.mark.cluster
@needs_mount
def test_a_mount_that_returns_in_time_costs_no_trial(
    mounted: Path, experiment_file: Path, undisturbed: dict[str, bytes]
) -> None:
    with run_without_mount(experiment_file, mounted) as process:
        time.sleep(15)
        assert process.poll() is None and not list(mounted.iterdir())
        mount(mounted)
        _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert "will restart" not in errors and "Traceback" not in errors
    assert files_after_loss(mounted) == undisturbed


@pytest.mark.ray
@pytest.mark.cluster
@needs_mount
def test_a_mount_that_does_not_return_ends_the_run_with_one_sentence(
    mounted: Path, experiment_file: Path, undisturbed: dict[str, bytes]
) -> None:
    """The workers wait three minutes."""
    with run_without_mount(experiment_file, mounted) as process:
        _, errors = process.communicate(timeout=500)
    assert process.returncode == 2, errors
    assert f"{mounted} is another folder now" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert not list(mounted.iterdir())
    mount(mounted)
    before = finished(mounted)
    assert 1 < len(before) < NUM_TRIALS
    assert main(command(experiment_file, mounted, *INLINE)) == 0
    assert before.items() <= finished(mounted).items()
    assert trial_files(Results(str(mounted))) == undisturbed


@pytest.mark.ray
@pytest.mark.cluster
@needs_mount
def test_another_location_in_the_place_gets_no_trial_and_costs_none(
    experiment_file: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    root, theirs = tmp_path / "r", tmp_path / "theirs"
    Results(str(theirs)).prepare()
    Results(str(theirs)).make_experiments_folder()
    with started_xlt(*command(experiment_file, root)) as process:
        wait_for(lambda: len(finished(root)) > 1, 400, process)
        subprocess.run(["mount", "--bind", str(theirs), str(root)], check=True)
        try:
            time.sleep(15)  # the lease is renewed every ten seconds
            assert process.poll() is None
        finally:
            unmount(root)
        _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert "will restart" not in errors and "Traceback" not in errors
    assert {path.name for path in theirs.rglob("*")} == {"experiments", MARKER}
    assert files_after_loss(root) == undisturbed


@pytest.mark.ray
@pytest.mark.cluster
def test_a_search_waits_for_its_folder(experiment_file: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(experiment_file.read_text())
    values |= {"models": values["models"][2:], "seeds": [0]}
    values["search"] = {"learning_rate": [3e-3, 3e-2], "dev_rows": 8, "num_folds": 2}
    file, root, away = tmp_path / "tiny.yaml", tmp_path / "r", tmp_path / "away"
    file.write_text(yaml.safe_dump(values))
    out = tmp_path / "rates.yaml"
    with started_xlt("search", str(file), "--results", str(root), "--out", str(out)) as process:
        wait_for(lambda: finished(root), 400, process)
        root.rename(away)
        time.sleep(10)
        assert process.poll() is None and not root.exists()
        away.rename(root)
        _, errors = process.communicate(timeout=500)
    assert process.returncode == 0 and "Traceback" not in errors, errors
    assert len(yaml.safe_load(out.read_text())["cells"]) == 2
