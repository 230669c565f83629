"""Weights of training rows in the loss: those of their classes times those of their languages."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from xlt.data.core.errors import InputError, unknown
from xlt.trainables.spec.training import ClassWeights, LossWeights
from xlt.trainables.spec.trial_spec import TrialSpec


def check_class_weights(setting: ClassWeights, classes: Collection[str]) -> None:
    """Raise InputError unless the setting names classes of the data."""
    _check_names("class", setting, classes, "training.class_weights")


def check_loss_weights(setting: LossWeights, langs: Collection[str]) -> None:
    """Raise InputError unless the setting names languages of rows."""
    _check_names("language", setting, langs, "training.loss_weights")


def _check_names(
    kind: str, setting: ClassWeights | LossWeights, known: Collection[str], where: str
) -> None:
    named = setting if isinstance(setting, dict) else {}
    if strange := [name for name in named if name not in known]:
        raise InputError([unknown(kind, name, known) for name in strange], where)


def weigh_rows(
    spec: TrialSpec, rows: pa.Table, classes: Sequence[str]
) -> NDArray[np.float64] | None:
    """Compute the weight of each training row in the loss.

    Args:
        spec: The trial.
        rows: num_rows x (label, lang), the languages in which the rows are read.
        classes: Names of the classes.

    Returns:
        num_rows weights; None without a setting, so that the loss is the plain mean.
    """
    training = spec.training
    if training.class_weights is None and training.loss_weights is None:
        return None
    uses, labels = _count_uses(spec, len(rows)), rows["label"].to_pylist()
    of_classes = _weigh_groups(training.class_weights, [classes[i] for i in labels], uses)
    return of_classes * _weigh_groups(training.loss_weights, rows["lang"].to_pylist(), uses)


def weigh_in_epoch(spec: TrialSpec, rows: pa.Table, classes: Sequence[str]) -> NDArray[np.float64]:
    """Compute how much each row counts in an epoch: its uses, times its weight in the loss.

    Arguments and units are those of :func:`weigh_rows`.
    """
    weights = weigh_rows(spec, rows, classes)
    return _count_uses(spec, len(rows)) * (1.0 if weights is None else weights)


def _count_uses(spec: TrialSpec, num_rows: int) -> NDArray[np.float64]:
    """Count how often an epoch trains on each row, on average over the target rows.

    Args:
        spec: The trial.
        num_rows: Number of its training rows, of which the target rows are the last ones.

    Returns:
        num_rows numbers: 1, or with ``target_share`` the number of repetitions of target rows.
    """
    uses, num_target = np.ones(num_rows), spec.num_target_rows
    if num_target:
        source_rows = num_rows - num_target
        uses[source_rows:] = spec.training.count_target_rows(source_rows, num_target) / num_target
    return uses


def _weigh_groups(
    setting: ClassWeights | LossWeights, names: Sequence[str], uses: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the weight of each row's group.

    Args:
        setting: ``balanced``: number of rows / (number of groups x rows of the group), as
            ``sklearn.utils.class_weight.compute_sample_weight`` (King & Zeng 2001, Political
            Analysis 9:137); weights by name, 1 for groups that are not named; None: 1.
        names: Group of each row.
        uses: Number of times that each row counts.
    """
    groups, places = np.unique(names, return_inverse=True)
    if setting == "balanced":
        totals = np.bincount(places, weights=uses)
        weights = totals.sum() / (len(groups) * totals)
    else:
        weights = np.array([(setting or {}).get(name, 1.0) for name in groups.tolist()])
    return np.asarray(weights[places], np.float64)
