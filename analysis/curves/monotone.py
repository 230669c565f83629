"""Curves that never fall, and how many rows they need for a score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.uncertainty.intervals import CONFIDENCE

Array = NDArray[np.float64]


def fit_monotone(means: Array, weights: Array) -> Array:
    """The nearest curves that never fall: isotonic regression by least squares.

    More rows of the same kind are taken to do no harm in the mean, so that a fall between two
    measured points is chance (Barlow, Bartholomew, Bremner & Brunk 1972, Statistical Inference
    under Order Restrictions, chapter 1). By scipy, whose result is scikit-learn's and which is ten
    times faster on short curves: resampling fits ten thousands.

    Args:
        means: num_curves x num_points, by ascending rows.
        weights: num_points, > 0.
    """
    from scipy.optimize import isotonic_regression

    return np.array([isotonic_regression(curve, weights=weights).x for curve in means])


def rows_to_reach(values: Array, own_rows: float, num_rows: Array, fitted: Array) -> Array:
    """Target rows at which curves that never fall reach a value.

    Linear in log2(rows + 1) between measured points, since scores grow about as much with each
    doubling of the rows; + 1 gives no rows a place. Nothing is extrapolated. A level stretch
    reaches its value anywhere: of its rows those nearest to ``own_rows`` are taken, so that it
    is never counted as a gain or a loss.

    Args:
        values: num_curves, to be reached.
        own_rows: Rows with which the values were scored.
        num_rows: num_points measured numbers of rows, ascending.
        fitted: num_curves x num_points, see :func:`fit_monotone`.

    Returns:
        num_curves rows; ``-inf`` where already the first point lies above the value, ``inf`` where
        the last one lies below it.
    """
    num_points = len(num_rows)
    below = (fitted < values[:, None]).sum(axis=1)
    up_to = (fitted <= values[:, None]).sum(axis=1)
    right = np.clip(below, 1, max(num_points - 1, 1)) % num_points
    left = np.maximum(right - 1, 0)
    curve = np.arange(len(values))
    low, high = fitted[curve, left], fitted[curve, right]
    # Clipped, since values outside of the curve are set apart below.
    share = np.clip((values - low) / np.where(high > low, high - low, 1.0), 0, 1)
    place = np.log2(num_rows + 1)
    between = place[left] + share * (place[right] - place[left])
    first, last = num_rows[below % num_points], num_rows[np.maximum(up_to - 1, 0)]
    inside = np.where(below < up_to, np.clip(own_rows, first, last), np.exp2(between) - 1)
    return np.select([below == num_points, up_to == 0], [np.inf, -np.inf], inside)


def percentiles(rows: Array) -> tuple[float, float]:
    """The middle 95 % of resampled rows (Davison & Hinkley 1997, section 5.3).

    Observed values, since nothing lies between a number and "more than was measured".
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(rows, (tail, 1 - tail), method="inverted_cdf")
    return float(low), float(high)
