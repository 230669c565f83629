"""CHECKS: the checks of a sweep before anything is spent, one file each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xlt.data.core.errors import InputError
from xlt.data.core.load_entry import load_entry
from xlt.sweep.check.outcome import CheckOutcome
from xlt.sweep.check.preflight import Preflight

CHECKS: dict[str, str] = {
    "data": "xlt.sweep.check.data",
    "models": "xlt.sweep.check.models",
    "placement": "xlt.sweep.check.placement",
    "memory": "xlt.sweep.check.memory",
    "disk": "xlt.sweep.check.disk",
    "time": "xlt.sweep.check.time",
}
"""Name -> module with ``check(preflight) -> CheckOutcome``, imported when used."""

BEFORE_A_RUN = ("models", "placement", "disk")
"""Checks that start every run; they need neither torch nor the hub."""


def run_checks(
    preflight: Preflight, names: Iterable[str] = tuple(CHECKS)
) -> Iterator[CheckOutcome]:
    """Run checks one after the other, in the order of ``names``."""
    for name in names:
        yield load_entry(CHECKS, name).check(preflight)


def refuse_problems(preflight: Preflight) -> None:
    """Refuse a launch that is known to fail.

    Raises:
        InputError: All errors of the checks in :data:`BEFORE_A_RUN` together.
    """
    outcomes = run_checks(preflight, BEFORE_A_RUN)
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    errors = [problem.sentence for problem in problems if problem.severity == "error"]
    if errors:
        raise InputError([*errors, "`xlt check EXPERIMENT` shows more, and launches nothing"])
