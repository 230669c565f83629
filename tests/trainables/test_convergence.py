"""Numbers that show whether a trial trained, against scikit-learn, scipy and enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import entropy
from sklearn.metrics import roc_auc_score

from xlt.trainables.training.convergence import measure_convergence

HISTORY = pa.table(
    {
        "epoch": [0.5, 1.0, 1.5, 2.0, 2.5, 3.0],
        "loss": [0.8, 0.6, 0.5, 0.5, 0.1, 0.3],
        "grad_norm": [4.0, 2.0, 1.0, 1.0, 0.5, 0.1],
    }
)


def test_the_first_and_the_last_epoch_count() -> None:
    labels = np.array([0, 0, 0, 1])
    y_score = np.array([0.1, 0.4, 0.35, 0.8])
    measured = measure_convergence(HISTORY, labels, y_score)
    assert measured["first_loss"] == pytest.approx(0.7)
    assert measured["final_loss"] == pytest.approx(0.2)
    assert (measured["first_grad_norm"], measured["final_grad_norm"]) == pytest.approx((3.0, 0.3))
    assert measured["label_entropy"] == pytest.approx(entropy([0.75, 0.25]))
    assert measured["train_auroc"] == roc_auc_score(labels, y_score)
    assert measured["score_std"] == pytest.approx(np.std(y_score))
    values = list(itertools.permutations(labels))
    exact = np.std([roc_auc_score(permuted, y_score) for permuted in values])
    assert measured["auroc_noise"] == pytest.approx(exact)


def test_more_than_two_classes_and_one() -> None:
    y_score = np.array([[0.8, 0.1, 0.1], [0.3, 0.4, 0.3], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    labels = np.array([0, 1, 1, 2])
    measured = measure_convergence(HISTORY, labels, y_score)
    assert measured["train_auroc"] == roc_auc_score(labels, y_score, multi_class="ovr")
    assert measured["score_std"] == pytest.approx(np.std(y_score[:, 0]))
    single_class = measure_convergence(HISTORY, np.ones(4, np.int8), y_score[:, 0])
    assert math.isnan(single_class["train_auroc"]) and single_class["label_entropy"] == 0
