"""Clock: the seconds of each stage of a trial."""

from __future__ import annotations

import time

from xlt.trainables.training.watchdog import heartbeat


class Clock:
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Record the end of a stage, which began at the previous lap or :meth:`resume`."""
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 4)
        heartbeat()
        self._last = now

    def resume(self) -> None:
        """Start the next stage now, to skip the time that other trials used."""
        self._last = time.perf_counter()
