"""Measures of scores under weightings: those of the rows drawn, one weighting at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlt.analysis.metrics.measures import MEASURES, RESAMPLED_MEASURES, Scored
from xlt.analysis.uncertainty.resampling import item_weights

rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 12).map(lambda k: k / 12), st.integers(0, 3)),
    min_size=4, max_size=30,
).filter(lambda found: {y for y, _, w in found if w} == {0, 1})  # fmt: skip


@pytest.mark.parametrize("name", RESAMPLED_MEASURES)
@settings(max_examples=30, deadline=None)
@given(rows)
def test_a_weight_is_as_many_rows(name: str, drawn: list[tuple[int, float, int]]) -> None:
    y_true, score, counts = (np.array(column) for column in zip(*drawn, strict=True))
    repeated = float(
        MEASURES[name].compute(Scored(np.repeat(y_true, counts), np.repeat(score, counts)))
    )
    weights = np.stack([counts, np.ones_like(counts)], axis=1).astype(np.float32)
    found = RESAMPLED_MEASURES[name].weighted(
        y_true.astype(np.int8), np.stack([score, score]), weights
    )
    assert found.shape == (2, 2)
    assert found[:, 0] == pytest.approx([repeated] * 2, abs=1e-9)
    if len(set(y_true)) == 2:
        assert found[1, 1] == pytest.approx(MEASURES[name].compute(Scored(y_true, score)), abs=1e-9)


@pytest.mark.parametrize("name", RESAMPLED_MEASURES)
def test_many_weightings_of_many_rows(name: str) -> None:
    rng = np.random.default_rng(0)
    y_true = np.tile([0, 1], 100).astype(np.int8)
    scores = np.clip(rng.normal(0.4 + 0.2 * y_true, 0.2, (2, 200)), 0, 1)
    weights = item_weights(y_true, 300, 0)
    found = RESAMPLED_MEASURES[name].weighted(y_true, scores, weights)
    for run, column in ((0, 0), (1, 255), (1, 256), (0, 299)):
        drawn = np.repeat(np.arange(200), weights[:, column].astype(int))
        expected = MEASURES[name].compute(Scored(y_true[drawn], scores[run][drawn]))
        assert found[run, column] == pytest.approx(expected, abs=1e-12)
