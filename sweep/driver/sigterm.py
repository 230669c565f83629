"""SIGTERM handling.

Batch systems, Kubernetes and spot machines send SIGTERM some time before they kill a process.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def handle_sigterm(on_sigterm: Callable[[], None] | None = None) -> Iterator[None]:
    """Handle SIGTERM as Ctrl-C while the block runs; has no effect outside the main thread.

    Args:
        on_sigterm: Called for the first SIGTERM instead, so that the process can end by itself;
            the next SIGTERM acts as Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def first(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, interrupt)
        if on_sigterm:
            on_sigterm()

    before = signal.signal(signal.SIGTERM, first if on_sigterm else interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
