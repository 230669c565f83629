"""Atomic writes of local files and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from xlt.data.core.files import new_folder, replacing


def test_a_file_is_replaced_only_when_it_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("before")
    with pytest.raises(ValueError, match="stop"), replacing(file) as stream:
        stream.write(b"half")
        raise ValueError("stop")
    assert file.read_text() == "before"
    with replacing(file) as stream:
        stream.write(b"after")
        assert file.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert file.read_text() == "after"


def test_a_folder_exists_only_when_it_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "m"
    with pytest.raises(ValueError, match="stop"), new_folder(folder) as partial:
        (partial / "file").write_text("half")
        raise ValueError("stop")
    assert not list(folder.parent.iterdir())
    with new_folder(folder) as partial:
        (partial / "file").write_text("first")
        assert not folder.exists()
    assert [path.name for path in folder.parent.iterdir()] == ["m"]


def test_a_folder_of_another_process_stays(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    with new_folder(folder) as slower:
        (slower / "file").write_text("second")
        with new_folder(folder) as faster:
            (faster / "file").write_text("first")
    assert (folder / "file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("a file")
    with pytest.raises(OSError, match="m"), new_folder(tmp_path / "m"):
        pass
    assert (tmp_path / "m").read_text() == "a file"
