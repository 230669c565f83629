"""Weights of classes in the training loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xlt.data.core.errors import InputError, unknown
from xlt.trainables.spec.training import ClassWeights


def check_class_weights(setting: ClassWeights, classes: Sequence[str]) -> None:
    """Raise InputError unless the setting names classes of the data."""
    named = setting if isinstance(setting, dict) else {}
    if strange := [name for name in named if name not in classes]:
        raise InputError(
            [unknown("class", name, classes) for name in strange], "training.class_weights"
        )


def compute_class_weights(
    setting: ClassWeights, labels: Sequence[int], classes: Sequence[str]
) -> list[float] | None:
    """Compute the weight of each class.

    Args:
        setting: ``balanced``: number of rows / (number of classes x rows of the class), as
            ``sklearn.utils.class_weight.compute_class_weight`` (King & Zeng 2001, Political
            Analysis 9:137); weights by name, 1 for classes that are not named; None.
        labels: Class of each training row.
        classes: Name of each class.

    Returns:
        num_classes weights; None without a setting, so that the loss is the plain mean.
    """
    if setting is None:
        return None
    if isinstance(setting, dict):
        return [setting.get(name, 1.0) for name in classes]
    counts = np.bincount(labels, minlength=len(classes))
    return [float(w) for w in len(labels) / (len(classes) * np.maximum(counts, 1))]
