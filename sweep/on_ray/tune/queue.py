"""Tune searcher: hands out trials in launch order, and requeued trials again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from ray.tune.search import Searcher


class TrialQueue(Searcher):
    """Hands out packs of trials by their numbers, each as the config ``{"members": numbers}``.

    Tune writes down a grid before it starts. A searcher can hand out a trial again while others
    run, so a trial whose process died leaves no machine idle at the end.

    Args:
        packs: Numbers of the trials of each pack, in launch order.

    Attributes:
        is_closed: Whether no more trials may start.
    """

    def __init__(self, packs: Iterable[Sequence[int]]) -> None:
        super().__init__()
        self._waiting = deque(map(list, packs))
        self._running: set[str] = set()
        self.is_closed = False

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its searcher, but a run resumes from its result folders."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """Return the next pack.

        Returns:
            Its config; None while no pack waits but a running one may be requeued; FINISHED
            after all packs ended.
        """
        if self._waiting and not self.is_closed:
            self._running.add(trial_id)
            return {"members": self._waiting.popleft()}
        return None if self._running else self.FINISHED

    def requeue(self, members: Sequence[int], *, first: bool) -> None:
        """Put a pack back into the queue.

        Args:
            members: Numbers of its trials; an empty pack is ignored.
            first: Whether to put it before all waiting packs, or else after them.
        """
        if members and first:
            self._waiting.appendleft(list(members))
        elif members:
            self._waiting.append(list(members))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note that a pack ended, with or without an error."""
        self._running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing, see :meth:`__getstate__`."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, see :meth:`__getstate__`."""
