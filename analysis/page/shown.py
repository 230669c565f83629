"""Tables of the page: texts, values to sort by, and the same content as CSV and LaTeX."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from xlt.analysis.boundary.measure import CellBoundary, boundary
from xlt.analysis.boundary.table import boundary_grids
from xlt.analysis.claims import PAPER, ResultCells, shipped_claims
from xlt.analysis.claims.report import claims_grids
from xlt.analysis.tables import paper
from xlt.analysis.tables.cells import TableCell, interval_text, mean_std
from xlt.analysis.tables.formats import Table, to_csv, to_latex
from xlt.analysis.tables.grids import Grid, write_grids
from xlt.analysis.trials.collect import Collected
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import metric_label


@dataclass(frozen=True)
class Entry:
    """An entry of a table.

    Attributes:
        text: What it shows.
        value: What its column is sorted by; empty: the text.
        small: Lines below the text.
        kind: A style: "" or one of page/style.css, e.g. ``verdict-good``.
    """

    text: str
    value: float | str = ""
    small: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table of the page.

    Attributes:
        name: Identifies it in the page and names its files.
        title: Heading.
        caption: Sentences below the heading.
        heading: num_columns texts.
        rows: num_rows x num_columns.
        footnotes: Sentences below it.
        csv: For download.
        latex: For download.
        sortable: Whether rows may be sorted; claims stand above their lines.
        sentence: What the table says, in one line above it; empty: nothing in short.
    """

    name: str
    title: str
    caption: tuple[str, ...]
    heading: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    footnotes: tuple[str, ...]
    csv: str
    latex: str
    sortable: bool = True
    sentence: str = ""


VERDICTS = {
    "mostly boundary": "warn",
    "boundary, if labels are at hand": "warn",
    "any cut, not ranking": "bad",
    "mostly ranking": "bad",
    "no clear gap": "none",
    "supported": "good",
    "contradicted": "bad",
    "undecided": "warn",
    "not evaluated": "none",
    "second higher": "good",
    "first higher": "good",
    "these runs only": "warn",
    "not after Holm": "warn",
    "unsettled": "none",
}
"""Verdict of a cell, a claim or a comparison -> style. The words are shown, too, since colour alone
says nothing."""
PART = "  "
"""What a line begins with that belongs to the one above it."""
BOUNDARY_ASKS = (
    "What F1 at threshold 0.5 lacks to the reference, the cell of the same base model with the "
    "most target rows: another threshold (boundary), or ranking."
)
PUBLISHED_BELOW_MINIATURES = (
    "paper: published values of the models that the miniatures stand in for, on the paper's data; "
    "levels are not comparable."
)


def shown_table(table: Table) -> PageTable:
    """Table 3, Table 4 or one of other metrics; the published value below ours."""
    patterns = list(dict.fromkeys(cell.pattern for cell in table.cells))
    rows: dict[str, list[Entry]] = {}
    for cell in table.cells:
        row = rows.setdefault(cell.base_model, [Entry(first_line(cell.base_model))])
        row.append(_cell(cell, table.metric))
    lang = f" ({table.target_lang})" if table.target_lang else ""
    small = table.with_published and paper.stand_ins(rows)
    number = f"{paper.TABLES[table.metric]}: " if table.metric in paper.TABLES else ""
    return PageTable(
        name="-".join(filter(None, (table.metric, table.target_lang))),
        title=f"{number}{metric_label(table.metric)}{lang}",
        caption=table.caption,
        heading=(table.corner, *map(first_line, patterns)),
        rows=tuple(map(tuple, rows.values())),
        footnotes=table.footnotes,
        csv=to_csv([table]),
        latex=to_latex([table]),
        sentence=PUBLISHED_BELOW_MINIATURES if small else "",
    )


def _cell(cell: TableCell, metric: str) -> Entry:
    if cell.state == "impossible":
        return Entry("–", -1.0)
    value = paper.published(metric, cell.base_model, cell.pattern)
    below = [f"paper {mean_std(value.mean, value.std)}"] if value else []
    if cell.state == "undefined":
        return Entry("n/a†", -1.0, tuple(below), "none")
    if cell.mean is None:
        return Entry(f"{cell.state} 0/{cell.num_planned}", -1.0, tuple(below), "bad")
    if cell.interval:
        below.insert(0, interval_text(*cell.interval))
    marks = ("†" if cell.problems else "") + ("*" if cell.note else "")
    count = f" {cell.n}/{cell.num_planned}" if cell.state == "partial" else ""
    return Entry(mean_std(cell.mean, cell.std) + count + marks, cell.mean, tuple(below))


def boundary_table(collected: Collected) -> tuple[list[CellBoundary], PageTable]:
    """The verdicts on boundary and ranking, and their table.

    Raises:
        InputError: No cell has a value, or see :func:`boundary`.
    """
    judged = boundary(collected)
    if not any(cell.gap for cell in judged):
        raise InputError("no cell has a value yet")
    grid, shifts = boundary_grids(collected, judged)[:2]
    grid = replace(
        grid,
        caption=(*grid.caption, *shifts.caption),
        heading=_verdict_first(grid.heading, shifts.heading),
        lines=tuple(map(_verdict_first, grid.lines, shifts.lines)),
    )
    shown = shown_grid("boundary", "Boundary or ranking?", grid)
    rows = tuple(map(_open_verdicts, shown.rows, judged))
    return judged, replace(shown, rows=rows, sentence=BOUNDARY_ASKS)


def _open_verdicts(row: tuple[Entry, ...], cell: CellBoundary) -> tuple[Entry, ...]:
    """The row of a cell; what an undecided one may be stands below its verdict."""
    if cell.gap is None or len(cell.gap.open) < 2:
        return row
    *names, verdict = row[:3]
    return (*names, replace(verdict, small=tuple(cell.gap.open)), *row[3:])


def _verdict_first(line: tuple[str, ...], shifts: tuple[str, ...]) -> tuple[str, ...]:
    """Verdict and share, the last two columns, are what is looked for, then the score shifts."""
    *columns, share, verdict = line
    return (*columns[:2], verdict, share, *shifts[2:], *columns[2:])


def claims_table(collected: Collected) -> PageTable:
    """The paper's claims, tested on these results beside the published tables.

    Raises:
        InputError: No base model stands for one of the paper's, or nothing is done.
    """
    if not any(map(paper.counterpart, collected.plan.base_models)):
        raise InputError("no base model of this experiment is one of the paper's")
    if not collected.metrics:
        raise InputError("no trial is done")
    grid = claims_grids(shipped_claims(PAPER), ResultCells(collected), published=True)[0]
    counts = (
        f"{grid.heading[column]}: {_counted(grid, column)}"
        for column in range(1, len(grid.heading), 2)  # behind each verdict stands its p
    )
    small = paper.stand_ins(collected.plan.base_models)
    told = " Ours are of miniatures, which are not the models that the claims name." * bool(small)
    shown = shown_grid("claims", "The paper's claims", grid, sortable=False)
    return replace(shown, sentence=f"Claims, {'; '.join(counts)}.{told}")


def _counted(grid: Grid, column: int) -> str:
    """How many claims have which verdict."""
    found = Counter(line[column] for line in grid.lines if not line[0].startswith(PART))
    return ", ".join(f"{num} {verdict}" for verdict, num in found.items())


def shown_grid(name: str, title: str, grid: Grid, sortable: bool = True) -> PageTable:
    """A table whose columns are not patterns."""
    return PageTable(
        name=name,
        title=title,
        caption=grid.caption,
        heading=grid.heading,
        rows=tuple(tuple(map(text_entry, line)) for line in grid.lines),
        footnotes=grid.footnotes,
        csv=write_grids([grid], "csv"),
        latex=to_latex([_as_table(name, grid)]),
        sortable=sortable,
    )


def _as_table(name: str, grid: Grid) -> Table:
    """The same texts as a table of patterns, which LaTeX is made of."""
    lines = tuple((line[0], line[1:]) for line in grid.lines)
    corner, *columns = grid.heading
    return Table(name, "", grid.caption, tuple(columns), lines, grid.footnotes, (), False, corner)


def text_entry(text: str) -> Entry:
    """A text, sorted by the number that it starts with; a verdict in its style."""
    kind = VERDICTS.get(text, "part" if text.startswith(PART) else "")
    return Entry(text.strip(), _number(text), (), kind)


def _number(text: str) -> float | str:
    """The number that a text starts with, to sort by; the text where there is none."""
    try:
        return float(text.split(" ")[0].removeprefix("<"))
    except ValueError:
        return text.strip()


def trial_files(collected: Collected, metrics: Sequence[str]) -> list[str]:
    """The trials as CSV and as LaTeX; the page makes its table of the columns itself."""
    shown = [metric for metric in metrics if metric in collected.metrics]
    heading = (
        "trial",
        "base model",
        "pattern",
        "draw",
        "seed",
        "state",
        *map(metric_label, shown),
        "fit, s",
    )
    lines = tuple(
        (
            *map(first_line, (row.trial_id, *row.cell, *map(str, row.run), row.state)),
            *(_number_text(row.metrics.get(metric), 4) for metric in shown),
            _number_text(row.fit_seconds, 1),
        )
        for row in collected.rows
    )
    records = tuple(dict(zip(heading, line, strict=True)) for line in lines)
    caption = (f"Trials of experiment {collected.plan.experiment}.",)
    grid = Grid(caption, heading, lines, (), records)
    return [write_grids([grid], "csv"), to_latex([_as_table("trials", grid)])]


def _number_text(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
