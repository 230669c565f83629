"""Early stopping in the second of two stages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import sklearn.metrics
import torch
from epoch_ends import load_weights, weights_of_steps
from killed_trials import assert_same_bytes, located, run_killed_at
from staged_specs import NUM_FIRST, MakeSpec, in_stages

from xlt.data.dataset.dev import Dev, SourceDev, TargetFold
from xlt.data.dataset.schema import Dataset
from xlt.trainables.trial.rows import draw_stopping_rows
from xlt.trainables.trial.run_trial import run_trial

pytestmark = pytest.mark.usefixtures("one_thread")


STAGED: dict[str, Any] = {
    "target_stage": {"num_train_epochs": 6}, "early_stopping": {"dev_rows": 16, "patience": 1}
}  # fmt: skip
"""The 8 target rows are one step of an epoch."""


@pytest.mark.parametrize("regime", NUM_FIRST)
@pytest.mark.parametrize(("architecture", "method"), [("bert", "full"), ("llama", "lora")])
def test_the_second_stage_stops_with_the_weights_of_its_best_epoch(
    regime: str,
    architecture: str,
    method: str,
    make_spec: MakeSpec,
    make_large: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Golden: the checkpoints of the same trial without early stopping."""
    make = make_large if architecture == "bert" else make_spec
    changes = {"method": method, "learning_rate": 1e-2, "training": STAGED}
    spec, first = in_stages(make, regime, architecture, **changes), NUM_FIRST[regime]
    seen, plain = weights_of_steps(spec, tiny_dataset, tmp_path / "plain", monkeypatch)
    result = run_trial(spec, tiny_dataset, keep_models="all")
    measured = result.history["dev_metric"].to_pylist()
    assert measured[:first] == [None] * first  # the first stage is not scored
    losses = measured[first:]
    best, last = int(np.argmin(losses)) + 1, len(losses)
    assert last == min(best + 1, 6)
    assert result.convergence["best_epoch"] == 2 + best
    assert result.convergence["num_epochs"] == 2 + last
    assert result.history["stage"].to_pylist() == [1] * first + [2] * last
    steps = result.history.drop_columns("dev_metric")
    assert steps.equals(plain.history.slice(0, first + last))
    weights = load_weights(result)
    compared = weights.keys() & seen[best].keys()
    assert len(compared) >= 5
    assert all(torch.equal(weights[name], seen[best][name]) for name in compared)
    killed = sorted({2, first - 1, first + 1, first + best, first + last})
    again = run_killed_at(killed, spec, tiny_dataset, located(tmp_path / "killed"))
    assert_same_bytes(again, result)


@pytest.mark.parametrize("dev", [SourceDev(rows=8), TargetFold(num_folds=2, fold=0)])
def test_a_trial_of_a_search_stops_in_its_second_stage_on_the_dev_rows_of_the_search(
    dev: Dev, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    training = STAGED | {"early_stopping": {"patience": 6}}
    changes = {"method": "full", "learning_rate": 1e-2, "training": training, "dev": dev}
    spec = in_stages(make_spec, "multistage", **changes)
    assert spec.first_stage is None
    result = run_trial(spec, tiny_dataset)
    scores = result.predictions["y_score"].to_numpy()
    loss = sklearn.metrics.log_loss(result.predictions["y_true"].to_numpy(), scores)
    measured = result.history.filter(pc.is_valid(result.history["dev_metric"]))
    assert set(measured["stage"].to_pylist()) == {2}
    assert min(measured["dev_metric"].to_pylist()) == pytest.approx(loss, rel=1e-12)
    held_out = {*result.predictions["id"].to_pylist()}
    assert not held_out & {*result.train_rows["id"].to_pylist()}


def test_neither_stage_trains_on_target_rows_that_are_held_out(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    training = STAGED | {"early_stopping": {"dev": "target", "num_folds": 2}}
    spec = in_stages(make_spec, "multistage", method="full", learning_rate=1e-2, training=training)
    dev = draw_stopping_rows(tiny_dataset, spec)
    assert dev is not None and len(dev) == 4
    result = run_trial(spec, tiny_dataset)
    assert not {*dev["id"].to_pylist()} & {*result.train_rows["id"].to_pylist()}
    assert len(result.train_rows) == 24 + 4
    assert result.history["stage"].to_pylist().count(1) == 2 * math.ceil((24 + 4) / 8)
