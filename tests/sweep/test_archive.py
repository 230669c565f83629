"""An archive that is read on a Ray cluster gives the rows of one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from mrn_archives import JAPANESE, archive, make, options

from xlt.data.sources.registry import read_source
from xlt.sweep.on_ray.archive import make_archive_reader


@pytest.mark.ray
def test_an_archive_is_read_on_a_cluster(ray_address: str, tmp_path: Path) -> None:
    for number in range(3):
        items = [make(f"{number}a"), make(f"{number}b", **JAPANESE)]
        (tmp_path / f"{number}.txt").write_bytes(archive(*items))
    (tmp_path / "damaged.txt").write_bytes(b"not JSON")
    source = options(tmp_path / "*.txt", languages=["en", "ja"])
    alone = read_source(source)
    together = read_source(source, read_files=make_archive_reader(ray_address))
    assert len(alone.dataset.table) == 6 and len(alone.rejects) > 0
    assert together.dataset.table.equals(alone.dataset.table)
    assert together.rejects.equals(alone.rejects)
    assert together.dropped == alone.dropped
