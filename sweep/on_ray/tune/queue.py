"""Which trials Tune starts next: in launch order, and those again whose process died."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from ray.tune.search import Searcher


class TrialQueue(Searcher):
    """Hands out packs of trials by their numbers, each as the config ``{"members": numbers}``.

    A searcher and not a grid, because a grid is written down before it starts: a trial whose
    process died comes again while others run, and leaves no machine idle at the end.

    Args:
        packs: In the order in which they are to start.

    Attributes:
        is_closed: Whether nothing more is to start.
    """

    def __init__(self, packs: Iterable[Sequence[int]]) -> None:
        super().__init__()
        self._waiting = deque(map(list, packs))
        self._out: set[str] = set()
        self.is_closed = False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune snapshots its searcher, and a run goes on from its result folders."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The next one; FINISHED once all ended, None while some are out that may come again."""
        if self._waiting and not self.is_closed:
            self._out.add(trial_id)
            return {"members": self._waiting.popleft()}
        return None if self._out else self.FINISHED

    def again(self, members: Sequence[int], *, now: bool) -> None:
        """Take a pack back.

        Args:
            members: Its numbers; nothing happens without any.
            now: Before all that wait, else after them.
        """
        if members and now:
            self._waiting.appendleft(list(members))
        elif members:
            self._waiting.append(list(members))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """It ended, one way or another."""
        self._out.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing, as :meth:`__getstate__`."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as :meth:`__getstate__`."""
