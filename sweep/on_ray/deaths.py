"""Name the cause of a worker's death in the words of the user, from Ray's error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.exceptions import RayActorError, RayError, RayTaskError

from xlt.data.core.text import first_line
from xlt.sweep.backends.worker import describe
from xlt.sweep.on_ray.worker_log import WorkerLog, read_worker_log

_OUT_OF_MEMORY = re.compile(
    r"Memory on the node \(IP: (?P<node>[^,]+),.*?\) was (?P<used>\S+) used / (?P<limit>\S+) limit",
    re.DOTALL,
)
_EXIT_CODE = re.compile(r"exits with an exit code (-?\d+)")
_PROCESS = re.compile(r"pid: (?P<pid>\d+)")
_ADDRESS = re.compile(r"\bip: (?P<node>\S+)|Node IP: (?P<lost>[^,\s]+)")
_NODE_LOST = ("node has died", "node it was running on is dead")
_NO_EXIT_CODE = "connection error code 2"
_TAKEN_AWAY = (*_NODE_LOST, "is unavailable", "SIGTERM")


def read_death(trial: Any) -> BaseException | str:
    """Read the error with which Tune ended a trial.

    Args:
        trial: The Tune trial, after ``on_trial_error``.

    Returns:
        The error that our code raised outside of a trial, else the text of Ray's error.
    """
    # The driver's own Tune has just pickled this error into its local folder. Ray reads it the same
    # way in Trial.get_pickled_error, but only after it was copied to Tune's storage.
    if trial.pickled_error_file and Path(trial.pickled_error_file).is_file():
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        cause = error.cause if isinstance(error, RayTaskError) else error
        return str(cause) if isinstance(cause, (RayActorError, RayTaskError)) else cause
    if trial.error_file and Path(trial.error_file).is_file():
        return Path(trial.error_file).read_text()
    return ""


def explain_deaths(times: int, error: BaseException | str) -> BaseException:
    """Make the error of a trial whose worker process died, and which is not retried any more.

    Args:
        times: Number of deaths.
        error: The value of :func:`read_death` for the last one.
    """
    if isinstance(error, BaseException):
        return error
    how_often = "once" if times == 1 else f"{times} times; the last time"
    cause = find_death_cause(error, read_worker_log(error))
    return RuntimeError(f"its worker process died {how_often}: {cause}")


def describe_task_error(error: RayError) -> str:
    """Describe the error of a Ray task in one line: our code's error, or the worker's death."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return first_line(describe(cause))
    return f"its worker process died: {find_death_cause(str(error), read_worker_log(str(error)))}"


def was_taken_away(text: str) -> bool:
    """Whether a process did not end by itself: Ray ended it, or it lost its node or connection."""
    return bool(_OUT_OF_MEMORY.search(text)) or any(phrase in text for phrase in _TAKEN_AWAY)


def find_death_cause(text: str, log: WorkerLog | None = None, *, is_made: bool = True) -> str:
    """Name the cause of a death as a clause with the worker process as its subject.

    Ray reports neither the signal nor the exit code of a process that ends without a message to
    Ray, so the clause names all three ways in that case, and what the process wrote last.

    Args:
        text: Ray's error.
        log: The log of the process.
        is_made: Whether the process had started a trial, which may take much memory.
    """
    address = _ADDRESS.search(text)
    node = (address["node"] or address["lost"]) if address else "its node"
    if match := _OUT_OF_MEMORY.search(text):
        return (
            f"Ray killed it because node {match['node']} was out of memory ({match['used']} of "
            f"{match['limit']} used); run fewer trials at a time (resources.cpus, resources.gpus) "
            "or lower resources.micro_batch_size"
        )
    if any(phrase in text for phrase in _NODE_LOST):
        return f"{node} was lost, or its Ray was stopped" if address else "its node was lost"
    if "is unavailable" in text:
        return "its connection broke, because the process or its whole node stopped"
    if "SIGTERM" in text:
        return f"it received SIGTERM on {node}"
    if match := _EXIT_CODE.search(text):
        return f"it exited with code {match[1]} on {node}; {_quote(log)}"
    if _NO_EXIT_CODE in text:
        if log and log.stall:
            return f"it {log.stall}, so the watchdog killed it; {_name(log)} shows where it stood"
        if log and log.has_crashed:
            return f"it crashed on {node}; {_quote(log)}"
        killed = f"it was killed by SIGKILL, crashed or called os._exit on {node}"
        if is_made:
            process = _PROCESS.search(text)
            killed += (
                "; if the kernel log there (dmesg) names process "
                f"{process['pid'] if process else 'of the worker'}, its machine was out of memory"
            )
        return f"{killed}; {_quote(log)}" if log else killed
    if "error raised in its creation task" in text:
        return f"it could not start: {text.strip().splitlines()[-1]}"
    return f"Ray says: {' '.join(text.split())[:300]}" if text else "Ray gives no reason"


def _name(log: WorkerLog | None) -> str:
    return f"its log {log.path}" if log else "the log of the worker"


def _quote(log: WorkerLog | None) -> str:
    """Repeat the last words of a process."""
    if log is None:
        return "the log of the worker has the reason"
    return f"{_name(log)} ends: {log.ending}" if log.ending else f"{_name(log)} says nothing"
