"""Decision thresholds chosen from unlabelled rows or from labels, and the F1 of decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.data.core.errors import InputError
from xlt.trainables.metrics.arrays import Labels, Scores, Values, f1_from_counts

Stories = NDArray[np.intp] | None
"""Numbers of the stories that rows belong to; None: each row is a story."""
NUM_FOLDS = 5
"""Number of folds of labelled test rows; a threshold is chosen on all but one of them."""


@dataclass(frozen=True)
class Cuts:
    """Decisions at every threshold, from the highest one down, of one run or of many.

    Attributes:
        thresholds: (..., num_rows) scores in descending order.
        counted: (num_rows,) rows at or above each threshold: 1, 2, ...
        hits: (..., num_rows) rows of class 1 among them.
        ends: (..., num_rows) whether a threshold is possible here: at the last of equal scores.
    """

    thresholds: Scores
    counted: NDArray[np.intp]
    hits: NDArray[np.intp]
    ends: NDArray[np.bool_]

    def last(self, counts: NDArray[np.intp]) -> NDArray[np.intp]:
        """(..., num_rows) values that ascending counts have at the previous possible threshold."""
        before = np.zeros_like(self.hits)
        before[..., 1:] = np.where(self.ends, counts, 0)[..., :-1]
        return np.maximum.accumulate(before, axis=-1)


def list_cuts(y_true: Labels, y_score: Scores) -> Cuts:
    """Decide at every threshold; y_true is (num_rows,) 0 or 1, y_score (..., num_rows) scores."""
    order = np.argsort(-y_score, axis=-1)  # the order of equal scores changes no cut
    descending = np.take_along_axis(y_score, order, axis=-1)
    ends = np.ones(descending.shape, np.bool_)
    ends[..., :-1] = descending[..., :-1] != descending[..., 1:]
    hits = np.cumsum(y_true[order] == 1, axis=-1)
    return Cuts(descending, np.arange(1, len(y_true) + 1), hits, ends)


def weigh_negatives(y_true: Labels, prevalence: float | None) -> float:
    """Weight of a row of class 0, if one of class 1 has weight 1, at a share of class 1.

    Args:
        y_true: (num_rows,) 0 or 1, both of them.
        prevalence: Share of class 1; None: that of the rows, with weight 1.
    """
    if prevalence is None:
        return 1.0
    num_positive = np.count_nonzero(y_true == 1)
    return (1 - prevalence) / prevalence * num_positive / (len(y_true) - num_positive)


def f1_at(
    y_true: Labels,
    y_score: Scores,
    threshold: float | Scores,
    prevalence: float | None = None,
) -> Values:
    """F1 of class 1 if rows at or above the threshold are decided positive.

    Args:
        y_true: (num_rows,) 0 or 1.
        y_score: (..., num_rows) scores of any range.
        threshold: A number, or (...,) one for each run.
        prevalence: Share of class 1; None: that of the rows.

    Returns:
        (...,) fractions of 1.
    """
    decided = y_score >= np.asarray(threshold)[..., None]
    return f1_of(y_true, decided, prevalence=prevalence)


def f1_of(
    y_true: Labels,
    decided: NDArray[np.bool_],
    label: int = 1,
    prevalence: float | None = None,
) -> Values:
    """F1 of a class from decisions; 0 if no row is of this class or decided to be.

    The value equals that of ``sklearn.metrics.f1_score``, whose checks of the input take a
    thousand times longer than counting: they would dominate the analysis of 10,000 trials.

    Args:
        y_true: (num_rows,) 0 or 1.
        decided: (..., num_rows) whether a row is decided positive.
        label: The class, 0 or 1.
        prevalence: Share of class 1; None: that of the rows.

    Returns:
        (...,) fractions of 1.
    """
    own, called = y_true == label, decided == bool(label)
    negative = weigh_negatives(y_true, prevalence)
    weights = (1.0, negative) if label else (negative, 1.0)
    hits = weights[0] * np.count_nonzero(called & own, axis=-1)
    others = weights[1] * np.count_nonzero(called & ~own, axis=-1)
    counts = hits, hits + others, weights[0] * np.count_nonzero(own)
    return f1_from_counts(*(np.asarray(count, np.float64) for count in counts))


def macro_f1_of(
    y_true: Labels, decided: NDArray[np.bool_], prevalence: float | None = None
) -> Values:
    """(...,) mean F1 of both classes from (..., num_rows) decisions."""
    both = (f1_of(y_true, decided, label, prevalence) for label in (1, 0))
    return next(both) / 2 + next(both) / 2


def all_positive_f1(prior: float) -> float:
    """F1 if every row is decided positive, which needs no ranking: 2p / (1 + p)."""
    return 2 * prior / (1 + prior)


def prior_threshold(y_score: Scores, prior: float = 0.5) -> Values:
    """Choose the threshold at which a share ``prior`` of the rows is positive, without labels.

    It is the quantile of the scores at 1 - prior; for balanced classes, the median. Quantification
    uses the same rule for a known share of a class (Forman 2008, Data Mining and Knowledge
    Discovery 17, section 3). Rows whose scores equal the threshold are all positive.

    Args:
        y_score: (..., num_rows) scores of any range.
        prior: Share of class 1, known from another source.

    Returns:
        (...,) one threshold for each run.

    Raises:
        InputError: ``prior`` is not between 0 and 1.
    """
    if not 0 < prior < 1:
        raise InputError(f"prior {prior} is not a share between 0 and 1, e.g. 0.5 if balanced")
    return np.asarray(np.quantile(y_score, 1 - prior, axis=-1))


def average_precision(cuts: Cuts, negative: float = 1.0) -> Values:
    """(...,) average precision: the sum over cuts of the gain in recall times the precision.

    It equals ``sklearn.metrics.average_precision_score``; at least one row must be of class 1.
    ``negative`` is the weight of a row of class 0.
    """
    gains = np.where(cuts.ends, cuts.hits - cuts.last(cuts.hits), 0)
    decided = cuts.hits + negative * (cuts.counted - cuts.hits)
    return np.asarray((gains * (cuts.hits / decided)).sum(axis=-1) / cuts.hits[..., -1])


def best_threshold(cuts: Cuts, negative: float = 1.0) -> Values:
    """Choose the threshold with the largest macro F1 on these labelled rows; the lowest of equals.

    Macro F1 is the mean of the F1 of both classes. The F1 of class 1 alone would prefer a low
    threshold wherever rows are ranked badly, because calling every row positive has F1 2p / (1 +
    p): at AUROC 0.75 it gains 0.03 with balanced classes, though the threshold is right.

    The threshold is the middle between two scores, so that it is useful for other rows, too.

    Args:
        cuts: Decisions at every threshold.
        negative: Weight of a row of class 0, see :func:`weigh_negatives`.

    Returns:
        (...,) one threshold for each run.
    """
    hits, num_rows = cuts.hits.astype(np.float64), len(cuts.counted)
    positive, false = hits[..., -1:], negative * (cuts.counted - hits)
    right_below = negative * (num_rows - positive) - false
    f1 = f1_from_counts(hits, hits + false, positive)
    left = right_below + positive - hits
    f1 = f1 + f1_from_counts(right_below, left, negative * (num_rows - positive))
    f1 = np.where(cuts.ends, f1, -1.0)
    lowest = num_rows - 1
    best = lowest - np.argmax(f1[..., ::-1], axis=-1)[..., None]
    here = np.take_along_axis(cuts.thresholds, best, axis=-1)
    below = np.take_along_axis(cuts.thresholds, np.minimum(best + 1, lowest), axis=-1)
    middle = (below + here) / 2
    return np.asarray(np.where(middle > below, middle, here)[..., 0])


def assign_folds(y_true: Labels, stories: Stories, num_folds: int) -> NDArray[np.intp]:
    """Assign rows to folds: stratified cross-validation without a random draw.

    The rows of each class take turns among the folds. Rows of one story are in one fold, because a
    row's story would otherwise have a say in its decision.

    Args:
        y_true: (num_rows,) class numbers.
        stories: (num_rows,) numbers of stories; None: each row is a story.
        num_folds: Number of folds, 2 or more.

    Returns:
        (num_rows,) numbers of folds.
    """
    rows = np.arange(len(y_true)) if stories is None else stories
    _, first, story = np.unique(rows, return_index=True, return_inverse=True)
    fold_of_story = np.empty(len(first), np.intp)
    for label in np.unique(y_true[first]):
        own = np.flatnonzero(y_true[first] == label)
        fold_of_story[own] = (np.arange(len(own)) + int(label) * (num_folds // 2)) % num_folds
    folds: NDArray[np.intp] = fold_of_story[story]
    return folds


def decide_out_of_fold(
    y_true: Labels,
    y_score: Scores,
    choose: Callable[[Labels, Scores], Values],
    stories: Stories = None,
    num_folds: int = NUM_FOLDS,
) -> NDArray[np.bool_]:
    """Decide each row at a threshold that was chosen on the rows of the other folds.

    So no row has a say in its own decision, and the scores of these decisions are not too good, as
    those at a threshold chosen on the same rows are.

    Args:
        y_true: (num_rows,) 0 or 1, both of them.
        y_score: (..., num_rows) scores of any range.
        choose: Function of labels and scores of some rows; it returns (...,) thresholds.
        stories: (num_rows,) numbers of stories; None: each row is a story.
        num_folds: Number of folds, 2 or more.

    Returns:
        (..., num_rows) whether a row is decided positive.
    """
    fold = assign_folds(y_true, stories, num_folds)
    decided = np.zeros(y_score.shape, np.bool_)
    for number in range(num_folds):
        held_out, others = fold == number, fold != number
        threshold = choose(y_true[others], y_score[..., others])
        decided[..., held_out] = y_score[..., held_out] >= threshold[..., None]
    return decided


def decide_at_best_threshold(
    y_true: Labels, y_score: Scores, prevalence: float | None = None, stories: Stories = None
) -> NDArray[np.bool_]:
    """Decide each row at the best threshold for the rows of other folds.

    See :func:`best_threshold` and :func:`decide_out_of_fold`.

    Args:
        y_true: (num_rows,) 0 or 1, both of them.
        y_score: (..., num_rows) scores of any range.
        prevalence: Share of class 1; None: that of the rows.
        stories: (num_rows,) numbers of stories; None: each row is a story.

    Returns:
        (..., num_rows) whether a row is decided positive.
    """

    def choose(y_true: Labels, y_score: Scores) -> Values:
        return best_threshold(list_cuts(y_true, y_score), weigh_negatives(y_true, prevalence))

    return decide_out_of_fold(y_true, y_score, choose, stories)


def logit(y_score: Scores) -> Scores:
    """Log odds; finite even for probabilities that were rounded to 0 or 1."""
    tiny = np.finfo(np.float64).eps
    clipped = np.clip(y_score, tiny, 1 - tiny)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), dtype=np.float64)
