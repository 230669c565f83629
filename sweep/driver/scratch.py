"""Folders of a command beside its results: removed at its end, or later if it was killed.

A killed command leaves its folders, and those of Ray hold gigabytes. Each folder names the process
that made it, by machine, process id and start, so that the next command removes only folders of
this program whose process is surely gone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xlt.data.core.files import read_json_file, to_json
from xlt.sweep.driver.lease import find_process_start, identify_machine

OWNER = "xlt-owner.json"
"""File in a folder that names its process."""
PREFIX = "xlt-"


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """Make an empty folder in TMPDIR for the block, after the removal of abandoned ones."""
    remove_abandoned(Path(tempfile.gettempdir()), f"{PREFIX}*")
    with tempfile.TemporaryDirectory(
        prefix=f"{PREFIX}{purpose}-", ignore_cleanup_errors=True
    ) as top:
        claim(Path(top))
        folder = Path(top) / "files"
        folder.mkdir()
        yield folder


def claim(folder: Path) -> None:
    """Write into a folder that this process owns it; a folder without this is never removed."""
    pid = os.getpid()
    owner = {"machine": identify_machine(), "pid": pid, "started": find_process_start(pid)}
    with suppress(OSError):
        (folder / OWNER).write_bytes(to_json(owner))


def remove_abandoned(parent: Path, pattern: str) -> None:
    """Remove folders with names like ``pattern`` whose process ended without removing them."""
    for folder in parent.glob(pattern):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    """Whether a folder is of this user and of a process of this machine that is gone."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        if not (folder / OWNER).is_file():
            return False
        owner: dict[str, Any] = read_json_file(folder / OWNER)
        if owner["machine"] != identify_machine():
            return False
        now = find_process_start(int(owner["pid"]))
    except (OSError, ValueError, LookupError, TypeError, OverflowError):
        return False
    return now not in ("", owner["started"]) and not _is_in_use(folder)


def _is_in_use(folder: Path) -> bool:
    """Whether a process has the folder in its command line, as Ray's processes do."""
    name = os.fsencode(folder.name)
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if name in command.read_bytes():
                return True
    return False
