"""Say where a command stands if it makes no progress for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

FIRST_SECONDS = 120.0
"""Time without progress before the first line. Each line doubles the time to the next one, because
one long step, a download or an explanation is silent, too."""


class SilenceWatch:
    """A thread that says how long nothing has happened: after 2, 4, 8 ... minutes.

    Args:
        what: The missing progress, e.g. ``no trial has made a step``.
        describe: Function that returns where the command stands.
        say: Receiver of the line, called in the thread.
    """

    def __init__(self, what: str, describe: Callable[[], str], say: Callable[[str], None]) -> None:
        self._what, self._describe, self._say = what, describe, say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="silence watch", daemon=True)
        self.heard()

    def __enter__(self) -> Self:
        """Start the thread."""
        self.heard()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread."""
        self._ended.set()
        self._thread.join()

    def heard(self) -> None:
        """Note that there is progress."""
        self._last, self._limit = time.monotonic(), FIRST_SECONDS

    def _watch(self) -> None:
        while not self._ended.wait(max(0.0, self._last + self._limit - time.monotonic())):
            silence = time.monotonic() - self._last
            if silence >= self._limit:
                self._limit *= 2
                self._say(f"xlt: {self._what} for {silence / 60:.0f} minutes: {self._describe()}")
