"""Reports to Ray Tune: Tune passes dicts, so an event travels under one key of a dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xlt.sweep.backends.events import Event


def wrap(member: int, event: Event | None) -> dict[str, Any]:
    """Make a report of the trial with this number.

    Args:
        member: Number of the trial.
        event: The event; None from the workers of a group whose reports Ray Train drops.
    """
    return {"member": member, "event": event}


def unwrap(report: Mapping[str, Any]) -> tuple[int, Event]:
    """Return the number of the trial and its event."""
    return report["member"], report["event"]
