"""Measures each cell and judges whether it ranks worse than its reference or needs a threshold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from xlt.analysis.boundary.score_shift import SHIFTS, SourceLogits, score_shift, source_logits
from xlt.analysis.boundary.train_threshold import (
    TRAIN_ROWS,
    FoldScores,
    f1_at_train_threshold,
    out_of_fold,
)
from xlt.analysis.boundary.trial_measures import (
    measure_trials,
    read_predictions,
    refuse_other_share,
)
from xlt.analysis.boundary.verdict import MARGIN, Verdict, judge, threshold_gain
from xlt.analysis.comparisons.compare import difference_groups
from xlt.analysis.metrics.measures import (
    MEASURES,
    OF_ROWS_AS_DRAWN,
    RESAMPLED_MEASURES,
    request_measures,
)
from xlt.analysis.tables.cells import TableCell, aggregate
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scored_rows import TestRows, read_train_scores
from xlt.analysis.trials.scores import CellScores, ExperimentScores, load_scores
from xlt.analysis.uncertainty.collapse import describe_collapse
from xlt.analysis.uncertainty.intervals import INTERVALS, check_method
from xlt.analysis.uncertainty.runs import MetricRuns, Runs
from xlt.data.core.errors import InputError, unknown
from xlt.data.dataset.source_langs import list_source_langs
from xlt.trainables.metrics.arrays import Labels, Scores
from xlt.trainables.results.plan import Plan, PlannedCell
from xlt.trainables.results.result import Results
from xlt.trainables.spec.cell_key import CellKey

NOT_NEGATIVE = ("ece", "brier")
WITH_INTERVAL = (*NOT_NEGATIVE, "logit_median")
"""Measures in :data:`MEASURES` that get an interval; those of :mod:`score_shift` get one, too."""
CLASS_MEDIANS = ("logit_median_0", "logit_median_1")


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


def boundary(
    collected: Collected,
    *,
    reference: str | None = None,
    prior: float | None = None,
    num_labelled: Iterable[int] = (),
    method: str = "t",
    margin: float = MARGIN,
) -> list[CellBoundary]:
    """Measure and judge all cells of an experiment.

    Args:
        collected: The experiment, as it is or at a prevalence. F1, average precision and the gain
            of a threshold are at that prevalence; measures that need the rows as drawn are left
            out (``OF_ROWS_AS_DRAWN``, thresholds of training or labelled rows).
        reference: Pattern with which cells of the same base model are compared; None selects the
            pattern with the most target rows in the same target language, if possible one without
            translations.
        prior: Share of rows for the measure ``f1_prior``, F1 at the threshold that this share of
            the test rows reaches; it must be the share of class 1 among the test rows. None leaves
            the measure out.
        num_labelled: Numbers N of labelled test rows for the measures ``f1_<fit>_<N>``, F1 with a
            threshold chosen on N test rows, for each fit in ``thresholds.FITS``.
        method: Name in ``INTERVALS``.
        margin: Loss in AUROC or macro F1 below which a loss counts as small.

    Returns:
        The cells in the order of the plan. A trial that cannot be used is left out, and the table
        entries of its cell give the reason.

    Raises:
        InputError: There are more than two classes, no usable predictions, an unknown reference or
            method, or invalid numbers.
    """
    plan = collected.plan
    if reference is not None and reference not in plan.patterns:
        raise InputError(unknown("pattern", reference, plan.patterns), "reference")
    check_method(method)
    if not 0 < margin < 1:
        raise InputError(f"margin {margin:g} is not a loss between 0 and 1, e.g. {MARGIN:g}")
    prevalence, num_labelled = collected.prevalence, sorted(set(num_labelled))
    if prevalence is not None and (prior is not None or num_labelled):
        raise InputError(
            "prior and labelled are about test rows as drawn; leave out one side, or choose a "
            "threshold for the prevalence with `xlt report --prevalence P --threshold RULE`"
        )
    predictions, unfit = read_predictions(collected)
    measures = {**MEASURES, **request_measures(prior, num_labelled)}
    if prior is not None and 0 < prior < 1:  # other numbers are refused with the measure
        refuse_other_share(prior, predictions)
    if prevalence is not None:
        measures = {name: m for name, m in measures.items() if name not in OF_ROWS_AS_DRAWN}
    measured = measure_trials(collected, predictions, measures)
    folds = out_of_fold(collected) if prevalence is None else {}
    trained = _trained(collected, predictions)
    measured[TRAIN_ROWS] = {}
    if prevalence is None:
        measured[TRAIN_ROWS] = f1_at_train_threshold(collected, predictions, trained, folds)
    measured |= {name: {} for name in SHIFTS}
    metric_runs = {
        name: MetricRuns(name, RESAMPLED_MEASURES)
        for name in (*WITH_INTERVAL, *CLASS_MEDIANS)
        if name in measures
    }
    scores = load_scores(collected)
    by_cell: dict[CellKey, dict[str, TableCell]] = {}
    target_rows: dict[CellKey, int] = {}
    priors: dict[CellKey, float] = {}
    for planned in plan.cells:
        key = planned.key
        own = collected.by_cell[key]
        ranged: dict[str, Runs] = {}
        cell = scores.cells.get(key)
        if cell and len(np.unique(cell.y_true)) == 2:
            by_run = {row.run: row.trial_id for row in own}
            done = [by_run[run] for run in cell.runs]
            runs_of = {
                name: runs.of(cell, np.array([measured[name][i] for i in done]))
                for name, runs in metric_runs.items()
            }
            ranged = {name: runs_of[name] for name in WITH_INTERVAL if name in runs_of}
            low, high = (runs_of[name] for name in CLASS_MEDIANS)
            sources = [_source(collected, trained, trial_id) for trial_id in done]
            shifts = score_shift(cell, (low, high), sources)
            ranged |= shifts
            for name, runs in shifts.items():
                for run, value in zip(runs.runs, runs.values.tolist(), strict=True):
                    measured[name][by_run[run]] = value
        by_cell[key] = {
            name: aggregate(planned, own, name, values, unfit) for name, values in measured.items()
        }
        for name, runs in ranged.items():
            interval = INTERVALS[method]([runs])
            least = max(interval.low, 0.0) if name in NOT_NEGATIVE else interval.low
            by_cell[key][name] = replace(by_cell[key][name], interval=(least, interval.high))
        usable = [row for row in own if row.trial_id in predictions]
        if usable:
            target_rows[key] = max(row.num_target_rows or 0 for row in usable)
            positives = [np.mean(predictions[row.trial_id].y_true) for row in usable]
            priors[key] = prevalence or float(np.mean(positives))
    auroc = MetricRuns("auroc")
    judged = []
    for planned in plan.cells:
        key = planned.key
        verdict, compared, without = None, "", ""
        if key in priors:
            compared = reference or _most_target_rows(plan, planned, target_rows)
            try:
                verdict, without = _judge(scores, key, compared, auroc, method, margin, prevalence)
            except InputError as error:
                without = str(error)
        if verdict:
            ends = max(verdict.auroc.low, 0.0), min(verdict.auroc.high, 1.0)
            by_cell[key]["auroc"] = replace(by_cell[key]["auroc"], interval=ends)
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
    scores: ExperimentScores, key: CellKey, reference: str, auroc: MetricRuns, method: str,
    margin: float, prevalence: float | None,
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
        auroc.of(cell), gap, threshold_gain(cell, prevalence),
        is_reference=other == key, margin=margin, method=method,
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


def _trained(
    collected: Collected, predictions: Mapping[str, TestRows]
) -> dict[str, dict[str, tuple[Labels, Scores]]]:
    """Trial id -> language -> scored training rows."""
    location, ids = Results(collected.uri), list(predictions)
    scored = location.map_items(lambda trial_id: read_train_scores(location, trial_id), ids)
    return dict(zip(ids, scored, strict=True))


def _source(
    collected: Collected, trained: Mapping[str, Mapping[str, tuple[Labels, Scores]]], trial_id: str
) -> SourceLogits | None:
    """Logits of the source training rows of a trial in all its source languages.

    None if they have no scores.
    """
    langs = list_source_langs(collected.records[trial_id]["spec"]["source_lang"])
    rows = [trained[trial_id][lang] for lang in langs if lang in trained[trial_id]]
    return source_logits(*map(np.concatenate, zip(*rows, strict=True))) if rows else None
