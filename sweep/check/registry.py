"""CHECKS: the checks of a sweep before anything is spent, one file each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xlt.data.core.errors import InputError
from xlt.data.core.registries import load_entry
from xlt.sweep.backends.registry import refuse_unknown_backend
from xlt.sweep.check.models import find_hub_problems
from xlt.sweep.check.outcome import CheckOutcome
from xlt.sweep.check.preflight import Preflight, make_preflight
from xlt.sweep.driver.session import Session, open_session
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.planning.grid import expand
from xlt.sweep.planning.ledger import read_ledger
from xlt.sweep.planning.prepare import prepare
from xlt.sweep.planning.rescue import read_rescued

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


def check_sweep(
    experiment: Experiment,
    results: str | None = None,
    *,
    backend: str = "ray",
    address: str | None = None,
    only: str = "",
) -> tuple[CheckOutcome, ...]:
    """Run all checks of an experiment; launch and write nothing.

    Args:
        experiment: The experiment.
        results: Results location, a folder or URI; None: the location in the experiment.
        backend: ``ray`` or ``inline``.
        address: Address of a running Ray cluster; None: RAY_ADDRESS, else this machine.
        only: Cells to check, such as ``model=llama2,pattern=ja16``; empty for all.

    Returns:
        The outcome of each check, in the order of :data:`CHECKS`. The experiment can run if no
        problem of any outcome is an error.

    Raises:
        InputError: The experiment has no grid, or the results location or the cluster cannot be
            used.
    """
    refuse_unknown_backend(backend)
    session = open_session(experiment, results, backend=backend, address=address, only=only)
    return tuple(run_checks(prepare_checks(experiment, session)))


def prepare_checks(experiment: Experiment, session: Session) -> Preflight:
    """Read all that the checks of the selected cells need.

    Raises:
        InputError: The reasons of :func:`check_sweep`; together with the errors of the hub about
            base models if the experiment has no grid.
    """
    location = session.location
    location.check()
    try:
        grid = expand(prepare(experiment), read_rescued(experiment, location))
    except InputError as error:
        where = f"{error.where}: " if error.where else ""
        problems = [where + problem for problem in error.problems]
        raise InputError(
            dict.fromkeys([*problems, *find_hub_problems(experiment.models)])
        ) from error
    cells = grid.selected(session.selection)
    ledger = read_ledger(location, [spec.trial_id for cell in cells for spec in cell.specs])
    return make_preflight(grid, session, ledger.states)


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
