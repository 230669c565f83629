"""Retries of file operations: up to a limit, and only for temporary errors."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest
from clock import Clock

from xlt.data.core import files as storage
from xlt.data.core import retry as patience
from xlt.data.core.errors import InputError
from xlt.data.core.retry import retry
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.run import run_sweep
from xlt.trainables.results.result import Results


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(patience, "time", fake)
    return fake


def fail_until(seconds: float, code: int, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of trials cannot be written before then."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if "/trials/" in os.readlink(f"/proc/self/fd/{descriptor}") and clock.now < seconds:
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(storage.os, "fsync", fsync)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.ESTALE])
def test_a_disk_that_works_again_within_the_limit_costs_nothing(
    code: int, experiment_file: Path, tmp_path: Path, clock: Clock,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    fail_until(60, code, clock, monkeypatch)
    experiment = load_experiment(experiment_file, ["seeds=[0]"])
    experiment = experiment.model_copy(update={"models": experiment.models[2:]})
    with caplog.at_level(logging.WARNING):
        outcome = run_sweep(experiment, str(tmp_path / "r"), backend="inline")
    assert len(outcome.ledger.done) == outcome.num_run == 2
    assert clock.waits[:4] == [1, 2, 4, 8] and 60 <= clock.now <= 100
    assert os.strerror(code) in caplog.text and "trying again in 8 s" in caplog.text


def test_a_trial_that_starts_while_its_checkpoint_cannot_be_read_waits(
    experiment_file: Path, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every trial that starts during an outage would fail."""
    real = Results.exists

    def exists(self: Results, *parts: str) -> bool:
        if parts[0].startswith("checkpoints/") and clock.now < 20:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(self, *parts)

    monkeypatch.setattr(Results, "exists", exists)
    experiment = load_experiment(experiment_file, ["seeds=[0]"])
    experiment = experiment.model_copy(update={"models": experiment.models[2:]})
    outcome = run_sweep(experiment, str(tmp_path / "r"), backend="inline")
    assert outcome.ledger.failed == {} and len(outcome.ledger.done) == 2
    assert clock.waits == [1, 2, 4, 8, 16]


def test_a_disk_that_stays_full_ends_the_run_at_the_limit(
    experiment_file: Path, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_until(float("inf"), errno.ENOSPC, clock, monkeypatch)
    with pytest.raises(InputError, match=r"cannot be written any more: .*No space left"):
        run_sweep(load_experiment(experiment_file), str(tmp_path / "r"), backend="inline")
    assert clock.now == patience.PATIENCE_SECONDS


def test_an_input_error_of_an_outage_is_retried_as_the_outage(
    clock: Clock,
) -> None:
    """Verified folders tell what cannot be read as an InputError."""

    def read() -> str:
        if clock.now < 10:
            error = OSError(errno.EIO, "Input/output error")
            raise InputError("cannot be read; correct the access") from error
        return "read"

    assert retry(read) == "read"
    assert clock.waits == [1, 2, 4, 8]


@pytest.mark.parametrize(
    "error",
    [
        InputError("two problems, of which no disk is one"),
        OSError(errno.EROFS, "read-only"), PermissionError(errno.EACCES, "not yours"),
        NotADirectoryError(errno.ENOTDIR, "a file"), FileNotFoundError(errno.ENOENT, "none"),
        OSError("AWS Error ACCESS_DENIED during PutObject operation"),
        OSError("AWS Error NO_SUCH_BUCKET during PutObject operation"), ValueError("no disk"),
    ],
)  # fmt: skip
def test_permanent_errors_are_raised_at_once(error: Exception, clock: Clock) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        retry(fail)
    assert caught.value is error and clock.waits == []
