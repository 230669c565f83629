"""A process that does nothing of its trial any more is ended, so that it can start again.

A read from a network disk that never answers or a kernel that never returns raises nothing.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager

_limits: list[float] = []
"""Seconds without a sign of life, of this process; empty: it is never ended."""


@contextmanager
def kill_if_stalled(minutes: float | None) -> Iterator[None]:
    """End this process (status 1) if the block makes no call of :func:`heartbeat` for so long.

    Where it stood is printed to standard error. The clock runs outside of Python, so that it also
    ends what holds the interpreter's lock.

    Args:
        minutes: Of silence; None: never.
    """
    if minutes is None:
        yield
        return
    _limits.append(60 * minutes)
    heartbeat()
    try:
        yield
    finally:
        _limits.pop()
        faulthandler.cancel_dump_traceback_later()


def heartbeat() -> None:
    """Called by whatever takes long, each time that it got on."""
    if _limits:
        faulthandler.dump_traceback_later(_limits[-1], exit=True)
