"""CHECKS: the checks of the data before a launch, and the audit that runs them."""

from __future__ import annotations

from collections.abc import Iterable

from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.finding import Finding
from xlt.data.core.memory import return_freed_memory
from xlt.data.core.registries import load_entry
from xlt.data.core.stages import enter_stage
from xlt.data.dataset.schema import Dataset

CHECKS: dict[str, str] = {
    "text": "xlt.data.audit.text",
    "duplicates": "xlt.data.audit.duplicates",
    "near_duplicates": "xlt.data.audit.near_duplicates",
    "language": "xlt.data.audit.language",
    "cues": "xlt.data.audit.cues",
    "dates": "xlt.data.audit.dates",
    "balance": "xlt.data.audit.balance",
    "translations": "xlt.data.audit.translations",
}
"""Name -> module with ``check(dataset, used_rows) -> list[Finding]``, imported when used."""


def audit(
    dataset: Dataset, used_rows: UsedRows | None = None, checks: Iterable[str] = tuple(CHECKS)
) -> tuple[Finding, ...]:
    """Run the checks. They report rows and never drop any, and they use no random numbers.

    Args:
        dataset: All labelled rows.
        used_rows: The rows that cells train and test on; None: the rows are judged without
            problems between train and test.
        checks: Names in :data:`CHECKS`.

    Returns:
        The findings, in the order of :data:`CHECKS`.

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
            enter_stage(f"checking the data ({name})")
            return_freed_memory()  # large data need it for the next check
            findings += load_entry(CHECKS, name).check(dataset, used_rows or UsedRows())
    return tuple(findings)
