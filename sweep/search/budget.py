"""The budget of a search: limits, and the amounts that are used."""

from __future__ import annotations

from xlt.sweep.backends.events import Unwritable
from xlt.sweep.experiment.search import Search
from xlt.sweep.search.config_report import ConfigReport


class Budget:
    """Counts trials, epochs and hours of a search, including its widened ranges.

    Args:
        settings: The search settings with the limits.

    Attributes:
        unwritable: Set when the results location accepts no more files.
    """

    def __init__(self, settings: Search) -> None:
        self._settings = settings
        self._trials, self._epochs, self._hours = 0, 0, 0.0
        self.unwritable: Unwritable | None = None

    def add(self, report: ConfigReport) -> None:
        """Count a report; a trial that was finished before costs nothing."""
        self._trials += report.epochs > 0
        self._epochs += report.epochs
        self._hours += report.hours
        if isinstance(report.failure, Unwritable):
            self.unwritable = report.failure

    @property
    def is_over(self) -> bool:
        """Whether the search must stop."""
        return bool(self.unwritable or self.why)

    @property
    def why(self) -> str:
        """The limit that is reached, in one sentence; empty if there is none."""
        used = {
            "max_trials": self._trials,
            "max_epochs": self._epochs,
            "max_gpu_hours": self._hours,
        }
        for name, amount in used.items():
            budget = getattr(self._settings, name)
            if budget is not None and amount >= budget:
                return f"{name}: {budget:g} is used up"
        return ""
