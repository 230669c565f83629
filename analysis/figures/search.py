"""Figure of a search: dev score against learning rate, with one panel for each cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xlt.analysis.figures.style import OKABE_ITO, use_style, write_name
from xlt.analysis.search.choose import Choice
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.registry import metric_label
from xlt.trainables.results.search_plan import SearchPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_COLUMNS = 3
IMAGES = (".svg", ".png", ".pdf")


def draw_dev_scores(axes: Axes, choice: Choice, metric: str) -> Axes:
    """Draw each replicate as a point, means of complete configs as a line, and the chosen rate.

    Hollow points belong to configs that were stopped early or failed.
    """
    # Each combination of the other searched settings has its own line.
    series: dict[str, list[tuple[float, float]]] = {}
    for tried in choice.tried:
        rate = tried.config.learning_rate
        is_whole = tried.is_complete and not tried.failures
        face = OKABE_ITO[0] if is_whole else "none"
        known = tried.scores[np.isfinite(tried.scores)]
        axes.scatter(
            [rate] * len(known), known, s=14, facecolors=face, edgecolors=OKABE_ITO[0], alpha=0.45
        )
        if is_whole:
            others = str({**tried.config.training, **tried.config.lora})
            series.setdefault(others, []).append((rate, tried.score))
    for number, points in enumerate(series.values()):
        axes.plot(*zip(*points, strict=True), color=OKABE_ITO[number % len(OKABE_ITO)], lw=1.5)
    if choice.best:
        rate, score = choice.best.config.learning_rate, choice.best.score
        axes.axvline(rate, color=OKABE_ITO[1], lw=1, ls="--")
        axes.plot([rate], [score], "D", color=OKABE_ITO[1], ms=6)
    axes.set(xscale="log", ylim=(-0.02, 1.02), xlabel="learning rate", ylabel=f"dev {metric}")
    title = f"{write_name(choice.cell.base_model)} × {write_name(choice.cell.pattern)}"
    axes.set_title(title, loc="left", fontsize=9)
    return axes


def save_search_figure(plan: SearchPlan, choices: Sequence[Choice], file: Path) -> None:
    """Draw all cells into one file.

    Raises:
        InputError: The suffix is not in :data:`IMAGES`, matplotlib is missing, or the file is not
            writable.
    """
    if file.suffix not in IMAGES:
        raise InputError(f"has none of the suffixes {', '.join(IMAGES)}", str(file))
    use_style()
    from matplotlib.figure import Figure

    num_columns = min(NUM_COLUMNS, len(choices))
    num_rows = math.ceil(len(choices) / num_columns)
    figure = Figure(figsize=(3.2 * num_columns, 2.6 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False).flat
    for axes, choice in zip(panels, choices, strict=False):
        draw_dev_scores(axes, choice, metric_label(plan.metric))
    for axes in list(figure.axes)[len(choices) :]:
        axes.remove()
    try:
        figure.savefig(file, dpi=200)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", str(file)) from error
