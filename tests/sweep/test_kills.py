"""After kills, Ctrl-C and full disks, finished trials are kept and the other trials run again."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import time
from contextlib import AbstractContextManager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path

import psutil
import pytest
import yaml
from ctrl_c import started_xlt
from result_folders import finished, trial_files
from waiting import wait_for

from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.run import RunOutcome, run_sweep
from xlt.trainables.results.result import Results

LONGER = "training.num_train_epochs=12"
"""Training long enough to kill a trial in the middle."""
OFTEN = "storage.checkpoint_minutes=0"
"""A checkpoint after each step, so that a killed trial resumes from its last step."""
NUM_TRIALS = 10
BACKENDS = ("inline", pytest.param("ray", marks=pytest.mark.chaos))
INLINE = ("--backend", "inline")
"""Backend for the final run where Ray is not tested: it starts faster and gives the same bytes."""

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def undisturbed(experiment_file: Path, tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    root = str(tmp_path_factory.mktemp("undisturbed") / "results")
    return run_sweep(load_experiment(experiment_file, [LONGER]), root, backend="inline")


def driver(file: Path, root: Path, *options: str) -> AbstractContextManager[subprocess.Popen[str]]:
    return started_xlt(*command(file, root, *options))


def command(file: Path, root: Path, *options: str) -> list[str]:
    settings = ["--set", LONGER, "--set", OFTEN, "--results", str(root)]
    return ["run", str(file), *settings, *options]


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """List the processes that run trials."""
    processes = []
    with suppress(psutil.NoSuchProcess):  # one of them ended meanwhile
        for relative in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if " ".join(relative.cmdline()).startswith("ray::ImplicitFunc"):
                    processes.append(relative)
    return processes


def finish(file: Path, root: Path, undisturbed: RunOutcome, *options: str) -> str:
    """Run to the end; check that finished trials stay, and that all bytes are those of one run."""
    before = finished(root)
    with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as errors:
        status = main(command(file, root, *options))
    assert status == 0, errors.getvalue()
    after = finished(root)
    assert before.items() <= after.items()
    assert len(after) == NUM_TRIALS
    assert trial_files(Results(str(root))) == trial_files(undisturbed.results)
    return output.getvalue()


@pytest.mark.chaos
def test_a_killed_driver_loses_no_finished_trial(
    experiment_file: Path, tmp_path: Path, undisturbed: RunOutcome
) -> None:
    with driver(experiment_file, tmp_path / "r") as process:
        wait_for(lambda: finished(tmp_path / "r"), 400, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(finished(tmp_path / "r")) < NUM_TRIALS
    output = finish(experiment_file, tmp_path / "r", undisturbed)
    assert output.count("mean (std), n = 2") == 2


@pytest.mark.chaos
def test_trials_of_killed_workers_restart_in_the_same_run(
    experiment_file: Path, tmp_path: Path, undisturbed: RunOutcome
) -> None:
    with driver(experiment_file, tmp_path / "r") as process:
        wait_for(lambda: finished(tmp_path / "r"), 400, process)
        killed = workers(process)
        for worker in killed:
            worker.kill()
        _, errors = process.communicate(timeout=500)
        assert killed
        assert process.returncode == 0, errors
        assert "its process died; the trial will restart" in errors
        assert "Traceback" not in errors
    assert trial_files(Results(str(tmp_path / "r"))) == trial_files(undisturbed.results)
    assert len(finished(tmp_path / "r")) == NUM_TRIALS


@pytest.mark.chaos
def test_a_trial_whose_process_always_dies_fails_in_the_end(
    experiment_file: Path, tmp_path: Path
) -> None:
    values = yaml.safe_load(experiment_file.read_text())
    values |= {"models": values["models"][:1], "patterns": values["patterns"][:1], "seeds": [0]}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(values))
    killed_at = 0
    with driver(tmp_path / "one.yaml", tmp_path / "r", "--backend", "ray") as process:
        while process.poll() is None:
            if (saved_at := last_checkpoint(tmp_path / "r")) > killed_at:
                killed_at = saved_at
                for worker in workers(process):
                    worker.kill()
            time.sleep(0.02)
        _, errors = process.communicate()
    assert process.returncode == 1, errors
    assert errors.count("its process died; the trial will restart") == 2
    assert "FAILED llama-ja0-s0-" in errors
    assert "its worker process died 3 times; the last time: it was killed by SIGKILL" in errors
    assert "Traceback" not in errors


def last_checkpoint(root: Path) -> int:
    """Time at which a trial saved its last checkpoint, in nanoseconds; 0 without one."""
    times = [0]
    for file in root.glob("checkpoints/**/*"):
        with suppress(FileNotFoundError):  # replaced meanwhile
            times.append(file.stat().st_mtime_ns)
    return max(times)


@pytest.mark.chaos
def test_workers_that_die_before_their_trials_start_end_the_run(
    experiment_file: Path, tmp_path: Path
) -> None:
    with driver(experiment_file, tmp_path / "r") as process:
        while process.poll() is None:
            for worker in workers(process):
                worker.kill()
            time.sleep(0.02)
        _, errors = process.communicate()
    assert process.returncode == 2, errors
    last = errors.splitlines()[-1]
    assert last.startswith("xlt: worker processes die before they start a trial; the last one: it ")
    assert "was killed by SIGKILL, crashed or called os._exit on" in last and "memory" not in last
    assert "Traceback" not in errors
    assert not list((tmp_path / "r").glob("trials/*/error.json"))


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(5))
def test_kills_at_random_moments_change_nothing(
    seed: int,
    experiment_file: Path,
    tmp_path: Path,
    undisturbed: RunOutcome,
) -> None:
    """Kill drivers and workers in turn, at any time from the first second to the last trial."""
    rng = random.Random(seed)
    with driver(experiment_file, tmp_path / "r") as process:
        time.sleep(rng.uniform(0, 25))
        if seed % 2 and process.poll() is None:
            for worker in workers(process):
                worker.kill()
            time.sleep(rng.uniform(0, 10))
        process.send_signal(signal.SIGKILL)
        process.wait()
    how_finished = () if seed < 2 else INLINE
    finish(experiment_file, tmp_path / "r", undisturbed, *how_finished)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_c_stops_cleanly_and_names_the_command_to_resume(
    backend: str,
    experiment_file: Path,
    tmp_path: Path,
    undisturbed: RunOutcome,
) -> None:
    with driver(experiment_file, tmp_path / "r", "--backend", backend) as process:
        wait_for(lambda: finished(tmp_path / "r"), 400, process)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        num_done = len(finished(tmp_path / "r"))
        assert process.returncode == 130, errors
        assert 0 < num_done < NUM_TRIALS
        assert f"Stopped with {num_done} of {NUM_TRIALS} trials done; the same command" in errors
        assert "Traceback" not in errors
        assert "missing" in output
    finish(experiment_file, tmp_path / "r", undisturbed, *INLINE)


@pytest.mark.chaos
@pytest.mark.parametrize("backend", ["inline", "ray"])
def test_an_unwritable_location_ends_the_run_and_keeps_finished_trials(
    backend: str,
    experiment_file: Path,
    tmp_path: Path,
    undisturbed: RunOutcome,
) -> None:
    """A file in the place of the folder acts as a full disk, also for root."""
    root = tmp_path / "r"
    with driver(experiment_file, root, "--backend", backend) as process:
        wait_for(lambda: finished(root), 400, process)
        (root / "trials").rename(tmp_path / "kept")
        (root / "trials").touch()
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert "cannot be written any more: " in errors
    assert "finished trials are kept; free space" in errors
    assert "Traceback" not in errors
    (root / "trials").unlink()
    (tmp_path / "kept").rename(root / "trials")
    assert 0 < len(finished(root)) < NUM_TRIALS
    finish(experiment_file, root, undisturbed, *INLINE)


def test_a_full_disk_is_refused_before_a_trial_starts(
    experiment_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("xlt.data.core.files.os.fsync", full)
    assert main(["run", str(experiment_file), "--results", str(tmp_path / "r")]) == 2
    assert "cannot be written: [Errno 28] No space left on device; free space" in (
        capsys.readouterr().err
    )
