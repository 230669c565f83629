"""What spreads the scores of a cell's runs: draws of training rows, seeds, or test rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xlt.analysis.uncertainty.runs import Runs
from xlt.analysis.uncertainty.trial_units import has_several_draws, mean_variances, units_of

PARTS = {
    "draw": "draws", "seed": "seeds", "run": "seeds on draws", "item": "test rows",
    "both": "runs on rows",
}  # fmt: skip
"""Part of :class:`VarianceComponents` -> heading."""
EXPLAINED = (
    "std of one run's score from draws of training rows; from seeds, the same on every draw; from "
    "seeds that differ on different draws; from test rows; from runs that differ on different test "
    "rows. Their squares add up. Analysis of variance of draws, seeds and test rows, all crossed; "
    "0 (< 0): estimated below zero, set to zero; -: not known, and where each draw has one seed, "
    "part of draws."
)
"""For captions."""


@dataclass(frozen=True)
class VarianceComponents:
    """Parts of the variance of a single run's score; they sum to it.

    Attributes:
        draw: From which training rows were drawn; holds the next two where seeds do not repeat
            from draw to draw. None: all runs are on one draw.
        seed: From seeds, the same on every draw; None: not told apart, or a single seed.
        run: From seeds that differ on different draws; None: not told apart.
        item: From which test rows there are.
        both: From runs that differ on different test rows.
        negative: Names of the parts whose estimate was below zero and was set to zero.
    """

    draw: float | None
    seed: float | None
    run: float | None
    item: float
    both: float
    negative: tuple[str, ...] = ()

    def std(self, part: str) -> float | None:
        """The standard deviation of a part, a name in :data:`PARTS`."""
        variance: float | None = getattr(self, part)
        return None if variance is None else float(np.sqrt(variance))

    def text(self, part: str) -> str:
        """The same: ``0.012``; ``-``: not known; ``0 (< 0)``: set to zero."""
        std = self.std(part)
        if std is None:
            return "-"
        return "0 (< 0)" if part in self.negative else f"{std:.3f}"


def variance_components(runs: Runs) -> VarianceComponents:
    """Split the variance of a run's score.

    Analysis of variance (method of moments) of draws, seeds and test rows, all crossed and random
    (Searle, Casella & McCulloch 1992, Variance Components, sections 4.4 and 4.7). What draws and
    seeds contribute on single rows shows in the influences, and is taken off what they contribute
    to the values as the mean squares of interactions with rows are. Below zero a variance is set
    to zero, which biases it upwards.

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
        """Of a run: one a factor, then the residual."""
        *found, left = variances
        return [n * (v - left) for n, v in zip(levels, found, strict=True)] + [
            left * len(runs.values)
        ]

    alone = [a - b for a, b in zip(parts(of_values), parts(on_rows), strict=True)]
    crossed = sum(on_rows[:-1]) - on_rows[-1]
    found: dict[str, float | None] = {"draw": None, "seed": None, "run": None}
    if len(factors) == 2:
        found = dict(zip(found, alone, strict=True))
    elif len(runs.values) > 1:
        found["draw" if has_several_draws(runs.runs) else "seed"] = alone[0]
    found["item"] = float((runs.influence.mean(axis=0) ** 2).sum()) - crossed
    found["both"] = sum(parts(on_rows))
    negative = tuple(name for name, part in found.items() if part is not None and part < 0)
    draw, seed, run = (
        None if (v := found[name]) is None else max(v, 0.0) for name in ("draw", "seed", "run")
    )
    item, both = (max(found[name] or 0.0, 0.0) for name in ("item", "both"))
    return VarianceComponents(draw, seed, run, item, both, negative)
