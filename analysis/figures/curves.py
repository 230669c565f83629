"""Figures of one cell: score distributions, reliability, ROC, precision and recall, training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xlt.analysis.figures.style import OKABE_ITO, FigureInput, write_name
from xlt.analysis.metrics.plot_points import (
    NUM_SCORE_BINS,
    CellCurves,
    block_means,
    make_cell_curves,
    read_history,
)
from xlt.analysis.trials.trial_names import has_draws, run_name
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.arrays import THRESHOLD
from xlt.trainables.results.result import Results
from xlt.trainables.spec.methods import BASELINES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_BLOCKS = 60
"""Number of points of a training curve, each the mean of neighbouring steps."""


def draw_score_distributions(axes: Axes, shown: FigureInput) -> Axes:
    """Draw the score distribution of each class, over all runs, and the threshold 0.5."""
    curves = _curves(shown)
    edges = np.linspace(0, 1, NUM_SCORE_BINS + 1)
    positive = write_name(shown.collected.plan.positive)
    for shares, colour, name in (
        (curves.negatives, OKABE_ITO[0], "negative"),
        (curves.positives, OKABE_ITO[1], positive),
    ):
        axes.stairs(shares, edges, fill=True, alpha=0.5, color=colour, label=name)
    axes.axvline(THRESHOLD, color="black", linestyle="--", linewidth=1, label="threshold")
    axes.set(xlim=(0, 1), xlabel=f"probability of {positive}", ylabel="share of the class")
    axes.legend(frameon=False)
    return axes


def draw_reliability(axes: Axes, shown: FigureInput) -> Axes:
    """Draw the share of positives by mean score in bins of equal mass; calibrated: the diagonal."""
    curve = _curves(shown).reliability
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1)
    axes.plot(curve.mean_score, curve.positives, "o-", color=OKABE_ITO[0], markersize=4)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean probability", ylabel="share positive")
    return axes


def draw_roc(axes: Axes, shown: FigureInput) -> Axes:
    """Draw the ROC curve of every run."""
    for number, run in enumerate(_curves(shown).runs):
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        axes.plot(*run.roc, color=colour, label=run.name)
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1)
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.legend(loc="lower right", frameon=False)
    return axes


def draw_precision_recall(axes: Axes, shown: FigureInput) -> Axes:
    """Draw precision by recall for every run."""
    for number, run in enumerate(_curves(shown).runs):
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        axes.step(*run.precision_recall, where="post", color=colour, label=run.name)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.legend(loc="lower left", frameon=False)
    return axes


def draw_training(axes: Axes, shown: FigureInput) -> Axes:
    """Draw the training loss of every done run by epoch, as means of neighbouring steps.

    Raises:
        InputError: No run is done, or a training history cannot be read.
    """
    location = Results(shown.collected.uri)
    rows = [row for row in shown.collected.by_cell[shown.key] if row.is_done]
    if not rows:
        raise InputError("no run is done")
    with_draw = has_draws([row.draw_index for row in rows])
    for number, row in enumerate(rows):
        if row.method in BASELINES:
            raise InputError(f"method {row.method} has no epochs, so there is no training curve")
        history = read_history(location, row.trial_id)
        axes.plot(
            block_means(history["epoch"], NUM_BLOCKS),
            block_means(history["loss"], NUM_BLOCKS),
            color=OKABE_ITO[number % len(OKABE_ITO)],
            label=run_name(row.run, with_draw),
        )
    axes.set(xlabel="epoch", ylabel="training loss")
    axes.legend(frameon=False)
    return axes


def _curves(shown: FigureInput) -> CellCurves:
    if shown.key not in shown.scores.cells:
        raise InputError(shown.scores.left_out.get(shown.key, "no trials planned"))
    return make_cell_curves(shown.scores.cells[shown.key])
