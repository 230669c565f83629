"""Tables of the page on certainty: shares of the variance, cell by cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_scores import simulate

from xlt.analysis.page.certainty import show_variance
from xlt.analysis.trials.scores import ExperimentScores
from xlt.analysis.uncertainty.intervals import CellIntervals


def test_one_cell_with_unequal_seeds_does_not_speak_for_all() -> None:
    rng = np.random.default_rng(0)
    cells = [simulate(rng, 5, 200, 1.5, std) for std in (0.01, 0.02, 0.03, 0.04, 3.0)]
    named = {c.key: c for c in (replace(c, base_model=f"m{i}") for i, c in enumerate(cells))}
    intervals = CellIntervals(ExperimentScores(named, {}))
    sentence = show_variance(intervals, "auroc").sentence
    variances = np.array(
        [
            [(own.std(part) or 0.0) ** 2 for part in ("seed", "item", "both")]
            for own in intervals.components("auroc").values()
        ]
    )
    together = variances.sum(axis=0) / variances.sum()
    assert together[0] > 0.8  # what one cell would make of all
    seeds = variances[:, 0] / variances.sum(axis=1)
    assert np.median(seeds) < 0.2 and seeds.max() > 0.9
    assert sentence.startswith("Shares of the variance of a run's AUROC, median over 5 cells")
    assert f"seeds {np.median(seeds):.0%} ({seeds.min():.0%} to {seeds.max():.0%})" in sentence


def test_cells_without_any_variance_have_no_shares() -> None:
    rng = np.random.default_rng(0)
    cell = simulate(rng, 3, 40, 90.0, 0.0)  # every row where it belongs
    intervals = CellIntervals(ExperimentScores({cell.key: cell}, {}))
    assert show_variance(intervals, "auroc").sentence == ""
    with pytest.raises(ValueError, match="no cell has usable predictions"):
        show_variance(CellIntervals(ExperimentScores({}, {})), "auroc")
