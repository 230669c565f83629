"""Start a worker process of Ray: a fork of the fork server, else a whole Python.

Ray runs this file in place of its own script of workers, with the same arguments. A fork has torch
already. The launcher stays as long as the fork: it forwards SIGTERM, ends with the same status, and
its own end ends the fork. So Ray sees one process, as without a fork. If the fork server does not
answer, the launcher becomes the worker itself.

It imports only modules of Python that load within milliseconds.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from types import FrameType

VARIABLE = "XLT_FORK_SERVER"
"""Environment variable with the path of the fork server's socket."""
WAIT_SECONDS = 20.0
"""Time for the fork server to import torch; Ray gives up on a worker after 60 seconds."""
READY = b"!"


def main() -> None:
    """Run a worker with the arguments of this process, and end with its status."""
    server = connect(os.environ.get(VARIABLE, ""))
    if server is None:
        become_worker()
    else:
        sys.exit(follow(server))


def connect(path: str) -> socket.socket | None:
    """Ask the fork server for a fork of this process; None if it does not answer."""
    server = socket.socket(socket.AF_UNIX)
    try:
        server.settimeout(WAIT_SECONDS)
        server.connect(path)
        if server.recv(1) != READY:
            raise ConnectionError("the fork server ended")
        request = json.dumps(describe_process()).encode()
        socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(request)
        server.settimeout(None)
    except OSError:
        server.close()
        return None
    return server


def describe_process() -> dict[str, object]:
    """Describe what a fork must have in common with this process, beside open files."""
    with open("/proc/self/oom_score_adj") as stream:
        oom_score_adj = stream.read()
    return {
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "blocked_signals": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        "max_open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "oom_score_adj": oom_score_adj,
    }


def follow(server: socket.socket) -> int:
    """Wait for the end of the fork, and return its exit status as a shell gives it.

    It is 1 if the server ended first.
    """

    def forward(number: int, frame: FrameType | None) -> None:
        server.send(bytes([number]))

    signal.signal(signal.SIGTERM, forward)
    content = server.recv(4)
    status = int.from_bytes(content, "big", signed=True) if content else 1
    return status if status >= 0 else 128 - status


def become_worker() -> None:
    """Replace this process by Ray's script of workers, with the same options of Python."""
    from importlib.util import find_spec

    ray = find_spec("ray")
    assert ray is not None and ray.origin is not None
    script = os.path.join(os.path.dirname(ray.origin), "_private", "workers", "default_worker.py")
    command = [script if word == sys.argv[0] else word for word in sys.orig_argv]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
