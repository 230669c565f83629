"""CHECKS: what is looked at before anything is spent; one file a check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xlt.data.core.errors import InputError
from xlt.data.core.load_entry import load_entry
from xlt.sweep.check.outcome import Checked
from xlt.sweep.check.preflight import Preflight

__all__ = ["BEFORE_A_RUN", "CHECKS", "Checked", "Preflight", "checked", "refuse_problems"]

CHECKS: dict[str, str] = {
    "data": "xlt.sweep.check.data",
    "models": "xlt.sweep.check.models",
    "placement": "xlt.sweep.check.placement",
    "memory": "xlt.sweep.check.memory",
    "disk": "xlt.sweep.check.disk",
    "time": "xlt.sweep.check.time",
}
"""Name -> module with ``check(preflight) -> Checked``, imported when used."""

BEFORE_A_RUN = ("models", "placement", "disk")
"""Those that every run begins with: without torch, and without the hub."""


def checked(preflight: Preflight, names: Iterable[str] = tuple(CHECKS)) -> Iterator[Checked]:
    """Run checks one after the other, in the order of ``names``."""
    for name in names:
        yield load_entry(CHECKS, name).check(preflight)


def refuse_problems(preflight: Preflight) -> None:
    """Refuse to launch what is known to end badly.

    Raises:
        InputError: All errors of the checks in :data:`BEFORE_A_RUN` together.
    """
    found = [p for one in checked(preflight, BEFORE_A_RUN) for p in one.problems]
    errors = [problem.sentence for problem in found if problem.severity == "error"]
    if errors:
        raise InputError([*errors, "`xlt check EXPERIMENT` tells more, and launches nothing"])
