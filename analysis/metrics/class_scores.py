"""score_classes: the confusion matrix of a cell, and precision, recall and F1 of each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.trials.scores import CellScores
from xlt.trainables.metrics.arrays import Values, count_classes, decide
from xlt.trainables.metrics.weighted import count_decisions, f1, precision, recall


@dataclass(frozen=True)
class ClassScores:
    """Decisions of the runs of a cell by class.

    Attributes:
        matrix: num_classes x num_classes test rows summed over runs, right class x decided class.
        num_rows: num_classes test rows of each class.
        values: ``precision``, ``recall`` and ``f1`` -> num_classes x num_runs values; 0 where a
            denominator is 0.
    """

    matrix: NDArray[np.intp]
    num_rows: NDArray[np.intp]
    values: dict[str, Values]


def score_classes(cell: CellScores) -> ClassScores:
    """Count the decisions of a cell: at the threshold 0.5, or the class of the largest probability.

    Args:
        cell: Predictions of the runs.
    """
    num_classes, decided = count_classes(cell.scores), decide(cell.scores)
    pairs = cell.y_true.astype(np.intp) * num_classes + decided
    matrix = np.bincount(pairs.ravel(), minlength=num_classes**2).reshape(num_classes, -1)
    once_each = np.ones((len(cell.y_true), 1))
    counts = count_decisions(cell.y_true, np.eye(num_classes)[decided], once_each)
    functions = {"precision": precision, "recall": recall, "f1": f1}
    return ClassScores(
        matrix,
        np.bincount(cell.y_true, minlength=num_classes),
        {name: function(counts)[:, :, 0] for name, function in functions.items()},
    )
