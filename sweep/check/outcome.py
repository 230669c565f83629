"""The outcome of a check: a table, and findings that would stop or spoil a run."""

from __future__ import annotations

from dataclasses import dataclass

from xlt.data.core.finding import Finding


@dataclass(frozen=True)
class CheckOutcome:
    """The outcome of a check.

    Attributes:
        title: Heading of the check.
        columns: Names of the table's columns. A name that starts with ``#`` stands for numbers,
            which are aligned to the right.
        rows: num_rows x num_columns; empty if there is no table.
        problems: Errors and warnings.
        notes: Assumptions behind the numbers, in sentences.
    """

    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    problems: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


def gib(num_bytes: float) -> str:
    """Format bytes in GiB, with as many digits as an estimate has."""
    value = num_bytes / 2**30
    digits = 0 if value >= 100 else 1 if value >= 1 else 2 if value >= 0.1 else 4
    return f"{value:.{digits}f}" if num_bytes else "0"


def duration(seconds: float) -> str:
    """Format seconds as seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:,.1f} h"
