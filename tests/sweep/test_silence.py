"""A command without progress says where it stands; one without space for Ray is refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ctrl_c import environment, impatient
from preflights import one, preflight, told
from ray._common.utils import get_default_ray_temp_dir
from result_folders import make_spec
from rich.console import Console
from small_disks import mounted_disk

from xlt.data.core.errors import InputError
from xlt.sweep.driver import silence
from xlt.sweep.driver.progress import Progress
from xlt.sweep.driver.silence import SilenceWatch
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.machines.ray_folder import RAY_BYTES, find_ray_folder, find_ray_logs
from xlt.sweep.on_ray.connection import RayConnection

SPECS = [make_spec("elyza", "ja16", seed) for seed in range(3)]
NO_SPACE = "xlt.sweep.machines.ray_folder.count_free_bytes"


def test_each_line_doubles_the_time_to_the_next_and_progress_starts_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(silence, "FIRST_SECONDS", 1.0)
    lines: list[str] = []
    with SilenceWatch("no trial has ended", lambda: "2 run", lines.append) as watch:
        time.sleep(3.0)  # lines after 1 and 2 s; the next one would come after 4 s
        assert lines == ["xlt: no trial has ended for 0 minutes: 2 run"] * 2
        for _ in range(10):
            watch.heard()
            time.sleep(0.1)
        assert len(lines) == 2
        time.sleep(1.4)
        assert len(lines) == 3
    time.sleep(1.0)
    assert len(lines) == 3


@pytest.mark.parametrize("terminal", [True, False])
def test_a_run_says_how_many_trials_wait(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "FIRST_SECONDS", 0.3)
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=200, color_system=None)
    with Progress(SPECS, [], console, find_ray_logs()) as progress:
        progress.stage("running 3 of 3 trials")
        progress.started(SPECS[0])
        time.sleep(0.5)
    line = "running 3 of 3 trials; 1 run, 2 wait for a worker process; see Ray's logs in "
    assert f"xlt: no trial has made a step for 0 minutes: {line}" in output.getvalue()


@pytest.mark.parametrize("variables", [{}, {"TMPDIR": "/a"}, {"TMPDIR": "/a", "RAY_TMPDIR": "/b"}])
def test_the_folder_is_the_one_that_ray_takes(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_ray_folder() == get_default_ray_temp_dir()


def test_no_ray_starts_on_a_disk_without_space(
    small: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    for free, problem in ((RAY_BYTES, ""), (1000, "need 64 MiB, 0.0 MiB are free; free some, set")):
        monkeypatch.setattr(NO_SPACE, lambda folder, free=free: free)
        assert problem in told(one("disk", preflight(small, starts_ray=True)))
        assert told(one("disk", preflight(small, starts_ray=False))) == ""
    with pytest.raises(InputError, match="Ray does not start on this machine: its files in "):
        RayConnection()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 64 kB, with a short path: Ray's sockets lie in it."""
    with mounted_disk(Path("/tmp") / f"xlt-{os.getpid()}", "64k") as folder:
        yield folder


@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system needs root")
def test_a_ray_whose_disk_is_full_is_not_silent(
    small_disk: Path, experiment_file: Path, tmp_path: Path
) -> None:
    command = ["run", str(experiment_file), "--results", str(tmp_path / "r")]
    program = impatient(driver__silence__FIRST_SECONDS=6.0, machines__ray_folder__RAY_BYTES=0)
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        env=environment() | {"RAY_TMPDIR": str(small_disk)},
        capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    # Ray may fail at once or hang until the line on slow progress; the last line names the disk.
    last = done.stderr.splitlines()[-1]
    assert "xlt: " in last and str(small_disk) in last, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own needs root")
def test_a_full_object_store_stops_no_trial(experiment_file: Path, tmp_path: Path) -> None:
    """Ray keeps objects in its own folder then. Only these processes see the full /dev/shm."""
    full = "mount -t tmpfs -o size=150m tmpfs /dev/shm; head --bytes=150M /dev/zero > /dev/shm/all"
    command = ["run", str(experiment_file), "--results", str(tmp_path / "r"), "--backend", "ray"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{full}; exec "$@"', "sh", sys.executable, "-m", "xlt",
         *command],
        env=environment() | {"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(100_000_000)},
        capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


NO_WORKER = """
import os, sys
if any(argument.endswith(("launcher.py", "default_worker.py")) for argument in sys.orig_argv):
    os._exit(1)
"""


@pytest.mark.ray
@pytest.mark.chaos
def test_workers_that_cannot_start_python_end_the_run(
    experiment_file: Path, tmp_path: Path
) -> None:
    """Ray itself would wait for them when the driver connects."""
    (tmp_path / "sitecustomize.py").write_text(NO_WORKER)
    places = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    program = impatient(driver__silence__FIRST_SECONDS=6.0, on_ray__nodes__ANSWER_SECONDS=15)
    done = subprocess.run(
        [sys.executable, "-c", program, "run", str(experiment_file), "--backend", "ray",
         "--results", str(tmp_path / "r")],
        env=environment() | {"PYTHONPATH": os.pathsep.join(places)},
        capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    silent, last = done.stderr.splitlines()[-2:]
    assert silent.startswith("xlt: no trial has made a step for 0 minutes: starting; ")
    assert last.startswith("xlt: workers on ") and " give no answer: " in last
    assert "see raylet.out of Ray's logs in " in last and "Traceback" not in done.stderr
