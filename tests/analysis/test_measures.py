"""MEASURES of many runs at once: scikit-learn's values of each run alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from xlt.analysis.metrics.measures import MEASURES, Scored, request_measures

GRIDS = [(0.25, 0.5, 0.75), tuple(k / 16 for k in range(17)), None]
"""What scores are drawn from: few values are tied within and between classes; None: no ties."""


def drawn(grid: tuple[float, ...] | None, num_runs: int = 5, num_rows: int = 60) -> Scored:
    rng = np.random.default_rng(0)
    y_true = rng.permutation(np.repeat([0, 1, 1], num_rows // 3)).astype(np.int8)
    shape = num_runs, num_rows
    return Scored(y_true, rng.random(shape) if grid is None else rng.choice(grid, shape))


@pytest.mark.parametrize("grid", GRIDS)
def test_runs_side_by_side_are_scikit_learns_one_by_one(grid: tuple[float, ...] | None) -> None:
    many = drawn(grid)
    y_true = many.y_true

    def f1(y_score: np.ndarray, threshold: float) -> float:
        return float(sk.f1_score(y_true, y_score >= threshold))

    expected = {
        "f1": [f1(one, 0.5) for one in many.y_score],
        "f1_median": [f1(one, float(np.median(one))) for one in many.y_score],
        "auroc": [sk.roc_auc_score(y_true, one) for one in many.y_score],
        "average_precision": [sk.average_precision_score(y_true, one) for one in many.y_score],
        "brier": [sk.brier_score_loss(y_true, one) for one in many.y_score],
    }
    for name, values in expected.items():
        assert MEASURES[name].compute(many) == pytest.approx(np.array(values), abs=1e-12), name


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", [*MEASURES, "f1_prior", "f1_threshold_10"])
def test_no_run_changes_another(name: str, grid: tuple[float, ...] | None) -> None:
    many = drawn(grid)
    measure = {**MEASURES, **request_measures(0.3, [10])}[name]
    alone = [float(measure.compute(Scored(many.y_true, one))) for one in many.y_score]
    assert measure.compute(many) == pytest.approx(np.array(alone), abs=1e-12)
