"""The driver ends with one sentence if its Ray head stays silent, and continues if it returns."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from result_folders import make_results

from xlt.sweep.driver import head_watch
from xlt.sweep.driver.head_watch import HeadWatch, answers

DRIVER = """
import io, sys, time
from rich.console import Console
from xlt.sweep.driver import head_watch
from xlt.sweep.driver.lease import hold_lease
from xlt.trainables.results.result import Results

head_watch.POLL_SECONDS, head_watch.LOST_SECONDS = 0.05, 0.3
with hold_lease(Results(sys.argv[1]), "tiny", Console(file=io.StringIO())):
    head_watch.HeadWatch(sys.argv[2], sys.argv[3])
    print("drives", flush=True)
    time.sleep(60)
"""


def listen(port: int = 0) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


@pytest.fixture
def head() -> Iterator[socket.socket]:
    with closing(listen()) as opened:
        yield opened


@pytest.fixture
def raylet() -> Iterator[socket.socket]:
    with closing(listen()) as opened:
        yield opened


def address(head: socket.socket) -> str:
    return f"127.0.0.1:{head.getsockname()[1]}"


@pytest.mark.parametrize("lost", ["head", "raylet"])
def test_a_driver_that_lost_ray_ends_with_one_sentence_and_releases_its_lease(
    lost: str, head: socket.socket, raylet: socket.socket, tmp_path: Path
) -> None:
    results = make_results(tmp_path / "r")
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, results.uri, address(head), address(raylet)],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert driver.stdout and driver.stdout.readline() == "drives\n"
    time.sleep(0.5)
    assert driver.poll() is None and results.sizes("experiments")
    reason = f"the Ray head at {address(head)} gave no answer for "
    if lost == "raylet":
        reason = "Ray has stopped on this machine; "
    (head if lost == "head" else raylet).close()
    _, errors = driver.communicate(timeout=20)
    assert driver.returncode == 2
    assert errors.startswith(f"xlt: {reason}")
    assert errors.count("\n") == 1 and "run the same command to resume" in errors
    assert results.sizes("experiments") == {}


def test_a_head_that_returns_in_time_or_a_stopped_watch_ends_nothing(
    head: socket.socket, raylet: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(head_watch, "_end", ended.append)
    monkeypatch.setattr(head_watch, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(head_watch, "LOST_SECONDS", 0.8)
    watch = HeadWatch(address(head), address(raylet))
    place, port = address(head), head.getsockname()[1]
    head.close()
    assert answers(place) is False
    time.sleep(0.3)
    with closing(listen(port)):
        assert answers(place)
        time.sleep(1.0)
        assert ended == []
        watch.stop()
    time.sleep(1.0)
    assert ended == []
