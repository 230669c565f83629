"""Metrics of more than two classes: scikit-learn's values under weights, by class and macro."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn import metrics as sk

from xlt.analysis.uncertainty.resampling import item_weights
from xlt.trainables.metrics.auroc import auroc_exchange_effects, weighted_auroc
from xlt.trainables.metrics.one_vs_rest import mean_exchange_effects, split_classes
from xlt.trainables.metrics.registry import METRICS, metrics_of, resampled_metrics, undefined
from xlt.trainables.metrics.weighted import count_decisions, f1, macro_f1, precision, recall

METRICS_OF_CLASSES = resampled_metrics(3)


def probabilities(rng: np.random.Generator, *shape: int, digits: int | None = None) -> np.ndarray:
    """Rows of probabilities; with few digits many are equal, so that there are ties."""
    logits = rng.standard_normal(shape) if digits is None else rng.integers(0, 3, shape) * 1.0
    return np.asarray(special.softmax(logits, axis=-1))


def with_scikit_learn(
    metric: str, y_true: np.ndarray, y_score: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """A metric by scikit-learn alone."""
    num_classes, decided = y_score.shape[1], y_score.argmax(axis=1)
    if metric == "accuracy":
        return float(sk.accuracy_score(y_true, decided, sample_weight=weights))
    if metric == "macro_f1":
        return float(
            sk.f1_score(
                y_true, decided, labels=range(num_classes), average="macro",
                sample_weight=weights, zero_division=0.0,
            )
        )  # fmt: skip
    return float(
        sk.roc_auc_score(
            y_true, y_score, labels=range(num_classes), multi_class="ovr", average="macro",
            sample_weight=weights,
        )
    )  # fmt: skip


def test_every_metric_of_classes_can_be_resampled() -> None:
    assert list(METRICS_OF_CLASSES) == [metric.name for metric in metrics_of(3)]


@pytest.mark.parametrize("metric", METRICS_OF_CLASSES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_equal_to_scikit_learn_on_the_same_resamples(metric: str, data: st.DataObject) -> None:
    num_classes = data.draw(st.integers(3, 7))
    rest = data.draw(st.lists(st.integers(0, num_classes - 1), max_size=30))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    y_true = rng.permutation([*range(num_classes), *rest]).astype(np.int8)
    digits = data.draw(st.sampled_from([None, 0]))
    scores = probabilities(rng, 2, len(y_true), num_classes, digits=digits)
    weights = item_weights(y_true, 5, data.draw(st.integers(0, 99)))
    found = METRICS_OF_CLASSES[metric].weighted(y_true, scores, weights)
    expected = [[with_scikit_learn(metric, y_true, s, w) for w in weights.T] for s in scores]
    assert found == pytest.approx(np.array(expected), abs=1e-12)
    once = np.ones((len(y_true), 1))
    of_trials = [METRICS[metric].compute(y_true, run) for run in scores]
    assert METRICS_OF_CLASSES[metric].weighted(y_true, scores, once)[:, 0] == pytest.approx(
        of_trials, abs=1e-12
    )


def test_each_class_has_the_values_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y_true = rng.integers(7, size=300).astype(np.int8)
    scores = probabilities(rng, 1, 300, 7)
    weights = rng.integers(0, 4, (300, 1)).astype(np.float64)
    counts = count_decisions(y_true, scores, weights)
    given = {"sample_weight": weights[:, 0], "average": None}
    decided = scores[0].argmax(axis=1)
    for own, theirs in (
        (f1, sk.f1_score), (precision, sk.precision_score), (recall, sk.recall_score),
    ):  # fmt: skip
        assert own(counts)[:, 0, 0] == pytest.approx(theirs(y_true, decided, **given))
    matrix = sk.confusion_matrix(y_true, decided, sample_weight=weights[:, 0])
    assert counts.hits[:, 0, 0].tolist() == matrix.diagonal().tolist()
    assert counts.decided[:, 0, 0].tolist() == matrix.sum(axis=0).tolist()
    assert counts.positives[:, 0, 0].tolist() == matrix.sum(axis=1).tolist()
    aurocs = [weighted_auroc(*own, weights)[0, 0] for own in split_classes(y_true, scores)]
    expected = sk.roc_auc_score(y_true, scores[0], multi_class="ovr", **given)
    assert aurocs == pytest.approx(expected)


def test_a_class_without_weight_counts_zero_in_macro_f1() -> None:
    y_true = np.array([0, 0, 1, 1, 2, 2], np.int8)
    scores = np.eye(3)[[0, 0, 1, 0, 1, 1]][None]
    weights = np.array([[1, 1, 1, 1, 0, 0]], np.float64).T  # no row of class 2, none decided so
    decided = scores[0].argmax(axis=1)
    expected = sk.f1_score(
        y_true[:4], decided[:4], labels=[0, 1, 2], average="macro", zero_division=0.0
    )
    assert macro_f1(count_decisions(y_true, scores, weights)) == pytest.approx(expected)


def test_the_first_of_equal_probabilities_is_decided() -> None:
    counts = count_decisions(
        np.array([0, 1, 2], np.int8), np.full((1, 3, 3), 1 / 3), np.ones((3, 1))
    )
    assert counts.decided[:, 0, 0].tolist() == [3, 0, 0]


@pytest.mark.parametrize("metric", METRICS_OF_CLASSES)
def test_influences_are_values_without_single_rows(metric: str) -> None:
    """The other rows of a class take over the weight of a row that is left out."""
    rng = np.random.default_rng(2)
    y_true = np.array([0] * 5 + [1] * 7 + [2] * 4 + [3], np.int8)
    scores = probabilities(rng, 2, 17, 4)
    found = METRICS_OF_CLASSES[metric].influences(y_true, scores)
    assert found.shape == (2, 17)
    for run in range(2):
        for label in range(3):
            rows = np.flatnonzero(y_true == label)
            without = []
            for row in rows:
                weights = np.where(y_true == label, len(rows) / (len(rows) - 1), 1.0)
                weights[row] = 0
                without.append(with_scikit_learn(metric, y_true, scores[run], weights))
            scaled = np.sqrt((len(rows) - 1) / len(rows)) * (np.mean(without) - without)
            assert found[run, rows] == pytest.approx(scaled, abs=1e-12)
    assert found[:, 16].tolist() == [0, 0]  # the only row of its class


def test_effects_of_exchanged_rows_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    y_true = np.array([0, 1, 2, 3] * 4, np.int8)
    first, second = (probabilities(rng, 3, 16, 4, digits=0) for _ in "ab")  # with ties
    effects, divisor = mean_exchange_effects(auroc_exchange_effects, y_true, first, second)
    for exchanged in rng.integers(2, size=(20, 16)).astype(bool):
        swap = exchanged[:, None]
        cells = np.where(swap, second, first), np.where(swap, first, second)
        means = [
            np.mean(
                [
                    np.mean([sk.roc_auc_score(y_true == c, run[:, c]) for c in range(4)])
                    for run in of_cell
                ]
            )
            for of_cell in cells
        ]
        difference = np.where(exchanged, -effects, effects).sum() / divisor
        assert difference == pytest.approx(means[1] - means[0], abs=1e-12)


def test_metrics_of_order_need_every_class() -> None:
    labels = np.array([0, 1, 3], np.int8)
    assert undefined("auroc_ovr", labels, 5) == (
        "auroc_ovr needs rows of every class, no test row is of class 2, 4"
    )
    assert undefined("macro_f1", labels, 5) == ""
    assert undefined("auroc_ovr", np.arange(5, dtype=np.int8), 5) == ""
