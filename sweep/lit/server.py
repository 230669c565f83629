"""Run LIT's server as a child process, and answer its requests."""

from __future__ import annotations

import json
import multiprocessing
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.resources import files
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from xlt.analysis.lit_export import read_manifest
from xlt.data.core.errors import InputError
from xlt.sweep.lit.environment import check, find_python, join_last_lines

MOST_SECONDS = 120
"""Longest time until LIT answers. It takes 3 to 6 s on a machine where nothing else runs."""
NUM_SHOWN = 4
"""Largest number of trials that the page shows side by side when it opens; if there are more, it
shows only the first. On a screen of 1000 pixels five trials leave no room for tokens."""

ANY_HOST = ("0.0.0.0", "::", "")
PROGRAM = """
import sys
sys.path.append(sys.argv[1])
from viewer.main import main
main(*sys.argv[2:])
"""
"""Program that runs sweep/lit/viewer with no other code of this package in reach."""


class Server:
    """A running server.

    Attributes:
        url: Address of the page, including the trials that it shows first.
    """

    def __init__(self, url: str, wait: Callable[[], None]) -> None:
        self.url = url
        self._wait = wait

    def wait(self) -> None:
        """Wait until the server ends, which is always a failure.

        Raises:
            InputError: The server ended; the error shows its last lines.
        """
        self._wait()


@contextmanager
def serve(
    folder: Path,
    environment: Path,
    host: str,
    port: int,
    answer: Callable[[bytes], bytes] | None = None,
) -> Iterator[Server]:
    """Show an export in LIT while the context lasts.

    The viewer sends requests over a connection that only it inherits, so that no other process can
    send requests through a port or a file. A thread answers them one after the other.

    Args:
        folder: Folder of the export.
        environment: Folder of LIT's environment, see :func:`install`.
        host: Address to listen on.
        port: Port to listen on; 0: any free port.
        answer: Function that answers requests about edited texts; None: texts cannot be edited.

    Raises:
        InputError: There is no export or no environment, the port is in use, or LIT ended before
            it answered.
    """
    manifest = read_manifest(folder)
    check(environment)
    port = _free_port(host, port)
    ours, theirs = multiprocessing.Pipe()
    descriptors = [theirs.fileno()] if answer else []
    # -I hides our packages and the user's. In its own session the server does not get Ctrl-C, which
    # this process handles. If this process is killed, the server's standard input closes, and it
    # ends by itself.
    command = [str(find_python(environment)), "-I", "-c", PROGRAM, str(files("xlt.sweep.lit"))]
    command += [str(folder.absolute()), host, str(port), *map(str, descriptors)]
    with ExitStack() as owned, tempfile.TemporaryFile("w+") as log:
        owned.enter_context(ours)
        with theirs:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=descriptors,
            )
        if answer:
            threading.Thread(target=_answer, args=(ours, answer), daemon=True).start()
            owned.pop_all()  # the thread closes the connection; two would close it at once
        try:
            root = _root(host, port)
            _wait_until_it_answers(process, log, f"{root}get_info")
            yield Server(
                root + _first_trials(manifest["models"]), lambda: _raise_at_end(process, log)
            )
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()


def _answer(connection: Connection, answer: Callable[[bytes], bytes]) -> None:
    """Answer requests until the viewer ends.

    The connection is closed in any case, so that the viewer never waits forever.
    """
    with connection, suppress(EOFError, OSError):  # the viewer may end during an answer
        while True:
            connection.send_bytes(answer(connection.recv_bytes()))


def _free_port(host: str, port: int) -> int:
    """Check that a port can be used; for 0, choose a free port."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        raise InputError(
            f"cannot listen on port {port} of {host}: {error}; give another --port (0: any free "
            "port) or --host"
        ) from error


def _root(host: str, port: int) -> str:
    name = "127.0.0.1" if host in ANY_HOST else host
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def _first_trials(models: list[dict[str, str]]) -> str:
    """Query of the page's address that selects the trials to show first.

    They have the same data set, because LIT shows one data set, which is one language, at a time.
    """
    together = [model for model in models if model["dataset"] == models[0]["dataset"]]
    names = [urllib.parse.quote_plus(model["name"]) for model in together]
    return f"?models={','.join(names if len(names) <= NUM_SHOWN else names[:1])}"


def _wait_until_it_answers(process: subprocess.Popen[bytes], log: IO[str], url: str) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + MOST_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            _raise_at_end(process, log)
        try:
            with direct.open(urllib.request.Request(url, method="POST"), timeout=10) as answer:
                json.load(answer)
            return
        except (OSError, ValueError):
            time.sleep(0.2)
    raise InputError(f"LIT did not answer within {MOST_SECONDS} s: {_read_last_lines(log)}")


def _raise_at_end(process: subprocess.Popen[bytes], log: IO[str]) -> None:
    status = process.wait()
    raise InputError(f"LIT's process ended with status {status}: {_read_last_lines(log)}")


def _read_last_lines(log: IO[str]) -> str:
    log.seek(0)
    return join_last_lines(log.read())
