"""The dev score of the chosen rate is too high, which is why it has no interval; simulated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xlt.analysis.search.choose import TriedConfig, choose
from xlt.trainables.metrics.auroc import weighted_auroc
from xlt.trainables.results.search_plan import Replicate, SearchedCell, SearchedConfig

NUM_CONFIGS, NUM_SEEDS = 11, 2
ROWS, CONFIG, RUN = 0.64, 0.11, 0.25
"""Variances of the score of a row: for all configs, for one on all seeds, for one run."""


def best_dev_score(
    num_rows: int, num_folds: int, decline: float, seed_std: float, num_searches: int
) -> tuple[float, float]:
    """Simulate searches on folds of balanced target rows.

    Args:
        num_rows: Target rows.
        num_folds: Number of folds of the target rows; each seed splits them again.
        decline: Loss of separation with each step from the best rate; 0: all are equally good.
        seed_std: Standard deviation of the separation over runs of a config.
        num_searches: Number of searches.

    Returns:
        Mean of dev score minus true AUROC of the chosen config; share of searches in which the dev
        score and 1.96 standard errors hold the truth.
    """
    rng = np.random.default_rng(0)
    separation = 1.5 - decline * np.abs(np.arange(NUM_CONFIGS) - NUM_CONFIGS // 2)
    truth = stats.norm.cdf(separation / np.sqrt(2 * (ROWS + CONFIG + RUN) + seed_std**2))
    y_true = (np.arange(num_rows) % 2).astype(np.int8)
    replicates = tuple(
        Replicate(seed=seed, dev="target", name=f"dev-target{seed}.{fold}")
        for seed in range(NUM_SEEDS)
        for fold in range(num_folds)
    )
    errors, held = [], 0
    for _ in range(num_searches):
        effects = np.sqrt(ROWS) * rng.standard_normal(num_rows)
        effects = effects + np.sqrt(CONFIG) * rng.standard_normal((NUM_CONFIGS, num_rows))
        scores = []
        for _ in range(NUM_SEEDS):
            apart = separation + seed_std * rng.standard_normal(NUM_CONFIGS)
            noise = np.sqrt(RUN) * rng.standard_normal(effects.shape)
            run = apart[:, None] * y_true + effects + noise
            pairs = rng.permutation(num_rows // 2)  # a negative row and the next, a positive one
            for fold in np.array_split(pairs, num_folds):
                rows = np.concatenate([2 * fold, 2 * fold + 1])
                once_each = np.ones((len(rows), 1))
                scores.append(weighted_auroc(y_true[rows], run[:, rows], once_each)[:, 0])
        tried = [
            TriedConfig(
                SearchedConfig(learning_rate=float(number + 1), trial_ids=()), own,
                np.zeros(len(own)), kinds=("target",) * len(own),
            )
            for number, own in enumerate(np.array(scores).T)
        ]  # fmt: skip
        cell = SearchedCell(
            base_model="m", pattern="ja16", base_identity="i", own_rate=1.0, replicates=replicates,
            low=1.0, high=float(NUM_CONFIGS),
        )  # fmt: skip
        best = choose(cell, tried).best
        assert best is not None
        error = best.score - truth[tried.index(best)]
        errors.append(error)
        held += abs(error) <= stats.norm.ppf(0.975) * best.standard_error
    return float(np.mean(errors)), held / num_searches


def test_the_best_dev_score_is_too_high() -> None:
    too_high, held = best_dev_score(16, 4, 0.0, 0.1, 60)
    assert too_high > 0.04 and held < 0.75


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("decline", [0.0, 0.05, 0.25])
@pytest.mark.parametrize(("num_rows", "num_folds"), [(16, 4), (104, 5)])
@pytest.mark.parametrize("seed_std", [0.1, 0.3])
def test_dev_scores_at_length(
    num_rows: int, num_folds: int, decline: float, seed_std: float
) -> None:
    too_high, held = best_dev_score(num_rows, num_folds, decline, seed_std, 200)
    print(num_rows, decline, seed_std, round(too_high, 3), held)
    assert too_high > 0
