"""Table of alarms: precision, recall and numbers of alarms of each cell at a prevalence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from xlt.analysis.metrics.operating_points import PER, Rule, choose_threshold, decide_by_rule
from xlt.analysis.tables.cells import TableCell, format_cell, write_footnotes
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.tables.records import make_record
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import CellScores, ExperimentScores
from xlt.analysis.trials.weigh import weigh
from xlt.analysis.uncertainty.few_alarms import FEW, FalseAlarms, count_false_alarms
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line, percent
from xlt.trainables.metrics.arrays import THRESHOLD
from xlt.trainables.metrics.prevalence import highest_rate
from xlt.trainables.spec.cell_key import CellKey

COLUMNS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "alarms": f"alarms per {PER:,}",
    "false_alarms": f"false per {PER:,}",
}
"""Metric -> heading."""
EXPLAINED = (
    "Cells: mean over runs [95 % interval over runs and test rows].",
    "precision: share of the alarms that are right. recall: share of the positive texts that raise "
    f"an alarm, the same at any prevalence. alarms: texts tagged positive in {PER:,}; false: those "
    "of them that are not positive. seen: test rows of the other class that raised an alarm, mean "
    "over runs; precision and false alarms rest on them.",
)
CHOSEN = (
    "threshold: the lowest one that meets the rule on all test rows of a run, mean over runs; "
    "none: a run has no such threshold. The other columns decide rows by the threshold of rows in "
    "other folds. Intervals take thresholds as given."
)


def make_alarm_table(
    collected: Collected,
    scores: ExperimentScores,
    rule: Rule | None = None,
    target_lang: str | None = None,
    method: str = "t",
) -> Table:
    """Make a line for each cell: precision, recall, F1 and alarms, with 95 % intervals.

    Args:
        collected: The trials at a prevalence, see :func:`weigh`.
        scores: Predictions of the cells.
        rule: Rule of the threshold; None: 0.5.
        target_lang: Only the patterns of this language; None: all.
        method: Name in ``INTERVALS``.

    Raises:
        InputError: The trials are not at a prevalence, or a class has too few rows for the rule.
    """
    prevalence = collected.prevalence
    if prevalence is None:
        raise InputError("precision and alarms depend on the prevalence; give --prevalence")
    if rule:
        decide = partial(decide_by_rule, rule, prevalence)
        collected = weigh(collected, prevalence, decide)
        decided = {
            key: replace(cell, scores=decide(cell.y_true, cell.scores, cell.stories))
            for key, cell in scores.cells.items()
        }
        thresholds = {key: _threshold(rule, c, prevalence) for key, c in scores.cells.items()}
        scores = ExperimentScores(decided, scores.left_out)
    intervals = CellIntervals(scores, method, prevalence)
    by_metric = {
        name: collect_metric_cells(collected, name, target_lang, intervals) for name in COLUMNS
    }
    cells = by_metric["precision"].cells
    seen = {
        cell.key: count_false_alarms(scores.cells[cell.key])
        for cell in cells
        if cell.mean is not None and cell.key in scores.cells
    }
    lines = []
    for own in zip(*(metric_cells.cells for metric_cells in by_metric.values()), strict=True):
        key = own[0].key
        names = [*map(first_line, key), *([thresholds.get(key, "-")] if rule else [])]
        texts = [_text(name, cell) for name, cell in zip(COLUMNS, own, strict=True)]
        counted = seen.get(key)
        lines.append((*names, *texts, _seen_text(counted) if counted else "-"))
    at = f"threshold {THRESHOLD}" if rule is None else f"the threshold of {rule}"
    return Table(
        name="-".join(filter(None, ("alarms", target_lang))),
        caption=(
            f"Alarms for {first_line(collected.plan.positive)} at {at}, prevalence "
            f"{percent(prevalence)}.",
            *EXPLAINED,
            *([CHOSEN] if rule else []),
            intervals.describe(),
        ),
        heading=("base model", "pattern", *["threshold"] * bool(rule), *COLUMNS.values(), "seen"),
        lines=tuple(lines),
        footnotes=(
            *write_footnotes(cells),
            *_few(seen, prevalence),
            *(
                f"No interval for {' x '.join(map(first_line, c.key))}: {why}"
                for c in cells
                if c.mean is not None
                and (why := by_metric["precision"].without_interval.get(c.key))
            ),
        ),
        records=tuple(
            make_record(name, cell)
            for name, metric_cells in by_metric.items()
            for cell in metric_cells.cells
        ),
    )


def _threshold(rule: Rule, cell: CellScores, prevalence: float) -> str:
    """Text of the mean threshold over runs."""
    chosen = [choose_threshold(rule, cell.y_true, score, prevalence) for score in cell.scores]
    mean = float(np.mean(chosen))
    return f"{mean:.3f}" if math.isfinite(mean) else "none"


def _text(metric: str, cell: TableCell) -> str:
    if cell.mean is None:
        return format_cell(cell, None)
    factor, digits = (PER, 1) if metric in ("alarms", "false_alarms") else (1, 3)
    text = f"{factor * cell.mean:.{digits}f}"
    if cell.interval:
        low, high = (f"{factor * end:.{digits}f}" for end in cell.interval)
        text += f" [{low}, {high}]"
    return text


def _seen_text(seen: FalseAlarms) -> str:
    return f"{seen.num_seen:.1f} of {seen.num_negatives}"


def _few(seen: Mapping[CellKey, FalseAlarms], prevalence: float) -> list[str]:
    """A sentence on the cells with few false alarms, and what their number can show at best."""
    names: dict[int, list[str]] = {}
    for key, counted in seen.items():
        if counted.are_few:
            name = " x ".join(map(first_line, key))
            names.setdefault(counted.num_negatives, []).append(name)
    sentences = []
    for number, cells in names.items():
        rate = highest_rate(0, number)
        sentences.append(
            f"Fewer than {FEW} false alarms: {', '.join(cells)}. With {number} rows of the other "
            f"class even a false-alarm rate of 0 has a 95 % upper bound of {percent(rate)}, which "
            f"is {PER * (1 - prevalence) * rate:.1f} false alarms per {PER:,} texts; "
            "sampling.test_balance tests on more of them."
        )
    return sentences
