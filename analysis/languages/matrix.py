"""The matrix of languages: what each source language gives in each test language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from xlt.analysis.tables.cells import TableCell
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.test_lang import tested_in
from xlt.data.core.errors import InputError
from xlt.data.dataset.source_langs import join_source_langs
from xlt.trainables.results.plan import Plan, PlannedCell


class MatrixRow(NamedTuple):
    """The cells of a line of the matrix.

    Attributes:
        base_model: Name of the base model.
        num_target_rows: Training rows in the target language.
        num_source_rows: Training rows in the source languages; 0 for a monolingual base model.
        source: Source language, or several such as en+de; empty without source rows.
    """

    base_model: str
    num_target_rows: int
    num_source_rows: int
    source: str

    def is_same(self, lang: str) -> bool:
        """Whether a test language is the source language, or one of several."""
        return lang in self.source.split("+")


@dataclass(frozen=True)
class SourceMatrix:
    """Source language x test language, for each base model and number of target rows.

    Attributes:
        collected: The trials.
        metric: Name of the metric.
        langs: Test languages.
        rows: Line -> test language -> cell; a language is absent if no cell was tested in it.
        left_out: (cell, reason why it is in no line).
    """

    collected: Collected
    metric: str
    langs: tuple[str, ...]
    rows: Mapping[MatrixRow, Mapping[str, TableCell]]
    left_out: tuple[tuple[str, str], ...]


def has_sources(collected: Collected) -> bool:
    """Whether cells of an experiment have different source languages."""
    return len({cell.source_langs for cell in collected.plan.cells if cell.source_langs}) > 1


def find_source_matrix(collected: Collected, metric: str) -> SourceMatrix:
    """Find the cell of each source and test language.

    With target rows it is the cell whose target language is the test language. Without, any
    pattern of the source language trains on the same rows, and that of the test language is taken
    if there is one. Without test languages each cell is tested in its target language only.

    Args:
        collected: The trials, as they are or at a prevalence.
        metric: Name of a metric.

    Raises:
        InputError: All cells have the same source languages, or the metric is unknown.
    """
    if not has_sources(collected):
        raise InputError("cells have one source language; give task.source_lang a list of several")
    plan, rows = collected.plan, dict[MatrixRow, dict[str, tuple[bool, TableCell]]]()
    langs = tuple(plan.test_langs or plan.target_langs)
    for lang in langs:
        view = tested_in(collected, lang)
        cells = {cell.key: cell for cell in collect_metric_cells(view, metric).cells}
        for planned in view.plan.cells:
            place, is_own = _find_row(view, planned), planned.target_lang == lang
            if isinstance(place, str) or (place.num_target_rows and not is_own):
                continue
            entries = rows.setdefault(place, {})
            if lang not in entries or (is_own and not entries[lang][0]):
                entries[lang] = is_own, cells[planned.key]
    left_out = ((cell, _find_row(collected, cell)) for cell in plan.cells if cell.trials)
    return SourceMatrix(
        collected,
        metric,
        langs,
        {row: {lang: cell for lang, (_, cell) in rows[row].items()} for row in _sort(rows, plan)},
        tuple((cell.key.path, why) for cell, why in left_out if isinstance(why, str)),
    )


def _find_row(collected: Collected, cell: PlannedCell) -> MatrixRow | str:
    """Find the line of a cell, or the reason why it is in none."""
    done = next((row for row in collected.by_cell[cell.key] if row.is_done), None)
    if done is None:
        return "no trial is done"
    if cell.translate:
        return "it reads translations"
    num_target_rows = done.num_target_rows or 0
    num_source_rows = (done.num_train_rows or 0) - num_target_rows
    source = join_source_langs(cell.source_langs) if num_source_rows else ""
    return MatrixRow(cell.base_model, num_target_rows, num_source_rows, source)


def _sort(rows: Iterable[MatrixRow], plan: Plan) -> list[MatrixRow]:
    """Sort lines by base model and numbers of rows, then by source language; without one last."""
    models = plan.base_models
    sources = [*dict.fromkeys(join_source_langs(cell.source_langs) for cell in plan.cells), ""]
    return sorted(
        rows,
        key=lambda row: (
            models.index(row.base_model), row.num_target_rows, row.source == "",
            row.num_source_rows, sources.index(row.source),
        ),
    )  # fmt: skip
