"""FITS: decisions fitted on a few labelled rows, by scaling of scores or by a threshold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.metrics.one_thread import one_thread
from xlt.analysis.metrics.thresholds import best_threshold, f1_of, list_cuts, logit
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.seeds import derive_seed
from xlt.trainables.metrics.arrays import THRESHOLD, Labels, Scores

NUM_DRAWS = 20
"""Number of random draws of labelled test rows, whose results are averaged."""


def fit_temperature(y_true: Labels, y_score: Scores) -> Callable[[Scores], Scores]:
    """Fit temperature scaling: divide logits by the temperature of least log loss.

    The method is that of Guo et al. 2017 (arXiv 1706.04599), section 4.2. A probability of 0.5
    stays 0.5, so it corrects confidence but cannot move the boundary.

    Args:
        y_true: (num_labelled,) 0 or 1.
        y_score: (num_labelled,) probability of class 1.

    Returns:
        Function from probabilities to scaled probabilities.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import expit

    logits = logit(y_score)
    signs = np.where(np.asarray(y_true) == 1, 1.0, -1.0)

    def loss(log_inverse: float) -> float:
        return float(np.mean(np.logaddexp(0, -signs * logits * np.exp(log_inverse))))

    # The best inverse temperature of a separable sample is infinite. The bounds, which are those of
    # sklearn.calibration, keep it finite.
    inverse = float(np.exp(minimize_scalar(loss, bounds=(-10, 10), method="bounded").x))
    return lambda scores: np.asarray(expit(logit(scores) * inverse), dtype=np.float64)


def fit_platt(y_true: Labels, y_score: Scores) -> Callable[[Scores], Scores]:
    """Fit Platt scaling: a slope and an intercept of the logits.

    The method is that of Platt 1999, "Probabilistic outputs for support vector machines", section
    2.2: logistic regression with the targets (N1 + 1) / (N1 + 2) and 1 / (N0 + 2), which stays
    finite on separable rows. The intercept moves the boundary.

    Args:
        y_true: (num_labelled,) 0 or 1.
        y_score: (num_labelled,) probability of class 1.

    Returns:
        Function from probabilities to scaled probabilities.
    """
    from sklearn.linear_model import LogisticRegression

    labels = np.asarray(y_true)
    num_positive = int(labels.sum())
    target = np.where(
        labels == 1, (num_positive + 1) / (num_positive + 2), 1 / (len(labels) - num_positive + 2)
    )
    # A target between 0 and 1 is the same as one weighted row of each class.
    features = np.tile(logit(y_score), 2)[:, None]
    classes = np.repeat([1, 0], len(labels))
    weights = np.concatenate([target, 1 - target])
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    model.fit(features, classes, sample_weight=weights)
    return lambda scores: np.asarray(
        model.predict_proba(logit(scores)[:, None])[:, 1], dtype=np.float64
    )


def _temperature(y_true: Labels, y_score: Scores, others: Scores) -> NDArray[np.bool_]:
    return fit_temperature(y_true, y_score)(others) >= THRESHOLD


def _platt(y_true: Labels, y_score: Scores, others: Scores) -> NDArray[np.bool_]:
    return fit_platt(y_true, y_score)(others) >= THRESHOLD


def _threshold(y_true: Labels, y_score: Scores, others: Scores) -> NDArray[np.bool_]:
    return others >= best_threshold(list_cuts(y_true, y_score))


FITS: dict[str, Callable[[Labels, Scores, Scores], NDArray[np.bool_]]] = {
    "temperature": _temperature,
    "platt": _platt,
    "threshold": _threshold,
}
"""Name -> function of y_true and y_score of labelled rows and y_score of other rows; it returns
which of the other rows are decided positive."""


@one_thread
def f1_with_labelled_rows(
    y_true: Labels, y_score: Scores, fit: str, num_labelled: int, num_draws: int = NUM_DRAWS
) -> float:
    """Fit a decision on a few test rows and compute F1 on the others.

    The labelled rows are test rows because result folders hold no scores of other rows. They are
    drawn with the class proportions of all rows (stratified Monte Carlo cross-validation,
    ``sklearn.model_selection.StratifiedShuffleSplit``). Cells with the same test rows and labels
    get the same draws.

    Args:
        y_true: (num_rows,) 0 or 1.
        y_score: (num_rows,) probability of class 1.
        fit: Name in :data:`FITS`.
        num_labelled: Number of rows that the decision is fitted on.
        num_draws: Number of draws, over which F1 is averaged.

    Raises:
        InputError: The fit is unknown, or a class would have no labelled or no other rows.
    """
    from sklearn.model_selection import StratifiedShuffleSplit

    if fit not in FITS:
        raise InputError(unknown("fit", fit, FITS))
    num_rows, rarest = len(y_true), int(min(np.sum(y_true), len(y_true) - np.sum(y_true)))
    share = rarest / num_rows
    if min(num_labelled, num_rows - num_labelled) * share < 1:
        raise InputError(
            f"{num_labelled} labelled rows of {num_rows} test rows, {rarest} of them of the rarer "
            "class, leave a class without rows to fit on or to score; choose another number"
        )
    draws = StratifiedShuffleSplit(
        num_draws,
        train_size=num_labelled,
        test_size=num_rows - num_labelled,
        random_state=derive_seed(0, "labelled test rows", num_labelled) % 2**32,
    )
    values = []
    for labelled, rest in draws.split(np.zeros(num_rows), y_true):
        positive = FITS[fit](y_true[labelled], y_score[labelled], y_score[rest])
        values.append(f1_of(y_true[rest], positive))
    return float(np.mean(values))
