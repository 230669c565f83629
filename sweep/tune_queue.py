"""Which trial Tune starts next: in launch order, and those again whose process died."""

from __future__ import annotations

from collections import deque
from typing import Any

from ray.tune.search import Searcher


class TrialQueue(Searcher):
    """Hands out trials by their number, each as the config ``{"index": number}``.

    A searcher and not a grid, because a grid is written down before it starts: a trial whose
    process died comes again while others run, and leaves no machine idle at the end.

    Args:
        num_trials: How many there are.
    """

    def __init__(self, num_trials: int) -> None:
        super().__init__()
        self._waiting = deque(range(num_trials))
        self._out: dict[str, int] = {}
        self.is_closed = False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune snapshots its searcher, and a run goes on from its result folders."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The next one; FINISHED once all ended, None while some are out that may come again."""
        if self._waiting and not self.is_closed:
            self._out[trial_id] = self._waiting.popleft()
            return {"index": self._out[trial_id]}
        return None if self._out else self.FINISHED

    def again(self, index: int, *, now: bool) -> None:
        """Take a trial back.

        Args:
            index: Its number.
            now: Before all that wait, else after them.
        """
        if now:
            self._waiting.appendleft(index)
        else:
            self._waiting.append(index)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """It ended, one way or another."""
        self._out.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing, as :meth:`__getstate__`."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as :meth:`__getstate__`."""
