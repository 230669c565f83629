"""Where to cut a score: thresholds from unlabelled rows, from labelled rows, from the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.seeds import derive_seed
from xlt.trainables.metrics.arrays import THRESHOLD, Labels, Scores, Values, f1_from_counts

NUM_DRAWS = 20
"""How often labelled test rows are drawn anew; the spread between draws averages out."""


@dataclass(frozen=True)
class Cuts:
    """What every threshold counts as positive, from the highest one down, of one run or of many.

    Attributes:
        thresholds: (..., num_rows) scores in descending order.
        counted: (num_rows,) rows down to here: 1, 2, ...
        hits: (..., num_rows) those of class 1 among them.
        ends: (..., num_rows) whether the rows may be cut here: at the last of equal scores.
    """

    thresholds: Scores
    counted: NDArray[np.intp]
    hits: NDArray[np.intp]
    ends: NDArray[np.bool_]

    def last(self, counts: NDArray[np.intp]) -> NDArray[np.intp]:
        """(..., num_rows) counts, which never fall, at the last place before each to cut."""
        before = np.zeros_like(self.hits)
        before[..., 1:] = np.where(self.ends, counts, 0)[..., :-1]
        return np.maximum.accumulate(before, axis=-1)


def every_cut(y_true: Labels, y_score: Scores) -> Cuts:
    """The cuts of test rows; y_true is (num_rows,) 0 or 1, y_score (..., num_rows) of any range."""
    order = np.argsort(-y_score, axis=-1)  # in which order equal scores come changes no cut
    descending = np.take_along_axis(y_score, order, axis=-1)
    ends = np.ones(descending.shape, np.bool_)
    ends[..., :-1] = descending[..., :-1] != descending[..., 1:]
    hits = np.cumsum(y_true[order] == 1, axis=-1)
    return Cuts(descending, np.arange(1, len(y_true) + 1), hits, ends)


def f1_at(y_true: Labels, y_score: Scores, threshold: float | Scores) -> Values:
    """F1 of class 1 with rows at or above the threshold counted as positive, 0 without any.

    As ``sklearn.metrics.f1_score``, whose checks take a thousand times longer than the counts:
    they would be most of the time that ten thousand trials take.

    Args:
        y_true: (num_rows,) 0 or 1.
        y_score: (..., num_rows) of any range.
        threshold: One, or (...,) one for each.

    Returns:
        (...,) fractions of 1.
    """
    decided, positive = y_score >= np.asarray(threshold)[..., None], y_true == 1
    hits = np.count_nonzero(decided & positive, axis=-1)
    counts = hits, np.count_nonzero(decided, axis=-1), np.count_nonzero(positive)
    return f1_from_counts(*(np.asarray(count, np.float64) for count in counts))


def all_positive_f1(prior: float) -> float:
    """F1 of calling every row positive, which needs no ranking: 2p / (1 + p)."""
    return 2 * prior / (1 + prior)


def prior_threshold(y_score: Scores, prior: float = 0.5) -> Values:
    """The threshold at which a share ``prior`` of the rows counts as positive; needs no labels.

    It is the quantile of the scores at 1 - prior, for balanced classes their median; as in
    quantification, where classifying is cut off at a known class share (Forman 2008, Data Mining
    and Knowledge Discovery 17, section 3). Of equal scores at the threshold all are positive.

    Args:
        y_score: (..., num_rows) of any range.
        prior: The share of class 1, known from elsewhere.

    Returns:
        (...,) one for each.

    Raises:
        InputError: ``prior`` is not between 0 and 1.
    """
    if not 0 < prior < 1:
        raise InputError(f"prior {prior} is not a share between 0 and 1, e.g. 0.5 if balanced")
    return np.asarray(np.quantile(y_score, 1 - prior, axis=-1))


def average_precision(cuts: Cuts) -> Values:
    """(...,) sums over cuts of the gain in recall times the precision there.

    As ``sklearn.metrics.average_precision_score``; at least one row is of class 1.
    """
    gains = np.where(cuts.ends, cuts.hits - cuts.last(cuts.hits), 0)
    return np.asarray((gains * (cuts.hits / cuts.counted)).sum(axis=-1) / cuts.hits[..., -1])


def best_threshold(cuts: Cuts) -> Values:
    """The threshold with the largest F1 on these labelled rows, the lowest of equally good ones.

    Between two scores it lies in the middle, so that it serves other rows, too. On the rows that
    are scored it is an oracle: no rule that cuts this ranking at one place has a larger F1. At
    least one row is of class 1.

    Returns:
        (...,) one for each run.
    """
    hits = cuts.hits.astype(np.float64)
    f1 = np.where(cuts.ends, f1_from_counts(hits, cuts.counted, hits[..., -1:]), -1.0)
    lowest = len(cuts.counted) - 1
    best = lowest - np.argmax(f1[..., ::-1], axis=-1)[..., None]
    here = np.take_along_axis(cuts.thresholds, best, axis=-1)
    below = np.take_along_axis(cuts.thresholds, np.minimum(best + 1, lowest), axis=-1)
    middle = (below + here) / 2
    return np.asarray(np.where(middle > below, middle, here)[..., 0])


# --- few labelled rows ----------------------------------------------------------------------


def temperature_scaled(y_true: Labels, y_score: Scores) -> Callable[[Scores], Scores]:
    """Scores with their logits divided by a temperature of least log loss on labelled rows.

    Guo et al. 2017 (arXiv 1706.04599), section 4.2. It keeps 0.5 at 0.5: it mends confidence and
    cannot move the boundary.

    Args:
        y_true: (num_labelled,) 0 or 1.
        y_score: (num_labelled,) probability of class 1.

    Returns:
        A function of probabilities.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import expit

    logits = logit(y_score)
    signs = np.where(np.asarray(y_true) == 1, 1.0, -1.0)

    def loss(log_inverse: float) -> float:
        return float(np.mean(np.logaddexp(0, -signs * logits * np.exp(log_inverse))))

    # A separable sample wants an infinite inverse temperature: the bounds keep it finite, and are
    # those of sklearn.calibration.
    inverse = float(np.exp(minimize_scalar(loss, bounds=(-10, 10), method="bounded").x))
    return lambda scores: np.asarray(expit(logit(scores) * inverse), dtype=np.float64)


def platt_scaled(y_true: Labels, y_score: Scores) -> Callable[[Scores], Scores]:
    """Scores with slope and intercept of their logits fitted on labelled rows.

    Platt 1999, "Probabilistic outputs for support vector machines", section 2.2: logistic
    regression on targets (N1 + 1) / (N1 + 2) and 1 / (N0 + 2), which stays finite on separable
    rows. The intercept moves the boundary.

    Args:
        y_true: (num_labelled,) 0 or 1.
        y_score: (num_labelled,) probability of class 1.

    Returns:
        A function of probabilities.
    """
    from sklearn.linear_model import LogisticRegression

    labels = np.asarray(y_true)
    num_positive = int(labels.sum())
    target = np.where(
        labels == 1, (num_positive + 1) / (num_positive + 2), 1 / (len(labels) - num_positive + 2)
    )
    # A target between 0 and 1 is a row of each class, weighted.
    features = np.tile(logit(y_score), 2)[:, None]
    classes = np.repeat([1, 0], len(labels))
    weights = np.concatenate([target, 1 - target])
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    model.fit(features, classes, sample_weight=weights)
    return lambda scores: np.asarray(
        model.predict_proba(logit(scores)[:, None])[:, 1], dtype=np.float64
    )


def _temperature(y_true: Labels, y_score: Scores, others: Scores) -> NDArray[np.bool_]:
    return temperature_scaled(y_true, y_score)(others) >= THRESHOLD


def _platt(y_true: Labels, y_score: Scores, others: Scores) -> NDArray[np.bool_]:
    return platt_scaled(y_true, y_score)(others) >= THRESHOLD


def _threshold(y_true: Labels, y_score: Scores, others: Scores) -> NDArray[np.bool_]:
    return others >= best_threshold(every_cut(y_true, y_score))


FITS: dict[str, Callable[[Labels, Scores, Scores], NDArray[np.bool_]]] = {
    "temperature": _temperature,
    "platt": _platt,
    "threshold": _threshold,
}
"""Name -> function of labelled rows' y_true and y_score and the other rows' y_score; which of the
others are positive."""


def f1_with_labelled_rows(
    y_true: Labels, y_score: Scores, fit: str, num_labelled: int, num_draws: int = NUM_DRAWS
) -> float:
    """F1 on test rows after a decision was fitted on a few of them, the rest scored.

    The labelled rows are test rows, because result folders hold no scores of others; they are
    drawn with the classes in the proportion of all rows (Stratified Monte-Carlo cross-validation,
    ``sklearn.model_selection.StratifiedShuffleSplit``), the same ones for all cells with the same
    test rows and labels.

    Args:
        y_true: (num_rows,) 0 or 1.
        y_score: (num_rows,) probability of class 1.
        fit: Name in :data:`FITS`.
        num_labelled: Rows that the decision is fitted on.
        num_draws: How many times; the mean is returned.

    Raises:
        InputError: No such fit, or so many labelled rows leave a class without rows on one side.
    """
    from sklearn.model_selection import StratifiedShuffleSplit
    from threadpoolctl import threadpool_limits

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
    found = []
    with threadpool_limits(1):  # threads that wait for each other cost more than these tiny fits
        for labelled, rest in draws.split(np.zeros(num_rows), y_true):
            positive = FITS[fit](y_true[labelled], y_score[labelled], y_score[rest])
            found.append(f1_at(y_true[rest], positive.astype(np.float64), THRESHOLD))
    return float(np.mean(found))


def logit(y_score: Scores) -> Scores:
    """Log odds, finite also for probabilities that were rounded to 0 or 1."""
    tiny = np.finfo(np.float64).eps
    clipped = np.clip(y_score, tiny, 1 - tiny)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), dtype=np.float64)
