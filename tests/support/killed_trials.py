"""Trials that are killed on the way and resumed, and the comparison of their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from xlt.data.dataset.schema import Dataset
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.trial.run_trial import run_trial
from xlt.trainables.trial.signature import read_versions


class KilledError(BaseException):
    """Ends a trial as SIGKILL does: no code of ours runs afterwards."""


class KilledAfter(Checkpoints):
    """Checkpoints at each step; the process dies after a number of them."""

    left = 0

    def save(self, *rest: Any) -> None:
        super().save(*rest)
        self.left -= 1
        if not self.left:
            raise KilledError


def located(folder: Path) -> Results:
    """Results in a folder."""
    results = Results(str(folder))
    results.prepare()
    return results


def kill_after(num: int, results: Results, run: Callable[..., Any], trial_id: str) -> None:
    """Run a trial until its process dies; if it resumes, after so many more steps."""
    kept = KilledAfter(results, trial_id, 0, read_versions())
    kept.left = num
    with pytest.raises(KilledError):
        run(checkpoints=kept)
    torch.manual_seed(12345)  # another process has other generators


def killed_after(
    step: int, spec: TrialSpec, dataset: Dataset, kept: Checkpoints, monkeypatch: Any
) -> None:
    """Train until a step, with a checkpoint after each."""
    save = Checkpoints.save

    def saved(self: Checkpoints, model: Any, optimizer: Any, at: int, *rest: Any) -> None:
        save(self, model, optimizer, at, *rest)
        if at == step:
            raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", saved)
        with pytest.raises(KilledError):
            run_trial(spec, dataset, checkpoints=kept)


def run_killed_at(
    steps: Sequence[int], spec: TrialSpec, dataset: Dataset, results: Results
) -> TrialResult:
    """Run a trial that is killed after each of the steps and then resumes."""
    run = partial(run_trial, spec, dataset, keep_models="all")
    for before, step in pairwise((0, *steps)):
        kill_after(step - before, results, run, spec.trial_id)
    resumed = run(checkpoints=Checkpoints(results, spec.trial_id, 0, read_versions()))
    assert resumed.execution["resumed_at_steps"] == list(steps)
    return resumed


def tables_of(result: TrialResult) -> list[pa.Table]:
    """Tables of a result."""
    return [result.predictions, result.history, result.train_rows]


def assert_same_bytes(first: TrialResult, second: TrialResult) -> None:
    """Tables, weights, metrics and convergence of two results with kept models are equal."""
    for one, other in zip(tables_of(first), tables_of(second), strict=True):
        assert one.equals(other)
    assert first.model and first.model == second.model
    assert (first.metrics, first.convergence) == (second.metrics, second.convergence)


def have_same_bytes(first: TrialResult, second: TrialResult) -> bool:
    """Whether models, shares of padding and tables of two results are equal."""
    shares = {result.execution["padding_share"] for result in (first, second)}
    return (
        first.model == second.model
        and len(shares) == 1
        and all(a.equals(b) for a, b in zip(tables_of(first), tables_of(second), strict=True))
    )
