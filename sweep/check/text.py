"""The checks on a terminal, or in a pipe: one line a row, problems in one list at the end."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from xlt.data.core.finding import Finding
from xlt.sweep.check.outcome import Checked


def describe_check(one: Checked) -> str:
    """A check's table and notes."""
    parts = [one.title]
    if one.rows:
        parts.append(_table(one))
    return "\n".join([*parts, *(f"  {note}" for note in one.notes), ""])


def describe_problems(problems: Iterable[Finding]) -> str:
    """All problems, errors first; each is one line that begins with its severity."""
    found = sorted(dict.fromkeys(problems), key=lambda problem: problem.severity)
    if not found:
        return "Nothing found that would stop or spoil the run."
    counts = Counter(problem.severity for problem in found)
    head = ", ".join(f"{num} {severity}{'s' * (num > 1)}" for severity, num in counts.items())
    return "\n".join([head, *(f"  {p.severity}: {p.sentence}" for p in found)])


def _table(one: Checked) -> str:
    table = Table(box=None, pad_edge=False, header_style="")
    for name in one.columns:
        number = name.startswith("# ")
        table.add_column(name.removeprefix("# "), justify="right" if number else "left")
    for row in one.rows:
        table.add_row(*row)
    out = io.StringIO()
    # Wide enough for any row: a line must stay a line for grep.
    Console(file=out, width=240, highlight=False, no_color=True, markup=False).print(table)
    return "\n".join(f"  {line.rstrip()}" for line in out.getvalue().splitlines())
