"""Records of the statements over languages, and the sentences that their tables share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from xlt.analysis.languages.gaps import Measured
from xlt.analysis.tables.captions import define_in_sentence, name_experiment
from xlt.analysis.tables.cells import format_interval
from xlt.analysis.tables.table import group_by_reason
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.weigh import describe_weights
from xlt.analysis.uncertainty.intervals import interval_ends
from xlt.analysis.uncertainty.welch import p_text

CSV_COLUMNS = (
    "statement", "metric", "base_model", "pattern", "source_lang", "test_lang", "num_langs", "n",
    "mean", "std", "low", "high", "sampled_low", "sampled_high", "difference", "difference_low",
    "difference_high", "p_value", "corrected_p_value", "mean_rank", "critical_difference", "groups",
    "note",
)  # fmt: skip
"""Keys of the records. Statements: score (of a cell in a test language, with its gap), cost (of
target rows), mean (over languages), rank (of a base model), models (difference of two), source
(entry of the matrix), left out."""


class Scored(Protocol):
    """Scores of an experiment by one metric."""

    @property
    def collected(self) -> Collected:
        """The trials."""

    @property
    def metric(self) -> str:
        """Name of the metric."""


def make_record(statement: str, scores: Scored, **values: object) -> dict[str, object]:
    """Make a record; keys that are not given are None."""
    known = {"statement": statement, "metric": scores.metric, **values}
    return {name: known.get(name) for name in CSV_COLUMNS}


def record_difference(tested: Measured | None) -> dict[str, object]:
    """Values of a difference in a record."""
    if tested is None:
        return {}
    low, high = interval_ends(tested.interval)
    return {
        "difference": tested.difference, "difference_low": low, "difference_high": high,
        "p_value": tested.p_value, "corrected_p_value": tested.corrected_p_value,
    }  # fmt: skip


def format_difference(tested: Measured | None) -> str:
    """Format a difference, e.g. ``+0.103 [0.041, 0.165]``; ``-`` without one."""
    if tested is None or tested.difference is None:
        return "-"
    ends = tested.interval
    return f"{tested.difference:+.3f}" + (
        f" {format_interval(ends.low, ends.high)}" if ends else ""
    )


def format_p(tested: Measured | None) -> str:
    """Format the corrected p of a difference; ``-`` without one."""
    known = tested.corrected_p_value if tested else None
    return "-" if known is None else p_text(known)


def describe_scores(scores: Scored) -> tuple[str, ...]:
    """Sentences for captions: the metric, the weights of test rows, the experiment."""
    plan = scores.collected.plan
    return (
        define_in_sentence(plan, scores.metric),
        *describe_weights(scores.collected.prevalence),
        name_experiment(plan),
    )


def group_reasons(title: str, reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Write a sentence for each reason, with all names to which it applies."""
    return [f"{title} {names}: {why}." for why, names in group_by_reason(reasons)]
