"""Tables of the page: a Table with a title, styles and values to sort by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from xlt.analysis.boundary.judge_cells import CellBoundary
from xlt.analysis.boundary.measure import boundary
from xlt.analysis.boundary.table import make_boundary_tables
from xlt.analysis.claims import PAPER, ResultCells, shipped_claims
from xlt.analysis.claims.report import make_claims_tables
from xlt.analysis.tables import paper
from xlt.analysis.tables.alarms import make_alarm_table
from xlt.analysis.tables.cells import TableCell, format_interval, format_mean, mark_cell
from xlt.analysis.tables.classes import make_class_table
from xlt.analysis.tables.formats import write_tables
from xlt.analysis.tables.metric_cells import MetricCells
from xlt.analysis.tables.report import make_metric_table
from xlt.analysis.tables.table import PART, Table
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import ExperimentScores
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line, percent
from xlt.trainables.metrics.registry import metric_label


@dataclass(frozen=True)
class Entry:
    """An entry of a table.

    Attributes:
        text: Text of the entry.
        value: Value to sort the column by; empty: the text.
        small: Lines in small print below the text.
        kind: Style, a class of page/style.css, e.g. ``good``; empty: none.
    """

    text: str
    value: float | str = ""
    small: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table with a title, styles and values to sort by.

    Attributes:
        table: Caption, footnotes and the content of downloads.
        title: Title of its section.
        heading: num_columns texts, in the order in which the page shows the columns.
        rows: num_rows x num_columns entries.
        sortable: Whether readers can sort and filter the rows. Claims stand above their parts, so
            their order is fixed.
        sentence: Summary in one line above the table; empty: none.
    """

    table: Table
    title: str
    heading: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    sortable: bool = True
    sentence: str = ""

    @property
    def downloads(self) -> list[str]:
        """Content of the downloads: CSV and LaTeX."""
        return write_downloads(self.table)


VERDICTS = {
    "both": "bad",
    "ranks worse": "bad",
    "chance": "bad",
    "threshold is off": "warn",
    "weights are off": "warn",
    "undecided": "warn",
    "neither found": "good",
    "reference": "none",
    "supported": "good",
    "contradicted": "bad",
    "not evaluated": "none",
    "second higher": "good",
    "first higher": "good",
    "not after correction": "warn",
    "unsettled": "none",
    "not tested": "none",
}
"""Verdict of a cell, a claim or a comparison -> style. The page shows the words, too, because not
everybody sees colours."""
BOUNDARY_SUMMARY = (
    "Two questions about each cell: does it rank rows worse than its reference, the cell of the "
    "same base model with the most target rows? And would {better} be better?"
)
PUBLISHED_BELOW_MINIATURES = (
    "paper: published values of the models that the miniatures stand in for, on the paper's data; "
    "levels are not comparable."
)


def show_scores(metric_cells: MetricCells) -> PageTable:
    """Table of a metric, e.g. Table 3 or 4, with published values below ours.

    Published values are shown if a base model corresponds to one of the paper's.
    """
    metric, models = metric_cells.metric, metric_cells.collected.plan.base_models
    as_drawn = metric_cells.collected.prevalence is None
    with_paper = as_drawn and any(map(paper.find_counterpart, models))
    table = make_metric_table(metric_cells, published=with_paper)
    rows: dict[str, list[Entry]] = {}
    for cell in metric_cells.cells:
        row = rows.setdefault(cell.base_model, [Entry(first_line(cell.base_model))])
        row.append(_cell(cell, metric, with_paper))
    lang = f" ({metric_cells.target_lang})" if metric_cells.target_lang else ""
    number = f"{table.number}: " if table.number else ""
    return PageTable(
        table=table,
        title=f"{number}{metric_label(metric)}{lang}",
        heading=table.heading,
        rows=tuple(map(tuple, rows.values())),
        sentence=PUBLISHED_BELOW_MINIATURES if with_paper and paper.list_stand_ins(rows) else "",
    )


def _cell(cell: TableCell, metric: str, with_paper: bool) -> Entry:
    if cell.state == "impossible":
        return Entry("–", -1.0)
    value = paper.find_published(metric, cell.key) if with_paper else None
    below = [f"paper {format_mean(value.mean, value.std)}"] if value else []
    if cell.state == "undefined":
        return Entry(f"n/a{mark_cell(cell)}", -1.0, tuple(below), "none")
    if cell.mean is None:
        return Entry(f"{cell.state} 0/{cell.num_planned}", -1.0, tuple(below), "bad")
    if cell.interval:
        below.insert(0, format_interval(*cell.interval))
    count = f" {cell.n}/{cell.num_planned}" if cell.state == "partial" else ""
    text = f"{format_mean(cell.mean, cell.std)}{count}{mark_cell(cell)}"
    return Entry(text, cell.mean, tuple(below))


def show_alarms(
    collected: Collected, intervals: CellIntervals, target_lang: str | None
) -> PageTable:
    """Table of precision, recall and numbers of alarms at the prevalence of the trials."""
    table = make_alarm_table(
        collected, intervals.scores, target_lang=target_lang, method=intervals.method
    )
    lang = f" ({target_lang})" if target_lang else ""
    return show_table(
        table, f"Alarms at a prevalence of {percent(collected.prevalence or 0)}{lang}"
    )


def show_classes(collected: Collected, scores: ExperimentScores) -> PageTable:
    """Table of the scores of each class with the confusion matrix of each cell."""
    return show_table(make_class_table(collected, scores), "Scores of each class")


def show_boundary(collected: Collected) -> tuple[list[CellBoundary], PageTable]:
    """Judge all cells on boundary and ranking, and make the table of the verdicts.

    Raises:
        InputError: No cell has a value, or see :func:`boundary`.
    """
    judged = boundary(collected)
    if not any(cell.verdict for cell in judged):
        raise InputError("no cell has a value yet")
    table, *others = make_boundary_tables(collected, judged)
    table = replace(
        table,
        caption=(*table.caption, *(text for other in others for text in other.caption)),
        heading=_wide(table.heading, *(other.heading for other in others)),
        lines=tuple(
            _wide(*lines) for lines in zip(table.lines, *(o.lines for o in others), strict=True)
        ),
        footnotes=(*table.footnotes, *(text for other in others for text in other.footnotes)),
    )
    off, better = (
        ("threshold", "another threshold than 0.5")
        if len(collected.plan.classes) == 2
        else ("weights of classes", "other weights of the classes")
    )
    sentence = BOUNDARY_SUMMARY.format(better=better)
    return judged, show_table(table, f"Ranking or {off}?", sentence=sentence)


def _wide(line: tuple[str, ...], *others: tuple[str, ...]) -> tuple[str, ...]:
    """Join lines of a cell; the verdict, which readers look for, stands behind the names."""
    *names, _, auroc, lost, gain, verdict = line  # the first of the others has F1@0.5, too
    return (*names, verdict, lost, gain, auroc, *(text for other in others for text in other[2:]))


def show_claims(collected: Collected) -> PageTable:
    """Test the paper's claims on these results and on the published tables.

    Raises:
        InputError: No base model corresponds to one of the paper's, or no trial is done.
    """
    if not any(map(paper.find_counterpart, collected.plan.base_models)):
        raise InputError("no base model of this experiment is one of the paper's")
    if not collected.metrics:
        raise InputError("no trial is done")
    table = make_claims_tables(shipped_claims(PAPER), ResultCells(collected), published=True)[0]
    counts = (
        f"{table.heading[column]}: {_count_verdicts(table, column)}"
        for column in range(1, len(table.heading), 2)  # each verdict is followed by its p
    )
    small = paper.list_stand_ins(collected.plan.base_models)
    note = (
        " Our results are those of miniatures, which are not the models that the claims name."
        * bool(small)
    )
    sentence = f"Claims, {'; '.join(counts)}.{note}"
    return show_table(table, "The paper's claims", sortable=False, sentence=sentence)


def _count_verdicts(table: Table, column: int) -> str:
    """Number of claims with each verdict, e.g. ``2 supported, 1 undecided``."""
    counts = Counter(line[column] for line in table.lines if not line[0].startswith(PART))
    return ", ".join(f"{num} {verdict}" for verdict, num in counts.items())


def show_table(table: Table, title: str, *, sortable: bool = True, sentence: str = "") -> PageTable:
    """Show a table as it is under a title; :class:`PageTable` explains the other arguments."""
    rows = tuple(tuple(map(make_entry, line)) for line in table.lines)
    return PageTable(table, title, table.heading, rows, sortable, sentence)


def write_downloads(table: Table) -> list[str]:
    """Write a table as CSV and as LaTeX."""
    return [write_tables([table], "csv"), write_tables([table], "latex")]


def make_entry(text: str) -> Entry:
    """Make an entry that is sorted by its leading number and styled if it is a verdict."""
    kind = VERDICTS.get(text, "part" if text.startswith(PART) else "")
    return Entry(text.strip(), _number(text), (), kind)


def _number(text: str) -> float | str:
    """The leading number of a text, to sort by; the text itself if it has none."""
    try:
        return float(text.split(" ")[0].removeprefix("<"))
    except ValueError:
        return text.strip()


def write_trials(collected: Collected, metrics: Sequence[str]) -> list[str]:
    """Write the trials as CSV and as LaTeX; page.js builds the visible table from columns."""
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
    return write_downloads(Table("trials", caption, heading, lines, records=records))


def _number_text(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
