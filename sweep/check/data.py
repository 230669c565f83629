"""What the gate finds in the data, in short."""

from __future__ import annotations

from xlt.sweep.check.finding import Checked, Problem
from xlt.sweep.check.preflight import Preflight
from xlt.sweep.planning.gate import check_data


def check(preflight: Preflight) -> Checked:
    """Errors and warnings of :mod:`xlt.data.audit`; an accepted error is a warning."""
    accepted = preflight.grid.experiment.accept_findings
    problems = [
        Problem(
            "error" if finding.severity == "error" and finding.check not in accepted else "warning",
            f"data, {finding.check}",
            f"{finding.message}; {finding.remedy}",
        )
        for finding in check_data(preflight.grid)
        if finding.severity != "info"
    ]
    rows = len(preflight.grid.dataset.table)
    return Checked(
        "Data",
        problems=tuple(problems),
        notes=(f"{rows:,} rows, {len(problems)} findings (`xlt data audit` shows all)",),
    )
