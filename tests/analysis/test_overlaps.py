"""Verdicts on changed tokens: simulated patterns of which a known number of tokens was replaced."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from xlt.analysis.attributions import evidence
from xlt.analysis.attributions.cell import CellAttributions
from xlt.analysis.attributions.evidence import rank
from xlt.analysis.attributions.overlaps import MARGIN, Overlap, compare_rankings

NUM_TEXTS, NUM_TOKENS, TOP = 256, 60, 10
MEANS = 0.6 * np.exp(-np.arange(NUM_TOKENS) / 12)
"""Mean contribution of each token, highest first."""
TEXT_STD, RUN_STD = 0.15, 0.05
"""Standard deviations over texts, the same for all runs, and over runs, the same for all texts."""


def replaced(number: int) -> NDArray[np.float64]:
    """Mean contributions after so many of the first ten tokens changed places with late ones."""
    means, late = MEANS.copy(), np.arange(30, 30 + number)
    first = np.linspace(1, 8, number).round().astype(int)
    means[first], means[late] = MEANS[late], MEANS[first]
    return means


def simulate_cell(
    rng: np.random.Generator,
    counts: NDArray[np.float64],
    texts: NDArray[np.float64],
    means: NDArray[np.float64],
    num_runs: int,
    run_std: float,
) -> CellAttributions:
    shape = num_runs, *counts.shape
    of_runs = run_std * rng.standard_normal((num_runs, 1, NUM_TOKENS))
    raw = counts * (means + of_runs + texts + 0.1 * rng.standard_normal(shape))
    return CellAttributions(
        "m", "p", tuple((0, seed) for seed in range(num_runs)), (), {}, "", False,
        tuple(f"w{token:02}" for token in range(NUM_TOKENS)), counts.sum(axis=0).astype(np.int64),
        (np.arange(NUM_TEXTS) % 2).astype(np.int8), None, counts[None], raw, raw,
        np.zeros((num_runs, NUM_TOKENS)), "", NUM_TEXTS * num_runs, 0, 0.0, (0.0, 0.0, 0.0, 0.0),
    )  # fmt: skip


def simulate(
    number: int, num_runs: int, num_experiments: int, run_std: float = RUN_STD
) -> list[Overlap]:
    """Compare two patterns of which ``number`` of the first ten tokens differ."""
    rng, found = np.random.default_rng(0), []
    for _ in range(num_experiments):
        counts = np.zeros((NUM_TEXTS, NUM_TOKENS))
        for token in range(NUM_TOKENS):
            counts[rng.choice(NUM_TEXTS, rng.integers(5, 15), replace=False), token] = 1
        texts = TEXT_STD * rng.standard_normal(counts.shape)
        first, second = (
            simulate_cell(rng, counts, texts, means, num_runs, run_std)
            for means in (MEANS, replaced(number))
        )
        ranked = rank(first, first.raw, TOP), rank(second, second.raw, TOP)
        found.append(compare_rankings(first, second, ranked))
    return found


def count(found: list[Overlap]) -> dict[str, float]:
    words = Counter(overlap.verdict.split(":")[0] for overlap in found)
    return {word: round(number / len(found), 3) for word, number in words.most_common()}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "NUM_RESAMPLES", 200)


def test_replaced_tokens_are_not_called_hardly_changed() -> None:
    """Three of ten: the excess is 0.2, and with few seeds its interval may include 0."""
    found = simulate(3, 3, 10)
    assert np.mean([overlap.excess[0] for overlap in found]) > 1.5 * MARGIN
    assert count(found).get("hardly changed", 0) == 0


def test_equal_patterns_hardly_change_with_enough_seeds() -> None:
    words = count(simulate(0, 8, 6))
    assert words.get("hardly changed", 0) >= 0.5 and "changed" not in words


def test_one_seed_of_a_pattern_settles_nothing() -> None:
    (found,) = simulate(0, 1, 1)
    assert found.verdict.startswith("not settled: one seed of a pattern")
    assert np.isnan(found.excess).all() and np.isnan(found.between_runs)


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("num_runs", "run_std"), [(3, 0.05), (8, 0.05), (3, 0.15)])
def test_size_and_power_at_length(num_runs: int, run_std: float) -> None:
    """60 experiments: a share of 0.05 is seen as 0.13 or less in 99 %."""
    for number in (0, 1, 3):
        found = simulate(number, num_runs, 60, run_std)
        between = np.mean([overlap.between_runs for overlap in found])
        excess = np.mean([overlap.excess[0] for overlap in found])
        words = count(found)
        print(num_runs, run_std, number, f"RBO {between:.2f}, excess {excess:.2f}", words)
        if number == 0:
            assert words.get("changed", 0) <= 0.13
        if excess >= MARGIN:
            assert words.get("hardly changed", 0) <= 0.13
