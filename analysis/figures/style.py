"""The palette, the fonts and the input of all figures."""

from __future__ import annotations

from dataclasses import dataclass

from xlt.analysis.tables.cells import TableCell
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import ExperimentScores
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.spec.cell_key import CellKey

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that are distinguishable with every kind of colour vision (Okabe & Ito 2008, Color
Universal Design), without the yellow, which is too light on white."""
NEEDS = "figures need matplotlib and matplotlib-fontja: pip install 'xlt-sweep[figures]'"


@dataclass(frozen=True)
class FigureInput:
    """Data that a figure is drawn from.

    Attributes:
        collected: The trials.
        metric: Name of a metric.
        metric_name: Label of the metric on axes.
        cells: num_base_models x num_patterns cells of the metric, with intervals.
        scores: Predictions of the cells.
        key: Name of the cell, for figures of one cell.
    """

    collected: Collected
    metric: str
    metric_name: str
    cells: tuple[TableCell, ...]
    scores: ExperimentScores
    key: CellKey


def write_name(name: str) -> str:
    """Write a name as matplotlib shows it on one line; a dollar sign begins no formula."""
    return first_line(name).replace("$", r"\$")


def use_style() -> None:
    """Set fonts with Japanese glyphs, and keep text as text in files.

    Raises:
        InputError: matplotlib or its fonts are not installed.
    """
    try:
        import matplotlib
        import matplotlib_fontja
    except ImportError as error:
        raise InputError(NEEDS) from error
    matplotlib.use("agg")  # draw into files, with or without a display
    matplotlib_fontja.japanize()
    matplotlib.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "xlt",  # equal figures get equal ids
            "pdf.fonttype": 42,  # TrueType, which journals require
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
