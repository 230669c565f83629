"""The fork server: a process that imports torch and transformers once, and forks workers.

It runs as a script; its arguments are the number of the open file on which it listens, and the
process number of its driver. It imports by the rules of Ray's workers: the same folders in the same
order. If an import fails, it ends, and the workers that start without it name the cause. Each fork
imports Ray itself, because Ray reads its job from the environment when it is imported.

It ends with its driver, and its forks end with it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import runpy
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any, TypeAlias

Request: TypeAlias = dict[str, Any]
"""The description of a launcher, see ``describe_process`` in launcher.py, and its ``open_files``:
standard input, output and error."""

READY = b"!"
ANSWER_SECONDS = 5.0
"""Time for a launcher to send its request; it is sent without a pause."""
PR_SET_PDEATHSIG = 1
"""Option of prctl, from linux/prctl.h."""
KNOWN_THREADS = {"jemalloc_bg_thd"}
"""Threads beside the first one that a fork may lose; jemalloc starts its own again."""


def main() -> None:
    """Import, then fork for each request; a fork runs Ray's script of workers."""
    end_with_parent(int(sys.argv[2]))
    # The driver decides when its workers end. A fork gets a signal that it missed by its own mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    ray = find_spec("ray")
    assert ray is not None and ray.origin is not None
    script = str(Path(ray.origin).parent / "_private" / "workers" / "default_worker.py")
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(script)
    import_code()
    if list_other_threads() <= KNOWN_THREADS:
        request = ForkServer(socket.socket(fileno=int(sys.argv[1]))).serve()
        become(request)
        sys.argv = [script, *request["arguments"]]
        runpy.run_path(script, run_name="__main__")


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


def import_code() -> None:
    """Import the code of trials."""
    from xlt.data.core.memory import importing_torch

    with importing_torch():
        import_module("xlt.trainables.trial.run_pack")


def list_other_threads() -> set[str]:
    """Return the names of the threads of this process beside the first one."""
    threads = [f for f in Path("/proc/self/task").iterdir() if f.name != str(os.getpid())]
    return {(thread / "comm").read_text().strip() for thread in threads}


class ForkServer:
    """A fork for each launcher that connects.

    Args:
        listener: The socket on which launchers connect.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._events = DefaultSelector()
        self._events.register(listener, EVENT_READ, self._fork)

    def serve(self) -> Request:
        """Return the request of the launcher, in each fork; never return in this process."""
        while True:
            key, _ = self._events.select()[0]  # the others come again
            request: Request | None = key.data()
            if request:
                return request

    def _fork(self) -> Request | None:
        """Fork for the next launcher; returns its request in the fork, and None in this process."""
        launcher, _ = self._listener.accept()
        request = read_request(launcher)
        if request is None:
            launcher.close()
            return None
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError:  # no memory; the launcher ends, and Ray starts another one
            pid = -1
        if pid == 0:
            end_with_parent(server)
            launcher.close()
            self._close()
            return request
        for number in request["open_files"]:
            os.close(number)
        if pid < 0:
            launcher.close()
            return None
        end = os.pidfd_open(pid)
        self._events.register(end, EVENT_READ, partial(self._report, launcher, pid, end))
        self._events.register(launcher, EVENT_READ, partial(self._forward, launcher, pid))
        return None

    def _forward(self, launcher: socket.socket, pid: int) -> None:
        """Send a signal of a launcher to its fork; SIGKILL if the launcher ended."""
        numbers = launcher.recv(1)
        os.kill(pid, numbers[0] if numbers else signal.SIGKILL)
        if not numbers:
            self._events.unregister(launcher)

    def _report(self, launcher: socket.socket, pid: int, end: int) -> None:
        """Send the exit status of a fork to its launcher: negative for a signal."""
        _, status = os.waitpid(pid, 0)
        with suppress(OSError):  # the launcher was killed
            launcher.send(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
        with suppress(KeyError):  # it ended before
            self._events.unregister(launcher)
        self._events.unregister(end)
        launcher.close()
        os.close(end)

    def _close(self) -> None:
        """Close the server's files in a fork."""
        for key in self._events.get_map().values():
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
            else:
                os.close(key.fd)
        self._events.close()


def read_request(launcher: socket.socket) -> Request | None:
    """Read the request of a launcher; None if it gave up, or ended."""
    launcher.settimeout(ANSWER_SECONDS)
    open_files: list[int] = []
    try:
        launcher.send(READY)
        size, open_files, _, _ = socket.recv_fds(launcher, 4, 3)
        content = b""
        while len(content) < int.from_bytes(size, "big"):
            part = launcher.recv(1 << 20)
            if not part:
                raise ConnectionError("the launcher ended")
            content += part
        request: Request = json.loads(content)
    except (OSError, ValueError):
        for number in open_files:
            os.close(number)
        return None
    launcher.settimeout(None)
    return request | {"open_files": open_files}


def become(request: Request) -> None:
    """Give a fork what its launcher has: folder, environment, open files, limits and signals."""
    for standard, number in enumerate(request["open_files"]):
        os.dup2(number, standard)
        os.close(number)
    os.chdir(request["folder"])
    environment = request["environment"]
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
    resource.setrlimit(resource.RLIMIT_NOFILE, tuple(request["max_open_files"]))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(request["oom_score_adj"])
    os.setpgid(0, 0)  # Ray kills the group of a worker that ended, and each launcher leads its own
    signal.pthread_sigmask(signal.SIG_SETMASK, request["blocked_signals"])


if __name__ == "__main__":
    main()
