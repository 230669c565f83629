"""Figure of a search: dev score against learning rate, a panel a cell, the replicates as points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xlt.analysis.figures.style import OKABE_ITO, use_style
from xlt.analysis.search.choose import Choice
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import metric_label
from xlt.trainables.results.search_plan import SearchPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_COLUMNS = 3
IMAGES = (".svg", ".png", ".pdf")


def dev_scores(axes: Axes, choice: Choice, metric: str) -> Axes:
    """Every replicate as a point, means of whole configs as a line, the chosen rate marked.

    Hollow points belong to configs that were given up or failed.
    """
    # Settings searched beside the rate have a line each.
    series: dict[str, list[tuple[float, float]]] = {}
    for one in choice.tried:
        rate = one.config.learning_rate
        is_whole = one.is_complete and not one.failures
        face = OKABE_ITO[0] if is_whole else "none"
        known = one.scores[np.isfinite(one.scores)]
        axes.scatter(
            [rate] * len(known), known, s=14, facecolors=face, edgecolors=OKABE_ITO[0], alpha=0.45
        )
        if is_whole:
            others = str({**one.config.training, **one.config.lora})
            series.setdefault(others, []).append((rate, one.score))
    for number, points in enumerate(series.values()):
        axes.plot(*zip(*points, strict=True), color=OKABE_ITO[number % len(OKABE_ITO)], lw=1.5)
    if choice.best:
        rate, score = choice.best.config.learning_rate, choice.best.score
        axes.axvline(rate, color=OKABE_ITO[1], lw=1, ls="--")
        axes.plot([rate], [score], "D", color=OKABE_ITO[1], ms=6)
    axes.set(xscale="log", ylim=(-0.02, 1.02), xlabel="learning rate", ylabel=f"dev {metric}")
    title = f"{first_line(choice.cell.base_model)} × {first_line(choice.cell.pattern)}"
    axes.set_title(title, loc="left", fontsize=9, parse_math=False)
    return axes


def save_search_figure(plan: SearchPlan, choices: Sequence[Choice], file: Path) -> None:
    """Draw every cell into one file.

    Raises:
        InputError: Another ending than :data:`IMAGES`, no matplotlib, or a file that cannot be
            written.
    """
    if file.suffix not in IMAGES:
        raise InputError(f"ends in none of {', '.join(IMAGES)}", str(file))
    use_style()
    from matplotlib.figure import Figure

    num_columns = min(NUM_COLUMNS, len(choices))
    num_rows = math.ceil(len(choices) / num_columns)
    figure = Figure(figsize=(3.2 * num_columns, 2.6 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False).flat
    for axes, choice in zip(panels, choices, strict=False):
        dev_scores(axes, choice, metric_label(plan.metric))
    for axes in list(figure.axes)[len(choices) :]:
        axes.remove()
    try:
        figure.savefig(file, dpi=200)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", str(file)) from error
