"""Seeds and test rows that would find a difference, from variances that are known before a run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from xlt.analysis.comparisons import sizes
from xlt.analysis.comparisons.compare import LEVEL, difference_groups
from xlt.analysis.comparisons.family import FAMILIES, list_pairs
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.uncertainty.intervals import CONFIDENCE
from xlt.analysis.uncertainty.mean_variance import Components, components
from xlt.analysis.uncertainty.runs import MetricRuns
from xlt.data.core.errors import InputError
from xlt.data.tables.aligned_text import align
from xlt.sweep.experiment.experiment import Experiment


@dataclass(frozen=True)
class Variances:
    """Variances of the difference of two cells.

    Attributes:
        name: Pair of cells, or how the variances are known.
        parts: Variance components of the difference for the numbers of seeds and rows of the plan.
        num_rows: Number of test rows of the plan.
        freedom: Degrees of freedom of the estimated variance of seeds; None: it is stated.
    """

    name: str
    parts: Components
    num_rows: int
    freedom: float | None = None


def state_variances(experiment: Experiment, stds: Sequence[float]) -> list[Variances]:
    """Make variances of stated standard deviations.

    Args:
        experiment: The planned experiment.
        stds: Standard deviation of a cell's score over seeds, as in tables; and that of the
            difference of two cells over test rows, with the planned number of rows.

    Raises:
        InputError: A standard deviation is not between 0 and 1.
    """
    if not all(0 <= std < 1 for std in stds) or max(stds) == 0:
        given = " ".join(f"{std:g}" for std in stds)
        raise InputError(f"--std {given}: give two standard deviations below 1, e.g. 0.02 0.01")
    of_seeds, of_rows = stds
    num_units, num_rows = _num_units(experiment), experiment.sampling.test_rows
    parts = Components(
        unit=2 * of_seeds**2 / num_units, item=of_rows**2, both=0.0,
        unit_freedom=2.0 * (num_units - 1), item_freedom=max(num_rows - 2.0, 1.0),
        num_units=num_units, num_items=num_rows,
    )  # fmt: skip
    return [Variances("as stated", parts, num_rows)]


def earlier_variances(
    experiment: Experiment, collected: Collected, metric: str
) -> tuple[list[Variances], list[str]]:
    """Estimate the variances of differences of every two patterns of a base model.

    Args:
        experiment: The planned experiment.
        collected: Earlier results.
        metric: Name of a metric.

    Returns:
        Variances of each pair, and why other pairs have none.

    Raises:
        InputError: No pair has two common runs, or the metric is unknown.
    """
    scores, metric_runs = (
        load_scores(collected),
        MetricRuns(metric, num_classes=len(collected.plan.classes)),
    )
    num_units, num_rows = _num_units(experiment), experiment.sampling.test_rows
    known, left_out = [], []
    for first, second in list_pairs(collected.plan, scores, next(iter(FAMILIES))):
        name = f"{first.path}:{second.path}"
        try:
            pair = scores.cells[first], scores.cells[second]
            parts = components(difference_groups(*pair, metric_runs)[0])
            if parts.num_units < 2:
                raise InputError("one seed gives no variance of seeds")
        except InputError as error:
            left_out.append(f"{name}: {error}")
            continue
        planned = _as_planned(parts, num_units, num_rows / len(pair[0].ids))
        known.append(Variances(name, planned, num_rows, parts.unit_freedom))
    if not known:
        raise InputError(
            ["no two cells have variances; give --std SEEDS ROWS", *left_out],
            f"results {collected.uri}",
        )
    return known, left_out


Numbers = tuple[int | None, ...]
"""An estimated number and, if the variance of seeds is estimated, the ends of its 95 % interval.
None is more than ``sizes.MAX_RATIO`` times as many as planned."""


def numbers_needed(known: Variances, size: float) -> tuple[Numbers, Numbers]:
    """Compute the numbers of seeds or draws, and of test rows, that find a difference.

    The interval is that of the variance of seeds (chi-squared), because few seeds leave it poorly
    known; that of test rows is taken as known.

    Args:
        known: Variances of the difference.
        size: The true difference.
    """
    from scipy import special

    parts, likely = known.parts, [known.parts]
    if known.freedom is not None:
        for tail in ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2):
            factor = known.freedom / (2 * float(special.gammaincinv(known.freedom / 2, tail)))
            likely.append(replace(parts, unit=parts.unit * factor, both=parts.both * factor))
    return (
        tuple(sizes.units_needed(guess, LEVEL, size) for guess in likely),
        tuple(sizes.items_needed(guess, LEVEL, size, known.num_rows) for guess in likely),
    )


def describe_sizes(
    experiment: Experiment, size: float, metric: str, known: Sequence[Variances]
) -> str:
    """Say which differences the plan finds, and how many seeds or test rows find a given one.

    Args:
        experiment: The planned experiment.
        size: The true difference, a fraction of 1.
        metric: Name of the metric.
        known: Variances of pairs of cells.

    Raises:
        InputError: The difference is not between 0 and 1.
    """
    if not 0 < size < 1:
        raise InputError(f"--to-find {size:g}: give a difference between 0 and 1, e.g. 0.03")
    num_units, num_rows = _num_units(experiment), experiment.sampling.test_rows
    unit = "draws" if len({draw for draw, _ in experiment.draws_and_seeds}) > 1 else "seeds"
    heading = [
        "difference of", f"std {unit}", "std rows", "finds", f"{unit} needed", "rows needed",
    ]  # fmt: skip
    lines, medians = [heading], []
    for pair in known:
        units, rows = numbers_needed(pair, size)
        medians.append(math.inf if units[0] is None else units[0])
        of_units = (num_units * (pair.parts.unit + pair.parts.both) / 2) ** 0.5
        finds = sizes.detectable(pair.parts, LEVEL)
        lines.append([
            pair.name, f"{of_units:.3f}", f"{pair.parts.item**0.5:.3f}",
            f"{finds:.3f}" if finds <= 1 else ">1", _text(units), _text(rows),
        ])  # fmt: skip
    middle = statistics.median_low(medians)
    half = f"Half of the pairs need {middle:g} {unit} or fewer."
    return "\n".join(
        [
            f"To find a true difference of {size:g} in {metric} with probability {sizes.POWER:g} "
            f"at level {LEVEL:g}, with {num_units} {unit} and {num_rows} test rows:",
            *align(lines),
            f"std {unit}: of a cell's score. std rows: of the difference, from {num_rows} test "
            f"rows. finds: smallest difference found as planned. {unit} needed: in each cell, on "
            f"as many test rows. rows needed: with as many {unit}. [low, high]: 95 % interval, "
            f"because few {unit} leave their variance poorly known. -: more than "
            f"{sizes.MAX_RATIO} times as many.",
            *[half] * (len(known) > 1 and middle < math.inf),
        ]
    )


def _num_units(experiment: Experiment) -> int:
    """Count the draws of training rows, or the seeds if there is one draw; 2 or more."""
    draws, seeds = (set(column) for column in zip(*experiment.draws_and_seeds, strict=True))
    num_units = len(draws) if len(draws) > 1 else len(seeds)
    if num_units < 2:
        raise InputError("one seed finds no difference; plan 2 or more", "seeds")
    return num_units


def _as_planned(parts: Components, num_units: int, rows_ratio: float) -> Components:
    """Scale variance components to other numbers of units and rows."""
    ratio = num_units / parts.num_units
    return replace(
        parts,
        unit=parts.unit / ratio,
        item=parts.item / rows_ratio,
        both=parts.both / (ratio * rows_ratio),
        item_freedom=parts.item_freedom * rows_ratio,
        num_units=num_units,
        num_items=round(parts.num_items * rows_ratio),
        unit_freedom=parts.unit_freedom * (num_units - 1) / (parts.num_units - 1),
    )


def _text(numbers: Numbers) -> str:
    """Write a number with the ends of its interval, e.g. ``9 [4, 61]``."""
    number, *ends = ("-" if n is None else str(n) for n in numbers)
    return f"{number} [{', '.join(ends)}]" if ends else number
