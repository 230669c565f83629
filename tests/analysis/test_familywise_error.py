"""Families of comparisons with known truth: false verdicts, coverage of intervals, power."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import optimize
from simulated_scores import simulate, true_auroc, upper_bound

from xlt.analysis.comparisons import compare as comparisons
from xlt.analysis.comparisons.compare import LEVEL, Comparison, compare, difference_groups
from xlt.analysis.comparisons.family import correct_together
from xlt.analysis.trials.scores import CellScores
from xlt.analysis.uncertainty.differences import runs_difference
from xlt.analysis.uncertainty.multiplicity import CORRECTIONS
from xlt.analysis.uncertainty.permutations import num_permutations_needed
from xlt.analysis.uncertainty.runs import MetricRuns

pytestmark = pytest.mark.slow

SEPARATION = 1.5  # AUROC 0.86
NUM_ITEMS = 512
FAMILIES = {10: (1, 5), 30: (5, 4)}  # comparisons: base models, patterns of each
SEED_STDS = (0.014, 0.029, 0.045)
"""Standard deviations of AUROC over seeds."""


def separation_of(auroc: float) -> float:
    return float(optimize.brentq(lambda x: true_auroc(x, 0.0) - auroc, -5, 9))


def seed_std_of(auroc_std: float) -> float:
    """Standard deviation of the separation with which AUROC has a given one over seeds."""
    slope = (true_auroc(SEPARATION + 1e-4, 0) - true_auroc(SEPARATION - 1e-4, 0)) / 2e-4
    return auroc_std / slope


def simulate_family(
    rng: np.random.Generator,
    num_comparisons: int,
    auroc_std: float,
    gains: Sequence[float] = (),
    num_seeds: int = 3,
    num_permutations: int = 0,
    num_items: int = NUM_ITEMS,
) -> list[tuple[Comparison, float]]:
    """Every two patterns of each base model, with the true difference.

    Args:
        rng: Source of the draws.
        num_comparisons: Key of ``FAMILIES``.
        auroc_std: Standard deviation of AUROC over seeds.
        gains: What each pattern adds to the separation, in turn; none: all recipes are equal.
        num_seeds: Seeds of a cell.
        num_permutations: Exchanges of test rows; 0: no test on these runs, which takes longest.
        num_items: Test rows.
    """
    num_models, num_patterns = FAMILIES[num_comparisons]
    seed_std, metric_runs = seed_std_of(auroc_std), MetricRuns("auroc")
    rows, added = rng.standard_normal(num_items), itertools.cycle(gains or (0.0,))
    family: list[tuple[Comparison, float]] = []
    for model in range(num_models):
        cells: list[tuple[CellScores, float]] = []
        for pattern in range(num_patterns):
            separation = SEPARATION + next(added)
            name = f"{model}-{pattern}"
            cell = simulate(rng, num_seeds, num_items, separation, seed_std, rows, name)
            cells.append((cell, true_auroc(separation, seed_std)))
        for (first, low), (second, high) in itertools.combinations(cells, 2):
            with pytest.MonkeyPatch.context() as patch:
                if not num_permutations:
                    patch.setattr(comparisons, "permutation_p_value", lambda *_, **__: 1.0)
                found = compare(first, second, metric_runs, num_permutations)
            family.append((found, high - low))
    return family


def corrected(family: list[tuple[Comparison, float]], name: str = "holm") -> list[Comparison]:
    return list(correct_together([c for c, _ in family], CORRECTIONS[name], None))


def test_equal_recipes_are_seldom_called_different() -> None:
    # 200 families of 10 comparisons: a familywise error of 0.05 is seen as 0.09 or less.
    rng = np.random.default_rng(0)
    families = [simulate_family(rng, 10, 0.029, num_items=128) for _ in range(200)]
    wrong = [any(c.is_settled for c in corrected(family)) for family in families]
    assert np.mean(wrong) <= upper_bound(LEVEL, 200)
    # Without the correction, families have false results: the simulation can fail.
    alone = [any(c.is_settled for c in corrected(family, "none")) for family in families]
    assert np.mean(alone) > upper_bound(LEVEL, 200)


def test_intervals_of_a_family_contain_all_true_differences_together() -> None:
    # Half of the patterns are better, so Holm's later steps and ends at 0 are part of it.
    rng = np.random.default_rng(1)
    num, together, settled = 150, 0, 0
    for _ in range(num):
        family = simulate_family(rng, 10, 0.014, (0.0, 1.2, 0.0, 1.2, 0.0), 5, num_items=128)
        found = corrected(family)
        together += all(
            c.family_interval.low <= truth <= c.family_interval.high
            for c, (_, truth) in zip(found, family, strict=True)
        )
        settled += sum(c.is_settled for c in found)
    assert settled > num
    assert 1 - together / num <= upper_bound(LEVEL, num)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("auroc_std", SEED_STDS)
@pytest.mark.parametrize(("num_comparisons", "num"), [(10, 400), (30, 200)])
def test_familywise_error_at_length(num_comparisons: int, num: int, auroc_std: float) -> None:
    """Also: the share of families in which the test on these runs would call a cell higher."""
    rng, num_here = np.random.default_rng(2), 60
    exchanges = num_permutations_needed(LEVEL / num_comparisons)
    wrong, on_these_runs, with_interval = 0, 0, 0
    for number in range(num):
        found = corrected(
            simulate_family(
                rng, num_comparisons, auroc_std,
                num_permutations=exchanges if number < num_here else 0,
            )
        )  # fmt: skip
        here = [c for c in found if c.these_runs_corrected_p_value <= LEVEL]
        wrong += any(c.is_settled for c in found)
        on_these_runs += bool(here)
        with_interval += any(not c.interval.holds(0) for c in here)
    shares = wrong / num, on_these_runs / num_here, with_interval / num_here
    print(num_comparisons, auroc_std, shares)
    assert shares[0] <= upper_bound(LEVEL, num)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("num_seeds", [3, 5, 10])
def test_power_in_families_at_length(num_seeds: int) -> None:
    """One comparison whose true difference is a multiple of its standard error, at AUROC 0.71."""
    rng = np.random.default_rng(3)
    base, seed_std = 0.8, seed_std_of(0.029)

    def differences(gain: float, num: int) -> list[tuple[float, float]]:
        """(difference, p) of simulated pairs of cells."""
        simulated = []
        for _ in range(num):
            rows, metric_runs = rng.standard_normal(NUM_ITEMS), MetricRuns("auroc")
            cells = [
                simulate(rng, num_seeds, NUM_ITEMS, separation, seed_std, rows, name)
                for name, separation in (("a", base), ("b", base + gain))
            ]
            found = runs_difference(difference_groups(*cells, metric_runs)[0])
            simulated.append((found.estimate, found.p_equal()))
        return simulated

    error = float(np.std([estimate for estimate, _ in differences(0.0, 400)]))
    for multiple in (2, 3, 4, 6):
        gain = separation_of(true_auroc(base, 0.0) + multiple * error) - base
        p_values = np.array([p for _, p in differences(gain, 300)])
        power = {size: float((p_values <= LEVEL / size).mean()) for size in (1, 10, 30)}
        print(num_seeds, round(error, 4), multiple, power)
        assert multiple < 4 or power[1] >= 0.8


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["holm", "bh"])
def test_false_verdicts_of_families_with_effects_at_length(name: str) -> None:
    """Two of five patterns are better by an AUROC of 0.06; six of ten differences are true."""
    rng = np.random.default_rng(4)
    num, any_false, shares, missed, missed_of_settled, power = 400, 0, [], 0, [], []
    for _ in range(num):
        family = simulate_family(rng, 10, 0.014, (0.0, 0.55, 0.0, 0.55, 0.0), 5)
        found = corrected(family, name)
        pairs = list(zip(found, (truth for _, truth in family), strict=True))
        settled = [(c, truth) for c, truth in pairs if c.is_settled]
        false = [c for c, truth in settled if c.difference * truth <= 0]
        outside = [
            (c, truth) for c, truth in pairs
            if not c.family_interval.low <= truth <= c.family_interval.high
        ]  # fmt: skip
        any_false += bool(false)
        missed += bool(outside)
        if settled:
            shares.append(len(false) / len(settled))
            missed_of_settled.append(sum(c.is_settled for c, _ in outside) / len(settled))
        power.append(sum(truth != 0 for _, truth in settled) / 6)
    rates = {
        "any false": any_false / num, "false of verdicts": sum(shares) / num,
        "any interval missed": missed / num, "missed of verdicts": sum(missed_of_settled) / num,
        "found": float(np.mean(power)),
    }  # fmt: skip
    print(name, rates)
    kinds = {
        "holm": ("any false", "any interval missed"),
        "bh": ("false of verdicts", "missed of verdicts"),
    }[name]
    assert all(rates[kind] <= upper_bound(LEVEL, num) for kind in kinds)


# --- equivalence ----------------------------------------------------------------------------


def called_equivalent(rng: np.random.Generator, gain: float, margin: float, num: int) -> float:
    """Share of families of 10 in which a comparison with this true gain is called equivalent."""
    count = 0
    for _ in range(num):
        family = simulate_family(rng, 10, 0.007, (0.0, gain), 5, num_items=256)
        found = correct_together([c for c, _ in family], CORRECTIONS["holm"], margin)
        truths = [truth for _, truth in family]
        wanted = [c for c, truth in zip(found, truths, strict=True) if (truth != 0) == (gain != 0)]
        count += any("within" in c.verdict for c in wanted)
    return count / num


def test_cells_that_differ_by_the_margin_are_seldom_called_equivalent() -> None:
    rng = np.random.default_rng(5)
    gain = 0.3
    margin = true_auroc(SEPARATION + gain, 0.0) - true_auroc(SEPARATION, 0.0)
    assert called_equivalent(rng, gain, margin, 60) <= upper_bound(LEVEL, 60)
    assert called_equivalent(rng, 0.0, 0.2, 20) == 1  # power
