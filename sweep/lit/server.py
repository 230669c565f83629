"""LIT's server as a child process: started, waited for, answered, ended."""

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
from contextlib import contextmanager, suppress
from importlib.resources import files
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from xlt.analysis.lit_export import read_manifest
from xlt.data.core.errors import InputError
from xlt.sweep.lit.environment import check, last_lines, python_of

MOST_SECONDS = 120
"""Until LIT answers; it takes 3 to 6 where nothing else runs."""
NUM_SHOWN = 4
"""Trials that the page opens with side by side; of more, the first alone. A fifth leaves none of
them room for its tokens on a screen of 1000 pixels."""

ANY_HOST = ("0.0.0.0", "::", "")
PROGRAM = """
import sys
sys.path.append(sys.argv[1])
from viewer.main import main
main(*sys.argv[2:])
"""
"""Runs sweep/lit/viewer without our packages around it."""


class Server:
    """A server that answers.

    Attributes:
        url: The page, with the trials that it opens with.
    """

    def __init__(self, url: str, wait: Callable[[], None]) -> None:
        self.url = url
        self._wait = wait

    def wait(self) -> None:
        """Until it ends, which it does not by itself.

        Raises:
            InputError: It did, with its last lines.
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
    """Show an export while the context lasts.

    What the viewer asks comes through a connection that it alone inherits: there is no port and no
    file that others could ask through. Requests are answered one after the other, in a thread.

    Args:
        folder: The export.
        environment: LIT's, see :func:`install`.
        host: Address to listen on.
        port: 0: any that is free.
        answer: Of what the viewer asks about edited texts; None: there is no editor.

    Raises:
        InputError: No export, no environment, the port is taken, or LIT ended before it answered.
    """
    manifest = read_manifest(folder)
    check(environment)
    port = _free_port(host, port)
    ours, theirs = multiprocessing.Pipe()
    descriptors = [theirs.fileno()] if answer else []
    # -I: neither our packages nor the user's. A session of its own, so that Ctrl-C is ours to
    # handle; if we are killed, its standard input closes, and it ends by itself.
    command = [str(python_of(environment)), "-I", "-c", PROGRAM, str(files("xlt.sweep.lit"))]
    command += [str(folder.absolute()), host, str(port), *map(str, descriptors)]
    with ours, tempfile.TemporaryFile("w+") as log:
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
        try:
            root = _root(host, port)
            _wait_until_it_answers(process, log, f"{root}get_info")
            yield Server(root + _shown(manifest["models"]), lambda: _raise_at_end(process, log))
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
    """Answer until the viewer ends; closed however this ends, so that the viewer never waits."""
    with connection, suppress(EOFError, OSError):  # it may end while its answer is made
        while True:
            connection.send_bytes(answer(connection.recv_bytes()))


def _free_port(host: str, port: int) -> int:
    """The port, or a free one for 0."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        raise InputError(
            f"cannot listen on port {port} of {host}: {error}; give another --port (0: any that is "
            "free) or --host"
        ) from error


def _root(host: str, port: int) -> str:
    name = "127.0.0.1" if host in ANY_HOST else host
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def _shown(models: list[dict[str, str]]) -> str:
    # LIT shows one data set at a time, which is one language.
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
    raise InputError(f"LIT did not answer within {MOST_SECONDS} s: {_said(log)}")


def _raise_at_end(process: subprocess.Popen[bytes], log: IO[str]) -> None:
    status = process.wait()
    raise InputError(f"LIT's process ended with status {status}: {_said(log)}")


def _said(log: IO[str]) -> str:
    log.seek(0)
    return last_lines(log.read())
