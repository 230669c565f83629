"""Time that passes only when someone waits."""

from __future__ import annotations


class Clock:
    """In the place of the module ``time``.

    Attributes:
        now: Seconds since the test began.
        waits: How long was waited, each time.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
