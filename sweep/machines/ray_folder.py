"""The folder of a Ray that starts on this machine: its sockets, logs and session files."""

from __future__ import annotations

import os
import sys

from xlt.sweep.machines.nodes import MIB, count_free_bytes

RAY_BYTES = 64 * MIB
"""Space that a Ray which starts here must find. Its session wrote at most 3 MB in runs of ten
trials (``du -sk /tmp/ray/session_*``); the logs of long runs need more."""


def find_ray_folder() -> str:
    """Find the folder in which Ray starts its sessions.

    The rule is that of Ray's ``get_default_ray_temp_dir`` (ray/_common/utils.py), without Ray.
    """
    variables = ("RAY_TMPDIR", "TMPDIR") if sys.platform.startswith("linux") else ("RAY_TMPDIR",)
    parents = (os.environ[name] for name in variables if name in os.environ)
    return os.path.join(next(parents, "/tmp"), "ray")


def find_ray_shortage() -> str:
    """Say what the disk lacks for a Ray that starts here; empty if it lacks nothing.

    Ray waits for minutes, without a message, if its files cannot be written.
    """
    folder = find_ray_folder()
    free = count_free_bytes(folder)
    if free >= RAY_BYTES:
        return ""
    return (
        f"its files in {folder} need {RAY_BYTES // MIB} MiB, {free / MIB:.1f} MiB are free; free "
        "some, set RAY_TMPDIR to a folder on another disk, or use --backend inline"
    )


def find_ray_logs() -> str:
    """Name the folder with the logs of Ray's present session, here or on every node."""
    return f"Ray's logs in {find_ray_folder()}/session_latest/logs of each machine"
