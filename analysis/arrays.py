"""Types of arrays, and the threshold, that all of analysis shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int8]
Scores = NDArray[np.float64]
THRESHOLD = 0.5
"""Rows at this probability or above count as positive: ``metrics.THRESHOLD`` of trials, written
again because that module imports scikit-learn; a test holds them together."""


Weights = NDArray[np.floating[Any]]
"""num_items x num_weightings, whole numbers >= 0; float32 or float64."""
Values = NDArray[np.float64]


def ratio(above: Values, below: Values) -> Values:
    """Zero where nothing lies below, as ``zero_division=0.0`` of scikit-learn."""
    result: Values = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return result
