"""Boundary against ranking as tables: one line a cell, its verdict in words, its score shift."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from xlt.analysis.boundary.measure import WITH_INTERVAL, CellBoundary
from xlt.analysis.boundary.score_shift import SHIFTS
from xlt.analysis.boundary.train_threshold import TRAIN_ROWS
from xlt.analysis.boundary.verdict import BEST_POSSIBLE, Gap
from xlt.analysis.metrics.calibration import NUM_BINS
from xlt.analysis.metrics.thresholds import FITS, NUM_DRAWS, all_positive_f1
from xlt.analysis.tables.cells import TableCell, cell_text
from xlt.analysis.tables.report import cell_footnotes
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
"""Measure -> heading, in order; those that were not made are left out."""
SHIFT_COLUMNS: dict[str, str] = {
    "logit_median": "median logit",
    "logit_shift": "shift",
    "logit_shift_d": "shift, d",
    "logit_shift_0": "of negatives",
    "logit_shift_1": "of positives",
}
"""The same of the table of shifts, in logits but for ``d``."""
SHIFT_DEFINITIONS = (
    "Score shift between languages: how far the scores of target test rows lie above those of "
    "source training rows of the same class, in logits (log odds of class 1; 0 is the threshold "
    "0.5). Mean over runs [95 % interval over runs and test rows drawn anew].",
    "median logit: of all test rows; with balanced classes 0 if the boundary is in place, below 0 "
    "if too few rows are called positive. shift: mean over both classes of the median of target "
    "rows less that of source rows; of negatives, of positives: each class. Source rows are scored "
    "in sample. shift, d: shift over the pooled standard deviation within language and class. "
    "-: no source rows, or none with a score.",
)

DEFINITIONS = (
    "F1 of class 1 at several thresholds. 0.5: as in the report. median: the median score of the "
    "test texts, which needs no labels but supposes balanced classes. train rows: the best "
    "threshold for the few target rows trained on: out of fold, by the scores that trials of a "
    "search gave to rows held out, in the cells named below the table; else in sample, by the "
    "score that each row had when it was last trained on, too sure of itself. oracle: the best "
    "threshold for the labels of these very test rows, an upper bound that nobody can use.",
    f"ECE: expected calibration error over {NUM_BINS} bins of equal mass; Brier: mean squared "
    "distance of the probability from the label; of both 0 is best. [low, high]: 95 % interval "
    "over runs and test rows drawn anew.",
    "boundary share: of the gap in F1@0.5 to the reference, the shares that the median / the "
    "oracle threshold closes, with 95 % intervals; - where there is no clear gap. The oracle's is "
    "an upper bound.",
    "verdict: gap to the reference (the cell of the same base model with the most target rows, or "
    "the one asked for; F1 = 1 where that is the cell itself); clear if its 95 % interval over "
    "runs and test rows leaves out 0; a gap to 1 always is. undecided: intervals leave several "
    "verdicts open, which are named below the table, with what each threshold gains (there: the "
    "oracle at the reference, where nothing is to be mended), and ranking: what the oracle leaves.",
)


def boundary_tables(
    collected: Collected, judged: Sequence[CellBoundary], prior: float | None = None
) -> list[Table]:
    """The table of all cells, that of score shifts, and one of few labelled rows if asked for.

    Args:
        collected: The trials.
        judged: One a cell, see :func:`boundary`.
        prior: As given there.
    """
    made = judged[0].measures
    asked = "" if prior is None else f"; prior: the score that a share {prior:g} reaches"
    caption = (
        f"Boundary against ranking, experiment {collected.plan.experiment}. "
        f"Cells: mean (std) over seeds{asked}.",
        *DEFINITIONS,
    )
    columns = {name: heading for name, heading in COLUMNS.items() if name in made}
    if not any(cell.measures[TRAIN_ROWS].n for cell in judged):
        del columns[TRAIN_ROWS]
    footnotes = (
        *_verdicts(judged),
        *cell_footnotes([cell.measures["f1"] for cell in judged]),
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
    numbers = list(dict.fromkeys(int(n.rsplit("_", 1)[1]) for n in made if n.startswith("f1_plat")))
    if numbers:
        few = {f"f1_{fit}_{n}": f"{fit}, {n}" for n in numbers for fit in FITS}
        tables.append(
            Table(
                "labelled-rows",
                (
                    "F1 with N labelled test rows, the rest scored.",
                    "The N rows are test rows, because result folders hold no scores of others; "
                    f"drawn {NUM_DRAWS} times with the classes in proportion, mean (std) over "
                    "seeds. temperature: scaled logits, cut at 0.5, which cannot move the "
                    "boundary; platt: slope and intercept; threshold: best F1 on the N rows.",
                ),
                _heading({"f1": COLUMNS["f1"]} | few),
                tuple(_line(cell, {"f1": ""} | few) for cell in judged),
            )
        )
    return tables


def verdict_text(gap: Gap) -> str:
    """A verdict with its numbers."""
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
    """Shares of the gap that the median and the oracle threshold close."""
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


def _shifts(cell: CellBoundary) -> tuple[str, ...]:
    found = (cell.measures[name] for name in SHIFT_COLUMNS)
    return tuple("-" if one.mean is None else _signed(one.mean, one.interval) for one in found)


def _signed(mean: float, interval: tuple[float, float] | None) -> str:
    return f"{mean:+.2f}" + (f" [{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else "")


def _entry(measure: TableCell, f1: TableCell) -> str:
    """A cell without target rows has no threshold of them, which is no gap."""
    return "-" if f1.n and not measure.n else cell_text(measure, f1.num_planned)


def _verdicts(judged: Sequence[CellBoundary]) -> list[str]:
    """A sentence a cell with a value."""
    found = [(cell.measures["f1"], cell.gap) for cell in judged if cell.gap]
    return [
        f"{first_line(f1.base_model)} x {first_line(f1.pattern)}: {verdict_text(gap)}."
        for f1, gap in found
    ]


def _without(judged: Sequence[CellBoundary]) -> list[str]:
    """Why cells with a value have no verdict."""
    found = [(cell.measures["f1"], cell.without) for cell in judged if cell.without]
    return [
        f"No verdict for {first_line(f1.base_model)} x {first_line(f1.pattern)}: {first_line(why)}."
        for f1, why in found
    ]


def _floor(judged: Sequence[CellBoundary]) -> list[str]:
    """What F1 is worth without any ranking, and where the median is not the right threshold."""
    priors = sorted({round(cell.prior, 6) for cell in judged if cell.prior is not None})
    told = ", ".join(f"{all_positive_f1(p):.3f} at {p:.1%} positive" for p in priors)
    notes = [f"Calling every test row positive has F1 {told}; no oracle is below that."]
    if [p for p in priors if abs(p - 0.5) > 0.01]:
        notes.append("The test rows are not balanced: do not read F1@median, give a prior.")
    return notes if priors else []


def _train_rows(judged: Sequence[CellBoundary]) -> list[str]:
    """On which scores the threshold of training rows was chosen, cells with the same together."""
    told: dict[str, list[str]] = {}
    for cell in judged:
        f1 = cell.measures[TRAIN_ROWS]
        if f1.n:
            name = f"{first_line(f1.base_model)} x {first_line(f1.pattern)}"
            how = _scored(cell)
            if cell.folds:
                seeds = ", ".join(map(str, cell.folds.seeds))
                how += f", by {cell.folds.num_folds} folds and seeds {seeds} of the search"
                how += f" at learning rate {cell.folds.learning_rate:g}"
            told.setdefault(how, []).append(name)
    return [f"F1@train rows of {', '.join(cells)}: {how}." for how, cells in told.items()]


def _scored(cell: CellBoundary) -> str:
    """How the training rows were scored; empty where there is no threshold of them."""
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
