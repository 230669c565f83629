"""Check the data: a short form of the audit."""

from __future__ import annotations

from dataclasses import replace

from xlt.sweep.check.outcome import CheckOutcome
from xlt.sweep.check.preflight import Preflight
from xlt.sweep.planning.gate import check_data


def check(preflight: Preflight) -> CheckOutcome:
    """List errors and warnings of :mod:`xlt.data.audit`; an accepted error becomes a warning."""
    accepted = preflight.grid.experiment.accept_findings
    problems = [
        replace(
            finding,
            about=f"data, {finding.about}",
            severity="warning" if finding.about in accepted else finding.severity,
        )
        for finding in check_data(preflight.grid)
        if finding.severity != "info"
    ]
    rows = len(preflight.grid.dataset.table)
    return CheckOutcome(
        "Data",
        problems=tuple(problems),
        notes=(f"{rows:,} rows, {len(problems)} findings (`xlt data audit` shows all)",),
    )
