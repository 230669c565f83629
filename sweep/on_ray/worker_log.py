"""Read the log of a worker process that died, on the node where it ran."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import ray
from ray.exceptions import RayError

from xlt.sweep.on_ray.nodes import ask_node, list_living

ANSWER_SECONDS = 10.0
"""Time to wait for a log; a task of its node reads it, which may have to start a process."""
NUM_BYTES = 100_000
"""Bytes that are read from the end of a log; the stacks of all threads fit in."""
MAX_LENGTH = 300
"""Characters of a log that an error repeats."""
_PROCESS = re.compile(r"\bpid: (?P<pid>\d+)\s.*?\bip: (?P<node>\S+)", re.DOTALL)
# Lines of Ray, and of the stack below Python's line about a signal.
_NOISE = re.compile(
    r":(job_id|actor_name|task_name):|\[\d{4}-\d\d-\d\d |\*\*\* |PC: |\s|Extension "
)
_FATAL = "Fatal Python error"
_WATCHDOG = re.compile(r"xlt: process \d+ (?P<stall>.+) and is killed;")


@dataclass(frozen=True)
class WorkerLog:
    """The log of a worker that died.

    Attributes:
        path: The file, on the worker's node.
        ending: The last line, or the line of Python or of the watchdog about the signal that
            ended the worker; empty if it wrote nothing.
    """

    path: str
    ending: str

    @property
    def has_crashed(self) -> bool:
        """Whether the process received a signal of an error, such as SIGSEGV."""
        return self.ending.startswith(_FATAL)

    @property
    def stall(self) -> str:
        """Why the watchdog killed the process, such as ``made no progress for 30 minutes``."""
        line = _WATCHDOG.match(self.ending)
        return line["stall"] if line else ""


def read_worker_log(text: str) -> WorkerLog | None:
    """Read the log of the process that an error of Ray names.

    Returns:
        None if the error names no process, or its node gives no answer.
    """
    process = _PROCESS.search(text)
    if not process:
        return None
    try:
        for node in list_living():
            if node["NodeManagerAddress"] == process["node"]:
                answer = ask_node(node, _make_read(), process["pid"], NUM_BYTES)
                path, content = ray.get(answer, timeout=ANSWER_SECONDS)
                return WorkerLog(path, find_ending(content)) if path else None
    except RayError:
        pass
    return None


def find_ending(content: str) -> str:
    """Find the line of a log that says most about a death, see :class:`WorkerLog`."""
    lines = [line for line in content.splitlines() if line and not _NOISE.match(line)]
    fatal = [line for line in lines if line.startswith(_FATAL) or _WATCHDOG.match(line)]
    return (fatal or lines or [""])[-1][:MAX_LENGTH]


def _make_read() -> Callable[[str, int], tuple[str, str]]:
    """Make a function that Ray sends whole, because workers that die may not import this module."""

    def read(pid: str, num_bytes: int) -> tuple[str, str]:
        """Return path and end of the error log of a process of this node; empty without a log."""
        import pathlib

        from ray._private.worker import global_worker

        folder = pathlib.Path(global_worker.node.get_logs_dir_path())
        for path in folder.glob(f"worker-*-{pid}.err"):
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - num_bytes))
                return str(path), file.read().decode("utf-8", "replace")
        return "", ""

    return read
