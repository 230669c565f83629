"""The watchdog kills a process without heartbeats, and no process that makes progress."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def run(body: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import threading, time\n"
        "from xlt.trainables.training.watchdog import heartbeat, kill_if_stalled\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code + textwrap.dedent(body)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    "hang", ["time.sleep(50)", "threading.Lock().acquire() and threading.Event().wait()"]
)
def test_silence_ends_it_and_tells_where_it_stood(hang: str) -> None:
    done = run(f"""
        def reads_for_ever():
            {hang}
        with kill_if_stalled(0.01):
            reads_for_ever()
    """)
    assert done.returncode == 1
    assert "reads_for_ever" in done.stderr


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
