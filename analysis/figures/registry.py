"""FIGURES: kinds of figures, and functions that draw those of an experiment into a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xlt.analysis.figures.cells import draw_heat_map, draw_paper_comparison, draw_seeds
from xlt.analysis.figures.confusion import draw_confusion
from xlt.analysis.figures.curves import (
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    draw_score_distributions,
    draw_training,
)
from xlt.analysis.figures.languages import draw_languages
from xlt.analysis.figures.sources import draw_sources
from xlt.analysis.figures.style import FigureInput, use_style, write_name
from xlt.analysis.languages.matrix import has_sources
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.data.core.errors import InputError, unknown
from xlt.trainables.metrics.registry import metric_label, reported_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGE_FORMATS = ("png", "pdf", "svg")
MAX_HEIGHT = 120.0
"""Height of a figure in inches; at 200 dots an inch, matplotlib draws at most 327."""
MAX_NAME = 40
"""Characters of a name in the name of a file, which file systems limit to 255 bytes."""


@dataclass(frozen=True)
class FigureKind:
    """A kind of figure.

    Attributes:
        draw: Function that draws into Axes and returns them; InputError if nothing can be drawn.
        of: ``cell``: each figure of this kind is drawn for a cell; otherwise for a metric, with a
            row for each cell (``metric``) or test language (``languages``).
        two_classes: Whether it is drawn of two classes.
        more_classes: Whether it is drawn of more than two.
        of_sources: Whether it is drawn only of cells with different source languages.
    """

    draw: Callable[[Axes, FigureInput], Axes]
    of: str
    two_classes: bool = True
    more_classes: bool = True
    of_sources: bool = False

    def suits(self, collected: Collected) -> bool:
        """Whether it is drawn of so many classes and source languages."""
        is_binary = len(collected.plan.classes) == 2
        suits_classes = self.two_classes if is_binary else self.more_classes
        return suits_classes and (not self.of_sources or has_sources(collected))


FIGURES: dict[str, FigureKind] = {
    "heat-map": FigureKind(draw_heat_map, "metric"),
    "seeds": FigureKind(draw_seeds, "metric"),
    "paper": FigureKind(draw_paper_comparison, "metric"),
    "languages": FigureKind(draw_languages, "languages"),
    "sources": FigureKind(draw_sources, "metric", of_sources=True),
    "scores": FigureKind(draw_score_distributions, "cell", more_classes=False),
    "reliability": FigureKind(draw_reliability, "cell", more_classes=False),
    "roc": FigureKind(draw_roc, "cell", more_classes=False),
    "precision-recall": FigureKind(draw_precision_recall, "cell", more_classes=False),
    "confusion": FigureKind(draw_confusion, "cell", two_classes=False),
    "training": FigureKind(draw_training, "cell"),
}
"""Names that ``--kinds`` takes."""


@dataclass(frozen=True)
class DrawnFigure:
    """A figure, or the reason why there is none.

    Attributes:
        name: Name of the file, without its suffix.
        figure: The figure; None if it could not be drawn or is written already.
        why: Reason why it could not be drawn; else empty.
    """

    name: str
    figure: Figure | None
    why: str = ""


def draw_figures(collected: Collected, only: Iterable[str] = ()) -> Iterator[DrawnFigure]:
    """Yield figures one by one, so that the caller can write each and free its memory.

    Args:
        collected: The trials.
        only: Names in :data:`FIGURES`, e.g. ``["seeds", "roc"]``; empty: all that suit the classes
            and source languages.

    Yields:
        A figure for each metric or cell: its ``figure`` is one of matplotlib, or None with the
        reason in ``why``.

    Raises:
        InputError: An unknown name, or matplotlib is not installed.
    """
    plan = collected.plan
    suiting = [name for name, kind in FIGURES.items() if kind.suits(collected)]
    chosen = list(dict.fromkeys(only)) or suiting
    if strange := [unknown("figure", name, FIGURES) for name in chosen if name not in FIGURES]:
        raise InputError(strange)
    use_style()
    known = reported_metrics(len(plan.classes))
    metrics = [metric for metric in known if metric in collected.metrics]
    if not metrics:
        raise InputError("no trial is done; `xlt status` says why", f"results {collected.uri}")
    intervals = CellIntervals(load_scores(collected))
    shown = [
        FigureInput(
            collected, metric, metric_label(metric),
            collect_metric_cells(collected, metric, intervals=intervals).cells, intervals.scores,
            plan.cells[0].key,
        )
        for metric in metrics
    ]  # fmt: skip
    keys = [cell.key for cell in plan.cells if cell.trials]
    for name in chosen:
        kind = FIGURES[name]
        if kind.of != "cell":
            title = write_name(plan.experiment)
            for of_metric in shown:
                yield _draw(kind, of_metric, f"{name}-{of_metric.metric}", title)
        else:
            for key in keys:
                of_cell = FigureInput(**{**vars(shown[0]), "key": key})
                file = f"{name}-{_file_name(key.base_model)}-{_file_name(key.pattern)}"
                title = f"{write_name(key.base_model)} × {write_name(key.pattern)}"
                yield _draw(kind, of_cell, file, title)


def save_figures(
    collected: Collected, folder: Path, image_format: str = "svg", only: Iterable[str] = ()
) -> list[DrawnFigure]:
    """Write figures into a folder, which is created if needed.

    Args:
        collected: The trials.
        folder: Folder of the files.
        image_format: One of :data:`IMAGE_FORMATS`.
        only: Names in :data:`FIGURES`; empty: all.

    Returns:
        All figures, those that could not be drawn included, without their contents.

    Raises:
        InputError: See :func:`draw_figures`; the format is unknown, or the folder is not writable.
    """
    if image_format not in IMAGE_FORMATS:
        raise InputError(unknown("format", image_format, IMAGE_FORMATS))
    figures = []
    # The same figure must give the same file, so no date is written.
    metadata = (
        {} if image_format == "png" else {"Date" if image_format == "svg" else "CreationDate": None}
    )
    try:
        for drawn in draw_figures(collected, only):
            if drawn.figure is not None:
                folder.mkdir(parents=True, exist_ok=True)
                drawn.figure.savefig(
                    folder / f"{drawn.name}.{image_format}", dpi=200, metadata=metadata
                )
            figures.append(DrawnFigure(drawn.name, None, drawn.why))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", str(folder)) from error
    return figures


def _draw(kind: FigureKind, shown: FigureInput, name: str, title: str) -> DrawnFigure:
    from matplotlib.figure import Figure

    num_cells, num_langs = len(shown.cells), len(shown.collected.plan.test_langs)
    num_rows = {"metric": num_cells, "languages": num_langs * (1 + num_cells // 3)}.get(kind.of, 0)
    figure = Figure(
        figsize=(6.4, min(max(4.0, 1.2 + 0.28 * num_rows), MAX_HEIGHT)), layout="constrained"
    )
    axes = figure.add_subplot()
    try:
        kind.draw(axes, shown)
    except InputError as error:
        return DrawnFigure(name, None, str(error))
    axes.set_title(title, loc="left", fontsize=10)
    return DrawnFigure(name, figure)


def _file_name(name: str) -> str:
    """Replace the characters of a name that file systems or shells treat specially."""
    return re.sub(r"[^\w.+-]+", "_", name).strip(".")[:MAX_NAME] or "_"
