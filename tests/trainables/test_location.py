"""The results location: refused clearly or safe to write to; a write is whole or did not happen."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from xlt.data.core import files as storage_module
from xlt.data.core.errors import InputError
from xlt.trainables.results.location import MARKER, ResultsRoot
from xlt.trainables.spec.trial_spec import RESULT_FORMAT


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_keeps_the_old_file_and_no_part_of_the_new(
    step: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = ResultsRoot(str(tmp_path / "results"))
    local.prepare()
    local.write("file", b"old")

    def fail(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(storage_module.os, step, fail)
        with pytest.raises(type(error)):
            local.write("file", b"new")
    assert local.read("file") == b"old"
    assert sorted(os.listdir(local.root)) == ["file", MARKER]


# --- the root ---------------------------------------------------------------------------------


@pytest.mark.parametrize("uri", ["results", "mock:///bucket/results"])
def test_preparing_twice_is_once(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a relative path is taken from here, and only now
    made = ResultsRoot(uri)
    made.prepare()
    made.write("file", b"content")
    made.prepare()
    assert made.read("file") == b"content"
    assert made.read_json(MARKER)["format"] == RESULT_FORMAT
    names = [i.base_name for i in made.fs.get_file_info(pafs.FileSelector(made.root))]
    assert sorted(names) == ["file", MARKER]
    assert "://" in made.uri or made.root == str(tmp_path / "results")


def below_a_file(folder: Path) -> str:
    (folder / "file").write_text("x")
    return str(folder / "file" / "results")


def a_file(folder: Path) -> str:
    (folder / "results").write_text("x")
    return str(folder / "results")


def foreign(folder: Path) -> str:
    (folder / "thesis.docx").write_text("x")
    return str(folder)


def other_format(folder: Path) -> str:
    (folder / MARKER).write_text('{"format": 99}')
    return str(folder)


def damaged_marker(folder: Path) -> str:
    (folder / MARKER).write_text('{"form')
    return str(folder)


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        (a_file, "is a file; give a folder"),
        (below_a_file, "cannot be written: .*; free space, fix the permissions or give another"),
        (foreign, f"holds other files and no {MARKER}; give an empty folder"),
        (other_format, "has format 99; this version reads and writes format"),
        (damaged_marker, f"{MARKER} is not JSON"),
        (lambda folder: "/proc/results", "cannot be written"),
    ],
)
def test_a_location_that_cannot_serve_is_refused_and_left_alone(
    place: Callable[[Path], str], problem: str, tmp_path: Path
) -> None:
    uri = place(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(InputError, match=problem) as caught:
        ResultsRoot(uri).prepare()
    assert uri in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_location_that_cannot_be_written_is_refused(
    code: int, prepared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ResultsRoot(str(tmp_path / "results"))
    if prepared:
        made.prepare()
        made.write("file", b"content")

    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(storage_module.os, "fsync", refuse)
        with pytest.raises(InputError, match=os.strerror(code)):
            made.prepare()
    assert made.exists("file") == prepared
    made.prepare()  # once there is space


@pytest.mark.parametrize("left", [".xlt-results.json.0.partial", ".DS_Store", "lost+found"])
def test_what_is_no_ones_does_not_make_a_folder_foreign(left: str, tmp_path: Path) -> None:
    (tmp_path / left).write_text("x")
    made = ResultsRoot(str(tmp_path))
    made.prepare()
    assert made.exists(MARKER)


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("ftp://host/results", "cannot be used: Unrecognized filesystem"),
        ("nonsense://x", "cannot be used: Unrecognized filesystem"),
        ("mock://", "names no folder or bucket"),
        ("/", "names no folder or bucket"),
    ],
)
def test_a_uri_that_says_too_little_is_refused(uri: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        ResultsRoot(uri)


@pytest.mark.parametrize("name", ["結果 1", "a#b", "100%20", "ä?x"])
def test_local_paths_are_taken_as_they_are(name: str, tmp_path: Path) -> None:
    ResultsRoot(str(tmp_path / name)).prepare()
    assert (tmp_path / name / MARKER).is_file()
