"""Trials at a prevalence: their metrics on test rows that are weighted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.trials.scored_rows import number_stories
from xlt.analysis.trials.trial_row import TrialRow
from xlt.data.core.errors import InputError
from xlt.data.core.text import percent
from xlt.trainables.metrics.arrays import Labels, Scores
from xlt.trainables.metrics.prevalence import check_prevalence, resampled_at

if TYPE_CHECKING:
    from xlt.analysis.trials.collect import Collected

OF_TASK = "task"
"""Prevalence that the experiment's task names."""


Decide = Callable[[Labels, Scores, NDArray[np.intp] | None], Scores]
"""Function of num_rows labels, num_runs x num_rows scores and the numbers of the rows' stories; it
returns scores of 1 for rows that are decided positive and of 0 for others."""


def weigh(collected: Collected, prevalence: float | str, decide: Decide | None = None) -> Collected:
    """Compute the metrics of every trial at a prevalence, from its predictions.

    Args:
        collected: The trials with the metrics of their test rows as drawn.
        prevalence: Share of class 1, a number or its text; :data:`OF_TASK`: that of the plan.
        decide: Function that decides rows; None: by the threshold 0.5.

    Returns:
        The trials with the metrics of :func:`resampled_at`. A done trial whose predictions cannot
        be used has none, and its ``detail`` says why.

    Raises:
        InputError: The prevalence is not a share between 0 and 1, the plan has none, or there are
            more than two classes.
    """
    share = _parse(prevalence, collected)
    if len(collected.plan.classes) != 2:
        raise InputError(
            f"a prevalence is the share of one class of two; this experiment has "
            f"{len(collected.plan.classes)} classes"
        )
    rows = [
        _weighed(collected, row, share, decide) if row.is_done else row for row in collected.rows
    ]
    return replace(collected, rows=rows, metrics=tuple(resampled_at(share)), prevalence=share)


def describe_weights(prevalence: float | None) -> tuple[str, ...]:
    """A sentence for captions on how test rows are weighted; none without a prevalence."""
    if prevalence is None:
        return ()
    return (
        f"At a prevalence of {percent(prevalence)}: test rows are weighted so that this share of "
        "them is positive; AUROC and recall do not depend on it.",
    )


def _parse(prevalence: float | str, collected: Collected) -> float:
    if prevalence == OF_TASK:
        if collected.plan.prevalence is None:
            raise InputError(
                "the plan of this experiment has no task.prevalence; give a share, e.g. 0.02, or "
                "set task.prevalence and `xlt run` again, which repeats no trial",
                "--prevalence",
            )
        return collected.plan.prevalence
    try:
        share = float(prevalence)
    except ValueError:
        raise InputError(
            f"{prevalence!r} is neither a share such as 0.02 nor {OF_TASK}", "--prevalence"
        ) from None
    return check_prevalence(share)


def _weighed(
    collected: Collected, row: TrialRow, prevalence: float, decide: Decide | None
) -> TrialRow:
    try:
        test = collected.predictions.of(row.trial_id)
        scores = test.y_score[None]
        if decide:
            stories = number_stories(test.ids, collected.plan.same_story)
            scores = decide(test.y_true, scores, stories)
        once = np.ones((len(test.y_true), 1))
        metrics: Mapping[str, float] = {
            name: float(own.weighted(test.y_true, scores, once)[0, 0])
            for name, own in resampled_at(prevalence).items()
        }
    except InputError as error:
        return replace(row, metrics={}, detail=str(error))
    return replace(row, metrics=metrics)
