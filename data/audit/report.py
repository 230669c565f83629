"""Findings as a terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence

from xlt.data.audit.finding import SEVERITIES, Finding


def describe(findings: Sequence[Finding]) -> str:
    """A block a finding, errors first, and a closing line with the counts."""
    ordered = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    blocks = [
        "\n".join(
            [
                f"{f.severity.upper()} {f.check}: {f.message}",
                *(f"    {example}" for example in f.examples),
                f"    -> {f.remedy}",
            ]
        )
        for f in ordered
    ]
    counts = [sum(f.severity == severity for f in findings) for severity in SEVERITIES]
    closing = ", ".join(
        f"{count} {severity}{'s' * (count != 1 and severity != 'info')}"
        for count, severity in zip(counts, SEVERITIES, strict=True)
    )
    return "\n\n".join([*blocks, f"{closing}."])
