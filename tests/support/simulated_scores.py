"""Scores whose true metrics are known, and predictions as result folders hold them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from result_folders import save_done, save_failed
from scipy import special, stats

from xlt.analysis.trials.scores import CellScores
from xlt.analysis.trials.trial_names import Run
from xlt.trainables.metrics.registry import score
from xlt.trainables.results.result import Results

ITEM_STD, RUN_STD = 0.8, 0.6
"""Standard deviations of a row's score for all seeds and for one; the variances add up to 1."""


def make_cell(
    y_true: Sequence[int] | NDArray[Any],
    scores: NDArray[Any],
    name: str = "a",
    pattern: str = "ja0",
    runs: Sequence[Run] | None = None,
) -> CellScores:
    """A cell of scores num_runs x num_items; by default seeds on one draw."""
    labels = np.asarray(y_true, np.int8)
    chosen = tuple((0, seed) for seed in range(len(scores))) if runs is None else tuple(runs)
    ids = tuple(f"{number:05d}" for number in range(len(labels)))
    return CellScores(name, pattern, chosen, (), ids, labels, np.asarray(scores, np.float64))


def simulate(
    rng: np.random.Generator,
    num_seeds: int,
    num_items: int,
    separation: float,
    seed_std: float,
    rows: NDArray[np.float64] | None = None,
    name: str = "a",
) -> CellScores:
    """Two random effects on the logit scale, balanced classes.

    A positive row lies ``separation`` higher than a negative one, by a normal deviation with
    ``seed_std`` more in each seed; ``rows`` are effects of rows shared with another cell.
    """
    y_true = np.repeat([0, 1], num_items // 2)
    shared = rng.standard_normal(num_items) if rows is None else rows
    distance = separation + seed_std * rng.standard_normal((num_seeds, 1))
    own = rng.standard_normal((num_seeds, num_items))
    logits = distance * y_true + ITEM_STD * shared + RUN_STD * own
    return make_cell(y_true, special.expit(logits - separation / 2), name)


def simulate_classes(
    rng: np.random.Generator,
    num_seeds: int,
    num_items: int,
    num_classes: int,
    separation: float,
    seed_std: float,
    rows: NDArray[np.float64] | None = None,
    name: str = "a",
) -> CellScores:
    """Logits of several classes, with the random effects of :func:`simulate` on each of them.

    Classes have the same number of rows. The logit of a row's own class lies ``separation`` higher,
    by a normal deviation with ``seed_std`` more in each seed; ``rows`` are num_items x num_classes
    effects of rows shared with another cell.
    """
    y_true = np.arange(num_items) % num_classes
    shared = rng.standard_normal((num_items, num_classes)) if rows is None else rows
    distance = separation + seed_std * rng.standard_normal((num_seeds, 1, 1))
    own = rng.standard_normal((num_seeds, num_items, num_classes))
    logits = distance * np.eye(num_classes)[y_true] + ITEM_STD * shared + RUN_STD * own
    return make_cell(y_true, special.softmax(logits, axis=2), name)


def simulate_draws(
    rng: np.random.Generator,
    runs: Sequence[Run],
    num_items: int,
    separation: float,
    stds: tuple[float, float, float],
    rows: NDArray[np.float64] | None = None,
    name: str = "a",
) -> CellScores:
    """Simulate as :func:`simulate` does, with deviations of draws, seeds, and seeds on single
    draws.

    The separation of a run deviates by the sum of the three, normal with ``stds``, so that the
    truth is that of :func:`simulate` with the root of the sum of their squares.
    """
    y_true = np.repeat([0, 1], num_items // 2)
    draws, seeds = (
        {level: rng.standard_normal() for level in sorted(set(levels))}
        for levels in zip(*runs, strict=True)
    )
    deviations = [
        stds[0] * draws[draw] + stds[1] * seeds[seed] + stds[2] * rng.standard_normal()
        for draw, seed in runs
    ]
    shared = rng.standard_normal(num_items) if rows is None else rows
    distance = separation + np.array(deviations)[:, None]
    own = rng.standard_normal((len(runs), num_items))
    logits = distance * y_true + ITEM_STD * shared + RUN_STD * own
    return make_cell(y_true, special.expit(logits - separation / 2), name, runs=runs)


def true_auroc(separation: float, seed_std: float) -> float:
    """Mean over all seeds and rows of :func:`simulate`: a normal difference above zero."""
    return float(stats.norm.cdf(separation / np.sqrt(2 + seed_std**2)))


def true_accuracy(separation: float, seed_std: float) -> float:
    """Share of negatives below the middle and of positives above it, as :func:`true_auroc`."""
    below = stats.norm.cdf(separation / 2)
    return float((below + stats.norm.cdf(separation / 2 / np.sqrt(1 + seed_std**2))) / 2)


def true_accuracy_of_classes(num_classes: int, separation: float, seed_std: float) -> float:
    """Mean over all seeds and rows of :func:`simulate_classes`: own logit above all others.

    The macro F1 of many rows is the same number, because all classes are alike.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    own = separation + np.sqrt(1 + seed_std**2) * points
    return float((weights * stats.norm.cdf(own) ** (num_classes - 1)).sum() / weights.sum())


def upper_bound(level: float, num: int) -> float:
    """Share of ``num`` cases that a rate of ``level`` exceeds with a probability of 0.005."""
    return level + 2.58 * math.sqrt(level * (1 - level) / num)


def predictions(ids: Sequence[str], y_true: Sequence[int], y_score: Sequence[Any]) -> pa.Table:
    """A predictions.parquet."""
    return pa.table(
        {
            "id": list(ids),
            "lang": ["ja"] * len(ids),
            "split": ["test"] * len(ids),
            "y_true": pa.array(y_true, pa.int8()),
            "y_score": list(y_score),
        }
    )


def save_simulated(
    results: Results,
    base_model: str,
    pattern: str,
    cell: CellScores,
    ids: Sequence[str],
    failed: Collection[int] = (),
) -> None:
    """Result folders of a cell's seeds with the metrics that its scores have, some failed."""
    for (draw, seed), scores in zip(cell.runs, cell.scores, strict=True):
        if seed in failed:
            save_failed(results, base_model, pattern, seed, "out of memory", draw)
            continue
        table = predictions(ids, cell.y_true.tolist(), scores)
        values = score(cell.y_true, scores)
        save_done(results, base_model, pattern, seed, values, predictions=table, draw_index=draw)


def to_arrays(rows: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of rows that hypothesis draws as pairs."""
    y_true, y_score = zip(*rows, strict=True)
    return np.array(y_true, dtype=np.int8), np.array(y_score)
