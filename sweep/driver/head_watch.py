"""A driver notices that its cluster's head is lost, and ends with a sentence instead of Ray's end.

Ray waits a minute for a head that does not answer, and some seconds for its process on the driver's
own machine (raylet), and then ends the driver itself, with the exit status that means failed trials
and a line that says nothing of the results. Nothing that a driver then asks of Ray comes back, not
even the end of a sweep, so that the process has to end here, too.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

from xlt.sweep.driver.lease import release_all

POLL_SECONDS = 3.0
"""Between two looks, and waited at most for an answer."""
LOST_SECONDS = 40.0
"""Without an answer for so long a head is lost; Ray's own limit, from its first request on, is 60 s
(``gcs_rpc_server_reconnect_timeout_s``), and one that comes back before is connected to again."""
EXIT_STATUS = 2
"""As for other errors that a person can mend."""


class HeadWatch:
    """A thread that looks whether Ray still takes connections, on the head and on this machine.

    Args:
        head: ``host:port`` of the head's own service (GCS).
        raylet: ``host:port`` of Ray's process on this machine; another one does not replace it.
    """

    def __init__(self, head: str, raylet: str) -> None:
        self._head, self._raylet = head, raylet
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="head watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; before the cluster is left or ended."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        num_missed, answered = 0, time.monotonic()
        while not self._over.wait(POLL_SECONDS):
            if answers(self._raylet) is False:
                _end("Ray has ended on this machine")
            if answers(self._head):
                num_missed, answered = 0, time.monotonic()
                continue
            num_missed += 1
            silence = time.monotonic() - answered
            # More than one look: a machine that was suspended has been silent for long, too.
            if num_missed > 2 and silence >= LOST_SECONDS:
                _end(f"the head of the Ray cluster at {self._head} is silent for {silence:.0f} s")


def answers(address: str) -> bool | None:
    """Whether something takes connections at ``host:port``; None: there is no answer at all."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), POLL_SECONDS):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return None


def _end(why: str) -> None:
    """Say so and end the process, as nothing else ends it: its threads wait for Ray."""
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h\n")  # the cursor, which a live grid hides
    sys.stderr.write(
        f"xlt: {why}; what was finished is kept; start Ray again, then the same command goes on\n"
    )
    sys.stderr.flush()
    release_all()
    os._exit(EXIT_STATUS)
