"""Thresholds for a wanted precision or number of alarms: what they reach on rows of their own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from xlt.analysis.metrics.operating_points import (
    Rule,
    choose_threshold,
    decide_by_rule,
    parse_rule,
)
from xlt.analysis.metrics.thresholds import NUM_FOLDS
from xlt.data.core.errors import InputError

PREVALENCE = 0.02


def draw(seed: int, num_of_class: int, distance: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y_true = np.repeat([0, 1], num_of_class).astype(np.int8)
    return y_true, stats.norm.cdf(rng.standard_normal(2 * num_of_class) + distance * y_true - 2)


def weights_of(y_true: np.ndarray) -> np.ndarray:
    counts = np.bincount(y_true)
    return np.array([(1 - PREVALENCE) / counts[0], PREVALENCE / counts[1]])[y_true]


@pytest.mark.parametrize("wanted", [0.1, 0.4, 1.0])
def test_the_lowest_threshold_of_a_precision_is_scikit_learns(wanted: float) -> None:
    y_true, score = draw(0, 200)
    score = np.round(score, 2)  # with ties
    found = choose_threshold(Rule("precision", wanted), y_true, score, PREVALENCE)
    precision, _, cuts = sk.precision_recall_curve(y_true, score, sample_weight=weights_of(y_true))
    lowest = cuts[precision[:-1] >= wanted - 1e-12].min()
    assert ((score >= found) == (score >= lowest)).all()
    assert (score != found).all()  # between two scores, so useful for other rows


def test_alarms_are_at_most_the_wanted_number() -> None:
    y_true, score = draw(1, 300)
    weights = weights_of(y_true)
    for wanted in (5, 20, 200, 1000):
        found = choose_threshold(Rule("alarms", wanted), y_true, score, PREVALENCE)
        assert 1000 * weights[score >= found].sum() <= wanted + 1e-9
        one_more = np.sort(score[score < found])[-1:]
        assert not len(one_more) or 1000 * weights[score >= one_more[0]].sum() > wanted


def test_an_impossible_rule_has_an_infinite_threshold() -> None:
    y_true, score = np.array([0, 1], np.int8), np.array([0.9, 0.2])
    assert math.isinf(choose_threshold(Rule("precision", 0.5), y_true, score, PREVALENCE))


def test_rows_are_decided_by_the_threshold_of_other_rows() -> None:
    # Labels by chance: chosen on the same rows the alarms look better than the prevalence.
    found, in_sample = [], []
    for seed in range(60):
        y_true, score = draw(seed, 100, distance=0.0)
        weights = weights_of(y_true)
        decided = decide_by_rule(Rule("precision", 0.05), PREVALENCE, y_true, score[None])[0]
        found.append((weights * decided * y_true).sum() / max((weights * decided).sum(), 1e-9))
        threshold = choose_threshold(Rule("precision", 0.05), y_true, score, PREVALENCE)
        own = score >= threshold
        if own.any():
            in_sample.append((weights * own * y_true).sum() / (weights * own).sum())
    assert min(in_sample) >= 0.05 - 1e-9
    assert np.mean(found) < 0.035


def test_folds_need_rows_of_each_class() -> None:
    y_true = np.array([1] * (NUM_FOLDS - 1) + [0] * 50, np.int8)
    with pytest.raises(InputError, match="4 test rows of a class are too few to choose a thresh"):
        decide_by_rule(Rule("alarms", 20), PREVALENCE, y_true, np.ones((1, 54)) / 2)


def test_rules_are_parsed() -> None:
    assert parse_rule("precision=0.5") == Rule("precision", 0.5)
    assert str(parse_rule("alarms=20")) == "alarms=20"
    assert parse_rule("median") is None and parse_rule("0.5") is None
    for wrong in ("precision=0", "precision=1.5", "alarms", "alarms=x", "alarms=1001"):
        with pytest.raises(InputError, match=f"threshold '{wrong}' is not valid; give precision"):
            parse_rule(wrong)
