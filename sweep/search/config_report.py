"""The report of a config after each of its replicates, from a worker process to the search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xlt.sweep.backends.events import Failed, Unwritable


@dataclass(frozen=True)
class ConfigReport:
    """The state of a config after a replicate.

    Attributes:
        replicates: Number of finished replicates.
        rank: Value by which configs are compared, see :func:`xlt.analysis.search.choose.rank`.
        score: Mean metric of the finished replicates.
        epochs: Epochs that this replicate trained; 0 if it was finished before.
        hours: Hours that this replicate took; 0 if it was finished before.
        failure: Why the next replicate failed, which ends the config.
    """

    replicates: int
    rank: float
    score: float = 0.0
    epochs: int = 0
    hours: float = 0.0
    failure: Failed | Unwritable | None = None


def wrap(report: ConfigReport) -> dict[str, Any]:
    """Make the dict that Tune passes on; its schedulers read the numbers beside the report."""
    return {"replicates": report.replicates, "rank": report.rank, "report": report}


def unwrap(result: Mapping[str, Any]) -> ConfigReport:
    """Return the report in a dict that Tune passed on."""
    report: ConfigReport = result["report"]
    return report
