"""The session of a command: results location, cells, backend, cluster and console."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from xlt.sweep.driver.console import make_console
from xlt.sweep.experiment.experiment import Experiment
from xlt.trainables.results.result import Results
from xlt.trainables.spec.selection import Selection


@dataclass(frozen=True)
class Session:
    """The settings of one run, search or check; no result depends on them.

    Attributes:
        location: The results location.
        selection: The cells to run, search or check.
        backend: A name in ``xlt.sweep.backends.registry.BACKENDS``; None: chosen when the trials
            to run are known.
        address: Address of a running Ray cluster; None: RAY_ADDRESS, else a local cluster.
        console: The terminal or file for progress.
    """

    location: Results
    selection: Selection
    backend: str | None
    address: str | None
    console: Console

    @property
    def trial_address(self) -> str | None:
        """The address with which machines for trials are found; None for the inline backend."""
        return None if self.backend == "inline" else self.address


def open_session(
    experiment: Experiment,
    results: str | None = None,
    *,
    backend: str | None = None,
    address: str | None = None,
    only: str = "",
    console: Console | None = None,
) -> Session:
    """Make a session from the arguments of a command or a call.

    Args:
        experiment: The experiment, which names cells and a default results location.
        results: Results location; None: the location in the experiment.
        backend: Name of the backend; None: chosen when the trials to run are known.
        address: Address of a running Ray cluster.
        only: Cells, such as ``model=llama2,pattern=ja16``; empty for all.
        console: Where progress is shown; None: standard error.

    Raises:
        InputError: Names in ``only`` that the experiment does not have, or a results location that
            cannot be one.
    """
    return Session(
        location=Results(results or experiment.storage.results),
        selection=experiment.select(only),
        backend=backend,
        address=address,
        console=console or make_console(),
    )
