"""FIGURES: name -> function of Axes; all of an experiment, written to a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xlt.analysis.figures.cells import heat_map, paper_comparison, seed_points
from xlt.analysis.figures.curves import (
    precision_recall,
    reliability,
    roc,
    score_distributions,
    training,
)
from xlt.analysis.figures.style import FigureInput, use_style
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import metric_label, reported_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGE_FORMATS = ("png", "pdf", "svg")


@dataclass(frozen=True)
class FigureKind:
    """A kind of figure.

    Attributes:
        draw: Draws into the Axes and returns them; InputError where there is nothing to draw.
        of: Drawn once for each metric, or once for each cell.
    """

    draw: Callable[[Axes, FigureInput], Axes]
    of: str


FIGURES: dict[str, FigureKind] = {
    "heat-map": FigureKind(heat_map, "metric"),
    "seeds": FigureKind(seed_points, "metric"),
    "paper": FigureKind(paper_comparison, "metric"),
    "scores": FigureKind(score_distributions, "cell"),
    "reliability": FigureKind(reliability, "cell"),
    "roc": FigureKind(roc, "cell"),
    "precision-recall": FigureKind(precision_recall, "cell"),
    "training": FigureKind(training, "cell"),
}
"""Names that ``--kinds`` takes."""


@dataclass(frozen=True)
class Drawn:
    """A figure, or why there is none.

    Attributes:
        name: Of its file, without the ending.
        figure: None where ``why`` says so.
        why: Empty for a figure.
    """

    name: str
    figure: Figure | None
    why: str = ""


def draw_figures(collected: Collected, only: Iterable[str] = ()) -> Iterator[Drawn]:
    """Draw figures one after the other; the caller may write and forget each.

    Args:
        collected: The trials.
        only: Names in :data:`FIGURES`; empty: all.

    Raises:
        InputError: An unknown name, or matplotlib is not installed.
    """
    chosen = list(dict.fromkeys(only)) or list(FIGURES)
    if strange := [unknown("figure", name, FIGURES) for name in chosen if name not in FIGURES]:
        raise InputError(strange)
    use_style()
    plan = collected.plan
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
        if kind.of == "metric":
            for one in shown:
                yield _draw(kind, one, f"{name}-{one.metric}", plan.experiment)
        else:
            for key in keys:
                of_cell = FigureInput(**{**vars(shown[0]), "key": key})
                file = f"{name}-{_file_name(key.base_model)}-{_file_name(key.pattern)}"
                title = f"{first_line(key.base_model)} × {first_line(key.pattern)}"
                yield _draw(kind, of_cell, file, title)


def save_figures(
    collected: Collected, folder: Path, image_format: str = "svg", only: Iterable[str] = ()
) -> list[Drawn]:
    """Write figures into a folder, which is made; returns what was and was not drawn.

    Args:
        collected: The trials.
        folder: Where to.
        image_format: One of :data:`IMAGE_FORMATS`.
        only: Names in :data:`FIGURES`; empty: all.

    Raises:
        InputError: See :func:`draw_figures`; another format; a folder that cannot be written.
    """
    if image_format not in IMAGE_FORMATS:
        raise InputError(unknown("format", image_format, IMAGE_FORMATS))
    told = []
    # Without a date the same figure is the same file.
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
            told.append(Drawn(drawn.name, None, drawn.why))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", str(folder)) from error
    return told


def _draw(kind: FigureKind, shown: FigureInput, name: str, title: str) -> Drawn:
    from matplotlib.figure import Figure

    num_rows = len(shown.cells) if kind.of == "metric" else 0
    figure = Figure(figsize=(6.4, max(4.0, 1.2 + 0.28 * num_rows)), layout="constrained")
    axes = figure.add_subplot()
    try:
        kind.draw(axes, shown)
    except InputError as error:
        return Drawn(name, None, str(error))
    # A dollar sign starts mathematics, which a name is not.
    axes.set_title(first_line(title), loc="left", fontsize=10, parse_math=False)
    return Drawn(name, figure)


def _file_name(name: str) -> str:
    """A name without what file systems or shells take for something else."""
    return re.sub(r"[^\w.+-]+", "_", name).strip(".") or "_"
