"""What result folders said when they were last verified, so that thousands are not hashed anew.

It lies in the user's cache folder, never in the results. A folder is looked up by its stamp: name,
size and times of change of each of its files, so that a file that was added, removed, replaced or
written since makes another stamp and the folder is verified as if it were new. What no stamp can
show is a disk that changes bytes by itself: that is why ``xlt run`` verifies every folder in full.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import orjson
import pyarrow.fs as pafs

from xlt.data.core.user_cache import _DIGEST, SETTLED_SECONDS, CacheFile
from xlt.trainables.results.result import Results, TrialState
from xlt.trainables.spec.trial_spec import RESULT_FORMAT

FEWEST_TRIALS = 100
"""Fewer are verified as quickly as they are looked up, and leave nothing in the cache folder."""


def verified_states(
    location: Results, experiment: str, trial_ids: Iterable[str]
) -> dict[str, TrialState]:
    """As :meth:`Results.states`; done trials whose stamp is the same are not verified again.

    Only done trials are kept: the rest is what may change, and costs little.

    Args:
        location: The results.
        experiment: Whose trials they are.
        trial_ids: The trials.

    Raises:
        InputError: See :meth:`Results.state`.
    """
    ids = list(trial_ids)
    if len(ids) < FEWEST_TRIALS:
        return location.states(ids)
    kept = CacheFile(f"{location.uri}\n{experiment}", "records", RESULT_FORMAT)
    now = time.time()
    # Stamps are taken before folders are read: a change in between makes another stamp later.
    stamps = {trial_id: folder.stamp() for trial_id, folder in _folders(location, ids)}
    settled = {i for i, (_, changed) in stamps.items() if changed < now - SETTLED_SECONDS}
    used = {
        trial_id: kept.values[trial_id]
        for trial_id, (stamp, _) in stamps.items()
        if kept.values.get(trial_id, b"").startswith(stamp)
    }
    states = {
        trial_id: TrialState("done", record=orjson.loads(value[_DIGEST:]))
        for trial_id, value in used.items()
    }
    states |= location.states(trial_id for trial_id in ids if trial_id not in states)
    for trial_id in settled - used.keys():
        if states[trial_id].state == "done":
            with contextlib.suppress(TypeError):  # an integer beyond 64 bits in a record
                used[trial_id] = stamps[trial_id][0] + orjson.dumps(states[trial_id].record)
    kept.keep({trial_id: used[trial_id] for trial_id in ids if trial_id in used})
    return {trial_id: states[trial_id] for trial_id in ids}


@dataclass
class _Folder:
    """The files of a trial's folder as far as they can be seen without opening them."""

    lines: list[str] = field(default_factory=list)
    changed: float = 0.0

    def add(self, path: str, changed: float, *seen: object) -> None:
        self.lines.append(f"{path}\0{changed!r}\0{seen!r}")
        self.changed = max(self.changed, changed)

    def stamp(self) -> tuple[bytes, float]:
        """SHA-256 over the files in order, and when one of them changed last."""
        return hashlib.sha256("\0\0".join(sorted(self.lines)).encode()).digest(), self.changed


def _folders(location: Results, trial_ids: Iterable[str]) -> Iterator[tuple[str, _Folder]]:
    """Trial ids and folders of those that are there."""
    if isinstance(location.fs, pafs.LocalFileSystem):
        for trial_id in trial_ids:
            folder = _Folder()
            with contextlib.suppress(OSError):  # told, where it matters, by reading it
                _add_local(folder, location.path("trials", trial_id), "")
                yield trial_id, folder
        return
    # One listing of all: a store answers a thousand files at a time.
    root = location.path("trials") + "/"
    found: dict[str, _Folder] = defaultdict(_Folder)
    selector = pafs.FileSelector(root[:-1], allow_not_found=True, recursive=True)
    for info in location.fs.get_file_info(selector):
        trial_id, _, path = info.path.removeprefix(root).partition("/")
        if info.type == pafs.FileType.File and path:
            changed = info.mtime_ns
            if changed is None:  # a store that does not tell when: nothing can be kept
                found[trial_id].changed = float("inf")
            else:
                found[trial_id].add(path, changed / 1e9, info.size)
    yield from ((trial_id, found[trial_id]) for trial_id in trial_ids if trial_id in found)


def _add_local(folder: _Folder, path: str, inside: str) -> None:
    """Files below a local folder; the inode and its own time tell copies that keep mtime."""
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir():
                _add_local(folder, entry.path, f"{inside}{entry.name}/")
            else:
                seen = entry.stat()
                changed = max(seen.st_mtime, seen.st_ctime)
                times = seen.st_mtime_ns, seen.st_ctime_ns
                folder.add(inside + entry.name, changed, seen.st_size, seen.st_ino, *times)
