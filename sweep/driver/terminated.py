"""SIGTERM, which schedulers send some time before they kill: batch systems, pods, spot notices."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def sigterm_heard(let_go: Callable[[], None] | None = None) -> Iterator[None]:
    """SIGTERM ends this process as Ctrl-C does; elsewhere than in the main thread it is left alone.

    Args:
        let_go: Called instead, once, so that it ends by itself; the next SIGTERM is Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def first(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, interrupt)
        if let_go:
            let_go()

    before = signal.signal(signal.SIGTERM, first if let_go else interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
