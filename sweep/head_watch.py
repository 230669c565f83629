"""A driver notices that its cluster's head is lost, and ends with a sentence instead of Ray's end.

Ray waits a minute for a head that does not answer and then ends the process of the driver itself,
with the exit status that means failed trials and a line that says nothing of the results. Nothing
that a driver then asks of Ray comes back, not even the end of a sweep, so that the process has to
end here, too.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

from sweep.lease import release_all

POLL_SECONDS = 5.0
"""Between two looks, and waited at most for an answer."""
LOST_SECONDS = 40.0
"""Without an answer for so long a head is lost; Ray's own limit, from its first request on, is 60 s
(``gcs_rpc_server_reconnect_timeout_s``), and one that comes back before is connected to again."""
EXIT_STATUS = 2
"""As for other errors that a person can mend."""


class HeadWatch:
    """A thread that looks whether the head still takes connections.

    Args:
        address: ``host:port`` of the head's own service (GCS).
    """

    def __init__(self, address: str) -> None:
        self._address = address
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
            if answers(self._address):
                num_missed, answered = 0, time.monotonic()
                continue
            num_missed += 1
            # More than one look: a machine that was suspended has been silent for long, too.
            if num_missed > 2 and time.monotonic() - answered >= LOST_SECONDS:
                _end(self._address, time.monotonic() - answered)


def answers(address: str) -> bool:
    """Whether something takes connections at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), POLL_SECONDS):
            return True
    except OSError:
        return False


def _end(address: str, seconds: float) -> None:
    """Say so and end the process, as nothing else ends it: its threads wait for the head."""
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h\n")  # the cursor, which a live grid hides
    sys.stderr.write(
        f"xlt: the head of the Ray cluster at {address} has not answered for {seconds:.0f} s; "
        "what was finished is kept; start the cluster again, then the same command goes on\n"
    )
    sys.stderr.flush()
    release_all()
    os._exit(EXIT_STATUS)
