"""Weights that correct the decisions between classes: by shares of the classes, or by labels.

The class of the largest weighted probability is decided. With more than two classes weights take
the place of a threshold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.metrics.thresholds import NUM_FOLDS, Stories, assign_folds
from xlt.trainables.metrics.arrays import Labels, Scores, Values, f1_from_counts, sum_up_to

MAX_ROUNDS, TOLERANCE = 1000, 1e-9
"""Limits of the estimation of shares: number of rounds, and change of a share that ends it."""
MAX_PASSES = 5
"""Number of times that the search of weights goes through all classes."""
SMALLEST_GAP = 1e-9
"""Difference of log probabilities below which rows are called together, as rounding decides."""
TINY = np.finfo(np.float64).tiny


def weigh_classes(y_score: Scores, weights: Values) -> Scores:
    """Multiply the probabilities of each class by its weight; rows sum to 1 again.

    Weights that are new shares over old ones turn the posterior probabilities of the old shares of
    classes into those of the new (Elkan 2001, IJCAI, theorem 2, for several classes).

    Args:
        y_score: (..., num_rows, num_classes) probabilities.
        weights: num_classes weights.
    """
    weighed = y_score * weights
    return np.asarray(weighed / np.maximum(weighed.sum(axis=-1, keepdims=True), TINY))


def estimate_shares(y_score: Scores, train_shares: Values) -> Values:
    """Estimate the shares of the classes among rows without labels.

    Expectation maximisation of the likelihood of the shares, if the texts of each class are like
    those of training and only the shares differ (Saerens, Latinne & Decaestecker 2002, Neural
    Computation 14:21, section 2.2, doi 10.1162/089976602753284446).

    Args:
        y_score: num_rows x num_classes posterior probabilities at the shares of training.
        train_shares: num_classes shares of the classes in training, all above 0.

    Returns:
        num_classes shares.
    """
    shares = train_shares
    for _ in range(MAX_ROUNDS):
        new = weigh_classes(y_score, shares / train_shares).mean(axis=0)
        if np.abs(new - shares).max() < TOLERANCE:
            return np.asarray(new)
        shares = new
    return shares


def decide_at_best_weights(
    y_true: Labels, y_score: Scores, stories: Stories = None
) -> NDArray[np.intp]:
    """Decide each row at the best weights for the rows of other folds.

    Args:
        y_true: num_rows class numbers.
        y_score: num_runs x num_rows x num_classes probabilities.
        stories: num_rows numbers of stories; None: each row is a story.

    Returns:
        num_runs x num_rows class numbers.
    """
    fold = assign_folds(y_true, stories, NUM_FOLDS)
    logits = np.log(np.maximum(y_score, TINY))
    decided = np.zeros(y_score.shape[:2], np.intp)
    for run, of_run in enumerate(logits):
        for number in range(NUM_FOLDS):
            others, held_out = fold != number, fold == number
            best = best_log_weights(y_true[others], of_run[others])
            decided[run, held_out] = (of_run[held_out] + best).argmax(axis=1)
    return decided


def best_log_weights(y_true: Labels, logits: Values) -> Values:
    """Log weights with a large macro F1, found class by class.

    The search begins without weights, changes the weight of one class at a time to the best of all,
    and ends where no such change is better. The result may not be the best of all weights.

    Args:
        y_true: num_rows class numbers.
        logits: num_rows x num_classes log probabilities.

    Returns:
        num_classes numbers to be added to the logits.
    """
    added = np.zeros(logits.shape[1])
    for _ in range(MAX_PASSES):
        before = added.copy()
        for label in range(len(added)):
            added[label] += best_log_weight(y_true, logits + added, label)
        if (added == before).all():
            break
    return added


def best_log_weight(y_true: Labels, logits: Values, label: int) -> float:
    """Log weight of one class with the largest macro F1; of equal ones the smallest change.

    A row is called the class if the weight exceeds the distance to its best other class, so all
    decisions are made once, in the order of these distances.

    Args:
        y_true: num_rows class numbers.
        logits: num_rows x num_classes log probabilities.
        label: Class whose weight changes.

    Returns:
        Number to be added to the logits of the class; 0 if no change is better.
    """
    num_rows, num_classes = logits.shape
    others = np.where(np.arange(num_classes) == label, -np.inf, logits)
    distance = others.max(axis=1) - logits[:, label]
    order = np.argsort(distance, kind="stable")
    ascending, classes = distance[order], y_true[order]
    called = np.eye(num_classes)[others.argmax(axis=1)[order]]
    right = called * (np.arange(num_classes) == classes[:, None])
    decided, hits = (own.sum(axis=0) - sum_up_to(own) for own in (called, right))
    decided[:, label] = np.arange(num_rows + 1)
    hits[:, label] = sum_up_to((classes == label).astype(np.float64)[:, None])[:, 0]
    macro = f1_from_counts(hits, decided, np.bincount(y_true, minlength=num_classes)).mean(axis=1)
    inner = (ascending[1:] + ascending[:-1]) / 2
    weights = np.concatenate([[ascending[0] - 1], inner, [ascending[-1] + 1]])
    possible = np.concatenate([[True], np.diff(ascending) > SMALLEST_GAP, [True]])
    unchanged = macro[np.searchsorted(ascending, 0.0, side="left")]
    macro = np.where(possible, macro.round(12), -1.0)
    best = np.flatnonzero(macro == macro.max())
    nearest = best[np.abs(weights[best]).argmin()]
    return float(weights[nearest]) if macro[nearest] > unchanged.round(12) else 0.0
