"""CHECKS: what is looked at before a launch; one file a check."""

from __future__ import annotations

from collections.abc import Iterable

from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.finding import Finding
from xlt.data.core.load_entry import load_entry
from xlt.data.dataset.schema import Dataset

CHECKS: dict[str, str] = {
    "text": "xlt.data.audit.text",
    "duplicates": "xlt.data.audit.duplicates",
    "near_duplicates": "xlt.data.audit.near_duplicates",
    "language": "xlt.data.audit.language",
    "cues": "xlt.data.audit.cues",
    "dates": "xlt.data.audit.dates",
    "balance": "xlt.data.audit.balance",
}
"""Name -> module with ``check(dataset, used_rows) -> list[Finding]``, imported when used."""


def audit(
    dataset: Dataset, used_rows: UsedRows | None = None, checks: Iterable[str] = tuple(CHECKS)
) -> tuple[Finding, ...]:
    """Run the checks. Rows are only reported, never dropped; nothing is random.

    Args:
        dataset: All labelled rows.
        used_rows: What the cells train on and are tested on; none: the rows alone are judged, and
            what only matters across train and test is not known.
        checks: Names in :data:`CHECKS`.

    Returns:
        What was found, in the order of :data:`CHECKS`.

    Raises:
        InputError: There is no check of that name.
    """
    wanted = set(checks)
    problems = [unknown("check", name, CHECKS) for name in sorted(wanted - set(CHECKS))]
    if problems:
        raise InputError(problems)
    findings: list[Finding] = []
    for name in CHECKS:
        if name in wanted:
            findings += load_entry(CHECKS, name).check(dataset, used_rows or UsedRows())
    return tuple(findings)
