"""What all figures share: the palette, fonts, and what they are given."""

from __future__ import annotations

from dataclasses import dataclass

from xlt.analysis.tables.cells import TableCell
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import ExperimentScores
from xlt.data.core.errors import InputError
from xlt.trainables.spec.cell_key import CellKey

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart with every kind of colour vision (Okabe & Ito 2008, Color Universal Design); its
yellow is left out, which is too light on white."""
NEEDS = "figures need matplotlib and matplotlib-fontja: pip install 'xlt-sweep[figures]'"


@dataclass(frozen=True)
class FigureInput:
    """What a figure is drawn from.

    Attributes:
        collected: The trials.
        metric: Name of a metric.
        metric_name: What axes call it.
        cells: num_base_models x num_patterns entries of the metric, with intervals.
        scores: Predictions of the cells.
        key: The cell, for figures of one cell.
    """

    collected: Collected
    metric: str
    metric_name: str
    cells: tuple[TableCell, ...]
    scores: ExperimentScores
    key: CellKey


def use_style() -> None:
    """Fonts with Japanese glyphs, text that stays text in files.

    Raises:
        InputError: matplotlib or its fonts are not installed.
    """
    try:
        import matplotlib
        import matplotlib_fontja
    except ImportError as error:
        raise InputError(NEEDS) from error
    matplotlib.use("agg")  # draws into files, whatever display there is
    matplotlib_fontja.japanize()
    matplotlib.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "xlt",  # the same ids for the same figure
            "pdf.fonttype": 42,  # TrueType, which journals ask for
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
