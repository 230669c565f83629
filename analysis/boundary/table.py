"""Tables of measures, verdicts and score shifts: one line for each cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from xlt.analysis.boundary.measure import WITH_INTERVAL, CellBoundary
from xlt.analysis.boundary.score_shift import SHIFTS
from xlt.analysis.boundary.train_threshold import TRAIN_ROWS
from xlt.analysis.boundary.verdict import BEST_POSSIBLE, Gap
from xlt.analysis.metrics.calibration import NUM_BINS
from xlt.analysis.metrics.thresholds import FITS, NUM_DRAWS, all_positive_f1
from xlt.analysis.tables.cells import TableCell, format_cell, write_footnotes
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.collect import Collected
from xlt.analysis.uncertainty.intervals import Interval
from xlt.data.core.text import first_line

COLUMNS: dict[str, str] = {
    "f1": "F1@0.5",
    "f1_median": "F1@median",
    "f1_prior": "F1@prior",
    TRAIN_ROWS: "F1@train rows",
    "f1_oracle": "F1@oracle",
    "auroc": "AUROC",
    "average_precision": "AP",
    "ece": "ECE",
    "brier": "Brier",
}
"""Measure -> heading, in order; measures that were not computed are left out."""
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
    "median logit: median over all test rows; with balanced classes it is 0 if the boundary is "
    "right, and below 0 if too few rows are called positive. shift: median of target rows minus "
    "median of source rows, mean over both classes; of negatives, of positives: each class. Source "
    "rows are scored in sample. shift, d: shift divided by the standard deviation within language "
    "and class. -: no source rows with a score.",
)

DEFINITIONS = (
    "F1 of class 1 at several thresholds. 0.5: as in the report. median: the median score of the "
    "test texts, which needs no labels but assumes balanced classes. train rows: the best "
    "threshold for the target training rows, scored out of fold by the trials of a search in the "
    "cells named below the table, else in sample, where scores are too confident. oracle: the best "
    "threshold for the labels of the test rows, an upper bound that cannot be used in practice.",
    f"ECE: expected calibration error over {NUM_BINS} bins of equal mass; Brier: mean squared "
    "difference between probability and label; 0 is best for both. [low, high]: 95 % interval "
    "over runs and test rows.",
    "boundary share: shares of the gap in F1@0.5 to the reference that the median / the oracle "
    "threshold closes, with 95 % intervals; -: no clear gap. The share of the oracle is an upper "
    "bound.",
    "verdict: on the gap to the reference (the cell of the same base model with the most target "
    "rows, or the one chosen by --reference; F1 = 1 if that is the cell itself). A gap is clear if "
    "its 95 % interval over runs and test rows excludes 0; a gap to 1 always is. undecided: the "
    "intervals allow several verdicts. They are named below the table, with the gain of each "
    "threshold (there: gain of the oracle at the reference, which needs no other threshold), and "
    "ranking: the rest of the gap at the oracle.",
)


def make_boundary_tables(
    collected: Collected, judged: Sequence[CellBoundary], prior: float | None = None
) -> list[Table]:
    """The table of verdicts, that of score shifts and, if computed, that of few labelled rows.

    Args:
        collected: The experiment.
        judged: Cells of the experiment, see :func:`boundary`.
        prior: Share of rows for ``f1_prior``, as passed to :func:`boundary`.
    """
    computed = judged[0].measures
    asked = "" if prior is None else f"; prior: the score that a share {prior:g} reaches"
    caption = (
        f"Boundary against ranking, experiment {collected.plan.experiment}. "
        f"Cells: mean (std) over seeds{asked}.",
        *DEFINITIONS,
    )
    columns = {name: heading for name, heading in COLUMNS.items() if name in computed}
    if not any(cell.measures[TRAIN_ROWS].n for cell in judged):
        del columns[TRAIN_ROWS]
    footnotes = (
        *_verdicts(judged),
        *write_footnotes([cell.measures["f1"] for cell in judged]),
        *_without(judged),
        *_floor(judged),
        *_train_rows(judged),
        *(f"Warning: {warning}." for warning in collected.warnings),
    )
    lines = tuple(
        (*_line(cell, columns), share_text(cell.gap), cell.gap.kind if cell.gap else "")
        for cell in judged
    )
    heading = (*_heading(columns), "boundary share, median / oracle", "verdict")
    tables = [Table("boundary", caption, heading, lines, footnotes, tuple(map(_record, judged)))]
    shifts = tuple((*_names(cell), *_shifts(cell)) for cell in judged)
    tables.append(Table("score-shifts", SHIFT_DEFINITIONS, _heading(SHIFT_COLUMNS), shifts))
    platt = [name for name in computed if name.startswith("f1_platt")]
    numbers = list(dict.fromkeys(int(name.rsplit("_", 1)[1]) for name in platt))
    if numbers:
        few = {f"f1_{fit}_{n}": f"{fit}, {n}" for n in numbers for fit in FITS}
        tables.append(
            Table(
                "labelled-rows",
                (
                    "F1 with a threshold chosen on N labelled test rows, scored on the others.",
                    "The N rows are test rows, because result folders hold no scores of other "
                    f"rows. They are drawn {NUM_DRAWS} times, each class in proportion. Cells: "
                    "mean (std) over seeds. temperature: logits scaled and cut at 0.5, which "
                    "cannot move the boundary; platt: slope and intercept; threshold: best F1 "
                    "on the N rows.",
                ),
                _heading({"f1": COLUMNS["f1"]} | few),
                tuple(_line(cell, {"f1": ""} | few) for cell in judged),
            )
        )
    return tables


def verdict_text(gap: Gap) -> str:
    """A verdict with its numbers, e.g. ``mostly ranking: 0.120 below ja104``."""
    of = "1" if gap.reference == BEST_POSSIBLE else first_line(gap.reference)
    size = f"{gap.gap:.3f} below {of}" if gap.gap >= 0 else f"{-gap.gap:.3f} above {of}"
    if gap.interval:
        size += f" [{gap.interval.low:+.3f}, {gap.interval.high:+.3f}]"
    if gap.kind == "no clear gap":
        return f"{gap.kind}: {size}"
    kind = f"undecided ({'; '.join(gap.open)})" if len(gap.open) > 1 else gap.kind
    own = "" if gap.reference == BEST_POSSIBLE else f" (there {gap.reference_oracle:+.3f})"
    gains = f"median {gap.median:+.3f}, oracle {gap.oracle:+.3f}{own}, ranking {gap.ranking:.3f}"
    return f"{kind}: {size}; {gains}"


def share_text(gap: Gap | None) -> str:
    """Shares of the gap that the median and the oracle threshold close; ``-`` without a gap."""
    if gap is None or gap.share_median is None or gap.share_oracle is None:
        return "-"
    shares = ((gap.share_median, gap.median_interval), (gap.share_oracle, gap.oracle_interval))
    return " / ".join(f"{share:.0%}{_percent(interval)}" for share, interval in shares)


def _percent(interval: Interval | None) -> str:
    if interval is None:
        return ""
    low = "no limit" if interval.low == -math.inf else f"{interval.low:.0%}"
    return f" [{low}, {interval.high:.0%}]"


def _heading(columns: Mapping[str, str]) -> tuple[str, ...]:
    return ("base model", "pattern", *columns.values())


def _line(cell: CellBoundary, columns: Mapping[str, str]) -> tuple[str, ...]:
    f1 = cell.measures["f1"]
    return (*_names(cell), *(_entry(cell.measures[name], f1) for name in columns))


def _names(cell: CellBoundary) -> tuple[str, str]:
    f1 = cell.measures["f1"]
    return first_line(f1.base_model), first_line(f1.pattern)


def _title(cell: CellBoundary) -> str:
    return " x ".join(_names(cell))


def _shifts(cell: CellBoundary) -> tuple[str, ...]:
    entries = (cell.measures[name] for name in SHIFT_COLUMNS)
    return tuple("-" if e.mean is None else _signed(e.mean, e.interval) for e in entries)


def _signed(mean: float, interval: tuple[float, float] | None) -> str:
    return f"{mean:+.2f}" + (f" [{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else "")


def _entry(measure: TableCell, f1: TableCell) -> str:
    """The text of an entry; ``-`` for a measure that none of the done trials has."""
    return "-" if f1.n and not measure.n else format_cell(measure, f1.num_planned)


def _verdicts(judged: Sequence[CellBoundary]) -> list[str]:
    """One sentence for each cell with a verdict."""
    return [f"{_title(cell)}: {verdict_text(cell.gap)}." for cell in judged if cell.gap]


def _without(judged: Sequence[CellBoundary]) -> list[str]:
    """One sentence for each cell that has a value but no verdict."""
    return [
        f"No verdict for {_title(cell)}: {first_line(cell.without)}."
        for cell in judged
        if cell.without
    ]


def _floor(judged: Sequence[CellBoundary]) -> list[str]:
    """F1 without any ranking, and a warning that the median threshold needs balanced classes."""
    priors = sorted({round(cell.prior, 6) for cell in judged if cell.prior is not None})
    values = ", ".join(f"{all_positive_f1(p):.3f} at {p:.1%} positive" for p in priors)
    notes = [f"Calling every test row positive has F1 {values}; no oracle is below that."]
    if [p for p in priors if abs(p - 0.5) > 0.01]:
        notes.append("The test rows are not balanced: ignore F1@median and set --prior.")
    return notes if priors else []


def _train_rows(judged: Sequence[CellBoundary]) -> list[str]:
    """Where the scores of training rows come from, one sentence for all cells with the same."""
    cells_of: dict[str, list[str]] = {}
    for cell in judged:
        if cell.measures[TRAIN_ROWS].n:
            how = _scored(cell)
            if cell.folds:
                seeds = ", ".join(map(str, cell.folds.seeds))
                how += f", by {cell.folds.num_folds} folds and seeds {seeds} of the search"
                how += f" at learning rate {cell.folds.learning_rate:g}"
            cells_of.setdefault(how, []).append(_title(cell))
    return [f"F1@train rows of {', '.join(cells)}: {how}." for how, cells in cells_of.items()]


def _scored(cell: CellBoundary) -> str:
    """How the training rows were scored; empty if the cell has no threshold from them."""
    if not cell.measures[TRAIN_ROWS].n:
        return ""
    return "out of fold" if cell.folds else "in sample"


def _record(cell: CellBoundary) -> dict[str, object]:
    f1, gap = cell.measures["f1"], cell.gap
    record: dict[str, object] = {
        "base_model": f1.base_model,
        "pattern": f1.pattern,
        "n": f1.n,
        "num_planned": f1.num_planned,
        "state": f1.state,
        "kind": gap and gap.kind,
        "reference": gap and gap.reference,
        "gap": gap and gap.gap,
        "gap_low": gap and gap.interval and gap.interval.low,
        "gap_high": gap and gap.interval and gap.interval.high,
        "gain_median": gap and gap.median,
        "gain_oracle": gap and gap.oracle,
        "gain_oracle_reference": gap and gap.reference_oracle,
        "ranking": gap and gap.ranking,
        "share_median": gap and gap.share_median,
        "share_oracle": gap and gap.share_oracle,
        "open": " | ".join(gap.open) if gap else None,
        "train_rows": _scored(cell) or None,
    }
    for name in ("median", "oracle"):
        interval: Interval | None = getattr(gap, f"{name}_interval", None)
        record |= {
            f"share_{name}_low": interval and interval.low,
            f"share_{name}_high": interval and interval.high,
        }
    for name, value in cell.measures.items():
        record |= {f"{name}_mean": value.mean, f"{name}_std": value.std}
        if name in (*WITH_INTERVAL, *SHIFTS):
            low, high = value.interval or (None, None)
            record |= {f"{name}_low": low, f"{name}_high": high}
    return record
