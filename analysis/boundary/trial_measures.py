"""Measures of single trials, from the predictions of those that can be used."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xlt.analysis.metrics.measures import Measure, Scored
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scored_rows import TestRows
from xlt.data.core.errors import InputError
from xlt.data.core.text import percent
from xlt.trainables.spec.cell_key import CellKey

SHARE_TOLERANCE = 0.01
"""Difference of a prior from the share of the test rows that counts as rounding."""
MAX_NAMED = 3
"""Maximal number of trials that an error names."""


def read_predictions(collected: Collected) -> tuple[dict[str, TestRows], dict[str, str]]:
    """Read the test rows of the done trials.

    Returns:
        Trial id -> test rows of both classes, and why those of other done trials are unusable.

    Raises:
        InputError: There are more than two classes, or no done trial has usable predictions.
    """
    num_classes = len(collected.plan.classes)
    if num_classes != 2:
        raise InputError(
            f"has {num_classes} classes; thresholds and calibration need two",
            f"experiment {collected.plan.experiment}",
        )
    usable: dict[str, TestRows] = {}
    unfit: dict[str, str] = {}
    for trial_id in (row.trial_id for row in collected.rows if row.is_done):
        try:
            rows = collected.predictions.of(trial_id)
            if rows.y_true.min() == rows.y_true.max():
                raise InputError("predictions without test rows of both classes")
            usable[trial_id] = rows
        except InputError as error:
            unfit[trial_id] = str(error)
    if unfit and not usable:
        why = [f"{trial_id}: {reason}" for trial_id, reason in unfit.items()]
        more = [f"and {len(why) - MAX_NAMED} more trials"] if len(why) > MAX_NAMED else []
        raise InputError(
            ["no trial can be judged", *why[:MAX_NAMED], *more], f"results {collected.uri}"
        )
    return usable, unfit


def refuse_other_share(prior: float, predictions: Mapping[str, TestRows]) -> None:
    """Refuse a prior that is not the share of class 1 among the test rows.

    The threshold of another prior would call a wrong share of these rows positive, and say nothing
    of texts with that share, whose scores mix the classes differently.

    Raises:
        InputError: The test rows of a trial have another share.
    """
    shares = sorted({float(np.mean(rows.y_true)) for rows in predictions.values()})
    if wrong := [share for share in shares if abs(share - prior) > SHARE_TOLERANCE]:
        raise InputError(
            f"{prior:g} is not the share of positives among the test rows, "
            f"{', '.join(map(percent, wrong))}; give that, or --prevalence {prior:g} for texts of "
            "which such a share is positive",
            "prior",
        )


def measure_trials(
    collected: Collected, predictions: Mapping[str, TestRows], measures: Mapping[str, Measure]
) -> dict[str, dict[str, float]]:
    """Compute measures of each trial; trials of a cell with the same labels are done together.

    Args:
        collected: The experiment, as it is or at a prevalence.
        predictions: Trial id -> test rows, see :func:`read_predictions`.
        measures: Name -> measure.

    Returns:
        Measure -> trial id -> value.
    """
    alike: dict[tuple[CellKey, bytes], list[str]] = {}
    for row in (row for row in collected.rows if row.trial_id in predictions):
        labels = predictions[row.trial_id].y_true.tobytes()
        alike.setdefault((row.cell, labels), []).append(row.trial_id)
    measured: dict[str, dict[str, float]] = {name: {} for name in measures}
    for trial_ids in alike.values():
        scores = np.stack([predictions[trial_id].y_score for trial_id in trial_ids])
        scored = Scored(predictions[trial_ids[0]].y_true, scores, collected.prevalence)
        for name, measure in measures.items():
            measured[name] |= zip(trial_ids, measure.compute(scored).tolist(), strict=True)
    return measured
