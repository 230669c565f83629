"""Difference of a cell from a published mean, of which only the std over runs is known."""

from __future__ import annotations

from dataclasses import replace

from xlt.analysis.uncertainty.differences import RunsDifference, with_known_error
from xlt.analysis.uncertainty.mean_variance import components, mean
from xlt.analysis.uncertainty.runs import Runs
from xlt.analysis.uncertainty.welch import Sample
from xlt.data.core.errors import InputError


def difference_to_published(
    runs: Runs, num_items: int, published: Sample, num_published_items: int
) -> RunsDifference:
    """Subtract a published mean over runs on other test rows from the mean over these runs.

    The published std gives the variance from runs, and these runs give that from test rows, because
    a std over runs does not contain it. Where both recipes are the same, so are the variances of a
    row.

    Args:
        runs: Runs of a cell.
        num_items: Number of their test rows.
        published: Mean and std over the published runs.
        num_published_items: Number of published test rows.

    Raises:
        InputError: See :func:`runs_difference`.
    """
    parts = components([runs])
    if published.std is None:
        raise InputError("one published run gives no error")
    ours, theirs = parts.unit + parts.both, published.std**2 / published.n
    per_freedom = ours**2 / parts.unit_freedom + theirs**2 / (published.n - 1)
    both = replace(
        parts,
        unit=parts.unit + theirs,
        unit_freedom=(ours + theirs) ** 2 / per_freedom if per_freedom > 0 else parts.unit_freedom,
        item=parts.item * (1 + num_items / num_published_items),
    )
    return with_known_error(mean([runs]) - published.mean, both)
