"""`xlt` in processes that tests start, and Ctrl-C in them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from xlt.sweep.on_ray.local.launcher import VARIABLE


@contextmanager
def started_xlt(*arguments: str, program: str = "") -> Iterator[subprocess.Popen[str]]:
    """`xlt` as from a terminal: a process group of its own, a Ray of its own; killed at the end.

    A program that :func:`impatient` makes may stand for the command.
    """
    start = ("-c", program) if program else ("-m", "xlt")
    process = subprocess.Popen(
        [sys.executable, *start, *arguments], env=environment(), text=True,
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=hear_ctrl_c,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def impatient(**seconds: float) -> str:
    """Return a program that is `xlt` with other limits: ``driver__silence__FIRST_SECONDS=6.0``."""
    lines = ["import sys", "from importlib import import_module"]
    for name, value in seconds.items():
        room, module, limit = name.split("__")
        lines.append(f"import_module('xlt.sweep.{room}.{module}').{limit} = {value}")
    return "\n".join(
        [*lines, "from xlt.sweep.cli.main import main", "sys.exit(main(sys.argv[1:]))"]
    )


def environment() -> dict[str, str]:
    """This process's, without the ways to a cluster and to a fork server of its own."""
    return {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", VARIABLE)}


def hear_ctrl_c() -> None:
    """Shells start what runs in the background with Ctrl-C ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started_python(
    program: str, first_line: str, *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    """A Python program that has printed its first line; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == f"{first_line}\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
