"""The outcome of a check: a table, and findings that would stop or spoil a run."""

from __future__ import annotations

from dataclasses import dataclass

from xlt.data.core.finding import Finding


@dataclass(frozen=True)
class Checked:
    """The outcome of a check.

    Attributes:
        title: What was looked at.
        columns: Names of the table's columns; those after the first that begin with ``#`` are
            numbers and stand to the right.
        rows: num_rows x num_columns; empty: there is no table.
        problems: What is wrong, worst first.
        notes: What the numbers assume, in sentences.
    """

    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    problems: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


def gib(num_bytes: float) -> str:
    """Bytes in GiB, with the digits that an estimate deserves."""
    value = num_bytes / 2**30
    digits = 0 if value >= 100 else 1 if value >= 1 else 2 if value >= 0.1 else 4
    return f"{value:.{digits}f}" if num_bytes else "0"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:,.1f} h"
