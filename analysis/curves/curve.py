"""Learning curves: cells of a base model that differ only in the number of target rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xlt.analysis.curves.monotone import Array
from xlt.analysis.tables.cells import TableCell
from xlt.analysis.trials.collect import Collected
from xlt.data.dataset.patterns import SUFFIXES, TranslatedRows
from xlt.data.dataset.source_langs import join_source_langs
from xlt.trainables.spec.cell_key import CellKey

_SUFFIX_OF: dict[TranslatedRows | None, str] = {
    translate: f"+{suffix}" for suffix, translate in SUFFIXES.items()
}


@dataclass(frozen=True)
class CurvePoint:
    """A cell on its curve.

    Attributes:
        num_target_rows: Number of training rows in the target language.
        cell: Mean, std, n and interval of the cell; the mean is not None.
    """

    num_target_rows: int
    cell: TableCell


@dataclass(frozen=True)
class LearningCurve:
    """Cells of a base model that differ only in the number of target rows.

    Attributes:
        name: Name of the base model, with the suffix of its patterns such as ``+tt`` if they read
            translations, with their source languages in front if they name them (``de:mbert``),
            and with ``/num_source_rows`` if this gives several curves in a language.
        base_model: Name of the base model.
        target_lang: Language of target and test rows.
        num_source_rows: Number of training rows in the source language; 0 for a monolingual base
            model.
        points: num_points points with distinct, ascending numbers of target rows.
    """

    name: str
    base_model: str
    target_lang: str
    num_source_rows: int
    points: tuple[CurvePoint, ...]

    @property
    def num_rows(self) -> Array:
        """num_points numbers of target rows."""
        return np.array([point.num_target_rows for point in self.points], np.float64)

    @property
    def means(self) -> Array:
        """num_points means over runs."""
        return np.array([point.cell.mean for point in self.points], np.float64)

    @property
    def weights(self) -> Array:
        """num_points numbers of runs."""
        return np.array([point.cell.n for point in self.points], np.float64)


def group_by_curve(
    collected: Collected, cells: Sequence[TableCell]
) -> tuple[tuple[LearningCurve, ...], dict[CellKey, str]]:
    """Group cells by base model, target and source language, translated rows and source rows.

    Args:
        collected: The trials.
        cells: Cells of the plan; those without a mean are on no curve.

    Returns:
        The curves in the order of the cells, and why other cells with a mean are on none.
    """
    planned = {c.key: c for c in collected.plan.cells}
    by_curve: dict[tuple[str, str, str, int], dict[int, CurvePoint]] = {}
    left_out: dict[CellKey, str] = {}
    for cell in cells:
        if cell.mean is None:
            continue
        key = cell.key
        done = next(row for row in collected.by_cell[key] if row.is_done)
        num_rows = done.num_target_rows or 0
        num_source_rows = (done.num_train_rows or 0) - num_rows
        source = join_source_langs(planned[key].source_langs) if num_source_rows else ""
        name = f"{source}:" * bool(source) + cell.base_model
        name += _SUFFIX_OF.get(planned[key].translate, "")
        place = name, cell.base_model, planned[key].target_lang, num_source_rows
        points = by_curve.setdefault(place, {})
        if num_rows in points:
            other = points[num_rows].cell.pattern
            left_out[key] = f"{other} has {num_rows} target and {num_source_rows} source rows, too"
        else:
            points[num_rows] = CurvePoint(num_rows, cell)
    names = [(name, lang) for name, _, lang, _ in by_curve]
    curves = tuple(
        LearningCurve(
            name=name if names.count((name, lang)) == 1 else f"{name}/{num_source_rows}",
            base_model=model,
            target_lang=lang,
            num_source_rows=num_source_rows,
            points=tuple(points[num_rows] for num_rows in sorted(points)),
        )
        for (name, model, lang, num_source_rows), points in by_curve.items()
    )
    return curves, left_out
