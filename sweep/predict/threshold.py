"""Thresholds of `xlt predict`: a number, a fit without labels, or a rule on the test rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xlt.analysis.metrics.labelled_rows import FITS
from xlt.analysis.metrics.operating_points import PER, Rule, choose_threshold, parse_rule
from xlt.analysis.metrics.thresholds import prior_threshold
from xlt.analysis.trials.scored_rows import read_test_rows
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import percent
from xlt.trainables.metrics.arrays import Scores
from xlt.trainables.metrics.prevalence import highest_rate, values_from_rates
from xlt.trainables.results.find_trial import FinishedTrial
from xlt.trainables.results.result import Results

EXAMPLES = (
    "a number between 0 and 1, `median`, `prior=0.3` (the share of class 1), `precision=0.5` or "
    "`alarms=20` (in 1,000 texts)"
)


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


def decide_threshold(
    trial: FinishedTrial,
    text: str | None,
    prevalence: float | None = None,
    test_lang: str | None = None,
) -> tuple[Threshold, str]:
    """Decide the threshold of a trial, for the options of a command.

    Args:
        trial: Trial that kept its model.
        text: Threshold, see :func:`parse_threshold` and :func:`parse_rule`; None: 0.5.
        prevalence: Share of class 1 among the texts, for a rule; None: that of the trial's task.
        test_lang: Language of the test rows, for a rule; None: the trial's target language.

    Returns:
        The threshold, and a sentence on it if a rule chose it.

    Raises:
        InputError: The text is no threshold, or the trial has more than two classes and so none.
    """
    if text is not None and len(trial.classes) != 2:
        raise InputError(
            f"the trial has {len(trial.classes)} classes, and the label is the most probable one; "
            "omit --threshold"
        )
    text = "0.5" if text is None else text
    if rule := parse_rule(text):
        return choose_on_test_rows(rule, trial, prevalence, test_lang)
    for option, value in (("prevalence", prevalence), ("test-lang", test_lang)):
        if value is not None:
            raise InputError(f"--{option} is for a rule such as precision=0.5, not for {text}")
    return parse_threshold(text), ""


def choose_on_test_rows(
    rule: Rule, trial: FinishedTrial, prevalence: float | None, test_lang: str | None = None
) -> tuple[Threshold, str]:
    """Choose the threshold that meets a rule on the trial's test rows at a prevalence.

    Args:
        rule: The rule.
        trial: Trial of two classes.
        prevalence: Share of class 1 among the new texts; None: that of the trial's task.
        test_lang: Language of the test rows; None: the trial's target language.

    Returns:
        The threshold, and a sentence on what it does to the test rows.

    Raises:
        InputError: The prevalence is unknown, the test rows cannot be used, or no threshold meets
            the rule.
    """
    share = trial.prevalence if prevalence is None else prevalence
    if share is None:
        raise InputError(
            f"threshold {str(rule)!r} depends on the share of class 1 among the texts; give it "
            "with --prevalence, e.g. 0.02"
        )
    spec = trial.spec
    lang = test_lang or spec.pattern.target_lang
    if lang not in spec.test_langs:
        raise InputError(unknown("test language", lang, spec.test_langs), "--test-lang")
    in_one = len(spec.test_langs) == 1  # and may be read in translation, under another language
    test = read_test_rows(Results(trial.uri), trial.trial_id, lang="" if in_one else lang)
    if len(np.unique(test.y_true)) < 2:
        raise InputError("the trial's test rows are of one class; give a number as threshold")
    value = choose_threshold(rule, test.y_true, test.y_score, share)
    if not math.isfinite(value):
        raise InputError(
            f"no threshold meets {rule} at {percent(share)} on the trial's test rows; ask for less"
        )
    decided = test.y_score >= value
    of_class = [int(np.sum(test.y_true == label)) for label in (0, 1)]
    false, hits = (int(np.sum(decided & (test.y_true == label))) for label in (0, 1))
    rates = values_from_rates(share, hits / of_class[1], false / of_class[0])
    bound = (1 - share) * highest_rate(false, of_class[0])
    about = (
        f"{rule} at {percent(share)}: {hits} of {of_class[1]} positive and {false} of "
        f"{of_class[0]} other test rows of the trial reach it. So {PER * rates['alarms']:.0f} of "
        f"{PER:,} texts would, {rates['precision']:.0%} of them rightly; up to {PER * bound:.0f} "
        "false ones are possible (95 %)"
    )
    return Threshold(value=value), about
