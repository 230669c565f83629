"""A clock of a machine that is set to another time during a run changes nothing."""

from __future__ import annotations

import ast
import json
import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from repository import ROOT
from result_folders import trial_files

from xlt.sweep.driver import lease
from xlt.sweep.driver.progress import Progress
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.run import run_sweep
from xlt.trainables.spec.trial_spec import TrialSpec

READS_A_CLOCK = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}
ALLOWED = {
    "sweep/cli/report.py": "date of records for Every Eval Ever",
    "sweep/driver/lease.py": "a renewal is compared with later ones, see _is_dead",
    "sweep/driver/leftovers.py": "age of a file; no driver of the results lives",
    "sweep/tracking/runs.py": "date of a failed trial in trackers",
    "trainables/models/folder_digest.py": "age of a file: a young one is not cached",
    "trainables/results/verified.py": "age of a file: a young one is not cached",
}
"""Files that may ask for the time of day; a duration needs time.monotonic() or perf_counter()."""
OFTEN = "storage.checkpoint_minutes=0.0001"


def test_durations_are_measured_with_clocks_that_nobody_sets() -> None:
    found = {
        str(file.relative_to(ROOT))
        for package in ("data", "trainables", "analysis", "sweep")
        for file in (ROOT / package).rglob("*.py")
        if asks_for_the_time(file.read_text())
    }
    assert found == ALLOWED.keys()
    assert asks_for_the_time("from datetime import datetime\nage = datetime.now() - before")


def asks_for_the_time(code: str) -> bool:
    called = (node.func for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))
    return any(READS_A_CLOCK & {ast.unparse(function)} for function in called)


@dataclass
class WrongClock:
    """A time of day that is up to ten hours wrong, each time by another amount.

    Attributes:
        is_set: Whether it is wrong by now.
        num_jumps: How often somebody asked since then.
    """

    is_set: bool = False
    num_jumps: int = 0

    def error(self) -> float:
        self.num_jumps += self.is_set
        return random.uniform(-36_000, 36_000) * self.is_set


@pytest.fixture
def wrong_clock(monkeypatch: pytest.MonkeyPatch) -> WrongClock:
    """The clock of this process, which is wrong from the first started trial on."""
    clock, real, started = WrongClock(), time.time, Progress.started

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=clock.error())

    def start(self: Progress, spec: TrialSpec) -> None:
        clock.is_set = True
        started(self, spec)

    monkeypatch.setattr(time, "time", lambda: real() + clock.error())
    monkeypatch.setattr(lease, "datetime", Wrong)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(Progress, "started", start)
    return clock


@pytest.mark.parametrize(
    "backend", ["inline", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.chaos])]
)
def test_a_run_whose_clock_jumps_gives_the_same_files(
    backend: str, experiment_file: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    experiment = load_experiment(experiment_file, [OFTEN])
    undisturbed = run_sweep(experiment, str(tmp_path / "undisturbed"), backend="inline")
    if backend == "ray":
        request.getfixturevalue("ray_address")
    clock: WrongClock = request.getfixturevalue("wrong_clock")
    began = time.monotonic()
    outcome = run_sweep(experiment, str(tmp_path / "r"), backend=backend)
    seconds = time.monotonic() - began
    assert clock.num_jumps > 5
    assert len(outcome.ledger.done) == len(outcome.grid.specs) and not outcome.interrupted
    files = trial_files(outcome.results)
    assert files == trial_files(undisturbed.results)
    for name in files:
        if name.endswith("trial.json"):
            timings = json.loads(outcome.results.read("trials", name))["timings"]
            assert all(0 <= spent <= seconds for spent in timings.values()), timings
    assert not outcome.results.leased()
