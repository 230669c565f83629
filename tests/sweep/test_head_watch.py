"""The driver ends with one sentence if Ray is lost or frozen, and continues if it returns."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from ctrl_c import impatient, started_python, started_xlt
from result_folders import make_results

from xlt.sweep.driver import head_watch
from xlt.sweep.driver.head_watch import HELLO, HeadWatch, answers

DRIVER = """
import io, os, sys, time
from rich.console import Console
from xlt.sweep.driver import head_watch
from xlt.sweep.driver.lease import hold_lease
from xlt.trainables.results.result import Results

head_watch.POLL_SECONDS, head_watch.LOST_SECONDS = 0.1, 1.0
with hold_lease(Results(sys.argv[1]), "tiny", Console(file=io.StringIO())):
    watch = head_watch.HeadWatch(*sys.argv[2:])
    {prepare}
    print("drives", flush=True)
    sys.stdin.readline() or time.sleep(60)
    watch.stop()
    raise OSError("a call to Ray failed")
"""
ENDED_BY_RAY = "write = os.write; os.write = lambda *what: (write(*what), os._exit(1))"
"""Ray ends the driver as soon as the driver has printed its sentence."""
STILL_WRITES = "head_watch.release_all = lambda: print('a trial ends', file=sys.stderr, flush=True)"
"""A thread of the driver writes after the sentence."""


class Server:
    """A process of Ray, as the watch sees it: it answers the first bytes of a client."""

    def __init__(self, port: int = 0) -> None:
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port = self._listening.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.is_frozen = False
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                with connection:
                    if self.is_frozen:
                        time.sleep(1.0)
                    elif connection.recv(100) == HELLO:
                        connection.sendall(b"settings")

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@dataclass(frozen=True)
class FakeRay:
    """Ray's processes, and the connection to the one on this machine."""

    head: Server
    raylet: Server
    socket_path: str
    listening: socket.socket

    @property
    def arguments(self) -> tuple[str, str, str]:
        return self.head.address, self.raylet.address, self.socket_path


@pytest.fixture
def ray_processes(tmp_path: Path) -> Iterator[FakeRay]:
    path = str(tmp_path / "raylet")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        head, raylet = Server(), Server()
        yield FakeRay(head, raylet, path, listening)
        for server in (head, raylet):
            with suppress(OSError):
                server.close()


def driving(
    uri: str, ray_processes: FakeRay, prepare: str = "pass"
) -> AbstractContextManager[subprocess.Popen[str]]:
    program = DRIVER.format(prepare=prepare)
    return started_python(program, "drives", uri, *ray_processes.arguments)


@pytest.mark.parametrize("lost", ["head", "frozen head", "raylet", "frozen raylet"])
def test_a_driver_that_lost_ray_ends_with_one_sentence_and_releases_its_lease(
    lost: str, ray_processes: FakeRay, tmp_path: Path
) -> None:
    results = make_results(tmp_path / "r")
    head = ray_processes.head
    with (
        driving(results.uri, ray_processes) as driver,
        ray_processes.listening.accept()[0] as connection,
    ):
        time.sleep(0.5)
        assert driver.poll() is None and results.sizes("experiments")
        match lost:
            case "head":
                head.close()
            case "frozen head":
                head.is_frozen = True
            case "raylet":
                connection.close()
            case "frozen raylet":
                ray_processes.raylet.is_frozen = True
        _, errors = driver.communicate(timeout=20)
    reason = {
        "head": f"the Ray head at {head.address} gave no answer for ",
        "raylet": "Ray has stopped on this machine; ",
        "frozen raylet": "Ray on this machine gave no answer for ",
    }[lost.replace("frozen head", "head")]
    assert driver.returncode == 2
    assert errors.startswith(f"xlt: {reason}")
    assert errors.count("\n") == 1 and "run the same command to resume" in errors
    assert results.sizes("experiments") == {}


def test_a_sentence_is_printed_if_ray_is_faster(ray_processes: FakeRay, tmp_path: Path) -> None:
    results = make_results(tmp_path / "r")
    with driving(results.uri, ray_processes) as driver:
        driver.kill()
        _, errors = driver.communicate(timeout=20)
    reason = "Ray has stopped on this machine, or this command was killed; "
    assert errors.startswith(f"xlt: {reason}finished trials are kept; ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(("prepare", "status"), [(ENDED_BY_RAY, 1), (STILL_WRITES, 2)])
def test_the_sentence_is_printed_and_is_the_last_line(
    prepare: str, status: int, ray_processes: FakeRay, tmp_path: Path
) -> None:
    results = make_results(tmp_path / "r")
    with driving(results.uri, ray_processes, prepare) as driver:
        ray_processes.listening.accept()[0].close()
        _, errors = driver.communicate(timeout=20)
    assert driver.returncode == status
    assert errors.startswith("xlt: Ray has stopped on this machine; finished trials are kept; ")
    assert errors.count("\n") == 1


def test_an_error_from_a_ray_that_stopped_is_no_traceback(
    ray_processes: FakeRay, tmp_path: Path
) -> None:
    results = make_results(tmp_path / "r")
    with (
        driving(results.uri, ray_processes) as driver,
        ray_processes.listening.accept()[0] as connection,
    ):
        os.kill(driver.pid, signal.SIGSTOP)  # both threads see the loss at the same time
        assert driver.stdin
        driver.stdin.write("\n")
        driver.stdin.flush()
        connection.close()
        os.kill(driver.pid, signal.SIGCONT)
        _, errors = driver.communicate(timeout=20)
    assert driver.returncode == 2
    assert errors.startswith("xlt: Ray has stopped on this machine; finished trials are kept; ")
    assert errors.count("\n") == 1


def test_a_head_that_returns_in_time_or_a_stopped_watch_ends_nothing(
    ray_processes: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(HeadWatch, "_end", lambda watch, why: ended.append(why))
    monkeypatch.setattr(head_watch, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(head_watch, "LOST_SECONDS", 0.8)
    watch = HeadWatch(*ray_processes.arguments)
    head = ray_processes.head
    head.close()
    assert not answers(head.address)
    time.sleep(0.3)
    again = Server(head.port)
    assert answers(head.address)
    time.sleep(1.0)
    assert ended == []
    watch.stop()
    again.close()
    time.sleep(1.0)
    assert ended == []


def wait_for_trials(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """Wait until processes for trials run; return all processes of the driver's Ray."""
    deadline = time.monotonic() + 400
    while True:
        assert driver.poll() is None and time.monotonic() < deadline
        with suppress(psutil.NoSuchProcess):  # one that has just ended
            processes = psutil.Process(driver.pid).children(recursive=True)
            if any(process.name().startswith("ray::Impl") for process in processes):
                return processes
        time.sleep(0.1)


@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.parametrize(
    ("name", "number", "reason"),
    [
        ("gcs_server", signal.SIGSTOP, "xlt: the Ray head at "),
        ("raylet", signal.SIGSTOP, "xlt: Ray on this machine gave no answer for "),
        ("raylet", signal.SIGKILL, "xlt: Ray has stopped on this machine"),
        ("raylet", signal.SIGTERM, "xlt: Ray has stopped on this machine"),
    ],
)
def test_a_run_whose_ray_is_killed_or_frozen_ends_with_one_sentence(
    name: str, number: signal.Signals, reason: str, experiment_file: Path, tmp_path: Path
) -> None:
    root = tmp_path / "r"
    long = ("--set", "training.num_train_epochs=200")
    command = ("run", str(experiment_file), "--results", str(root), *long)
    program = impatient(driver__head_watch__POLL_SECONDS=2.0, driver__head_watch__LOST_SECONDS=12.0)
    with started_xlt(*command, program=program) as driver:
        processes = wait_for_trials(driver)
        (lost,) = (process for process in processes if process.name() == name)
        os.kill(lost.pid, number)
        _, errors = driver.communicate(timeout=500)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    # Ray may end the driver first, with 1, when its process on this machine has ended.
    assert driver.returncode == 2 or (driver.returncode == 1 and "stopped" in reason), errors
    last = errors.splitlines()[-1]
    assert last.startswith(reason) and "run the same command to resume" in last
    assert "Traceback" not in errors
