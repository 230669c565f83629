"""What the gate finds in the data, in short."""

from __future__ import annotations

from dataclasses import replace

from xlt.sweep.check.outcome import Checked
from xlt.sweep.check.preflight import Preflight
from xlt.sweep.planning.gate import check_data


def check(preflight: Preflight) -> Checked:
    """Errors and warnings of :mod:`xlt.data.audit`; an accepted error is a warning."""
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
    return Checked(
        "Data",
        problems=tuple(problems),
        notes=(f"{rows:,} rows, {len(problems)} findings (`xlt data audit` shows all)",),
    )
