"""Worker processes are forks of one process that has torch, or whole processes where it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from ctrl_c import started_python, started_xlt
from repository import ROOT
from result_folders import finished, trial_files
from waiting import wait_for

from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.on_ray.local import fork_server, forking, launcher
from xlt.sweep.on_ray.local.forking import forked_workers
from xlt.sweep.on_ray.local.launcher import VARIABLE
from xlt.sweep.run import run_sweep
from xlt.trainables.results.result import Results

WORKER = """
import json, os, signal, sys, time
import xlt.trainables.trial.run_pack as code
if sys.argv[1] == "wait":
    print("ready", flush=True)
    time.sleep(60)
print(json.dumps({
    "forked": code.pid != os.getpid(), "arguments": sys.argv[1:], "folder": os.getcwd(),
    "variable": os.environ.get("WORDS"), "threads": os.environ.get("OMP_NUM_THREADS"),
    "input": sys.stdin.read(), "first": sys.path[0], "script": sys.argv[0], "name": __name__,
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "terminates": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
}))
print("last words", file=sys.stderr)
sys.exit(int(sys.argv[2]))
"""
"""Ray's script of workers, for tests: reports what it got."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks need Linux")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is on the path of new processes, with small packages in place of Ray and xlt.

    The real ones take seconds.
    """
    files = {
        "ray/__init__.py": "raise AssertionError('Ray reads its job when it is imported')",
        "ray/_private/workers/default_worker.py": WORKER,
        "xlt/data/core/memory.py": "from contextlib import nullcontext as importing_torch",
        "xlt/trainables/trial/run_pack.py": "import os\npid = os.getpid()",
    }
    for name, content in files.items():
        file = tmp_path / "packages" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path / "packages"


def launch(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, launcher.__file__, *arguments],
        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def find_forks(server: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(server).children()
    return []


@pytest.fixture
def others() -> set[int]:
    """The numbers of processes that other modules started, such as the server of their clusters."""
    return {child.pid for child in psutil.Process().children()}


def find_server(others: set[int]) -> int:
    """The number of the fork server that this process started."""
    while True:  # its command line is empty at first
        for child in psutil.Process().children():
            if child.pid not in others and fork_server.__file__ in child.cmdline():
                return child.pid
        time.sleep(0.01)


def fail_to_import(packages: Path) -> None:
    (packages / "xlt" / "data" / "core" / "memory.py").write_text("raise SystemExit(1)")


def start_a_thread(packages: Path) -> None:
    with (packages / "xlt" / "data" / "core" / "memory.py").open("a") as stream:
        stream.write("\nimport threading, time\n")
        stream.write("threading.Thread(target=time.sleep, args=[60], daemon=True).start()\n")


@pytest.mark.parametrize(
    ("spoil", "is_forked"),
    [(None, True), (fail_to_import, False), (start_a_thread, False)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_worker_gets_the_same_from_a_fork_and_from_a_whole_process(
    spoil: Callable[[Path], None] | None, is_forked: bool, packages: Path, tmp_path: Path
) -> None:
    if spoil:
        spoil(packages)
    with forked_workers():
        process = launch(
            "a b", "3", "--é", cwd=tmp_path, env=os.environ | {"WORDS": "two wörds"},
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]),
        )  # fmt: skip
        output, errors = process.communicate("words for it", timeout=30)
    assert (process.returncode, errors) == (3, "last words\n")
    script = packages / "ray" / "_private" / "workers" / "default_worker.py"
    assert json.loads(output) == {
        "forked": is_forked,
        "arguments": ["a b", "3", "--é"],
        "folder": str(tmp_path),
        "variable": "two wörds",
        "threads": None,
        "input": "words for it",
        "first": str(script.parent),
        "script": str(script),
        "name": "__main__",
        "blocked": [signal.SIGINT],
        "terminates": True,
    }


def test_a_worker_starts_whole_if_the_server_was_killed_or_no_server_is_wanted(
    packages: Path, others: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with forked_workers():
        os.kill(find_server(others), signal.SIGKILL)
        output, _ = launch("x", "0").communicate("", timeout=30)
        assert not json.loads(output)["forked"]
    assert VARIABLE not in os.environ
    monkeypatch.setenv(VARIABLE, "off")
    with forked_workers():
        assert os.environ[VARIABLE] == "off"
        output, _ = launch("x", "0").communicate("", timeout=30)
        assert not json.loads(output)["forked"]


def test_a_server_that_imports_too_long_is_not_waited_for(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (packages / "xlt" / "data" / "core" / "memory.py").write_text("import time; time.sleep(60)")
    with forked_workers():
        monkeypatch.setattr(launcher, "WAIT_SECONDS", 0.2)
        assert launcher.connect(os.environ[VARIABLE]) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_fork_ends_with_its_launcher(
    number: signal.Signals, packages: Path, others: set[int]
) -> None:
    with forked_workers():
        process = launch("wait")
        assert process.stdout and process.stdout.readline() == "ready\n"
        (fork,) = find_forks(find_server(others))
        assert os.getpgid(fork.pid) == fork.pid
        process.send_signal(number)
        status = process.wait(timeout=20)
        process.communicate()
        assert status == (128 + number if number == signal.SIGTERM else -number)
        wait_for(lambda: not fork.is_running())
        output, _ = launch("x", "0").communicate("", timeout=30)  # the server serves on
        assert json.loads(output)["forked"]


def test_a_launcher_ends_with_its_fork_and_with_the_server(
    packages: Path, others: set[int]
) -> None:
    with forked_workers():
        first, second = launch("wait"), launch("wait")
        for process in (first, second):
            assert process.stdout and process.stdout.readline() == "ready\n"
        server = find_server(others)
        find_forks(server)[0].kill()
        wait_for(lambda: [first.poll(), second.poll()].count(None) == 1)
        os.kill(server, signal.SIGKILL)
        for process in (first, second):
            process.communicate(timeout=20)
        assert {first.returncode, second.returncode} == {128 + signal.SIGKILL, 1}
        wait_for(lambda: not find_forks(server))


DRIVER = """
import os, subprocess, sys, time
from xlt.sweep.on_ray.local import launcher
from xlt.sweep.on_ray.local.forking import forked_workers
paths = os.environ["PYTHONPATH"]
os.environ["PYTHONPATH"] = sys.argv[1]
with forked_workers():
    process = subprocess.Popen([sys.executable, launcher.__file__, "wait"], stdout=subprocess.PIPE)
    process.stdout.readline()
    print("ready", flush=True)
    time.sleep(60)
"""


def test_server_and_forks_end_with_a_killed_driver(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with started_python(DRIVER, "ready", str(packages)) as driver:
        relatives = psutil.Process(driver.pid).children(recursive=True)
        assert len(relatives) == 3  # server, fork and launcher
        driver.kill()
        wait_for(lambda: not any(p.is_running() and p.status() != "zombie" for p in relatives))


def test_no_server_starts_where_a_gpu_may_be_or_the_socket_has_no_room(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with forked_workers():
        assert VARIABLE not in os.environ
    assert not list(long.iterdir())
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(forking, "_may_have_gpus", lambda: True)
    with forked_workers():
        assert VARIABLE not in os.environ


LONGER = ("training.num_train_epochs=24", "seeds=[0]")
"""Training long enough to kill the server in the middle."""


@pytest.mark.ray
@pytest.mark.slow
def test_trials_run_in_forks_and_give_the_same_bytes_if_the_server_is_killed(
    experiment_file: Path, tmp_path: Path
) -> None:
    experiment = load_experiment(experiment_file, LONGER)
    undisturbed = run_sweep(experiment, str(tmp_path / "undisturbed"), backend="inline")
    settings = [word for setting in LONGER for word in ("--set", setting)]
    settings += ["--results", str(tmp_path / "r"), "--backend", "ray"]
    with started_xlt("run", str(experiment_file), *settings) as process:
        driver = psutil.Process(process.pid)
        wait_for(lambda: finished(tmp_path / "r") or process.poll() is not None, 300)
        assert process.poll() is None, process.communicate()
        parents = {worker.parent() for worker in workers(driver)}
        assert [fork_server.__file__ in parent.cmdline() for parent in parents if parent] == [True]
        (server,) = parents
        assert server
        server.kill()
        _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    assert "its process died; the trial will restart" in errors
    assert trial_files(Results(str(tmp_path / "r"))) == trial_files(undisturbed.results)


def workers(driver: psutil.Process) -> Iterator[psutil.Process]:
    """Give the processes that run trials."""
    for relative in driver.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if " ".join(relative.cmdline()).startswith("ray::ImplicitFunc"):
                yield relative
