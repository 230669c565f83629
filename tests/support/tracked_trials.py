"""Trials of trackers' tests, and `xlt track` as a user calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
from repository import ROOT
from result_folders import make_plan, make_results, save_done, save_failed

from xlt.trainables.results.result import Results

LOSSES = [0.75, 0.5, 0.25]
HISTORY = pa.table({"step": [1, 2, 3], "loss": LOSSES, "learning_rate": [3e-5, 2e-5, 1e-5]})
F1 = {("ja0", 0): 0.25, ("ja0", 1): 0.75, ("ja16", 0): 0.5}
CANARY = "canary7f3a" * 4
"""A password, as long as W&B requires."""


def save_trials(folder: Path) -> Results:
    """Three done trials in two cells, and a failed one."""
    location = make_results(folder, make_plan(patterns=["ja0", "ja16"], seeds=[0, 1]))
    for (pattern, seed), score in F1.items():
        save_done(location, "elyza", pattern, seed, {"f1": score}, history=HISTORY)
    save_failed(location, "elyza", "ja16", 1, "ValueError: no")
    return location


def ids(results: Results) -> list[str]:
    return results.trial_ids()


def track(
    results: Results, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``xlt track`` as a user; keywords are variables of its environment."""
    program = [sys.executable, "-m", "xlt", "track", results.uri, *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(
        program, cwd=results.root, env=env, capture_output=True, text=True, timeout=200, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def sent(results: Results, *arguments: str, **environment: str) -> str:
    """Counts of ``xlt track``, which must succeed and print nothing else."""
    done = track(results, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    return line.rpartition(": ")[2]


def run_again(results: Results) -> str:
    """Let the trial of ja0 with seed 0 end with another score."""
    return save_done(results, "elyza", "ja0", 0, {"f1": 0.5}, history=HISTORY)


def check_counts(results: Results, to: str, **environment: str) -> str:
    """Send trials, again, and after one of them ran again; return the id of this one."""
    assert sent(results, "--to", to, **environment) == "4 sent, 0 replaced, 0 unchanged"
    assert sent(results, "--to", to, **environment) == "0 sent, 0 replaced, 4 unchanged"
    trial_id = run_again(results)
    assert sent(results, "--to", to, **environment) == "0 sent, 1 replaced, 3 unchanged"
    return trial_id
