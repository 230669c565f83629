"""Tune searcher: hands out trials in launch order, and requeued trials again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from ray.tune.search import Searcher


class TrialQueue(Searcher):
    """Hands out packs of trials by their numbers, each as the config ``{"members": numbers}``.

    Tune writes down a grid before it starts. A searcher can hand out a trial again while others
    run, so a trial whose process died leaves no machine idle at the end.

    Args:
        packs: Numbers of the trials of each pack, in launch order.
        waits_for: Number of a trial -> numbers of the trials after which it starts. They may end in
            any way; if none of them is left, it starts.

    Attributes:
        is_closed: Whether no more trials may start.
    """

    def __init__(
        self,
        packs: Iterable[Sequence[int]],
        waits_for: Mapping[int, AbstractSet[int]] = {},
    ) -> None:
        super().__init__()
        self._waiting = deque(map(list, packs))
        self._waits_for = waits_for
        self._running: dict[str, list[int]] = {}
        self.is_closed = False

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its searcher, but a run resumes from its result folders."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """Return the next pack.

        Returns:
            Its config; None while no pack may start but others run; FINISHED after all packs
            ended.
        """
        if not self.is_closed and (pack := self._take_next()):
            self._running[trial_id] = pack
            return {"members": pack}
        return None if self._running else self.FINISHED

    def _take_next(self) -> list[int] | None:
        """Take the first pack that waits for no trial which has not ended."""
        if not self._waits_for:
            return self._waiting.popleft() if self._waiting else None
        not_ended = {m for pack in (*self._waiting, *self._running.values()) for m in pack}
        for place, pack in enumerate(self._waiting):
            waited_for = {e for member in pack for e in self._waits_for.get(member, ())}
            if waited_for.isdisjoint(not_ended - {*pack}):
                del self._waiting[place]
                return pack
        # Trials that wait for each other would block the run.
        return self._waiting.popleft() if self._waiting and not self._running else None

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
        self._running.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing, see :meth:`__getstate__`."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, see :meth:`__getstate__`."""
