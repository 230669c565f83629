"""Table of the matrix of source and test languages."""

from __future__ import annotations

from xlt.analysis.languages.matrix import MatrixRow, SourceMatrix
from xlt.analysis.languages.records import describe_scores, group_reasons, make_record
from xlt.analysis.tables.cells import TableCell, format_cell, write_footnotes
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.trial_names import describe_runs
from xlt.data.core.text import first_line

SAME = "="
"""Mark of a test language that is a source language."""


def make_matrix_table(matrix: SourceMatrix) -> Table:
    """Make the table: a line for each source language, a column for each test language."""
    entries = [(row, lang, cell) for row, own in matrix.rows.items() for lang, cell in own.items()]
    cells = [cell for _, _, cell in entries]
    counts = {cell.num_planned for cell in cells}
    num_runs = counts.pop() if len(counts) == 1 else None
    several = len({row.num_source_rows for row in matrix.rows if row.source}) > 1
    lines = []
    for row, own in matrix.rows.items():
        texts = (_write(row, lang, own.get(lang), num_runs) for lang in matrix.langs)
        source_rows = [str(row.num_source_rows)] * several
        numbers = str(row.num_target_rows), *source_rows
        lines.append((first_line(row.base_model), *numbers, row.source or "none", *texts))
    records = [
        make_record(
            "source", matrix, **cell.key._asdict(), source_lang=row.source or None, test_lang=lang,
            n=cell.n, mean=cell.mean, std=cell.std, note="; ".join(cell.problems),
        )
        for row, lang, cell in entries
    ]  # fmt: skip
    return Table(
        name=f"{matrix.metric}-sources",
        caption=(
            *describe_scores(matrix),
            f"Line: language of the source rows. Column: test language. {SAME} marks a test "
            "language that is a source language, without target rows the monolingual reference.",
            "With target rows, they are in the test language.",
            f"Cells: mean (std) over {describe_runs(matrix.collected.plan)}.",
        ),
        heading=(
            "base model", "target rows", *["source rows"] * several, "source", *matrix.langs,
        ),
        lines=tuple(lines),
        footnotes=(
            *write_footnotes([cell for cell in cells if cell.state != "impossible"]),
            *group_reasons("Not in the matrix:", matrix.left_out),
        ),
        records=tuple(records),
    )  # fmt: skip


def _write(row: MatrixRow, lang: str, cell: TableCell | None, num_runs: int | None) -> str:
    if cell is None:
        return "-"
    return format_cell(cell, num_runs) + f" {SAME}" * row.is_same(lang)
