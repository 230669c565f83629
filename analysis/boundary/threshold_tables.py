"""Tables of thresholds, class weights, score shifts and few labelled rows: a line for each cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from xlt.analysis.boundary.judge_cells import CellBoundary
from xlt.analysis.boundary.train_threshold import TRAIN_ROWS
from xlt.analysis.metrics.calibration import NUM_BINS
from xlt.analysis.metrics.labelled_rows import FITS, NUM_DRAWS
from xlt.analysis.metrics.thresholds import all_positive_f1
from xlt.analysis.tables.cells import TableCell, format_cell
from xlt.analysis.tables.table import Table, group_by_reason
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.source_langs import describe_source_langs
from xlt.analysis.trials.test_lang import describe_test_rows
from xlt.data.core.text import name_numbers

THRESHOLDS: dict[str, str] = {
    "f1": "F1@0.5",
    "f1_median": "F1@median",
    "f1_prior": "F1@prior",
    TRAIN_ROWS: "F1@train rows",
    "f1_best": "F1@best",
    "average_precision": "AP",
    "ece": "ECE",
    "brier": "Brier",
}
"""Measure -> heading of the second table, in order; measures without a value are left out."""
SHIFT_COLUMNS: dict[str, str] = {
    "logit_median": "median logit",
    "logit_shift": "shift",
    "logit_shift_d": "shift, d",
    "logit_shift_0": "of negatives",
    "logit_shift_1": "of positives",
}
"""Measure -> heading of the table of score shifts, in logits except for ``d``."""
SHIFT_DEFINITIONS = (
    "Score shift between languages: how far the scores of target test rows lie above those of "
    "source training rows of the same class, in logits (log odds of class 1; 0 is the threshold "
    "0.5). Mean over runs [95 % interval over runs and test rows].",
    "median logit: median over all test rows; with balanced classes it is 0 if the threshold is "
    "right, and below 0 if too few rows are called positive. shift: median of target rows minus "
    "median of source rows, mean over both classes; of negatives, of positives: each class. Source "
    "rows are scored in sample. shift, d: shift divided by the standard deviation within language "
    "and class. -: no source rows with a score.",
)
WEIGHTS: dict[str, str] = {
    "macro_f1": "as reported",
    "macro_f1_estimated": "estimated shares",
    "macro_f1_oracle": "true shares",
    "macro_f1_best": "best weights",
}
"""Measure -> heading of the second table with more than two classes."""
WEIGHT_DEFINITIONS = (
    "Macro F1 with weights of the classes, which correct for other shares of the classes than in "
    "training. Mean (std) over runs.",
    "estimated shares: weights are the shares of the classes among the test texts, estimated from "
    "their scores without labels (expectation maximisation, Saerens et al. 2002), over those of "
    "training. true shares: the same with the shares of the labels. best weights: those of the "
    "first table. -: the training rows of a class are unknown or none.",
)
THRESHOLD_DEFINITIONS = (
    "F1 of class 1 at several thresholds, average precision (AP) and calibration. 0.5: as in the "
    "report. median: the median score of the test texts, which needs no labels but assumes "
    "balanced classes. train rows: the best threshold for the target training rows, scored out of "
    "fold by the trials of a search in the cells named below the table, else in sample, where "
    "scores are too confident. best: the threshold of the first table. Both best thresholds are "
    "those with the largest macro F1.",
    f"ECE: expected calibration error over {NUM_BINS} bins of equal mass; Brier: mean squared "
    "difference between probability and label; 0 is best for both. [low, high]: 95 % interval "
    "over runs and test rows.",
)


def make_weight_table(judged: Sequence[CellBoundary]) -> Table:
    """The table of macro F1 with weights of classes, for more than two classes."""
    lines = tuple(make_line(cell, WEIGHTS) for cell in judged)
    return Table("weights", WEIGHT_DEFINITIONS, _heading(WEIGHTS), lines)


def make_threshold_tables(
    collected: Collected, judged: Sequence[CellBoundary], prior: float | None
) -> list[Table]:
    """Tables of thresholds, of score shifts and, if computed, of few labelled rows.

    Args:
        collected: The experiment.
        judged: Cells of the experiment, of two classes.
        prior: Share of rows for ``f1_prior``; None: not computed.
    """
    computed = judged[0].measures
    asked = "" if prior is None else f"; prior: the score that a share {prior:g} reaches"
    columns = {name: heading for name, heading in THRESHOLDS.items() if name in computed}
    if not any(cell.measures[TRAIN_ROWS].n for cell in judged):
        del columns[TRAIN_ROWS]
    thresholds = Table(
        "thresholds",
        (
            *THRESHOLD_DEFINITIONS,
            *describe_test_rows(collected),
            *describe_source_langs(collected.plan),
            f"Cells: mean (std) over runs{asked}.",
        ),
        _heading(columns),
        tuple(make_line(cell, columns) for cell in judged),
        (*_floor(judged), *_train_rows(judged)),
    )
    lines = tuple((*cell.names, *_shifts(cell)) for cell in judged)
    shifts = Table("score-shifts", SHIFT_DEFINITIONS, _heading(SHIFT_COLUMNS), lines)
    return [thresholds, shifts, *_labelled_rows(judged)]


def _labelled_rows(judged: Sequence[CellBoundary]) -> list[Table]:
    """The table of F1 with a threshold chosen on few labelled test rows, if computed."""
    platt = [name for name in judged[0].measures if name.startswith("f1_platt")]
    numbers = list(dict.fromkeys(int(name.rsplit("_", 1)[1]) for name in platt))
    if not numbers:
        return []
    few = {f"f1_{fit}_{n}": f"{fit}, {n}" for n in numbers for fit in FITS}
    caption = (
        "F1 with a threshold chosen on N labelled test rows, scored on the others.",
        "The N rows are test rows, because result folders hold no scores of other rows. They are "
        f"drawn {NUM_DRAWS} times, each class in proportion. Cells: mean (std) over runs. "
        "temperature: logits scaled and cut at 0.5, which cannot move the boundary; platt: slope "
        "and intercept; threshold: best macro F1 on the N rows.",
    )
    lines = tuple(make_line(cell, ("f1", *few)) for cell in judged)
    return [Table("labelled-rows", caption, _heading({"f1": "F1@0.5"} | few), lines)]


def make_line(cell: CellBoundary, columns: Iterable[str]) -> tuple[str, ...]:
    """The line of a cell: its names, and its measures in columns."""
    return (*cell.names, *(_entry(cell.measures[name], cell.first) for name in columns))


def _heading(columns: Mapping[str, str]) -> tuple[str, ...]:
    return ("base model", "pattern", *columns.values())


def _entry(measure: TableCell, f1: TableCell) -> str:
    """The text of an entry; ``-`` for a measure that none of the done trials has."""
    return "-" if f1.n and not measure.n else format_cell(measure, f1.num_planned)


def _shifts(cell: CellBoundary) -> tuple[str, ...]:
    entries = (cell.measures[name] for name in SHIFT_COLUMNS)
    return tuple("-" if e.mean is None else _signed(e.mean, e.interval) for e in entries)


def _signed(mean: float, interval: tuple[float, float] | None) -> str:
    return f"{mean:+.2f}" + (f" [{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else "")


def _floor(judged: Sequence[CellBoundary]) -> list[str]:
    """F1 without any ranking, and a warning that the median threshold needs balanced classes."""
    priors = sorted({round(cell.prior, 6) for cell in judged if cell.prior is not None})
    values = ", ".join(f"{all_positive_f1(p):.3f} at {p:.1%} positive" for p in priors)
    notes = [f"Calling every test row positive has F1 {values}."]
    with_median = any("f1_median" in cell.measures for cell in judged)
    if with_median and [p for p in priors if abs(p - 0.5) > 0.01]:
        notes.append("The test rows are not balanced: ignore F1@median and set --prior.")
    return notes if priors else []


def _train_rows(judged: Sequence[CellBoundary]) -> list[str]:
    """Where the scores of training rows come from, one sentence for all cells with the same."""
    ways = ((cell.title, _describe_folds(cell)) for cell in judged if cell.measures[TRAIN_ROWS].n)
    return [f"F1@train rows of {names}: {how}." for how, names in group_by_reason(ways)]


def _describe_folds(cell: CellBoundary) -> str:
    """How the training rows were scored, and by which trials of a search."""
    if not cell.folds:
        return describe_scored(cell)
    return (
        f"{describe_scored(cell)}, by {cell.folds.num_folds} folds and seeds "
        f"{name_numbers(cell.folds.seeds)} of the search at learning rate "
        f"{cell.folds.learning_rate:g}"
    )


def describe_scored(cell: CellBoundary) -> str:
    """How the training rows were scored; empty if the cell has no threshold from them."""
    if TRAIN_ROWS not in cell.measures or not cell.measures[TRAIN_ROWS].n:
        return ""
    return "out of fold" if cell.folds else "in sample"
