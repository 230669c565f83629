"""Heartbeats of a trial, and the watchdog that kills a process without them.

A read from a network disk that never answers, or a kernel that never returns, raises no error. The
killed trial can be restarted.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_limits: list[float] = []
"""Allowed seconds without a heartbeat of this process; empty means that it is never killed."""
_functions: list[Callable[[], None]] = []
"""Functions that each heartbeat of this process calls."""


@contextmanager
def kill_if_stalled(minutes: float | None) -> Iterator[None]:
    """Kill this process (status 1) if the block calls :func:`heartbeat` too rarely.

    The stack is printed to standard error. The clock runs outside of Python, so it also kills a
    process in which something holds the interpreter's lock.

    Args:
        minutes: Allowed minutes without a heartbeat; None means no limit.
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


@contextmanager
def call_at_heartbeats(function: Callable[[], None]) -> Iterator[None]:
    """Call a function at each heartbeat of the block; an error that it raises ends the block."""
    _functions.append(function)
    try:
        yield
    finally:
        _functions.remove(function)


def heartbeat() -> None:
    """Report progress; every long computation calls this after each of its steps."""
    if _limits:
        faulthandler.dump_traceback_later(_limits[-1], exit=True)
    for function in _functions:
        function()
