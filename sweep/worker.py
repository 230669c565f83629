"""What a worker process does for any backend: one trial to one result folder, errors recorded."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from data.errors import InputError
from data.schema import Dataset
from trainables.attributions import save_attributions
from trainables.explain.settings import Explain
from trainables.result import Results
from trainables.spec import TrialSpec

REPORT_SECONDS = 1.0
"""Least time between two progress reports of a trial; each one passes through the driver."""

Report = Callable[[int, int, float], None]


def run_and_save(
    spec: TrialSpec,
    dataset: Dataset,
    results: Results,
    keep_models: Any,
    report: Report,
    explain: Explain | None = None,
) -> dict[str, Any]:
    """Run a trial and write its folder.

    An error is a result too: it is written to the folder and returned, so that the process stays
    warm for the next trial. Only what ends the process itself is left to the backend, and a
    location that takes no files: more trials would be computed for nothing.

    Args:
        spec: The trial.
        dataset: The rows that it draws from.
        results: Where its folder goes.
        keep_models: Which weights to keep, see :func:`trainables.trial.run_trial`.
        report: Told (step, num_steps, loss), at most once in :data:`REPORT_SECONDS`.
        explain: How its test rows are explained, while the weights are there; None: not.

    Returns:
        ``{"metrics": {name: value}, "convergence": {name: value}}``, ``{"error": text}``, or
        ``{"unwritable": text}`` where neither could be written.
    """
    from trainables.trial import run_trial  # torch: not needed to launch

    try:
        result = run_trial(
            spec, dataset, report=_seldom(report), keep_models=keep_models, explain=explain
        )
    except Exception as error:
        return record_failure(spec, results, error)
    try:
        results.save(result)
        if result.attributions:
            save_attributions(results, spec.trial_id, result.attributions)
    except (pa.ArrowException, OSError) as error:
        return {"unwritable": str(error)}
    return {"metrics": result.metrics, "convergence": result.convergence}


def record_failure(spec: TrialSpec, results: Results, error: BaseException) -> dict[str, Any]:
    """Write an error to the trial's folder; returns as :func:`run_and_save`."""
    text = describe(error)
    told = "".join(traceback.format_exception(error))
    try:
        results.save_failure(spec, text, told)
    except (pa.ArrowException, OSError) as refused:
        return {"unwritable": str(refused)}
    return {"error": text}


def refuse_unwritable(results: Results, outcome: dict[str, Any]) -> None:
    """Raise InputError for an outcome that says that the location takes no files."""
    if "unwritable" in outcome:
        raise InputError(
            f"results location {results.uri!r} cannot be written any more: "
            f"{outcome['unwritable']}; what was finished is kept; free space or mend the access, "
            "then start again"
        )


def describe(error: BaseException) -> str:
    """An error in one or a few lines, with its type where the text alone says too little."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _seldom(report: Report) -> Report:
    last = 0.0

    def maybe(step: int, num_steps: int, loss: float) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_SECONDS:
            last = time.monotonic()
            report(step, num_steps, loss)

    return maybe
