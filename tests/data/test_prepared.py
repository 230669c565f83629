"""Prepared data sets: written, verified, read again, and described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tiny_data import make_dataset

from xlt.data.core.errors import InputError
from xlt.data.dataset.draws import draw
from xlt.data.dataset.patterns import Sampling, parse_pattern_name
from xlt.data.dataset.schema import Dataset
from xlt.data.sources.prepared_store import MANIFEST, REJECTS, ROWS, PreparedData
from xlt.data.sources.reading import REJECTS_SCHEMA, Reading
from xlt.data.sources.registry import load_dataset, parse_source
from xlt.data.sources.summary import capacities, describe_dataset

READING = Reading(
    make_dataset(),
    {"language is not asked for": 7},
    pa.Table.from_pylist([{"file": "a", "row": 3, "reason": "not JSON"}], REJECTS_SCHEMA),
)
SOURCE = {"source": "table", "path": "x.csv", "positive": ["1"]}


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedData:
    place = PreparedData(str(tmp_path / "data"))
    place.save(READING, SOURCE)
    return place


def test_rows_and_account_are_read_back(prepared: PreparedData) -> None:
    manifest = prepared.manifest()
    assert (manifest.num_read, manifest.num_kept, manifest.num_rejected) == (128, 120, 1)
    assert manifest.dropped == READING.dropped
    assert manifest.counts == {lang: {"negative": 30, "positive": 30} for lang in ("en", "ja")}
    assert manifest.source == SOURCE
    dataset = load_dataset(parse_source({"source": "prepared", "path": prepared.uri}))
    assert dataset.table.equals(READING.dataset.table)
    assert dataset.fingerprint == manifest.fingerprint == READING.dataset.fingerprint


def test_classes_are_kept(tmp_path: Path) -> None:
    dataset = Dataset.from_table(make_dataset().table, classes=("a", "b", "c"))
    place = PreparedData(str(tmp_path))
    place.save(Reading(dataset), SOURCE)
    assert place.load() == dataset
    assert place.manifest().counts["ja"]["c"] == 0


def test_preparing_again_replaces_and_other_folders_are_left_alone(
    prepared: PreparedData, tmp_path: Path
) -> None:
    prepared.save(Reading(make_dataset(num_rows=20)), SOURCE)
    assert len(prepared.load().table) == 40
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(InputError, match=r"holds other files \('data'\); give an empty folder"):
        PreparedData(str(tmp_path)).save(READING, SOURCE)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        (MANIFEST, None, r"has no manifest\.json; prepare it with `xlt data prepare"),
        (MANIFEST, b"{", r"manifest\.json is not JSON"),
        (MANIFEST, b'{"format": 99}', "has format 99; this version reads 1"),
        (MANIFEST, b'{"format": 1}', "fingerprint: is required"),
        (ROWS, None, "cannot be read"),
        (ROWS, b"PAR1", "was changed after it was written; prepare it again"),
    ],
)
def test_a_damaged_folder_is_reported(
    prepared: PreparedData, file: str, content: bytes | None, problem: str
) -> None:
    path = Path(prepared.root) / file
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=problem):
        prepared.load()


def test_the_manifest_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = PreparedData.write

    def remember(self: PreparedData, path: str, content: bytes) -> None:
        written.append(path)
        write(self, path, content)

    monkeypatch.setattr(PreparedData, "write", remember)
    PreparedData(str(tmp_path / "data")).save(READING, SOURCE)
    assert written == [ROWS, REJECTS, MANIFEST]
    assert json.loads((tmp_path / "data" / MANIFEST).read_text())["num_kept"] == 120


def test_capacities_are_the_counts_that_can_be_drawn() -> None:
    dataset = make_dataset()
    sampling = Sampling(test_rows=20)
    english, japanese = capacities(dataset, sampling)
    assert english.endswith("60 balanced source rows, or en40 with 20 test rows")
    assert japanese.endswith("60 balanced source rows, or ja40 with 20 test rows")
    most: dict[str, Any] = {"source_rows": 60}
    drawn = draw(dataset, "en", parse_pattern_name("ja40").model_copy(update=most), sampling, 0)
    assert (len(drawn.source), len(drawn.target)) == (60, 40)
    with pytest.raises(InputError, match="ja42 needs 21 positive ja rows after the 10 of the test"):
        draw(dataset, "en", parse_pattern_name("ja42").model_copy(update=most), sampling, 0)
    assert "too few for a test of 80" in capacities(dataset, Sampling(test_rows=80))[0]


def test_windows_that_never_overlap_leave_the_test_out_of_the_sum() -> None:
    windows = {
        "train_window": {"start": "2022-01-01", "end": "2022-01-20"},
        "test_window": {"start": "2022-02-01", "end": "2022-02-20"},
    }
    _, japanese = capacities(make_dataset(), Sampling.parse({"test_rows": 10, **windows}))
    assert "positive 10 different texts: 20 balanced source rows, or ja20 with 10" in japanese


def test_a_description_has_counts_months_lengths_and_samples(prepared: PreparedData) -> None:
    shown = describe_dataset(
        prepared.load(), Sampling(test_rows=20), prepared.manifest(),
        {"words": lambda texts: [len(text.split()) for text in texts]},
    )  # fmt: skip
    for part in (
        "read 128 = kept 120 + dropped 7 + rejected 1",
        "dropped 7: language is not asked for",
        "  ja              30        30",
        "  2022-02",
        "words a text",
        "ja positive: ",
    ):
        assert part in shown
