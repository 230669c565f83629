"""Where `xlt predict` cuts scores: a number, or a fit that needs no labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xlt.analysis.metrics.thresholds import FITS, prior_threshold
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.arrays import Scores

EXAMPLES = "a number between 0 and 1, `median`, or `prior=0.3`: the share of class 1"


@dataclass(frozen=True)
class Threshold:
    """A choice of threshold.

    Attributes:
        value: The threshold, or None if the scores tell it.
        prior: The share of rows that is class 1, where the scores tell it.
    """

    value: float | None = None
    prior: float = 0.5

    def of(self, y_score: Scores) -> float:
        """The threshold of scores, num_rows; as :func:`prior_threshold`."""
        fitted = prior_threshold(y_score, self.prior) if self.value is None else self.value
        return float(fitted)


def parse_threshold(text: str) -> Threshold:
    """Read a threshold.

    Args:
        text: A number of 0 to 1; ``median``: half of the rows are class 1; ``prior=P``: a share P.

    Raises:
        InputError: It is none of these.
    """
    fit, equals, share = text.partition("=")
    if fit in FITS:
        raise InputError(
            f"threshold {text!r} is fitted on labelled rows, and new texts have no labels; give "
            f"{EXAMPLES}, or the number that `xlt boundary` found"
        )
    if text == "median":
        return Threshold()
    try:
        value = float(share if fit == "prior" and equals else text)
    except ValueError:
        value = np.nan
    if fit == "prior" and equals and 0 < value < 1:
        return Threshold(prior=value)
    if not equals and 0 <= value <= 1:
        return Threshold(value=value)
    raise InputError(f"threshold {text!r} is none; give {EXAMPLES}")
