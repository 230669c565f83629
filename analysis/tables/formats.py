"""FORMATS: how a finished table is written; every format shows the same texts."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xlt.analysis.tables import paper
from xlt.analysis.tables.cells import TableCell
from xlt.analysis.tables.grids import Grid, write_grids
from xlt.analysis.uncertainty.variance_components import PARTS
from xlt.data.core.text import first_line


@dataclass(frozen=True)
class Table:
    """A table of one metric, ready for any renderer.

    Attributes:
        metric: Name in ``METRICS``.
        target_lang: Language of the test rows where an experiment has several, else empty.
        caption: Sentences above the table.
        patterns: Columns.
        lines: (label, one text a pattern) a table line: base models, and published rows.
        footnotes: Sentences below the table; cells refer to them by their first character.
        cells: num_base_models x num_patterns, row by row.
        with_published: Whether published numbers were asked for.
        corner: Heading of the first column.
    """

    metric: str
    target_lang: str
    caption: tuple[str, ...]
    patterns: tuple[str, ...]
    lines: tuple[tuple[str, tuple[str, ...]], ...]
    footnotes: tuple[str, ...]
    cells: tuple[TableCell, ...]
    with_published: bool
    corner: str = "base model"


def to_text(tables: Sequence[Table]) -> str:
    """Columns aligned by display width, for terminals and mail."""
    return write_grids([_grid(table) for table in tables], "text")


def to_markdown(tables: Sequence[Table]) -> str:
    """GitHub's pipe tables."""
    return write_grids([_grid(table) for table in tables], "md")


def to_latex(tables: Sequence[Table]) -> str:
    r"""``table`` environments for article with ``\usepackage{booktabs}``.

    Names in other scripts than Latin need an engine and a font that have them.
    """
    return "\n\n".join(_one_latex(table) for table in tables)


CSV_COLUMNS = (
    "base_model", "pattern", "metric", "mean", "std", "low", "high", "n", "num_planned", "state",
    "note", "published_mean", "published_std", *(f"std_{part}" for part in PARTS),
)  # fmt: skip
"""One row a cell; numbers unrounded, empty where there is none."""


def to_csv(tables: Sequence[Table]) -> str:
    """Tidy rows of :data:`CSV_COLUMNS`, for programs; without caption and warnings."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for table in tables:
        for cell in table.cells:
            asked = table.with_published
            value = paper.published(table.metric, cell.base_model, cell.pattern) if asked else None
            ours = [cell.base_model, cell.pattern, table.metric, cell.mean, cell.std]
            ours += cell.interval or (None, None)
            ours += [cell.n, cell.num_planned, cell.state, _csv_note(cell)]
            ours += (value.mean, value.std) if value else (None, None)
            spread = cell.components
            writer.writerow([*ours, *(spread.std(part) if spread else None for part in PARTS)])
    return sink.getvalue().removesuffix("\n")


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "text": to_text,
    "md": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
}
"""Name -> function of tables; the texts do not end with a line break."""


# --- text and Markdown ----------------------------------------------------------------------


def _grid(table: Table) -> Grid:
    lines = tuple((label, *texts) for label, texts in table.lines)
    return Grid(table.caption, (table.corner, *table.patterns), lines, table.footnotes)


# --- LaTeX ----------------------------------------------------------------------------------

_LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": "$<$", ">": "$>$", "|": "$|$", "†": r"$^{\dagger}$", "*": "$^{*}$", '"': "''"}
    # A bracket after a line break would be read as its optional argument.
    | {"[": "{[}", "]": "{]}"}
)


def _one_latex(table: Table) -> str:
    rows = [
        _ampersands([table.corner, *table.patterns]),
        r"\midrule",
        *(_ampersands([label, *texts]) for label, texts in table.lines),
    ]
    # LaTeX numbers tables itself.
    number = f"{paper.TABLES[table.metric]}. " if table.metric in paper.TABLES else ""
    caption = " ".join(table.caption).removeprefix(number).translate(_LATEX)
    notes = [rf"\par\noindent {note.translate(_LATEX)}" for note in table.footnotes]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{'-'.join(filter(None, (table.metric, table.target_lang)))}}}",
            rf"\begin{{tabular}}{{l{'l' * len(table.patterns)}}}",
            r"\toprule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            *([r"\par\medskip\raggedright\footnotesize", *notes] if notes else []),
            r"\end{table}",
        ]
    )


def _ampersands(texts: Sequence[str]) -> str:
    indent = r"\quad " if texts[0].startswith("  ") else ""
    escaped = [text.strip().translate(_LATEX) for text in texts]
    return indent + " & ".join(escaped) + r" \\"


# --- CSV ------------------------------------------------------------------------------------


def _csv_note(cell: TableCell) -> str:
    return "; ".join([*cell.problems, *([first_line(cell.note)] if cell.note else [])])
