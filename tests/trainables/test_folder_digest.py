"""A folder's identity: its contents, however often it is asked for."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from xlt.trainables.models import folder_digest as module
from xlt.trainables.models.base_models import BaseModel, identify


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XLT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "LARGE", 1000)
    folder = tmp_path / "base"
    (folder / "inner").mkdir(parents=True)
    (folder / "config.json").write_bytes(b"{}")
    (folder / "inner" / "model.safetensors").write_bytes(b"x" * 5000)
    long_ago = time.time() - 100
    for file in folder.rglob("*"):
        os.utime(file, (long_ago, long_ago))
    monkeypatch.setattr(module, "SETTLED_SECONDS", -1.0)  # the time of change is now
    return folder


def found(folder: Path) -> str:
    return identify(BaseModel(name="own", path=str(folder)))


def test_it_is_the_hash_of_names_and_contents(folder: Path) -> None:
    digest = hashlib.sha256()
    for name, content in (("config.json", b"{}"), ("inner/model.safetensors", b"x" * 5000)):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    assert found(folder) == found(folder) == f"sha256:{digest.hexdigest()}"


def test_large_files_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = found(folder)
    read: list[str] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda f, name: read.append(Path(f.name).name) or digest(f, name)
    )
    assert found(folder) == first
    assert read == ["config.json"]


@pytest.mark.parametrize("change", ["contents", "time put back", "name", "another file"])
def test_a_change_is_another_identity(change: str, folder: Path) -> None:
    first = found(folder)
    file = folder / "inner" / "model.safetensors"
    before = file.stat()
    if change in ("contents", "time put back"):
        file.write_bytes(b"y" * 5000)
    if change == "time put back":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    if change == "name":
        file.rename(folder / "inner" / "other.safetensors")
    if change == "another file":
        (folder / "added.json").write_bytes(b"")
    assert found(folder) != first


def test_a_file_that_has_just_changed_is_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second change within one tick of the clock would leave its times as they are."""
    monkeypatch.setattr(module, "SETTLED_SECONDS", 2.0)
    found(folder)
    assert not (folder.parent / "cache").exists()
