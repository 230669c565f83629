"""Tables of learning curves: the points, and the gains of curves over one of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from xlt.analysis.curves.curve import CurvePoint, LearningCurve
from xlt.analysis.curves.gains import LabelGain
from xlt.analysis.curves.learning_curves import LearningCurves
from xlt.analysis.tables.captions import define, name_experiment
from xlt.analysis.tables.cells import format_cell, write_footnotes
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.source_langs import describe_source_langs
from xlt.analysis.trials.test_lang import describe_test_rows
from xlt.analysis.trials.trial_names import describe_runs
from xlt.analysis.uncertainty.intervals import describe_units
from xlt.analysis.uncertainty.variance_components import EXPLAINED, PARTS
from xlt.data.core.text import first_line
from xlt.trainables.spec.cell_key import CellKey

GAIN_NOTES = (
    "rows of the other for the same mean: read off its curve, after isotonic regression of both "
    "curves, linear in log2(rows + 1) between measured points; on a level stretch, the rows "
    "nearest to the cell's own. gain: these rows minus the cell's own.",
    "more than, less than: outside of the measured range of the other curve; nothing is "
    "extrapolated. no limit: the end of the interval lies outside, too.",
)


def make_curve_tables(curves: LearningCurves) -> list[Table]:
    """Make tables of the points of all curves and, if they were asked for, of the gains.

    The records of the first table hold everything, gains included; infinite rows are outside of
    the measured range.

    Args:
        curves: See :func:`make_learning_curves`.
    """
    plan = curves.collected.plan
    several = len(plan.draws) > 1
    caption = (
        f"Learning curves, {define(plan, curves.metric)}.",
        *describe_test_rows(curves.collected),
        *describe_source_langs(plan),
        name_experiment(plan),
        f"Cells: mean (std) over n {'runs' if several else 'seeds'} of each trial's score on its "
        f"test rows; std with ddof=1{f'. Planned: {describe_runs(plan)}' * several}.",
        curves.intervals.describe(),
    )
    footnotes = [
        *write_footnotes(curves.cells),
        *(f"On no curve: {_name(key)}: {first_line(why)}." for key, why in curves.left_out.items()),
        *(
            f"No interval for {_name(point.cell.key)}: {first_line(why)}"
            for curve in curves.curves
            for point in curve.points
            if (why := curves.without.get(point.cell.key))
        ),
        *(f"Warning: {warning}." for warning in curves.collected.warnings),
    ]
    spread = PARTS if several else {}
    footnotes += [f"{', '.join(spread.values())}: {EXPLAINED}"] if spread else []
    heading = (
        "curve", "language", "source rows", "target rows", "mean (std)", "n", *spread.values(),
    )  # fmt: skip
    points = [(curve, point) for curve in curves.curves for point in curve.points]
    lines = tuple((*_line(curve, point), *_spread(point, spread)) for curve, point in points)
    records = tuple(_record(curves, curve, point) for curve, point in points)
    tables = [Table("learning-curves", caption, heading, lines, tuple(footnotes), records)]
    if curves.gains:
        tables.append(_gain_table(curves, points))
    return tables


def format_rows(rows: float, than: LearningCurve, own_rows: int | None = None) -> str:
    """Format a number of rows, which can be outside of the measured range.

    Args:
        rows: Target rows of a curve; infinite outside of the measured range.
        than: That curve.
        own_rows: Number to subtract, which makes a gain with a sign, e.g. ``more than +240``.
    """
    side = ""
    if math.isinf(rows):
        side, end = ("more than ", than.points[-1]) if rows > 0 else ("less than ", than.points[0])
        rows = end.num_target_rows
    number = round(rows if own_rows is None else rows - own_rows)
    return side + (f"{number}" if own_rows is None or number == 0 else f"{number:+d}")


def _gain_table(
    curves: LearningCurves, points: Sequence[tuple[LearningCurve, CurvePoint]]
) -> Table:
    gains = [
        (curve, point, gain)
        for curve, point in points
        if (gain := curves.gains.get(point.cell.key))
    ]
    than = gains[0][2].than
    runs = [cell.runs for cell in curves.intervals.scores.cells.values()]
    caption = (
        f"Target rows with which {first_line(than.name)} has the same mean {curves.metric} as each "
        "cell.",
        f"[low, high]: middle 95 % of {curves.num_resamples} resamples of "
        f"{'draws' if len(curves.collected.plan.draws) > 1 else 'seeds'} and test "
        f"rows{describe_units(runs)}.",
    )
    without = dict.fromkeys(gain.without for _, _, gain in gains if gain.without)
    heading = (
        "curve", "language", "target rows", "mean",
        f"rows of {first_line(than.name)} for the same mean", "gain",
    )  # fmt: skip
    lines = tuple(
        (
            first_line(curve.name),
            curve.target_lang,
            str(point.num_target_rows),
            f"{point.cell.mean:.3f}",
            format_gain(gain),
            format_gain(gain, point.num_target_rows),
        )
        for curve, point, gain in gains
    )
    footnotes = (*GAIN_NOTES, *(f"No interval: {first_line(why)}." for why in without))
    return Table("gains", caption, heading, lines, footnotes)


def format_gain(gain: LabelGain, own_rows: int | None = None) -> str:
    """Text of the rows of the other curve, or of the gain over own rows, with the interval."""
    text = format_rows(gain.rows, gain.than, own_rows)
    if gain.interval is None:
        return text
    low, high = (format_rows(end, gain.than, own_rows) for end in gain.interval)
    if gain.interval[0] == -math.inf:
        low = "no lower limit"
    if gain.interval[1] == math.inf:
        high = "no upper limit"
    return f"{text} [{low}, {high}]"


def _line(curve: LearningCurve, point: CurvePoint) -> tuple[str, ...]:
    cell = point.cell
    counts = (curve.num_source_rows, point.num_target_rows)
    return (
        first_line(curve.name), curve.target_lang, *map(str, counts),
        format_cell(cell, cell.num_planned), str(cell.n),
    )  # fmt: skip


def _spread(point: CurvePoint, parts: Iterable[str]) -> tuple[str, ...]:
    components = point.cell.components
    return tuple(components.text(part) if components else "-" for part in parts)


def _record(curves: LearningCurves, curve: LearningCurve, point: CurvePoint) -> dict[str, object]:
    cell = point.cell
    low, high = cell.interval or (None, None)
    gain = curves.gains.get(cell.key)
    rows_low, rows_high = (gain and gain.interval) or (None, None)
    return {
        "curve": curve.name,
        "base_model": cell.base_model,
        "pattern": cell.pattern,
        "target_lang": curve.target_lang,
        "num_source_rows": curve.num_source_rows,
        "num_target_rows": point.num_target_rows,
        "metric": curves.metric,
        "mean": cell.mean,
        "std": cell.std,
        "low": low,
        "high": high,
        "n": cell.n,
        "num_planned": cell.num_planned,
        **{f"std_{part}": cell.components and cell.components.std(part) for part in PARTS},
        "than": gain and gain.than.name,
        "equivalent_rows": gain and gain.rows,
        "equivalent_low": rows_low,
        "equivalent_high": rows_high,
        "gain": gain and gain.rows - point.num_target_rows,
    }


def _name(key: CellKey) -> str:
    return " x ".join(map(first_line, key))
