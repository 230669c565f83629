"""Findings: what the checks of data and the checks before a launch report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""Worst first. An error is certain: the run would fail or its scores would be meaningless. A
warning is repeated below results. An info is printed only on request."""


@dataclass(frozen=True)
class Finding:
    """A problem, or a fact worth knowing, that a check reports.

    Attributes:
        about: The name of a check of the data, a base model, a kind of trial or a location.
        severity: See :data:`SEVERITIES`.
        message: The problem, in one sentence.
        remedy: The steps that solve it, in one sentence; empty if the message gives them.
        count: Number of rows concerned; 0 if the finding is not about rows.
        examples: Ids of some of these rows, each with the beginning of its text.
    """

    about: str
    severity: Severity
    message: str
    remedy: str = ""
    count: int = 0
    examples: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The finding as one line, without its severity and examples."""
        return f"{self.about}: {self.message}" + (f"; {self.remedy}" if self.remedy else "")


def describe_findings(findings: Sequence[Finding]) -> str:
    """Format findings as text: a block for each, errors first, and a last line with counts."""
    ordered = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    blocks = [
        "\n".join(
            [
                f"{finding.severity.upper()} {finding.about}: {finding.message}",
                *(f"    {example}" for example in finding.examples),
                f"    -> {finding.remedy}",
            ]
        )
        for finding in ordered
    ]
    counts = [sum(f.severity == severity for f in findings) for severity in SEVERITIES]
    closing = ", ".join(
        f"{count} {severity}{'s' * (count != 1 and severity != 'info')}"
        for count, severity in zip(counts, SEVERITIES, strict=True)
    )
    return "\n\n".join([*blocks, f"{closing}."])
