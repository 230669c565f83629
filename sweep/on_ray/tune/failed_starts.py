"""Count worker processes that die before they can run a trial, and end the run after a few."""

from __future__ import annotations

from xlt.data.core.errors import InputError
from xlt.sweep.on_ray.deaths import find_death_cause
from xlt.sweep.on_ray.worker_log import read_worker_log

MAX_FAILED_STARTS = 3
"""Number of deaths one after the other that end a run: their cause lies in the environment of
workers, which all trials share."""


class FailedStarts:
    """Deaths of processes that were not ready for a trial, since the last one that was.

    Attributes:
        problem: Why the run must end; empty as long as it goes on.
    """

    def __init__(self) -> None:
        self._num_deaths = 0
        self.problem = ""

    def reset(self) -> None:
        """Note that a process is ready."""
        self._num_deaths = 0

    def add(self, error: BaseException | str) -> None:
        """Note a death.

        Args:
            error: The value of :func:`read_death`.
        """
        self._num_deaths += 1
        if self._num_deaths == MAX_FAILED_STARTS:
            self.problem = (
                "worker processes die before they start a trial; the last one: "
                f"{_find_cause(error)}; finished trials are kept; remove the cause, then run the "
                "same command again"
            )

    def refuse(self) -> None:
        """Raise InputError if the run had to end."""
        if self.problem:
            raise InputError(self.problem)


def _find_cause(error: BaseException | str) -> str:
    if isinstance(error, BaseException):
        return str(error)
    return find_death_cause(error, read_worker_log(error), is_made=False)
