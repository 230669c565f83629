"""What a search has used until now, against its budgets."""

from __future__ import annotations

from typing import Any

from sweep.search.settings import Search


class Spent:
    """Counts trial-epochs and hours of a search, its widened ranges included.

    Args:
        settings: The budgets.

    Attributes:
        unwritable: The outcome that said that the location takes no files; else empty.
    """

    def __init__(self, settings: Search) -> None:
        self._settings = settings
        self._epochs, self._hours = 0, 0.0
        self.unwritable: dict[str, Any] = {}

    def add(self, result: dict[str, Any]) -> None:
        """Count a report; trials that were known before cost nothing."""
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
        epochs, hours = self._settings.max_epochs, self._settings.max_gpu_hours
        if epochs is not None and self._epochs >= epochs:
            return f"max_epochs: {epochs} is used up"
        if hours is not None and self._hours >= hours:
            return f"max_gpu_hours: {hours:g} is used up"
        return ""
