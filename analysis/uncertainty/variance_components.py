"""Sources of the variance of a run's score: draws of training rows, seeds and test rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xlt.analysis.uncertainty.runs import Runs
from xlt.analysis.uncertainty.trial_units import has_several_draws, mean_variances, units_of

PARTS = {
    "draw": "draws", "seed": "seeds", "run": "seeds on draws", "item": "test rows",
    "both": "runs on rows",
}  # fmt: skip
"""Component of :class:`VarianceComponents` -> heading."""
EXPLAINED = (
    "std of one run's score from draws of training rows; from seeds, equal on all draws; from the "
    "interaction of seeds and draws; from test rows; from the interaction of runs and test rows. "
    "The squares add up. Analysis of variance of draws, seeds and test rows, all crossed; 0 (< 0): "
    "estimated below zero, set to zero; -: unknown, or a part of draws if each draw has one seed."
)
"""Explanation of the components, for captions."""


@dataclass(frozen=True)
class VarianceComponents:
    """Components of the variance of a single run's score, which add up to it.

    Attributes:
        draw: Variance from draws of training rows; contains the next two if seeds do not repeat
            on different draws. None if all runs are on one draw.
        seed: Variance from seeds, equal on all draws; None if it cannot be separated from draws,
            or for a single seed.
        run: Variance from the interaction of seeds and draws; None if it cannot be separated.
        item: Variance from test rows.
        both: Variance from the interaction of runs and test rows.
        negative: Names of the components whose estimate was below zero and was set to zero.
    """

    draw: float | None
    seed: float | None
    run: float | None
    item: float
    both: float
    negative: tuple[str, ...] = ()

    def std(self, part: str) -> float | None:
        """The standard deviation of a component, a name in :data:`PARTS`; None if unknown."""
        variance: float | None = getattr(self, part)
        return None if variance is None else float(np.sqrt(variance))

    def text(self, part: str) -> str:
        """The standard deviation as text: ``0.012``, ``-`` if unknown, ``0 (< 0)`` if set to 0."""
        std = self.std(part)
        if std is None:
            return "-"
        return "0 (< 0)" if part in self.negative else f"{std:.3f}"


def variance_components(runs: Runs) -> VarianceComponents:
    """Estimate the components of the variance of a run's score.

    Analysis of variance (method of moments) of draws, seeds and test rows, all crossed and random
    (Searle, Casella & McCulloch 1992, Variance Components, sections 4.4 and 4.7). The interactions
    of draws and seeds with test rows are estimated from the influences and subtracted from the
    variances of draws and seeds. Negative estimates are set to zero, which biases them upwards.

    Args:
        runs: Values and influences of the runs of a cell.
    """
    factors = units_of(runs.runs)
    by_factor, rest = mean_variances(runs.values, factors)
    rows_by_factor, rows_rest = mean_variances(runs.influence, factors)
    on_rows = [float(part.sum()) for part in (*rows_by_factor, rows_rest)]
    of_values = [float(part) for part in (*by_factor, rest)]
    levels = [max(factor) + 1 for factor in factors]

    def parts(variances: list[float]) -> list[float]:
        """Components for a single run: one for each factor, then the residual."""
        *of_factors, residual = variances
        return [n * (v - residual) for n, v in zip(levels, of_factors, strict=True)] + [
            residual * len(runs.values)
        ]

    alone = [a - b for a, b in zip(parts(of_values), parts(on_rows), strict=True)]
    crossed = sum(on_rows[:-1]) - on_rows[-1]
    estimates: dict[str, float | None] = {"draw": None, "seed": None, "run": None}
    if len(factors) == 2:
        estimates = dict(zip(estimates, alone, strict=True))
    elif len(runs.values) > 1:
        estimates["draw" if has_several_draws(runs.runs) else "seed"] = alone[0]
    estimates["item"] = float((runs.influence.mean(axis=0) ** 2).sum()) - crossed
    estimates["both"] = sum(parts(on_rows))
    negative = tuple(name for name, part in estimates.items() if part is not None and part < 0)
    draw, seed, run = (
        None if (v := estimates[name]) is None else max(v, 0.0) for name in ("draw", "seed", "run")
    )
    item, both = (max(estimates[name] or 0.0, 0.0) for name in ("item", "both"))
    return VarianceComponents(draw, seed, run, item, both, negative)
