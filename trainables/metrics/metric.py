"""Metric: everything that is known about a metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xlt.trainables.metrics.arrays import Labels, Scores
from xlt.trainables.metrics.resampled import Resampled

Compute = Callable[[Labels, Scores], float]


@dataclass(frozen=True)
class Metric:
    """Everything that is known about a metric. Values are fractions of 1; larger is better.

    Attributes:
        name: Key in results and on the command line.
        label: Heading in tables, figures and on the page.
        definition: Phrase of a caption, in which ``{positive}`` and ``{classes}`` are filled in.
        compute: Function of y_true (num_rows class numbers) and y_score (num_rows probabilities of
            class 1, or num_rows x num_classes probabilities). It calls scikit-learn, whose number
            is the one in the result of a trial.
        two_classes: Whether the metric is defined for two classes.
        more_classes: Whether it is defined for more than two.
        from_ranks: Whether only the order of scores counts. Such a metric has no value where a
            class has no row. Other metrics use decisions and always have a value.
        is_reported: Whether reports show it unless other metrics are asked for.
        selects: Whether learning rates and models to keep are selected by it.
        resampled: Functions for intervals and tests; None: there are none.
    """

    name: str
    label: str
    definition: str
    compute: Compute
    two_classes: bool = True
    more_classes: bool = False
    from_ranks: bool = False
    is_reported: bool = False
    selects: bool = False
    resampled: Resampled | None = None
