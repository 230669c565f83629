"""Sentences of a plan on the false-alarm rates that its test rows can show."""

from __future__ import annotations

import math
from collections import Counter

from xlt.data.core.text import first_line, percent
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.planning.grid import Grid
from xlt.trainables.metrics.prevalence import highest_rate

EXAMPLE_RATE, EXAMPLE_ERROR = 0.01, 0.005
"""False-alarm rate of the example, and the half-width of its 95 % interval that more rows give."""
QUANTILE = 1.96
"""Quantile of the normal distribution for a 95 % interval."""


def count_negatives_for(rate: float, error: float) -> int:
    """Count the negatives with which a false-alarm rate has an interval of +/- ``error``.

    Normal approximation of a binomial share: n = z^2 rate (1 - rate) / error^2.
    """
    return math.ceil(QUANTILE**2 * rate * (1 - rate) / error**2)


def describe_test_rows(grid: Grid) -> list[str]:
    """Describe the classes of the test rows of each target language, for two classes."""
    if len(grid.dataset.classes) != 2:
        return []
    targets = dict.fromkeys(pattern.target_lang for pattern in grid.experiment.patterns)
    counts = {lang: Counter[int]() for lang in targets}
    for drawn in dict.fromkeys(draw.test for draw in grid.draws):
        ids = set(drawn)
        for lang in counts.keys() & grid.dataset.by_lang.keys():
            labels = [row.label for row in grid.dataset.by_lang[lang] if row.id in ids]
            counts[lang] = Counter(labels) or counts[lang]
    return [
        _describe_language(lang, labels[1], labels[0], grid.experiment)
        for lang, labels in counts.items()
        if labels
    ]


def _describe_language(lang: str, positives: int, negatives: int, experiment: Experiment) -> str:
    name, share = first_line(experiment.task.positive), experiment.task.prevalence
    bound = highest_rate(0, negatives)
    error = QUANTILE * math.sqrt(EXAMPLE_RATE * (1 - EXAMPLE_RATE) / negatives)
    needed = count_negatives_for(EXAMPLE_RATE, EXAMPLE_ERROR)
    alarms = more = ""
    if share is not None:
        alarms = f", {1000 * (1 - share) * bound:.0f} in 1,000 texts at {percent(share)} {name}"
    if negatives < needed:
        more = (
            f", and to +/-{percent(EXAMPLE_ERROR)} with {needed:,} (`test_rows: "
            f"{positives + needed}, test_balance: {{positive: {positives}, negative: {needed}}}"
            "` in `sampling`)"
        )
    return (
        f"Test rows ({lang}): {positives:,} {name}, {negatives:,} others. Without a false "
        f"alarm a rate up to {percent(bound)} is possible (95 %){alarms}; a rate of "
        f"{percent(EXAMPLE_RATE)} is known to +/-{percent(error)}{more}"
    )
