"""A full or closed cache folder: what only saves time is left out, other commands end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_disks import fill, mounted_disk

from xlt.data.core.errors import InputError
from xlt.data.core.user_cache import CacheFile, prepare_cache_dir
from xlt.data.sources.translations.cache import Made, TranslationCache

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a small file system needs root")
MESSAGE = "disk/cache' cannot be written: No space left on device; free space, fix the permissions"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of a megabyte with the cache folder."""
    with mounted_disk(tmp_path / "disk", "1m") as folder:
        monkeypatch.setenv("XLT_CACHE", str(folder / "cache"))
        yield folder


def test_space_is_tested_before_something_is_computed(disk: Path) -> None:
    prepare_cache_dir(500_000)
    with pytest.raises(InputError, match=MESSAGE):
        prepare_cache_dir(2_000_000)
    assert list((disk / "cache").iterdir()) == []


def test_values_that_only_save_time_are_not_kept(disk: Path) -> None:
    CacheFile("here", "records", 1).keep({"a": b"1"})
    fill(disk)
    CacheFile("here", "records", 1).keep({"a": b"2" * 10_000})
    assert CacheFile("here", "records", 1).values == {"a": b"1"}
    assert [file.suffix for file in (disk / "cache" / "results").iterdir()] == [".records"]


def test_translations_before_the_disk_was_full_are_kept(disk: Path) -> None:
    made = {f"text {number}": Made("訳" * 100, False, False) for number in range(40)}
    TranslationCache("model").add(made)
    fill(disk)
    many = {f"more {number}": Made("訳" * 1000, False, False) for number in range(40)}
    with pytest.raises(InputError, match=MESSAGE):
        TranslationCache("model").add(many)
    (disk / "filler").unlink()
    kept = TranslationCache("model")
    assert made.items() <= kept.translations.items() <= (made | many).items()
    kept.add(many)
    assert TranslationCache("model").translations == made | many
