"""Heartbeats of a trial, and the watchdog that kills a process without them.

A read from a network disk that never answers, or a kernel that never returns, raises no error. The
killed trial can be restarted.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from xlt.trainables.training import watching_process

BEAT_SECONDS = 0.1
"""Least time between two heartbeats that are sent, because a step may take less."""

_limits: list[float] = []
"""Allowed seconds without a heartbeat of this process; empty means that it is never killed."""
_functions: list[Callable[[], None]] = []
"""Functions that each heartbeat of this process calls."""


@contextmanager
def kill_if_stalled(minutes: float | None) -> Iterator[None]:
    """Kill this process (SIGKILL) if the block calls :func:`heartbeat` too rarely.

    The stacks are printed to standard error. Another process watches, so it also kills a process
    in which something holds the interpreter's lock, and one that stays stopped (SIGSTOP). Time in
    which the machine, the container or the job is suspended does not count.

    Args:
        minutes: Allowed minutes without a heartbeat, and allowed minutes in which the process is
            stopped; None means no limit.
    """
    if minutes is None:
        yield
        return
    _limits.append(60 * minutes)
    _watchdog.send(_limits[-1])
    try:
        yield
    finally:
        _limits.pop()
        _watchdog.send(_limits[-1] if _limits else 0.0)


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
    if _limits and time.monotonic() - _watchdog.last_sent >= BEAT_SECONDS:
        _watchdog.send(_limits[-1])
    for function in _functions:
        function()


class _Watchdog:
    """The watching process, which starts at the first use and stays as long as this process.

    Attributes:
        last_sent: Time of the last heartbeat, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.last_sent = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def send(self, limit: float) -> None:
        """Send a heartbeat with the seconds until the next one; 0: no limit."""
        self._process = self._process or _start(limit)
        assert self._process.stdin
        self.last_sent = time.monotonic()
        # The pipe is full while the watching process is suspended, and broken if it was killed.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._process.stdin.fileno(), struct.pack("d", limit))


def _start(limit: float) -> subprocess.Popen[bytes]:
    """Start the watching process, which waits ``limit`` seconds for the next heartbeat."""
    faulthandler.register(signal.SIGUSR2)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", watching_process.__file__, str(os.getpid()), str(limit)],
        stdin=subprocess.PIPE,
        start_new_session=True,  # a signal that stops the group of this process must not stop it
    )
    assert process.stdin
    os.set_blocking(process.stdin.fileno(), False)
    return process


_watchdog = _Watchdog()
