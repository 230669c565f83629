"""Figure of test languages: the score of every cell in each of them, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlt.analysis.figures.style import OKABE_ITO, FigureInput, write_name
from xlt.analysis.languages.scores import collect_lang_scores
from xlt.data.core.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vP*X"
"""Markers of the patterns, in turn; colours are those of the base models."""


def draw_languages(axes: Axes, shown: FigureInput) -> Axes:
    """Draw mean and 95 % interval of every cell in each test language, a row for each language.

    Raises:
        InputError: The trials were tested in one language, or none is done.
    """
    plan = shown.collected.plan
    scores = collect_lang_scores(shown.collected, shown.metric)
    if not any(own.cell.n for cell in scores.cells for own in cell.by_lang.values()):
        raise InputError("no trial is done")
    for place, cell in enumerate(scores.cells):
        offset = 0.7 * ((place + 0.5) / len(scores.cells) - 0.5)
        colour = OKABE_ITO[plan.base_models.index(cell.key.base_model) % len(OKABE_ITO)]
        marker = MARKERS[plan.patterns.index(cell.key.pattern) % len(MARKERS)]
        shown_in = [lang for lang, own in cell.by_lang.items() if own.cell.mean is not None]
        rows = [scores.langs.index(lang) + offset for lang in shown_in]
        means = [cell.by_lang[lang].cell.mean or 0.0 for lang in shown_in]
        lines = [
            (row, *ends)
            for row, lang in zip(rows, shown_in, strict=True)
            if (ends := cell.by_lang[lang].cell.interval)
        ]
        if lines:
            places, lows, highs = zip(*lines, strict=True)
            axes.hlines(places, lows, highs, color=colour, linewidth=1, alpha=0.7)
        label = f"{write_name(cell.key.base_model)} × {write_name(cell.key.pattern)}"
        axes.plot(means, rows, marker, color=colour, markersize=4, label=label)
    axes.set_yticks(range(len(scores.langs)), list(map(write_name, scores.langs)))
    axes.set_ylim(len(scores.langs) - 0.4, -0.6)
    axes.set_xlabel(f"{shown.metric_name}, mean and 95 % interval")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return axes
