"""Base models of later trials are in the page cache before these start."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from xlt.trainables.loading import read_ahead as module
from xlt.trainables.loading.read_ahead import read_ahead
from xlt.trainables.spec.trial_spec import TrialSpec

MakeSpec = Callable[..., TrialSpec]
NUM_PAGES = 12_000
"""More than a disk reads ahead at a time, of whose windows there are some of 8 MB."""


@pytest.fixture(autouse=True)
def _nothing_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REQUESTED", set())


def pages_in_memory(file: Path) -> int:
    """By mincore(2)."""
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
        residency = (ctypes.c_ubyte * (len(mapped) // mmap.PAGESIZE))()
        start = ctypes.addressof(first := ctypes.c_char.from_buffer(mapped))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(len(mapped)), residency) == 0
        del first  # else the map cannot be closed
    return sum(page & 1 for page in residency)


def test_weights_are_read_into_memory(make_spec: MakeSpec, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(os.urandom(NUM_PAGES * mmap.PAGESIZE))
    with weights.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if pages_in_memory(weights) > 0:
        pytest.skip("this file system keeps files in memory")
    read_ahead(make_spec(base_path=str(tmp_path), base_identity="test:ahead"))
    end = time.monotonic() + 30
    while pages_in_memory(weights) < NUM_PAGES and time.monotonic() < end:
        time.sleep(0.01)
    assert pages_in_memory(weights) == NUM_PAGES


def test_each_base_is_asked_for_once_and_miniatures_never(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(module, "_read_weights", lambda path, revision: read.append(path))
    for name in ("test:a", "test:b", "test:a", "miniature:c"):
        read_ahead(make_spec(base_path=name, base_identity=name))
    _wait_for_threads()
    assert sorted(read) == ["test:a", "test:b"]


def test_what_cannot_be_read_is_left_to_the_trial(make_spec: MakeSpec, tmp_path: Path) -> None:
    """An error in a thread is a warning to pytest, and here every warning an error."""
    read_ahead(make_spec(base_path=str(tmp_path / "gone"), base_identity="test:gone"))
    (tmp_path / "model.safetensors").mkdir()
    read_ahead(make_spec(base_path=str(tmp_path), base_identity="test:folder"))
    _wait_for_threads()


def _wait_for_threads() -> None:
    for thread in threading.enumerate():
        if thread.name == module.THREAD:
            thread.join(30)
