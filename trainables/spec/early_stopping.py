"""Settings of early stopping: dev rows, metric and patience."""

from __future__ import annotations

from typing import Literal

import pydantic

from xlt.data.core.settings import Settings
from xlt.data.dataset.dev import Dev, SourceDev, TargetFold

LOSS = "loss"
"""Name of the mean cross-entropy of dev rows, the metric of which less is better."""


class EarlyStopping(Settings):
    """Training stops when dev rows show no gain, and the weights of the best epoch count."""

    dev: Literal["source", "target"] = "source"
    """Dev rows. source: rows of the source language that no draw trains on; target: a fold of the
    target rows, which are then not trained on."""
    dev_rows: int = pydantic.Field(default=64, gt=0)
    """Number of source rows; unused with ``dev: target``."""
    num_folds: int = pydantic.Field(default=4, gt=1)
    """Number of folds of the target rows, one of which is held out; unused with ``dev: source``."""
    patience: int = pydantic.Field(default=2, gt=0)
    """Number of epochs without a gain after which training stops."""
    metric: str = LOSS
    """Metric of the dev rows: loss (mean cross-entropy), or a metric of results, such as auroc."""

    def choose_dev(self) -> Dev:
        """Return the kind of dev rows."""
        if self.dev == "source":
            return SourceDev(rows=self.dev_rows)
        return TargetFold(num_folds=self.num_folds, fold=0)
