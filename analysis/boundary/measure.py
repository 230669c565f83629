"""Measures each cell and judges whether it ranks worse than its reference or needs a threshold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from xlt.analysis.boundary.judge_cells import CellBoundary, judge_cells
from xlt.analysis.boundary.judge_classes import judge_classes
from xlt.analysis.boundary.score_shift import SHIFTS, SourceLogits, score_shift, source_logits
from xlt.analysis.boundary.train_threshold import (
    TRAIN_ROWS,
    f1_at_train_threshold,
    out_of_fold,
)
from xlt.analysis.boundary.trial_measures import (
    measure_trials,
    read_predictions,
    refuse_other_share,
)
from xlt.analysis.boundary.verdict import MARGIN, threshold_gain
from xlt.analysis.metrics.measures import (
    MEASURES,
    OF_ROWS_AS_DRAWN,
    RESAMPLED_MEASURES,
    request_measures,
)
from xlt.analysis.metrics.one_thread import one_thread
from xlt.analysis.tables.cells import TableCell, aggregate
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scored_rows import TestRows, read_train_scores
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.uncertainty.intervals import INTERVALS, check_method
from xlt.analysis.uncertainty.runs import MetricRuns, Runs
from xlt.data.core.errors import InputError, unknown
from xlt.data.dataset.source_langs import list_source_langs
from xlt.trainables.metrics.arrays import Labels, Scores
from xlt.trainables.results.result import Results
from xlt.trainables.spec.cell_key import CellKey

NOT_NEGATIVE = ("ece", "brier")
WITH_INTERVAL = (*NOT_NEGATIVE, "logit_median")
"""Measures in :data:`MEASURES` that get an interval; those of :mod:`score_shift` get one, too."""
CLASS_MEDIANS = ("logit_median_0", "logit_median_1")


@one_thread
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

    With more than two classes the measures are those of :func:`judge_classes`.

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
        InputError: There are no usable predictions, an unknown reference or method, or invalid
            numbers.
    """
    plan = collected.plan
    if reference is not None and reference not in plan.patterns:
        raise InputError(unknown("pattern", reference, plan.patterns), "reference")
    check_method(method)
    if not 0 < margin < 1:
        raise InputError(f"margin {margin:g} is not a loss between 0 and 1, e.g. {MARGIN:g}")
    prevalence, num_labelled = collected.prevalence, sorted(set(num_labelled))
    if len(plan.classes) > 2:
        if prior is not None or num_labelled:
            raise InputError("prior and labelled are of two classes; leave them out")
        return judge_classes(collected, reference, method, margin)
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
    return judge_cells(
        collected, scores, by_cell, priors, target_rows, folds,
        partial(threshold_gain, prevalence=prevalence), reference, method, margin,
    )  # fmt: skip


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
