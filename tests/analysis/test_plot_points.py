"""ROC and precision-recall curves are those of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve, roc_curve

from xlt.analysis.metrics.plot_points import precision_recall, roc
from xlt.analysis.metrics.thresholds import list_cuts

rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 20).map(lambda k: k / 20)), min_size=2, max_size=40
).filter(lambda found: {y for y, _ in found} == {0, 1})


@given(rows)
def test_curves_have_the_points_of_scikit_learn(drawn: list[tuple[int, float]]) -> None:
    y_true, y_score = (np.array(column) for column in zip(*drawn, strict=True))
    cuts = list_cuts(y_true.astype(np.int8), y_score)
    false, true, _ = roc_curve(y_true, y_score, drop_intermediate=False)
    assert roc(cuts) == pytest.approx(np.stack([false, true]))
    precision, recall, _ = precision_recall_curve(y_true, y_score)
    assert precision_recall(cuts) == pytest.approx(np.stack([recall, precision]))
