"""Thresholds of `xlt predict`: a number, or a fit that needs no labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xlt.analysis.metrics.thresholds import FITS, prior_threshold
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.arrays import Scores

EXAMPLES = "a number between 0 and 1, `median`, or `prior=0.3`: the share of class 1"


@dataclass(frozen=True)
class Threshold:
    """A rule for the threshold.

    Attributes:
        value: The threshold; None if it is computed from the scores.
        prior: Share of rows that become class 1, if the threshold is computed.
    """

    value: float | None = None
    prior: float = 0.5

    def compute(self, y_score: Scores) -> float:
        """Compute the threshold for scores (num_rows), see :func:`prior_threshold`."""
        fitted = prior_threshold(y_score, self.prior) if self.value is None else self.value
        return float(fitted)


def parse_threshold(text: str) -> Threshold:
    """Parse a threshold.

    Args:
        text: A number from 0 to 1; ``median``: half of the rows become class 1; ``prior=P``: a
            share P of them.

    Raises:
        InputError: The text is none of these.
    """
    fit, equals, share = text.partition("=")
    if fit in FITS:
        raise InputError(
            f"threshold {text!r} is fitted on labelled rows, and new texts have no labels; give "
            f"{EXAMPLES}, or the number that `xlt boundary` reports"
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
    raise InputError(f"threshold {text!r} is not valid; give {EXAMPLES}")
