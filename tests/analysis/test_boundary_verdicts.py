"""Verdicts on ranking and threshold: words from intervals, and simulated cells of known fault."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from simulated_faults import AUROC, FAULTS, Fault, judge_pair, simulate_pair
from simulated_scores import make_cell
from sklearn.metrics import f1_score

from xlt.analysis.boundary.table import loss_text
from xlt.analysis.boundary.verdict import Loss, Verdict, Word, judge, threshold_gain
from xlt.analysis.metrics.thresholds import decide_at_best_threshold
from xlt.analysis.uncertainty.intervals import Interval, t_interval
from xlt.analysis.uncertainty.runs import Runs


def still(mean: float, half: float = 0.001) -> Runs:
    """Three seeds whose t interval is mean -/+ half, and which no test row moves."""
    std = half * np.sqrt(3) / stats.t.ppf(0.975, 2)
    return Runs(mean + std * np.array([-1.0, 0, 1]), np.zeros((3, 10**4)), ((0, 0), (0, 1), (0, 2)))


@pytest.mark.parametrize(
    ("auroc", "lost", "gain", "word"),
    [
        (still(0.8), still(0.1), still(0.1), "both"),
        (still(0.8), still(0.1), still(0.0), "ranks worse"),
        (still(0.8), still(0.1), still(-0.01, 0.1), "ranks worse"),
        (still(0.8), still(0.0), still(0.1), "threshold is off"),
        (still(0.8), still(0.1, 0.2), still(0.1), "threshold is off"),
        (still(0.8), still(0.0), still(0.0), "neither found"),
        (still(0.8), still(-0.1), still(-0.1), "neither found"),
        (still(0.8), still(0.02), still(0.02), "neither found"),  # above 0 and below the margin
        (still(0.8), still(0.1, 0.2), still(-0.1), "undecided"),
        (still(0.5), still(0.3), still(0.1), "chance"),
        (still(0.6, 0.15), still(0.2), still(0.1), "chance"),
        (still(0.5, 0.3), still(0.1, 0.3), still(0.0), "undecided"),  # maybe no worse
        (still(0.6, 0.15), still(0.1, 0.3), still(0.1), "undecided"),  # maybe no ranking at all
        (still(0.6, 0.15), None, still(0.1), "reference"),
        (still(0.52, 0.03), still(0.0, 0.3), still(0.0), "chance"),
        (still(0.8), None, still(0.1), "threshold is off"),
        (still(0.8), None, still(0.0), "reference"),
        (still(0.5), None, still(0.0), "chance"),
    ],
)
def test_a_word_follows_from_the_intervals(
    auroc: Runs, lost: Runs | None, gain: Runs, word: Word
) -> None:
    found = judge(auroc, lost and [lost], gain, is_reference=lost is None)
    assert found.word == word


def test_one_seed_settles_nothing() -> None:
    alone = [runs.chosen([0]) for runs in (still(0.8), still(0.2), still(0.2))]
    assert judge(alone[0], [alone[1]], alone[2]).word == "undecided"


def test_a_margin_decides_what_is_small() -> None:
    runs = still(0.8), [still(0.02)], still(0.02)
    assert judge(*runs, margin=0.01).word == "both"


def test_a_threshold_that_gains_in_these_runs_gains_on_average() -> None:
    """The seeds vary too much for the interval, but test rows show that none of them gains 0."""
    rng = np.random.default_rng(0)
    rows = 0.0005 * rng.standard_normal((3, 500))
    gain = Runs(np.array([0.02, 0.05, 0.2]), rows, ((0, 0), (0, 1), (0, 2)))
    assert t_interval([gain]).low < 0
    found = judge(still(0.8), [still(0.0)], gain)
    assert found.word == "threshold is off"
    assert found.threshold.interval == Interval(0.0, t_interval([gain]).high)
    assert loss_text(found.threshold) == f"0.090 [above 0, {found.threshold.interval.high:.3f}]"
    alone = Loss(0.12, Interval(0.031, 0.209), is_shown=True)
    assert loss_text(alone) == "0.120 [0.031, 0.209]"
    almost = Loss(0.12, Interval(0.0003, 0.209), is_shown=True)
    assert loss_text(almost) == "0.120 [above 0, 0.209]"


def test_the_gain_is_that_of_thresholds_chosen_on_other_rows() -> None:
    """By hand with scikit-learn: every fifth row of a class is decided by the others' best cut."""
    reference, cell = simulate_pair(np.random.default_rng(0), FAULTS["shift"], 2, 60)
    y_true, turns = cell.y_true, np.arange(30)
    fold = np.concatenate([turns, turns + 2]) % 5
    for y_score, value in zip(cell.scores, threshold_gain(cell).values, strict=True):
        decided = np.zeros(60, bool)
        for number in range(5):
            own, rest = fold == number, fold != number
            ascending = np.sort(y_score[rest])
            cuts = (ascending[:-1] + ascending[1:]) / 2
            macro = [f1_score(y_true[rest], y_score[rest] >= c, average="macro") for c in cuts]
            decided[own] = y_score[own] >= cuts[int(np.argmax(macro))]
        expected = f1_score(y_true, decided, average="macro") - f1_score(
            y_true, y_score >= 0.5, average="macro"
        )
        assert value == pytest.approx(expected, abs=1e-12)
    assert reference.ids == cell.ids


def test_influences_of_the_gain_are_its_derivative() -> None:
    """One more copy of each row beside ten thousand, with the decisions as they are."""
    y_true, many = np.repeat([0, 1], 20), 10_000
    scores = np.random.default_rng(1).uniform(0.05, 0.45, (1, 40)) + 0.3 * y_true
    cell = make_cell(y_true, scores)
    decisions = decide_at_best_threshold(cell.y_true, scores)[0], scores[0] >= 0.5

    def gain(weights: Any) -> float:
        better, plain = (
            f1_score(y_true, decided, average="macro", sample_weight=weights)
            for decided in decisions
        )
        return float(better - plain)

    weights = np.full((40, 40), float(many)) + np.eye(40)
    moved = np.array([gain(row) - gain(np.full(40, many)) for row in weights]) * many
    for label in (0, 1):
        moved[y_true == label] -= moved[y_true == label].mean()
    assert threshold_gain(cell).influence[0] == pytest.approx(moved, abs=1e-4)
    assert np.abs(moved).max() > 0.001


def test_rows_of_one_story_count_once() -> None:
    """Every row twice, in one story: the variance is that of the single rows."""
    _, cell = simulate_pair(np.random.default_rng(0), FAULTS["shift"], 2, 200)
    order = np.repeat(np.arange(200), 2)
    twice = make_cell(cell.y_true[order], cell.scores[:, order])
    single = (threshold_gain(cell).influence ** 2).sum(axis=1)
    as_stories = (threshold_gain(replace(twice, stories=order)).influence ** 2).sum(axis=1)
    assert as_stories == pytest.approx(single, rel=0.005)  # n / (n - 1) of a class


# --- simulation -----------------------------------------------------------------------------

FOUND: dict[str, Word] = {
    "shift": "threshold is off",
    "shift, the paper's seeds": "threshold is off",
    "ranking": "ranks worse",
    "ranking, AUROC 0.7": "ranks worse",
    "both": "both",
    "both, all called positive": "both",
    "chance": "chance",
}
"""Verdict on each fault of :data:`FAULTS`."""


def simulate(fault: Fault, num_seeds: int, num_experiments: int, num_items: int) -> list[Verdict]:
    rng = np.random.default_rng(3)
    pairs = (simulate_pair(rng, fault, num_seeds, num_items) for _ in range(num_experiments))
    return [judge_pair(*pair) for pair in pairs]


def faults_named(verdicts: list[Verdict]) -> Counter[str]:
    """How often each fault was named; "both" names two."""
    counts = Counter[str]()
    for verdict in verdicts:
        counts["ranking"] += verdict.word in ("ranks worse", "both", "chance")
        counts["threshold"] += verdict.word in ("threshold is off", "both")
    return counts


@pytest.mark.parametrize("name", ["nothing lost", *FOUND])
def test_simulated_faults_are_found(name: str) -> None:
    """20 experiments: a verdict with a power of 0.95 is found 15 times or more in 99.9 %."""
    fault = FAULTS[name]
    verdicts = simulate(fault, 5, 20, 256)
    counts = Counter(verdict.word for verdict in verdicts)
    if name in FOUND:
        assert counts[FOUND[name]] >= 15, counts
    else:
        assert sum(faults_named(verdicts).values()) <= 3, counts
    if fault.shift == 0:  # 0.5 is right
        assert sum(verdict.threshold.is_shown for verdict in verdicts) <= 2


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("num_seeds", [3, 5, 10])
def test_size_and_power_of_verdicts_at_length(num_seeds: int) -> None:
    """150 experiments: a size of 0.05 is seen as 0.10 or less in 99 %."""
    for name, fault in FAULTS.items():
        verdicts = simulate(fault, num_seeds, 150, 512)
        counts = Counter(verdict.word for verdict in verdicts)
        print(num_seeds, name, {word: n / 150 for word, n in counts.most_common()})
        named = faults_named(verdicts)
        if name in FOUND:
            assert counts[FOUND[name]] >= 0.8 * 150, (name, counts)
        if fault.auroc == AUROC:
            assert named["ranking"] <= 0.10 * 150, (name, counts)
        if fault.shift == 0 and name != "cuts that differ":  # there each seed has something to gain
            assert named["threshold"] <= 0.10 * 150, (name, counts)


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("num_seeds", "fault", "most"),
    [
        (3, Fault(auroc=AUROC - 0.045), 5.0),
        (5, Fault(auroc=AUROC - 0.025), 4.0),
        (10, Fault(auroc=AUROC - 0.015), 3.5),
        (3, Fault(shift=0.5), 3.0),
        (5, Fault(shift=0.45), 3.5),
        (10, Fault(shift=0.4), 3.0),
    ],
)
def test_power_in_standard_errors_at_length(num_seeds: int, fault: Fault, most: float) -> None:
    """A loss of ``most`` standard errors of its estimate is shown with probability 0.8."""
    losses = [
        verdict.threshold if fault.shift else verdict.ranking
        for verdict in simulate(fault, num_seeds, 150, 512)
    ]
    values = np.array([loss.value for loss in losses if loss])
    shown = np.mean([loss.is_shown for loss in losses if loss])
    half = np.mean([loss.interval.high - loss.value for loss in losses if loss])
    errors = values.mean() / values.std()
    print(num_seeds, fault, values.mean(), f"{errors:.2f}", f"{half / values.std():.2f}", shown)
    assert shown >= 0.8 and errors <= most
