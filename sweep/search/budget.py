"""What a search has used until now, against its budgets."""

from __future__ import annotations

from typing import Any

from xlt.sweep.experiment.search import Search


class Budget:
    """Counts trials, their epochs and hours of a search, its widened ranges included.

    Args:
        settings: The budgets.

    Attributes:
        unwritable: The outcome that said that the location takes no files; else empty.
    """

    def __init__(self, settings: Search) -> None:
        self._settings = settings
        self._trials, self._epochs, self._hours = 0, 0, 0.0
        self.unwritable: dict[str, Any] = {}

    def add(self, result: dict[str, Any]) -> None:
        """Count a report; trials that were known before cost nothing."""
        self._trials += result.get("epochs", 0) > 0
        self._epochs += result.get("epochs", 0)
        self._hours += result.get("hours", 0.0)
        if "unwritable" in result:
            self.unwritable = result

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be tried."""
        return bool(self.unwritable or self.why)

    @property
    def why(self) -> str:
        """The budget that is used up; empty: none."""
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
