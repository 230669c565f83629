"""judge_cells: verdicts of all cells, from their measures and predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from xlt.analysis.boundary.train_threshold import FoldScores
from xlt.analysis.boundary.verdict import Verdict, judge
from xlt.analysis.comparisons.compare import difference_groups
from xlt.analysis.tables.cells import TableCell
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import CellScores, ExperimentScores
from xlt.analysis.uncertainty.collapse import describe_collapse
from xlt.analysis.uncertainty.runs import MetricRuns, Runs
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import selection_metric
from xlt.trainables.results.plan import Plan, PlannedCell
from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class CellBoundary:
    """Measures and verdict of a cell.

    Attributes:
        measures: Name -> table entry with mean and std over runs, and a 95 % interval for those in
            :data:`WITH_INTERVAL` and ``score_shift.SHIFTS``.
        verdict: Answers and verdict; None for a cell whose predictions cannot be used together.
        reference: Pattern that the ranking is compared with, maybe the cell's own; empty for a cell
            without value.
        prior: Share of class 1 among the test rows, mean over runs, or the prevalence; None for a
            cell without value.
        without: Why a cell with a value has no verdict or no comparison of its ranking; else empty.
        folds: Held-out scores on which the threshold of training rows was chosen; None if it was
            chosen on in-sample scores, or if there is none.
    """

    measures: Mapping[str, TableCell]
    verdict: Verdict | None
    reference: str
    prior: float | None
    without: str = ""
    folds: FoldScores | None = None

    @property
    def first(self) -> TableCell:
        """F1 or macro F1, the first measure; every measure knows the cell's name and runs."""
        return next(iter(self.measures.values()))

    @property
    def names(self) -> tuple[str, str]:
        """Base model and pattern, as tables show them."""
        return first_line(self.first.base_model), first_line(self.first.pattern)

    @property
    def title(self) -> str:
        """Name in sentences, e.g. ``mbert x ja16``."""
        return " x ".join(self.names)


def judge_cells(
    collected: Collected,
    scores: ExperimentScores,
    by_cell: Mapping[CellKey, dict[str, TableCell]],
    priors: Mapping[CellKey, float | None],
    target_rows: Mapping[CellKey, int],
    folds: Mapping[CellKey, FoldScores],
    gain_of: Callable[[CellScores], Runs],
    reference: str | None,
    method: str,
    margin: float,
) -> list[CellBoundary]:
    """Judge the ranking and the decisions of all cells.

    Args:
        collected: The experiment.
        scores: Predictions of the cells.
        by_cell: Measures of each cell; the interval of its AUROC is added.
        priors: See :attr:`CellBoundary.prior`; only cells with a value.
        target_rows: Number of target rows of the cells with a value.
        folds: See :attr:`CellBoundary.folds`.
        gain_of: Function of a cell; gain of better decisions for each of its runs.
        reference: See :func:`boundary`.
        method: Name in ``INTERVALS``.
        margin: Loss below which a loss counts as small.
    """
    plan, num_classes = collected.plan, scores.num_classes
    auroc = MetricRuns(selection_metric(num_classes), num_classes=num_classes)
    judged = []
    for planned in plan.cells:
        key = planned.key
        verdict, compared, without = None, "", ""
        if key in priors:
            compared = reference or _most_target_rows(plan, planned, target_rows)
            try:
                verdict, without = _judge(scores, key, compared, auroc, gain_of, method, margin)
            except InputError as error:
                without = str(error)
        if verdict:
            ends = max(verdict.auroc.low, 0.0), min(verdict.auroc.high, 1.0)
            by_cell[key][auroc.metric] = replace(by_cell[key][auroc.metric], interval=ends)
        judged.append(
            CellBoundary(by_cell[key], verdict, compared, priors.get(key), without, folds.get(key))
        )
    return judged


def _most_target_rows(plan: Plan, cell: PlannedCell, target_rows: Mapping[CellKey, int]) -> str:
    """Pattern of the cell of the same base model and languages with the most target rows."""
    row = (cell.base_model, cell.target_lang, cell.source_langs)
    candidates = {
        c.key: (target_rows[c.key], c.translate is None)
        for c in plan.cells
        if (c.base_model, c.target_lang, c.source_langs) == row and c.key in target_rows
    }
    return max(candidates, key=candidates.__getitem__).pattern


def _judge(
    scores: ExperimentScores, key: CellKey, reference: str, auroc: MetricRuns,
    gain_of: Callable[[CellScores], Runs], method: str, margin: float,
) -> tuple[Verdict, str]:  # fmt: skip
    """Judge a cell; also return why its ranking cannot be compared, else an empty text.

    Raises:
        InputError: The cell has no usable scores, or only some of its runs trained.
    """
    cell, other = _usable(scores, key, auroc), CellKey(key.base_model, reference)
    gap, without = None, ""
    if other != key:
        try:
            gap, _ = difference_groups(cell, _usable(scores, other, auroc), auroc)
        except InputError as error:
            without = str(error)
    verdict = judge(
        auroc.of(cell), gap, gain_of(cell),
        is_reference=other == key, margin=margin, method=method,
        off="threshold is off" if scores.num_classes == 2 else "weights are off",
    )  # fmt: skip
    return verdict, without


def _usable(scores: ExperimentScores, key: CellKey, auroc: MetricRuns) -> CellScores:
    """Scores of a cell whose mean AUROC has an interval; InputError if there is none."""
    why = scores.left_out.get(key, "")
    cell = scores.cells.get(key)
    if cell:
        why = describe_collapse(cell, auroc.metric, auroc.of(cell).values)
    if cell is None or why:
        raise InputError(f"{key.path}: {why}")
    return cell
