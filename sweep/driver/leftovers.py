"""Files of a results location that no command reads again: they only take space."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.fs as pafs

from xlt.trainables.results.layout import CHECKPOINTS, SET_ASIDE, WEIGHTS_SUFFIX
from xlt.trainables.results.location import inside_root
from xlt.trainables.results.result import Results

SETTLED_SECONDS = 3600.0
"""Least age of an interrupted write; a younger one may be a file that is being written."""


@dataclass(frozen=True)
class Leftover:
    """A file or folder that may be removed.

    Attributes:
        path: Path in the results location.
        why: The kind of leftover, a noun phrase.
        size: Bytes, with all files in it.
    """

    path: str
    why: str
    size: int


def list_leftovers(results: Results) -> list[Leftover]:
    """List the files that no command reads again, sorted by path.

    These are checkpoints of done trials, interrupted writes that are older than an hour, and
    damaged trial folders that were set aside.

    Raises:
        OSError: The location cannot be read.
        InputError: See :meth:`Results.state`.
    """
    listed, set_aside = list[Leftover](), dict[str, int]()
    for path, (size, age) in _walk(results):
        folder, _, name = path.rpartition("/")
        if folder.split("/")[0] == SET_ASIDE:
            top = "/".join(path.split("/")[:2])
            set_aside[top] = set_aside.get(top, 0) + size
        elif name.startswith(".") and name.endswith(".partial"):
            if age > SETTLED_SECONDS:
                listed.append(Leftover(path, "interrupted write", size))
        elif folder == CHECKPOINTS and _is_done(results, name):
            listed.append(Leftover(path, "checkpoint of a done trial", size))
    listed += [Leftover(path, "damaged trial, set aside", s) for path, s in set_aside.items()]
    return sorted(listed, key=lambda leftover: leftover.path)


@inside_root
def remove_leftover(results: Results, leftover: Leftover) -> None:
    """Remove a file or folder; a link in it is removed, and not the file that it points to.

    Raises:
        OSError: It cannot be removed.
    """
    path = results.path(leftover.path)
    if not isinstance(results.fs, pafs.LocalFileSystem):
        delete = results.fs.delete_file if results.exists(leftover.path) else results.fs.delete_dir
        delete(path)
    elif os.path.islink(path) or not os.path.isdir(path):
        os.unlink(path)
    else:
        shutil.rmtree(path)


def _is_done(results: Results, name: str) -> bool:
    trial_id = name.removesuffix(WEIGHTS_SUFFIX)
    return trial_id != name and results.state(trial_id).state == "done"


def _walk(results: Results) -> Iterator[tuple[str, tuple[int, float]]]:
    """Give path, size in bytes and age in seconds of each file; links are not followed."""
    now = time.time()
    if not isinstance(results.fs, pafs.LocalFileSystem):
        for info in results.fs.get_file_info(pafs.FileSelector(results.root, recursive=True)):
            if info.type == pafs.FileType.File:
                age = now - (info.mtime_ns or 0) / 1e9
                yield info.path[len(results.root) + 1 :], (info.size, age)
        return
    for top, folders, names in os.walk(results.root):
        links = [name for name in folders if os.path.islink(os.path.join(top, name))]
        for name in (*names, *links):
            about = Path(top, name).lstat()
            size = about.st_size if stat.S_ISREG(about.st_mode) else 0
            path = os.path.relpath(os.path.join(top, name), results.root)
            yield path, (size, now - max(about.st_mtime, about.st_ctime))
