"""summarise: what carried over, what target rows changed, and what is not known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xlt.analysis.comparisons.compare import Comparison
from xlt.analysis.comparisons.family import compare_cells
from xlt.analysis.curves.curve import group_by_curve
from xlt.analysis.metrics.thresholds import all_positive_f1
from xlt.analysis.tables.cells import TableCell
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import CellScores
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few, first_line, percent
from xlt.trainables.metrics.arrays import CHANCE
from xlt.trainables.metrics.registry import compared_metrics, metric_label
from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class Summary:
    """Three answers of one or more sentences.

    Attributes:
        carried_over: Which base models do the task without labelled target rows.
        bought: Which base models target rows improve, and by how much.
        unknown: Conditions of the numbers, and the questions that they leave open.
    """

    carried_over: str
    bought: str
    unknown: str

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """Three pairs of a heading and its answer."""
        return (
            ("Carried over", self.carried_over),
            ("Changed by target rows", self.bought),
            ("Not known", self.unknown),
        )


def summarise(collected: Collected, intervals: CellIntervals) -> Summary:
    """Summarise an experiment.

    Args:
        collected: The trials.
        intervals: Intervals of the means, with the predictions of the cells.

    Raises:
        InputError: No cell has usable predictions.
    """
    scores = intervals.scores
    if not scores.cells:
        reasons = "; ".join(dict.fromkeys(scores.left_out.values()))
        raise InputError(f"no cell has usable predictions: {reasons}")
    rows = {
        key: next(row.num_target_rows or 0 for row in collected.by_cell[key] if row.is_done)
        for key in scores.cells
    }
    metrics = compared_metrics(len(collected.plan.classes))
    cells = {
        metric: collect_metric_cells(collected, metric, intervals=intervals).cells
        for metric in metrics
    }
    pairs = _pair_with_fewest(collected, [c for c in cells[metrics[0]] if c.key in rows])
    compared: dict[str, dict[str, Comparison]] = {}
    why_not = "no base model has cells that differ only in the number of target rows"
    if pairs:
        try:
            compared = {metric: _compare(collected, metric, pairs) for metric in metrics}
        except InputError as error:
            why_not = first_few(error.problems)
    bought = _say_what_rows_bought(compared, pairs, rows)
    return Summary(
        _say_what_carried_over(cells, _floor(collected, intervals), rows),
        bought or f"Target rows were not compared: {why_not}.",
        _say_what_is_unknown(collected, intervals, compared),
    )


def _pair_with_fewest(
    collected: Collected, cells: Sequence[TableCell]
) -> dict[str, tuple[CellKey, CellKey]]:
    """Pair the cell of each learning curve that has the fewest target rows with its other cells."""
    pairs: dict[str, tuple[CellKey, CellKey]] = {}
    for curve in group_by_curve(collected, cells)[0]:
        fewest, *others = (point.cell.key for point in curve.points)
        pairs |= {f"{fewest.path}:{key.path}": (fewest, key) for key in others}
    return pairs


def _compare(collected: Collected, metric: str, pairs: Iterable[str]) -> dict[str, Comparison]:
    """Compare pairs of cells as one family; a pair without common runs or test rows is left out."""
    family = compare_cells(collected, metric, pairs=list(pairs))
    return {f"{own.first}:{own.second}": own for own in family.comparisons}


def _say_what_carried_over(
    cells: Mapping[str, Sequence[TableCell]], floor: tuple[float, str], rows: Mapping[CellKey, int]
) -> str:
    zero_shot = [key for key, num_rows in rows.items() if not num_rows]
    if not zero_shot:
        return "No cell was trained without labelled target rows, so transfer was not measured."
    (of_ranks, of_decisions), (constant, answer) = cells, floor
    floors = {of_ranks: CHANCE, of_decisions: constant}
    above = {
        metric: {
            cell.key: f"{cell.mean:.3f}"
            for cell in cells[metric]
            if cell.key in zero_shot and cell.interval and cell.interval[0] > least
        }
        for metric, least in floors.items()
    }
    named = {metric: _in_brackets(means) for metric, means in above.items()}
    return (
        f"Without labelled target rows, {len(above[of_ranks])} of {len(zero_shot)} cells rank the "
        f"test rows better than chance{named[of_ranks]}, and the {metric_label(of_decisions)} of "
        f"{len(above[of_decisions])}{named[of_decisions]} is above {constant:.3f}, the "
        f"{metric_label(of_decisions)} of {answer}. Both are judged by the interval of the mean."
    )


def _say_what_rows_bought(
    compared: Mapping[str, Mapping[str, Comparison]],
    pairs: Mapping[str, tuple[CellKey, CellKey]],
    rows: Mapping[CellKey, int],
) -> str:
    """Sentences on settled differences; empty if nothing was compared."""
    if not compared:
        return ""
    sentences = []
    for num_rows in sorted({rows[more] for _, more in pairs.values()}):
        raised, lowered = [], []
        for metric, comparisons in compared.items():
            own = {
                key: comparisons[name]
                for name, (_, key) in pairs.items()
                if name in comparisons and rows[key] == num_rows
            }
            settled = {key: f"{c.difference:+.3f}" for key, c in own.items() if c.is_settled}
            up = {key: text for key, text in settled.items() if own[key].difference > 0}
            down = {key: text for key, text in settled.items() if key not in up}
            label = metric_label(metric)
            raised.append(f"the {label} of {len(up)} of {len(own)}{_in_brackets(up)}")
            if down:
                lowered.append(f"the {label} of {len(down)}{_in_brackets(down)}")
        worse = f", and lower {' and '.join(lowered)}" if lowered else ""
        sentences.append(f"{num_rows} target rows raise {' and '.join(raised)}{worse}.")
    fewest = sorted({rows[first] for first, _ in pairs.values()})
    size = max(map(len, compared.values()))
    return (
        f"{' '.join(sentences)} Each cell is compared with the one of its learning curve that has "
        f"the fewest target rows ({', '.join(map(str, fewest))}), and p is corrected for {size} "
        "comparisons."
    )


def _say_what_is_unknown(
    collected: Collected,
    intervals: CellIntervals,
    compared: Mapping[str, Mapping[str, Comparison]],
) -> str:
    comparisons = [own for by_pair in compared.values() for own in by_pair.values()]
    num_open = sum(not own.is_settled for own in comparisons)
    missing = sum(not row.is_done for row in collected.rows)
    untrained = sorted(
        {
            first_line(row.cell.base_model)
            for row in collected.rows
            if row.training not in (None, "trained")
        }
    )
    if intervals.scores.num_classes == 2:
        shares = (
            f"F1 is of rows of which {percent(_share(collected, intervals))} are positive; other "
            "shares give other values (--prevalence)"
        )
    else:
        shares = "F1 depends on the shares of the classes, so texts with others give other values"
    clauses = [
        f"{num_open} of these {len(comparisons)} differences are not settled, which does not prove "
        "that they are 0"
        if num_open
        else "",
        "one draw of training rows was used, so other rows may give other results"
        if len(collected.plan.draws) == 1
        else "",
        shares,
        f"{missing} of {len(collected.rows)} trials have no result" if missing else "",
        f"some trials did not train ({first_few(untrained)})" if untrained else "",
    ]
    text = "; ".join(filter(None, clauses))
    return f"{text[0].upper()}{text[1:]}."


def _floor(collected: Collected, intervals: CellIntervals) -> tuple[float, str]:
    """F1 of the best constant answer on the test rows, and this answer."""
    if intervals.scores.num_classes == 2:
        return all_positive_f1(_share(collected, intervals)), "calling every row positive"
    num_classes = intervals.scores.num_classes
    counts = np.bincount(_first(intervals).y_true, minlength=num_classes)
    share = float(counts.max() / counts.sum())
    return all_positive_f1(share) / num_classes, "always calling the most frequent class"


def _first(intervals: CellIntervals) -> CellScores:
    return next(iter(intervals.scores.cells.values()))


def _share(collected: Collected, intervals: CellIntervals) -> float:
    """Share of class 1 that metrics are of: the prevalence, else that of the test rows."""
    if collected.prevalence is not None:
        return collected.prevalence
    return float(_first(intervals).y_true.mean())


def _in_brackets(texts: Mapping[CellKey, str]) -> str:
    """Names of cells with a text each: the base model, and the pattern if a model has several."""
    counts = Counter(key.base_model for key in texts)
    named = ", ".join(
        f"{first_line(key.base_model if counts[key.base_model] == 1 else key.path)} {text}"
        for key, text in texts.items()
    )
    return f" ({named})" if named else ""
