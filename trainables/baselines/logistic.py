"""Logistic regression on the features of rows, with a penalty that is chosen on dev folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

from xlt.data.core.seeds import derive_seed
from xlt.trainables.metrics.arrays import select_scores
from xlt.trainables.training.watchdog import heartbeat

Featurize = Callable[[pa.Table], Any]
"""Function from num_rows rows to num_rows x num_features numbers, dense or sparse."""
FitFeatures = Callable[[pa.Table], Featurize]
"""Function that fits features to training rows."""

PENALTIES = tuple(10.0**exponent for exponent in range(-4, 5))
"""Values of C (inverse strength of the L2 penalty) to choose from: the range of scikit-learn's
LogisticRegressionCV, one value for each power of ten."""
NUM_FOLDS = 4
"""Number of dev folds; fewer if a class has fewer training rows."""
DEFAULT_C = 1.0
"""C if a class has a single training row, so that nothing can be held out; scikit-learn's default.
"""
MAX_ITERATIONS = 10_000
"""Limit of L-BFGS's iterations, which real embeddings and n-grams need fewer than 100 of."""


@dataclass(frozen=True)
class Logistic:
    """Fitted logistic regression.

    Attributes:
        featurize: Function that makes the features of rows.
        classifier: Fitted ``LogisticRegression``.
        dev_losses: C -> mean log loss on the dev folds; empty if nothing could be held out.
        num_features: Number of features of a row.
    """

    featurize: Featurize
    classifier: Any
    dev_losses: dict[float, float]
    num_features: int

    def predict(self, rows: pa.Table) -> NDArray[np.float64]:
        """Predict num_rows probabilities of class 1; num_rows x num_classes for more classes."""
        return select_scores(self.classifier.predict_proba(self.featurize(rows)))


def fit_logistic(fit_features: FitFeatures, train: pa.Table, seed: int) -> Logistic:
    """Choose C on dev folds of the training rows, then fit to all training rows.

    Features are fitted to the other folds only, so that dev rows are new to them. Equal losses: the
    smaller C, which is the stronger penalty.

    Args:
        fit_features: Function that fits features to training rows.
        train: num_rows x at least (id, text, text_pair, label), with rows of every class.
        seed: Seed of the trial, which shuffles the folds.
    """
    losses = _measure_dev_losses(fit_features, train, seed)
    c = min(losses, key=lambda value: (losses[value], value)) if losses else DEFAULT_C
    featurize = fit_features(train)
    features = featurize(train)
    classifier = _fit(features, train["label"].to_numpy(), c)
    return Logistic(featurize, classifier, losses, features.shape[1])


def _measure_dev_losses(
    fit_features: FitFeatures, train: pa.Table, seed: int
) -> dict[float, float]:
    labels = train["label"].to_numpy()
    classes, counts = np.unique(labels, return_counts=True)
    num_folds = min(NUM_FOLDS, int(counts.min()))
    if num_folds < 2:
        return {}
    shuffle_seed = derive_seed(seed, "folds") % 2**32  # the largest that scikit-learn accepts
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=shuffle_seed)
    losses = dict.fromkeys(PENALTIES, 0.0)
    for fitted, held_out in folds.split(labels, labels):
        rows = train.take(fitted)
        featurize = fit_features(rows)
        features, dev_features = featurize(rows), featurize(train.take(held_out))
        for c in PENALTIES:
            probabilities = _fit(features, labels[fitted], c).predict_proba(dev_features)
            loss = log_loss(labels[held_out], probabilities, labels=classes)
            losses[c] += float(loss) / num_folds
    return losses


def _fit(features: Any, labels: NDArray[Any], c: float) -> Any:
    heartbeat()
    return LogisticRegression(C=c, max_iter=MAX_ITERATIONS).fit(features, labels)
