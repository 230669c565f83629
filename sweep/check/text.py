"""The checks as text: one line a row, and all problems in one list at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.table import Table

from xlt.data.core.finding import Finding
from xlt.sweep.check.outcome import CheckOutcome
from xlt.sweep.plan_text.text import format_table


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
    table = Table(box=None, pad_edge=False, header_style="")
    for name in outcome.columns:
        number = name.startswith("# ")
        table.add_column(name.removeprefix("# "), justify="right" if number else "left")
    for row in outcome.rows:
        table.add_row(*row)
    return "\n".join(f"  {line}" for line in format_table(table).splitlines())
