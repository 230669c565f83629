"""Figures of all cells: a heat map, seeds with intervals, and ours beside the published values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.figures.style import OKABE_ITO, FigureInput, write_name
from xlt.analysis.tables import paper
from xlt.analysis.tables.cells import TableCell
from xlt.data.core.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_heat_map(axes: Axes, shown: FigureInput) -> Axes:
    """Draw the mean of the metric in every cell, base models x patterns; a dash without a mean."""
    plan = shown.collected.plan
    models, patterns = plan.base_models, plan.patterns
    means = np.full((len(models), len(patterns)), np.nan)
    for cell in shown.cells:
        if cell.mean is not None:
            means[models.index(cell.base_model), patterns.index(cell.pattern)] = cell.mean
    draw_means(axes, means, models, patterns, shown.metric_name)
    return axes


def draw_means(
    axes: Axes, means: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], label: str
) -> None:
    """Draw means as coloured fields with numbers, and dashes for NaN.

    Args:
        axes: Axes to draw into.
        means: num_rows x num_columns.
        rows: num_rows names.
        columns: num_columns names.
        label: Label of the metric.
    """
    image = axes.imshow(np.ma.masked_invalid(means), cmap="cividis", aspect="auto")
    middle = (np.nanmin(means) + np.nanmax(means)) / 2
    for (row, column), mean in np.ndenumerate(means):
        text = "–" if np.isnan(mean) else f"{mean:.3f}"
        dark = not np.isnan(mean) and mean < middle
        axes.text(column, row, text, ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(columns)), list(map(write_name, columns)))
    axes.set_yticks(range(len(rows)), list(map(write_name, rows)))
    axes.figure.colorbar(image, ax=axes, label=f"{label}, mean over runs")


def draw_seeds(axes: Axes, shown: FigureInput) -> Axes:
    """Draw the value of every run, the mean of the cell and its 95 % confidence interval."""
    _seeds(axes, shown, _with_value(shown))
    axes.set_xlabel(shown.metric_name)
    return axes


def draw_paper_comparison(axes: Axes, shown: FigureInput) -> Axes:
    """Draw our runs and intervals beside the published mean and standard deviation.

    Raises:
        InputError: The paper has none of the cells with a value.
    """
    cells = [cell for cell in _with_value(shown) if paper.find_published(shown.metric, cell.key)]
    if not cells:
        raise InputError("the paper has none of the cells with a value")
    _seeds(axes, shown, cells)
    for row, cell in enumerate(cells):
        value = paper.find_published(shown.metric, cell.key)
        if value is not None:
            axes.errorbar(
                value.mean, row + 0.25, xerr=value.std, fmt="D", color="black", mfc="white",
                capsize=2, markersize=5, label="paper, mean and std" if row == 0 else None,
            )  # fmt: skip
    axes.set_xlabel(shown.metric_name)
    axes.legend(loc="best", frameon=False)
    return axes


def _with_value(shown: FigureInput) -> list[TableCell]:
    cells = [cell for cell in shown.cells if cell.mean is not None]
    if not cells:
        raise InputError("no trial is done")
    return cells


def _seeds(axes: Axes, shown: FigureInput, cells: list[TableCell]) -> None:
    patterns = shown.collected.plan.patterns
    for row, cell in enumerate(cells):
        colour = OKABE_ITO[patterns.index(cell.pattern) % len(OKABE_ITO)]
        values = [
            row.metrics[shown.metric]
            for row in shown.collected.by_cell.get(cell.key, ())
            if shown.metric in row.metrics
        ]
        axes.plot(values, [row] * len(values), "o", color=colour, alpha=0.6, markersize=5)
        mean = np.array([cell.mean], np.float64)
        axes.plot(mean, [row], "|", color=colour, markersize=14, markeredgewidth=2.5)
        if cell.interval:
            axes.hlines(row, *cell.interval, color=colour, linewidth=1.5, alpha=0.7)
    names = [f"{write_name(c.base_model)} × {write_name(c.pattern)}" for c in cells]
    axes.set_yticks(range(len(cells)), names)
    axes.set_ylim(len(cells) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)
