"""The checks as text: one line a row, and all problems in one list at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from xlt.data.core.finding import Finding
from xlt.data.tables.aligned_text import align
from xlt.sweep.check.outcome import CheckOutcome


def describe_check(outcome: CheckOutcome) -> str:
    """Format the table and the notes of a check."""
    parts = [outcome.title]
    if outcome.rows:
        parts.append(_format_table(outcome))
    return "\n".join([*parts, *(f"  {note}" for note in outcome.notes), ""])


def describe_problems(problems: Iterable[Finding]) -> str:
    """List all problems, errors first; each is one line that starts with its severity."""
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: problem.severity)
    if not ordered:
        return "Nothing found that would stop or spoil the run."
    counts = Counter(problem.severity for problem in ordered)
    head = ", ".join(f"{num} {severity}{'s' * (num > 1)}" for severity, num in counts.items())
    return "\n".join([head, *(f"  {p.severity}: {p.sentence}" for p in ordered)])


def _format_table(outcome: CheckOutcome) -> str:
    heading = [name.removeprefix("# ") for name in outcome.columns]
    numbers = [n for n, name in enumerate(outcome.columns) if name.startswith("# ")]
    return "\n".join(f"  {line}" for line in align([heading, *outcome.rows], numbers))
