"""End the driver with a clear message when Ray's head, or Ray on this machine, is lost.

Ray waits a minute for a head that does not answer. When its process on the driver's own machine
(raylet) ends, Ray ends the driver within a tenth of a second to some seconds, with the exit status
for failed trials. Its messages do not mention the results, and for a process that is frozen there
is none. No call to Ray returns any more, not even at the end of a sweep, so this module ends the
process first.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

from xlt.sweep.driver.console import make_console
from xlt.sweep.driver.lease import release_all

POLL_SECONDS = 3.0
"""Time between two questions, and the longest wait for an answer."""
LOST_SECONDS = 40.0
"""Time without an answer after which a process of Ray counts as lost. Ray's own limit for the head
is 60 s (``gcs_rpc_server_reconnect_timeout_s``); Ray reconnects to a head that returns earlier."""
EXIT_STATUS = 2
"""Status for errors that the user can fix."""
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""First bytes of an HTTP/2 client (RFC 9113, 3.4), with empty settings. A gRPC server answers with
its own settings, before it asks for a token."""

LAST_WORDS = "import sys; sys.stdin.read() or sys.stderr.write(sys.argv[1])"
"""Program that prints its argument when its input ends without a byte."""
RAY_STOPPED = "Ray has stopped on this machine"
RESUME = "finished trials are kept; start Ray again and run the same command to resume\n"


class HeadWatch:
    """Threads that ask Ray's processes whether they work, on the head and on this machine.

    Args:
        head: ``host:port`` of the head's service (GCS).
        raylet: ``host:port`` of Ray's process on this machine.
        raylet_socket: Unix socket of the same process. It is never replaced, so the driver ends at
            once when it closes this connection. Ray may be faster on a busy machine; then a small
            process, whose input ends with the driver, prints a sentence. That process cannot know
            who ended the driver.
    """

    def __init__(self, head: str, raylet: str, raylet_socket: str) -> None:
        self._asked = {f"the Ray head at {head}": head, "Ray on this machine": raylet}
        self._raylet = socket.socket(socket.AF_UNIX)
        self._raylet.connect(raylet_socket)
        self._last_words = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                LAST_WORDS,
                f"xlt: {RAY_STOPPED}, or this command was killed; {RESUME}",
            ],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._stopped, self._ending = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=watch, name="head watch", daemon=True)
            for watch in (self._watch_connection, self._watch_answers)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop watching; called before this process disconnects from the cluster or stops it.

        A call to Ray may raise an error before this process is ended, so the connection decides.
        """
        if self._is_closed():
            self._end(RAY_STOPPED)
        self._stopped.set()
        self._raylet.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._raylet.close()
        self._last_words.communicate(b".")

    def _watch_connection(self) -> None:
        self._raylet.recv(1)
        if not self._stopped.is_set():
            self._end(RAY_STOPPED)

    def _is_closed(self) -> bool:
        try:
            return self._raylet.recv(1, socket.MSG_DONTWAIT) == b""
        except OSError as error:
            return not isinstance(error, BlockingIOError)

    def _watch_answers(self) -> None:
        num_missed = dict.fromkeys(self._asked, 0)
        last_answer = dict.fromkeys(self._asked, time.monotonic())
        while not self._stopped.wait(POLL_SECONDS):
            for name, address in self._asked.items():
                if answers(address):
                    num_missed[name], last_answer[name] = 0, time.monotonic()
                    continue
                num_missed[name] += 1
                silence = time.monotonic() - last_answer[name]
                # Require several checks: after this machine was suspended, one check says little.
                if num_missed[name] > 2 and silence >= LOST_SECONDS:
                    self._end(f"{name} gave no answer for {silence:.0f} s")

    def _end(self, why: str) -> None:
        """Print the reason and end the process, whose threads would wait for Ray forever."""
        self._ending.acquire()  # for good: two threads may see the loss
        with suppress(OSError):  # nobody reads any more
            if sys.stderr and sys.stderr.isatty():  # None if the caller closed it
                make_console().show_cursor()  # a live grid hides it
            print(f"xlt: {why}; {RESUME}", end="", file=sys.stderr, flush=True)
            # The last line: other threads still write about trials that end with Ray.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        assert self._last_words.stdin
        # Not before the sentence is printed: Ray may end this process between any two lines.
        with suppress(OSError):  # that process may have been killed
            os.write(self._last_words.stdin.fileno(), b".")
        release_all()
        os._exit(EXIT_STATUS)


def answers(address: str) -> bool:
    """Return whether the gRPC server at ``host:port`` answers.

    The system accepts connections for a process that is frozen, so only an answer counts. A server
    that expects TLS closes the connection, which is an answer.
    """
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), POLL_SECONDS)
    except OSError:
        return False
    with connection:
        try:
            connection.sendall(HELLO)
            connection.recv(1)
        except ConnectionError:
            return True
        except OSError:
            return False
        return True
