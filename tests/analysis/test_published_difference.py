"""Differences from published means: golden values from scipy, simulated labs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from simulated_scores import simulate, upper_bound

from xlt.analysis.claims.published_difference import difference_to_published
from xlt.analysis.uncertainty.runs import MetricRuns, Runs
from xlt.analysis.uncertainty.welch import Sample, welch
from xlt.data.core.errors import InputError

RUNS = ((0, 0), (0, 1), (0, 2))


def test_without_variance_of_rows_it_is_welchs() -> None:
    ours, theirs = np.array([0.81, 0.84, 0.9]), np.array([0.7, 0.72, 0.79])
    published = Sample(float(theirs.mean()), float(theirs.std(ddof=1)), 3)
    found = difference_to_published(Runs(ours, np.zeros((3, 512)), RUNS), 512, published, 512)
    known = stats.ttest_ind(ours, theirs, equal_var=False)
    assert found.estimate == pytest.approx(ours.mean() - theirs.mean())
    assert found.p_equal() == pytest.approx(known.pvalue)
    assert found.interval() == pytest.approx(tuple(known.confidence_interval()))


def test_rows_of_both_count() -> None:
    # Rows alone: each moves all runs alike, so that their variance is the sum of squares.
    influence = np.tile(np.full(400, 0.001), (3, 1))
    ours = Runs(np.full(3, 0.8), influence, RUNS)
    found = difference_to_published(ours, 400, Sample(0.7, 0.0, 3), 100)
    error = np.sqrt(400 * 0.001**2 * (1 + 400 / 100))
    assert found.p_equal() == pytest.approx(2 * stats.t.sf(0.1 / error, 398), rel=1e-6)


def test_one_run_gives_no_error() -> None:
    ours = Runs(np.array([0.5]), np.zeros((1, 9)), RUNS[:1])
    with pytest.raises(InputError, match="one published run gives no error"):
        difference_to_published(ours, 9, Sample(0.7, None, 1), 512)
    with pytest.raises(InputError, match="one seed gives no error"):
        difference_to_published(ours, 9, Sample(0.7, 0.1, 3), 512)


def rejected(seed_std: float, num_items: int, num: int) -> tuple[float, float]:
    """Share of labs with the same recipe, each with its own rows, that differ with p < 0.05.

    Returns:
        By this test, and by Welch's over seeds alone.
    """
    rng = np.random.default_rng(0)
    found = []
    for _ in range(num):
        ours, theirs = (
            MetricRuns("auroc").of(simulate(rng, 3, num_items, 1.5, seed_std)) for _ in range(2)
        )
        samples = [
            Sample(float(lab.values.mean()), float(lab.values.std(ddof=1)), 3)
            for lab in (ours, theirs)
        ]
        with_rows = difference_to_published(ours, num_items, samples[1], num_items)
        found.append([test.p_equal() < 0.05 for test in (with_rows, welch(*samples))])
    by_rows, by_seeds = np.mean(found, axis=0)
    return float(by_rows), float(by_seeds)


def test_labs_with_the_same_recipe_seldom_differ() -> None:
    # 300 pairs: a level of 0.05 is seen as 0.082 or less in 99.5 % of cases.
    by_rows, by_seeds = rejected(0.05, 128, 300)
    assert by_rows <= upper_bound(0.05, 300) < by_seeds


@pytest.mark.chaos
@pytest.mark.parametrize("auroc_std", [0.007, 0.014, 0.029, 0.045])
def test_labs_at_length(auroc_std: float) -> None:
    shares = rejected(auroc_std / 0.161, 512, 2000)  # 0.161: slope of AUROC at this separation
    print(auroc_std, shares)
    assert shares[0] <= upper_bound(0.05, 2000)
