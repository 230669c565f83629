"""Trials side by side, compared with themselves alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xlt.data.dataset.schema import Dataset
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_pack import run_pack
from xlt.trainables.trial.run_trial import run_trial

SHORT = {"num_train_epochs": 1, "batch_size": 8}


def packed(specs: Sequence[TrialSpec], dataset: Dataset, **options: Any) -> list[Any]:
    """Return the result or the error of each trial, in the order of the specs."""
    ended = {spec.trial_id: outcome for spec, outcome in run_pack(specs, dataset, **options)}
    assert len(ended) == len(specs)
    return [ended[spec.trial_id] for spec in specs]


def assert_same(first: TrialResult, second: TrialResult) -> None:
    """Losses, gradients and scores to rounding."""
    assert isinstance(first, TrialResult), first
    for name, atol in (("loss", 1e-5), ("grad_norm", 1e-4)):
        values = [result.history[name].to_numpy() for result in (first, second)]
        np.testing.assert_allclose(*values, atol=atol, rtol=0)
    for table in ("predictions", "train_rows"):
        scores = [getattr(result, table)["y_score"].to_numpy() for result in (first, second)]
        np.testing.assert_allclose(*scores, atol=1e-5, rtol=0)
    assert first.predictions["id"].equals(second.predictions["id"])


def assert_as_alone(specs: Sequence[TrialSpec], dataset: Dataset, **options: Any) -> None:
    for spec, result in zip(specs, packed(specs, dataset, **options), strict=True):
        alone = run_trial(spec, dataset)
        assert_same(result, alone)
        assert result.execution["packed"] == len(specs)
        # Not 0 where the longest training went on by itself.
        assert result.execution["padding_share"] <= alone.execution["padding_share"]
