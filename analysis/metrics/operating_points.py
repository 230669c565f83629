"""RULES: decision thresholds that are chosen on labelled rows for a prevalence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.metrics.thresholds import NUM_FOLDS, Stories, decide_out_of_fold, list_cuts
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.arrays import Labels, Scores, Values, ratio

PER = 1000
"""Number of texts that numbers of alarms refer to."""

Meets = Callable[[Values, Values, float], NDArray[np.bool_]]
"""Function of the shares of all rows that are decided positive and of class 1, and of class 0, at
each cut, and of the wanted value; it returns which cuts meet the rule."""


def _precise(hits: Values, false: Values, wanted: float) -> NDArray[np.bool_]:
    return np.asarray(ratio(hits, hits + false) >= wanted)


def _seldom(hits: Values, false: Values, wanted: float) -> NDArray[np.bool_]:
    return np.asarray((hits + false) * PER <= wanted)


RULES: dict[str, tuple[Meets, float]] = {"precision": (_precise, 1.0), "alarms": (_seldom, PER)}
"""Name -> condition, and the largest value that can be wanted: a precision of at least the value,
or at most so many alarms in :data:`PER` texts."""
EXAMPLES = f"precision=0.5, or alarms=20 for at most 20 alarms in {PER:,} texts"


@dataclass(frozen=True)
class Rule:
    """A rule that chooses a threshold.

    Attributes:
        name: Name in :data:`RULES`.
        wanted: The wanted value.
    """

    name: str
    wanted: float

    def __str__(self) -> str:
        """The form on the command line."""
        return f"{self.name}={self.wanted:g}"


def parse_rule(text: str) -> Rule | None:
    """Parse ``precision=0.5`` or ``alarms=20``; None if the text has the name of no rule.

    Raises:
        InputError: The wanted value is impossible.
    """
    name, equals, value = text.partition("=")
    if name not in RULES:
        return None
    try:
        wanted = float(value) if equals else math.nan
    except ValueError:
        wanted = math.nan
    if not 0 < wanted <= RULES[name][1]:
        raise InputError(f"threshold {text!r} is not valid; give {EXAMPLES}")
    return Rule(name, wanted)


def choose_threshold(rule: Rule, y_true: Labels, y_score: Scores, prevalence: float) -> float:
    """Choose the lowest threshold that meets a rule, so that recall is as large as possible.

    It is the middle between two scores, so that it is useful for other rows, too.

    Args:
        rule: The rule.
        y_true: num_rows, 0 or 1; both classes must occur.
        y_score: num_rows probabilities of class 1.
        prevalence: Share of class 1 among the texts that the threshold is for.

    Returns:
        The threshold; infinite if no threshold meets the rule.
    """
    cuts = list_cuts(y_true, y_score)
    num_positive = int(cuts.hits[-1])
    hits = prevalence * cuts.hits / num_positive
    false = (1 - prevalence) * (cuts.counted - cuts.hits) / (len(y_true) - num_positive)
    meets, _ = RULES[rule.name]
    possible = np.flatnonzero(cuts.ends & meets(hits, false, rule.wanted))
    if not len(possible):
        return math.inf
    last = possible[-1]
    here = cuts.thresholds[last]
    below = cuts.thresholds[last + 1] if last + 1 < len(y_true) else 0.0
    middle = (here + below) / 2
    return float(middle if middle > below else here)


def decide_by_rule(
    rule: Rule, prevalence: float, y_true: Labels, scores: Scores, stories: Stories = None
) -> Scores:
    """Decide each row with a threshold that was chosen on rows of other folds.

    On the rows that it is chosen on, a threshold has the wanted precision by selection.

    Args:
        rule: The rule.
        prevalence: Share of class 1.
        y_true: num_rows, 0 or 1.
        scores: num_runs x num_rows probabilities of class 1.
        stories: num_rows numbers of stories; None: each row is a story.

    Returns:
        num_runs x num_rows scores: 1 for rows that are decided positive, 0 for others.

    Raises:
        InputError: A class has too few rows for the folds.
    """
    rarest = int(min(np.sum(y_true == label) for label in (0, 1)))
    if rarest < NUM_FOLDS:
        raise InputError(
            f"{rarest} test rows of a class are too few to choose a threshold on; it takes "
            f"{NUM_FOLDS} or more"
        )

    def choose(y_true: Labels, scores: Scores) -> Values:
        return np.array([choose_threshold(rule, y_true, score, prevalence) for score in scores])

    return decide_out_of_fold(y_true, scores, choose, stories).astype(np.float64)
