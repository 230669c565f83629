"""Figure of the confusion matrix of a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xlt.analysis.figures.style import FigureInput, write_name
from xlt.analysis.metrics.class_scores import score_classes
from xlt.data.core.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_WRITTEN = 15
"""Number of classes up to which shares fit into their squares."""


def draw_confusion(axes: Axes, shown: FigureInput) -> Axes:
    """Draw the share of each class that is called each class, over all runs."""
    if shown.key not in shown.scores.cells:
        raise InputError(shown.scores.left_out.get(shown.key, "no trials planned"))
    matrix = score_classes(shown.scores.cells[shown.key]).matrix
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares if len(shares) <= MAX_WRITTEN else []):
        colour = "white" if share < 0.5 else "black"
        axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=8)
    names = list(map(write_name, shown.collected.plan.class_names))
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="called", ylabel="class")
    axes.figure.colorbar(image, ax=axes, label="share of the class, all runs")
    return axes
