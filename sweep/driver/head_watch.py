"""End the driver with a clear message when the head of its cluster is lost.

Ray waits a minute for a head that does not answer, and some seconds for its process on the driver's
own machine (raylet). Then it kills the driver with the exit status for failed trials, and its
message does not mention the results. No call to Ray returns any more, not even at the end of a
sweep, so this module ends the process first.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

from xlt.sweep.driver.console import make_console
from xlt.sweep.driver.lease import release_all

POLL_SECONDS = 3.0
"""Time between two checks, and the longest wait for an answer."""
LOST_SECONDS = 40.0
"""Time without an answer after which the head counts as lost. Ray's own limit is 60 s
(``gcs_rpc_server_reconnect_timeout_s``); Ray reconnects to a head that returns earlier."""
EXIT_STATUS = 2
"""Status for errors that the user can fix."""


class HeadWatch:
    """A thread that checks whether Ray accepts connections, on the head and on this machine.

    Args:
        head: ``host:port`` of the head's service (GCS).
        raylet: ``host:port`` of Ray's process on this machine. It is never replaced, so the driver
            ends at once when it is lost.
    """

    def __init__(self, head: str, raylet: str) -> None:
        self._head, self._raylet = head, raylet
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="head watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop checking; called before this process disconnects from the cluster or stops it."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        num_missed, last_answer = 0, time.monotonic()
        while not self._stopped.wait(POLL_SECONDS):
            if answers(self._raylet) is False:
                _end("Ray has stopped on this machine")
            if answers(self._head):
                num_missed, last_answer = 0, time.monotonic()
                continue
            num_missed += 1
            silence = time.monotonic() - last_answer
            # Require several checks: after this machine was suspended, one check says little.
            if num_missed > 2 and silence >= LOST_SECONDS:
                _end(f"the Ray head at {self._head} gave no answer for {silence:.0f} s")


def answers(address: str) -> bool | None:
    """Return whether ``host:port`` accepts connections; None if nothing answers."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), POLL_SECONDS):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return None


def _end(why: str) -> None:
    """Print the reason and end the process, whose threads would wait for Ray forever."""
    make_console().show_cursor()  # a live grid hides it
    sys.stderr.write(
        f"xlt: {why}; finished trials are kept; start Ray again and run the same command to "
        "resume\n"
    )
    sys.stderr.flush()
    release_all()
    os._exit(EXIT_STATUS)
