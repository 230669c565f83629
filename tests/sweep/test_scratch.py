"""Folders of killed commands are removed by the next one, and no folder of anybody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from xlt.sweep.driver.lease import find_process_start, identify_machine
from xlt.sweep.driver.scratch import OWNER, remove_abandoned, scratch_folder

KILLED = """
import os, signal
from xlt.sweep.driver.scratch import scratch_folder
with scratch_folder("tune") as folder:
    (folder / "large").write_bytes(b"x")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def own_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture(scope="module")
def gone() -> dict[str, Any]:
    """Owner of a folder whose process has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return {"machine": identify_machine(), "pid": process.pid, "started": "1"}


def test_a_killed_command_leaves_a_folder_until_the_next_one(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True)
    left = Path(killed.stdout.strip())
    assert (left / "large").is_file() and left.parent.parent == tmp_path
    with scratch_folder("predict") as folder:
        assert not left.parent.exists()
        assert list(folder.iterdir()) == []
        with scratch_folder("tune") as second:  # of a living process
            assert folder.is_dir() and second.is_dir()
    assert list(tmp_path.iterdir()) == []


OTHERS: dict[str, dict[str, Any]] = {
    "another machine": {"machine": "elsewhere"},
    "a living process": {"pid": os.getpid(), "started": find_process_start(os.getpid())},
    "no pid": {"pid": None},
    "a huge pid": {"pid": 2**80},
    "a pid as text": {"pid": "x"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_folders_of_others_stay(name: str, gone: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "xlt-tune-x"
    folder.mkdir()
    (folder / OWNER).write_text(json.dumps(gone | OTHERS[name]))
    remove_abandoned(tmp_path, "xlt-*")
    assert folder.is_dir()
    (folder / OWNER).write_text(json.dumps(gone))
    remove_abandoned(tmp_path, "xlt-*")
    assert not folder.exists()


@pytest.mark.parametrize("content", [None, "pipe", "[" * 9999, "[]"])
def test_folders_without_a_right_mark_stay(content: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "session_x"
    folder.mkdir()
    if content == "pipe":
        os.mkfifo(folder / OWNER)
    elif content is not None:
        (folder / OWNER).write_text(content)
    remove_abandoned(tmp_path, "session_*")
    assert folder.is_dir()


def test_links_are_not_followed(gone: dict[str, Any], tmp_path: Path) -> None:
    folder, outside = tmp_path / "xlt-tune-x", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    for place in (folder, outside):
        (place / OWNER).write_text(json.dumps(gone))
    (tmp_path / "xlt-link").symlink_to(outside)
    remove_abandoned(tmp_path, "xlt-*")
    assert not folder.exists() and (outside / OWNER).is_file()


def test_a_folder_that_a_process_uses_stays(gone: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "session_x"
    folder.mkdir()
    (folder / OWNER).write_text(json.dumps(gone))
    code = "print(flush=True); import time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=-1) as process:
        assert process.stdout and process.stdout.readline()
        remove_abandoned(tmp_path, "session_*")
        is_there = folder.is_dir()
        process.kill()
    assert is_there
