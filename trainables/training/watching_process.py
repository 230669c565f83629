"""The process that watches another one for heartbeats, and kills it if they stop.

:mod:`xlt.trainables.training.watchdog` starts this file with the id of the watched process and
the limit of its first heartbeat, and sends further ones to its standard input. It imports only what
starts within milliseconds.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import sys
import time

TICK_SECONDS = 1.0
"""Time between two looks at the watched process."""
DUMP_SECONDS = 1.0
"""Time for the watched process to print its stacks."""


def watch(pid: int, pipe: int, limit: float) -> None:
    """Watch a process until it ends, or kill it.

    A machine, container or job that is suspended, and a process that waits for a core, make no
    ticks. So this function counts its own ticks and not the time on a clock.

    Args:
        pid: The watched process, which is the parent of this one.
        pipe: Descriptor from which heartbeats are read: each is the allowed seconds until the next
            one as a double, 0 for no limit.
        limit: Allowed seconds until the first one.
    """
    ran = stopped = 0.0
    while os.getppid() == pid:
        tick = min(TICK_SECONDS, limit / 10) or TICK_SECONDS
        if select.select([pipe], [], [], tick)[0]:
            content = os.read(pipe, 2**16)
            if not content:
                return
            ((limit,), ran, stopped) = (struct.unpack("d", content[-8:]), 0.0, 0.0)
        elif is_stopped(pid):
            stopped += tick
        else:
            ran += tick
        if limit and max(ran, stopped) >= limit:
            kill(pid, "was stopped" if stopped >= limit else "made no progress", limit)
            return


def is_stopped(pid: int) -> bool:
    """Whether a signal or a debugger stopped a process; False where the system does not say."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False


def kill(pid: int, why: str, seconds: float) -> None:
    """Let a process print the stacks of its threads, then kill it."""
    sys.stderr.write(
        f"xlt: process {pid} {why} for {seconds / 60:g} minutes (resources.stall_minutes) and is "
        "killed; its stacks, if it still runs:\n"
    )
    sys.stderr.flush()
    os.kill(pid, signal.SIGUSR2)
    time.sleep(DUMP_SECONDS)
    os.kill(pid, signal.SIGKILL)  # a stopped process does not react to any other signal


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.stdin.fileno(), float(sys.argv[2]))
