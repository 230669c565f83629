"""Exactly one of two drivers runs an experiment, even if the other one fails."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ctrl_c import started_xlt
from result_folders import make_results
from rich.console import Console
from s3_server import ENVIRONMENT, serve_s3
from waiting import wait_for

from xlt.data.core.errors import InputError
from xlt.sweep.cli.main import main
from xlt.sweep.driver import lease
from xlt.sweep.driver.lease import find_process_start, hold_lease, identify_machine
from xlt.trainables.results.result import Results

LEASE = "experiments/tiny.lease.json"
QUIET = Console(file=io.StringIO())


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten a beat to a twentieth of a second, and other times accordingly."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease, "SETTLE_SECONDS", 0.3)


@pytest.fixture(params=["disk", "s3"])
def location(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Results]:
    if request.param == "disk":
        yield make_results(tmp_path / "r")
        return
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with serve_s3() as s3:
        yield make_results(s3.bucket())


def write_lease(location: Results, silent_for: float = 0.0, **fields: Any) -> None:
    """Write the lease of another driver, which renewed it some seconds ago."""
    now = datetime.now(UTC) - timedelta(seconds=silent_for)
    values = {
        "lease_id": "other", "host": "node7", "machine": "another machine", "pid": 4711,
        "started": "99", "since": now.isoformat(), "renewed": now.isoformat(),
    }  # fmt: skip
    location.make_folder("experiments")
    location.write(LEASE, json.dumps(values | fields).encode())


# --- one process --------------------------------------------------------------------------------


def test_the_lease_exists_while_the_block_runs_and_not_after(location: Results, fast: None) -> None:
    with hold_lease(location, "tiny", QUIET):
        there = location.read_json(LEASE)
        assert there["pid"] == os.getpid() and there["machine"] == identify_machine()
        message = rf"'tiny' in .* is driven by pid {os.getpid()} on .* since .* UTC; .*--wait"
        with pytest.raises(InputError, match=message), hold_lease(location, "tiny", QUIET):
            pass
        with hold_lease(location, "another", QUIET):
            pass
        assert location.exists(LEASE)
    assert not location.exists(LEASE)
    assert location.experiments() == []
    with pytest.raises(KeyboardInterrupt), hold_lease(location, "tiny", QUIET):
        raise KeyboardInterrupt
    assert list(location.sizes("experiments")) == []


def test_one_of_many_simultaneous_drivers_gets_the_lease(
    location: Results, fast: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, end, messages, written = threading.Barrier(6), threading.Event(), [], []

    def settle(_: float) -> None:
        """Wait until each driver wrote the lease or was refused, however busy the machine is."""
        written.append(threading.current_thread())
        wait_for(lambda: len(written) + len(messages) >= 6)

    monkeypatch.setattr(lease, "time", SimpleNamespace(sleep=settle))

    def drive() -> None:
        start.wait()
        try:
            with hold_lease(location, "tiny", QUIET):
                messages.append("drives")
                end.wait()
        except InputError as error:
            messages.append(str(error))

    threads = [threading.Thread(target=drive) for _ in range(6)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(messages) < 6 and time.monotonic() < deadline:
        time.sleep(0.05)
    end.set()
    for thread in threads:
        thread.join()
    assert messages.count("drives") == 1
    assert sum("is driven by" in line for line in messages) == 5


def test_a_living_holder_on_another_machine_keeps_the_lease_if_clocks_differ(
    location: Results, fast: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lease(location)
    with (
        pytest.raises(InputError, match="pid 4711 on node7 since"),
        hold_lease(location, "tiny", QUIET),
    ):
        pass
    hour_behind = 5_000
    write_lease(location, hour_behind)

    def renew(_: float) -> None:
        """Renew the lease of the other driver, by its own clock, while this one waits."""
        write_lease(location, hour_behind - 1)

    monkeypatch.setattr(lease, "time", SimpleNamespace(sleep=renew))
    with pytest.raises(InputError, match="on node7"), hold_lease(location, "tiny", QUIET):
        pass


@pytest.mark.parametrize("seconds", [500.0, -500.0])
def test_a_dead_holder_on_another_machine_loses_the_lease(
    seconds: float, location: Results, fast: None
) -> None:
    write_lease(location, seconds)
    with hold_lease(location, "tiny", QUIET):
        assert location.read_json(LEASE)["pid"] == os.getpid()


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
def test_a_driver_that_lost_its_lease_stops(handler: Any, location: Results, fast: None) -> None:
    """A background job of a shell, which ignores Ctrl-C, stops too."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        _replaced(location)
        assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, before)


def _replaced(location: Results) -> None:
    began = time.monotonic()
    with (
        pytest.raises(InputError, match=r"was taken over by pid 4711 on node7 .* has stopped"),
        hold_lease(location, "tiny", QUIET),
    ):
        for _ in range(60):  # a renewal that was under way replaces the first of them
            write_lease(location)
            time.sleep(1)
    assert time.monotonic() - began < 30
    assert location.read_json(LEASE)["lease_id"] == "other"


@pytest.mark.parametrize("error", [OSError("no answer"), RuntimeError("unexpected")])
def test_the_lease_survives_a_storage_outage(
    error: Exception, location: Results, fast: None, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def fail(*_: Any) -> None:
        raise error

    with hold_lease(location, "tiny", QUIET):
        first = location.read_json(LEASE)["renewed"]
        with monkeypatch.context() as patch:
            patch.setattr(Results, "write", fail)
            wait_for(lambda: f"is not renewed: {error}; trying again" in caplog.text)
        wait_for(lambda: location.read_json(LEASE)["renewed"] != first)


@pytest.mark.parametrize(
    "field", [{"pid": 0}, {"pid": -1}, {"pid": 2**40}, {"renewed": "2026-05-01T10:00:00"}]
)
def test_a_lease_that_no_driver_writes_is_an_error(
    field: dict[str, Any], location: Results, fast: None
) -> None:
    write_lease(location, **field)
    with (
        pytest.raises(InputError, match=r"remove the file if no driver of"),
        hold_lease(location, "tiny", QUIET),
    ):
        pass


def test_a_dead_process_holds_no_lease_even_if_its_pid_is_reused(
    location: Results, fast: None
) -> None:
    ended = subprocess.Popen(["true"])
    wait_for(lambda: find_process_start(ended.pid) is None)  # a zombie is no driver
    ended.wait()
    assert find_process_start(ended.pid) is None
    started = find_process_start(os.getpid())
    assert started
    for pid, ticks in ((ended.pid, "1"), (os.getpid(), "1")):
        write_lease(location, machine=identify_machine(), pid=pid, started=ticks)
        with hold_lease(location, "tiny", QUIET):
            pass
    write_lease(location, 9_999, machine=identify_machine(), pid=os.getpid(), started=started)
    with pytest.raises(InputError, match="is driven by"), hold_lease(location, "tiny", QUIET):
        pass  # suspended, perhaps, but there


def test_a_disk_without_hard_links_and_a_damaged_lease(
    tmp_path: Path, fast: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    location = make_results(tmp_path / "r")
    monkeypatch.setattr(lease.os, "link", refuse)
    with hold_lease(location, "tiny", QUIET):
        assert location.read_json(LEASE)["pid"] == os.getpid()
    (tmp_path / "r" / LEASE).write_text("{")
    with (
        pytest.raises(InputError, match=r"is not JSON.*; remove the file if no driver of"),
        hold_lease(location, "tiny", QUIET),
    ):
        pass


# --- processes ----------------------------------------------------------------------------------


def command(file: Path, root: Path, *options: str) -> list[str]:
    longer = ["--set", "training.num_train_epochs=12", "--backend", "inline"]
    return ["run", str(file), "--results", str(root), *longer, *options]


def driver(file: Path, root: Path, *options: str) -> AbstractContextManager[subprocess.Popen[str]]:
    return started_xlt(*command(file, root, *options))


@pytest.mark.chaos
def test_a_second_driver_names_the_holder_and_takes_over_from_a_killed_one(
    experiment_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "r"
    again = ["run", str(experiment_file), "--results", str(root), "--backend", "inline"]
    with driver(experiment_file, root) as first:
        wait_for(lambda: list(root.glob("trials/*/trial.json")))
        for refused in (again, ["search", *again[1:4]]):
            assert main(refused) == 2
            error = capsys.readouterr().err
            assert f"is driven by pid {first.pid} on " in error and "--wait" in error
        assert main(["status", str(root)]) == 0
        assert main(["report", str(root)]) == 0
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert (root / LEASE).exists()
    capsys.readouterr()
    with driver(experiment_file, root) as second:  # takes over, then receives Ctrl-C
        wait_for(lambda: f'"pid": {second.pid}' in (root / LEASE).read_text())
        done = len(list(root.glob("trials/*/trial.json")))
        wait_for(lambda: len(list(root.glob("trials/*/trial.json"))) > done)
        second.send_signal(signal.SIGINT)
        _, errors = second.communicate(timeout=60)
        assert second.returncode == 130 and "Traceback" not in errors
    assert not (root / LEASE).exists()


@pytest.mark.chaos
def test_a_waiting_driver_starts_when_the_other_one_ends(
    experiment_file: Path, tmp_path: Path
) -> None:
    root = tmp_path / "r"
    fewer = ("--set", "seeds=[0]")
    with driver(experiment_file, root, *fewer) as first:
        wait_for((root / LEASE).exists)
        with driver(experiment_file, root, *fewer, "--wait") as second:
            output, errors = second.communicate(timeout=200)
            assert second.returncode == 0, errors
            # The first one gives its lease back before it has ended Ray, and the second one,
            # which finds nothing to do, may end sooner.
            assert first.wait(timeout=120) == 0
    assert f"is driven by pid {first.pid} on " in errors and "waiting until it ends" in errors
    assert "All 5 trials were done already; nothing ran." in output
    assert not (root / LEASE).exists()
