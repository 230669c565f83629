"""Weights of classes: Bayes' theorem, scipy's optimum, brute force, and verdicts of known cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from result_folders import make_plan, make_results, save_done
from scipy import optimize, special, stats
from simulated_scores import make_cell, predictions, simulate_classes, upper_bound
from sklearn import metrics as sk

from xlt.analysis.boundary.measure import boundary
from xlt.analysis.boundary.table import make_boundary_tables
from xlt.analysis.boundary.verdict import judge, weights_gain
from xlt.analysis.metrics.class_weights import (
    best_log_weight,
    best_log_weights,
    decide_at_best_weights,
    estimate_shares,
    weigh_classes,
)
from xlt.analysis.metrics.thresholds import NUM_FOLDS, assign_folds
from xlt.analysis.page import render_page
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import CellScores
from xlt.analysis.uncertainty.runs import MetricRuns, Runs
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.registry import score
from xlt.trainables.results.result import Results

pytestmark = pytest.mark.slow

TRAIN, TEST = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])
MEANS = np.array([-2.0, -0.5, 0.8, 2.0])


def posteriors(x: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Probabilities of four normal classes at given shares, by Bayes' theorem."""
    joint = shares * stats.norm.pdf(x[:, None], MEANS)
    return np.asarray(joint / joint.sum(axis=1, keepdims=True))


def draw(rng: np.random.Generator, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels at the shares TEST, and values of their classes."""
    labels = rng.choice(4, num_rows, p=TEST)
    return labels.astype(np.int8), MEANS[labels] + rng.standard_normal(num_rows)


def test_weights_are_those_of_bayes() -> None:
    x = np.linspace(-4, 4, 50)
    found = weigh_classes(posteriors(x, TRAIN), TEST / TRAIN)
    assert found == pytest.approx(posteriors(x, TEST))


def test_shares_are_those_of_the_largest_likelihood() -> None:
    _, x = draw(np.random.default_rng(0), 400)
    y_score = posteriors(x, TRAIN)

    def loss(free: np.ndarray) -> float:
        shares = special.softmax(np.append(free, 0.0))
        return float(-np.log((y_score * shares / TRAIN).sum(axis=1)).sum())

    expected = special.softmax(np.append(optimize.minimize(loss, np.zeros(3), tol=1e-12).x, 0.0))
    assert estimate_shares(y_score, TRAIN) == pytest.approx(expected, abs=1e-4)


def test_shares_of_many_texts_are_found_and_help() -> None:
    labels, x = draw(np.random.default_rng(1), 20_000)
    y_score = posteriors(x, TRAIN)
    shares = estimate_shares(y_score, TRAIN)
    assert shares == pytest.approx(TEST, abs=0.02)
    before, after = (
        score(labels, own)["accuracy"] for own in (y_score, weigh_classes(y_score, shares / TRAIN))
    )
    assert after > before + 0.05


@pytest.mark.parametrize("label", [0, 1, 2])
@pytest.mark.parametrize("digits", [1, 2])
def test_the_weight_of_a_class_is_the_best_of_all(label: int, digits: int) -> None:
    rng = np.random.default_rng(label)
    y_true = rng.integers(3, size=40).astype(np.int8)
    logits = rng.standard_normal((40, 3)).round(digits) + 0.5 * np.eye(3)[y_true]

    def macro(added: float) -> float:
        moved = logits + added * np.eye(3)[label]
        return float(sk.f1_score(y_true, moved.argmax(axis=1), average="macro", labels=[0, 1, 2]))

    found = best_log_weight(y_true, logits, label)
    possible = np.linspace(-5, 5, 501) + 1e-3  # not at a tie
    assert macro(found) == pytest.approx(max(map(macro, possible)))
    assert macro(found) >= macro(0.0)
    assert best_log_weight(y_true, 9.0 * np.eye(3)[y_true], label) == 0  # nothing to gain


def test_weights_undo_a_wrong_weight() -> None:
    rng = np.random.default_rng(5)
    cell = simulate_classes(rng, 1, 700, 7, 3.0, 0.0)
    logits = np.log(cell.scores[0])
    wrong = logits + np.array([0, 0, 3.0, 0, 0, 0, -2.0])
    right, spoilt, undone = (
        score(cell.y_true, special.softmax(own, axis=1))["macro_f1"]
        for own in (logits, wrong, wrong + best_log_weights(cell.y_true, wrong))
    )
    assert spoilt < right - 0.1 and undone > right - 0.01


def gain_of_weights(cell: CellScores) -> Runs:
    return weights_gain(cell, decide_at_best_weights(cell.y_true, cell.scores, cell.stories))


def test_no_row_has_a_say_in_its_own_decision() -> None:
    cell = simulate_classes(np.random.default_rng(6), 1, 70, 7, 0.5, 0.0)
    decided = decide_at_best_weights(cell.y_true, cell.scores)
    assert decided.shape == (1, 70)
    for row in (0, 33):
        fold = assign_folds(cell.y_true, None, NUM_FOLDS)
        others = fold != fold[row]
        logits = np.log(cell.scores[0])
        own = best_log_weights(cell.y_true[others], logits[others])
        assert decided[0, row] == (logits[row] + own).argmax()
    # On average, weights that were chosen on other rows gain nothing where none are needed.
    gains = [
        gain_of_weights(simulate_classes(np.random.default_rng(n), 1, 210, 7, 1.5, 0.0)).values[0]
        for n in range(20)
    ]
    assert np.mean(gains) < 0.01


def test_cells_without_fault_get_no_verdict_of_weights() -> None:
    rng, num = np.random.default_rng(7), 60
    words = []
    for _ in range(num):
        cell = simulate_classes(rng, 3, 210, 3, 1.5, 0.1)
        auroc = MetricRuns("auroc_ovr", num_classes=3).of(cell)
        words.append(judge(auroc, None, gain_of_weights(cell), off="weights are off").word)
    assert words.count("weights are off") / num <= upper_bound(0.05, num)


def save(results: Results, model: str, pattern: str, cell: CellScores, added: np.ndarray) -> None:
    """Save a cell whose logits are off by a number for each class."""
    y_true = cell.y_true
    for seed, own in enumerate(cell.scores):
        y_score = special.softmax(np.log(own) + added, axis=1)
        labels = pa.array([0, 1, 2, 0, 1, 2], pa.int8())
        rows = pa.table({"id": ["a"] * 6, "lang": ["en"] * 6, "label": labels})
        save_done(
            results, model, pattern, seed, score(y_true, y_score),
            predictions=predictions(cell.ids, y_true.tolist(), y_score.tolist()),
            train_rows=rows,
        )  # fmt: skip


def test_verdicts_of_known_cells(tmp_path: Path) -> None:
    plan = make_plan(["elyza"], ["ja0", "ja16", "ja104"], classes=("a", "b", "c"))
    results = make_results(tmp_path / "r", plan)
    rng = np.random.default_rng(8)
    rows = rng.standard_normal((300, 3))
    for pattern, gain, added in (
        ("ja0", 3.0, [0.0, 3.0, 0.0]), ("ja16", 1.0, [0.0, 0.0, 0.0]), ("ja104", 3.0, [0, 0, 0]),
    ):  # fmt: skip
        cell = simulate_classes(rng, 3, 300, 3, gain, 0.05, rows)
        save(results, "elyza", pattern, cell, np.array(added))
    collected = collect(results)
    off, worse, reference = boundary(collected)
    assert [cell.verdict and cell.verdict.word for cell in (off, worse, reference)] == [
        "weights are off", "ranks worse", "reference",
    ]  # fmt: skip
    assert off.measures["macro_f1_best"].mean > off.measures["macro_f1"].mean + 0.1
    # Training and test rows have equal shares: true shares change nothing.
    assert off.measures["macro_f1_oracle"].mean == pytest.approx(off.measures["macro_f1"].mean)
    verdicts, weights = make_boundary_tables(collected, [off, worse, reference])
    assert verdicts.heading[-2:] == ("weights gain", "verdict")
    assert weights.heading[2:] == ("as reported", "estimated shares", "true shares", "best weights")
    html = render_page(collected)
    assert "Ranking or weights of classes?" in html and "weights are off" in html
    with pytest.raises(InputError, match="prior and labelled are of two classes"):
        boundary(collected, num_labelled=[16])


def test_without_predictions_or_training_rows(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan(seeds=[0], classes=("a", "b", "c")))
    with pytest.raises(InputError, match=r"no cell can be judged\n.*seed 0 missing"):
        boundary(collect(results))
    cell = simulate_classes(np.random.default_rng(0), 1, 60, 3, 1.0, 0.0)
    rows = predictions(cell.ids, cell.y_true.tolist(), cell.scores[0].tolist())
    save_done(results, "elyza", "ja16", 0, {"macro_f1": 0.5}, predictions=rows)
    (found,) = boundary(collect(results))
    assert found.measures["macro_f1_estimated"].n == 0 and found.measures["macro_f1_best"].n == 1
    assert make_cell(cell.y_true, cell.scores).scores.shape == (1, 60, 3)
