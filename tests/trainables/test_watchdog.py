"""The watchdog kills a process without heartbeats, and no process that makes progress."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import AbstractContextManager

import psutil
import pytest
from ctrl_c import started_python

IMPORTS = """
import threading, time
from xlt.trainables.training.watchdog import heartbeat, kill_if_stalled
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", IMPORTS + textwrap.dedent(body)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def started(body: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """A process that waits in a watched block."""
    return started_python(IMPORTS + textwrap.dedent(body), "waits")


@pytest.mark.parametrize(
    "hang",
    [
        "time.sleep(50)",
        "threading.Lock().acquire() and threading.Event().wait()",
        r"re.match('(a+)+$', 'a' * 40 + 'b')",  # holds the interpreter's lock
    ],
)
def test_silence_ends_it_and_tells_where_it_stood(hang: str) -> None:
    done = run(f"""
        import re
        def reads_for_ever():
            {hang}
        with kill_if_stalled(0.01):
            reads_for_ever()
    """)
    assert done.returncode == -signal.SIGKILL
    assert "made no progress for 0.01 minutes (resources.stall_minutes)" in done.stderr
    assert "reads_for_ever" in done.stderr


WAITING = """
    with kill_if_stalled(0.05):
        heartbeat()
        print("waits", flush=True)
        time.sleep(1.5)
        heartbeat()
        time.sleep(1.5)
    print("there")
"""
"""A trial whose steps take half of the three seconds that are allowed."""


def test_time_in_which_it_was_stopped_does_not_count_as_time_without_progress() -> None:
    with started(WAITING) as process:
        time.sleep(0.5)
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=20) == ("there\n", "")


def test_a_suspended_machine_ends_nothing() -> None:
    """A paused container stops the watching process, too."""
    with started(WAITING) as process:
        both = [process.pid, *(child.pid for child in psutil.Process(process.pid).children())]
        assert len(both) == 2
        for number, seconds in ((signal.SIGSTOP, 5.0), (signal.SIGCONT, 0.0)):
            for pid in both:
                os.kill(pid, number)
            time.sleep(seconds)
        assert process.communicate(timeout=20) == ("there\n", "")


def test_a_process_that_stays_stopped_is_killed() -> None:
    with started(WAITING) as process:
        process.send_signal(signal.SIGSTOP)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    assert "was stopped for 0.05 minutes" in errors


def test_the_watching_process_ends_with_the_watched_one() -> None:
    with started(WAITING) as process:
        (watching,) = psutil.Process(process.pid).children()
        process.kill()
        process.wait()
        watching.wait(timeout=20)


def test_signs_of_life_and_the_end_of_the_block_keep_it() -> None:
    done = run("""
        with kill_if_stalled(0.05):
            for _ in range(10):
                time.sleep(0.5)
                heartbeat()
        time.sleep(4)
        print("there")
    """)
    assert (done.returncode, done.stdout) == (0, "there\n"), done.stderr


def test_without_a_limit_nothing_is_watched() -> None:
    done = run("""
        heartbeat()
        with kill_if_stalled(None):
            heartbeat()
        print("there")
    """)
    assert (done.returncode, done.stdout) == (0, "there\n"), done.stderr
