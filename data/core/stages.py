"""The stage of a command that reads much, shown on stderr while it takes long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 5.0
"""Time without a message, then between two looks at the stage."""
REPEAT = 6
"""Looks after which an unchanged stage is shown again."""

_now = ""


def enter_stage(name: str) -> None:
    """Say what the process does from now on, e.g. ``reading the data``."""
    global _now
    _now = name


@contextmanager
def show_stages(seconds: float = SECONDS) -> Iterator[None]:
    """Print the stage on stderr when the body takes longer than ``seconds``, then its changes."""
    ended, start = threading.Event(), time.monotonic()

    def watch() -> None:
        shown, num_equal = "", 0
        while not ended.wait(seconds):
            num_equal = num_equal + 1 if _now == shown else 0
            if num_equal % REPEAT == 0:
                shown = _now
                line = f"{time.monotonic() - start:.0f} s: {shown} ..."
                print(line, file=sys.stderr, flush=True)

    enter_stage("starting")
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
