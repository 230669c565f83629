"""Figure of the matrix of source and test languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xlt.analysis.figures.cells import draw_means
from xlt.analysis.figures.style import FigureInput
from xlt.analysis.languages.matrix import find_source_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_sources(axes: Axes, shown: FigureInput) -> Axes:
    """Draw the mean of each source language (line) in each test language (column).

    A frame marks test languages that are source languages.

    Raises:
        InputError: All cells have the same source languages.
    """
    from matplotlib.patches import Rectangle

    matrix = find_source_matrix(shown.collected, shown.metric)
    means = np.full((len(matrix.rows), len(matrix.langs)), np.nan)
    names = []
    for place, (row, cells) in enumerate(matrix.rows.items()):
        target = f", {row.num_target_rows} target rows" if row.num_target_rows else ""
        names.append(f"{row.base_model}, {row.source or 'no source'}{target}")
        for column, lang in enumerate(matrix.langs):
            cell = cells.get(lang)
            if cell is not None and cell.mean is not None:
                means[place, column] = cell.mean
            if row.is_same(lang):
                frame = Rectangle((column - 0.5, place - 0.5), 1, 1, fill=False, lw=2.5, ec="black")
                axes.add_patch(frame)
    draw_means(axes, means, names, matrix.langs, shown.metric_name)
    axes.set_xlabel("test language")
    axes.set_ylabel("base model, language of the source rows")
    return axes
