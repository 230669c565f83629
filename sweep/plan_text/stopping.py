"""Describe what early stopping does in a grid, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable

from xlt.trainables.spec.trial_spec import TrialSpec


def describe_stopping(specs: Iterable[TrialSpec]) -> list[str]:
    """Say what early stopping does in the trials that have it, and how many rows it scores."""
    stopping = [spec for spec in specs if spec.stopping_dev]
    if not stopping:
        return []
    trainings = [spec.training for spec in stopping]
    settings = {(training.early_stopping, training.has_stages): None for training in trainings}
    scored = sum(spec.num_scored_rows for spec in stopping)
    lines = [
        f"Early stopping on {e.dev} rows{' in the second stage' * has_stages}: training ends after "
        f"{e.patience} {'epoch' if e.patience == 1 else 'epochs'} without a better {e.metric}, and "
        "the weights of the best epoch count"
        for e, has_stages in settings
        if e
    ]
    return [*lines, f"Dev rows are scored after each epoch: at most {scored:,} rows in all trials"]
