"""Limits of Parquet files: small ones that hold long texts, in columns, lists and structures."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlt.data.core.errors import InputError
from xlt.data.tables.parquet import read_parquet

TEXT, NUM_ROWS = "x" * 200_000, 3_000
NESTED: dict[str, Callable[[str], Any]] = {
    "text": lambda text: text,
    "bytes": lambda text: text.encode(),
    "list": lambda text: [text],
    "list of lists": lambda text: [[text], []],
    "structure": lambda text: {"a": text, "b": 1},
    "list in a structure": lambda text: {"a": [text]},
    "list of structures": lambda text: [{"a": text, "b": None}],
}


def file_of(values: list[Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"pieces": pa.array(values)}), sink, compression="zstd")
    return sink.getvalue()


@pytest.mark.parametrize("nested", NESTED)
def test_long_texts_are_counted_wherever_they_are(nested: str) -> None:
    content = file_of([NESTED[nested](TEXT)] * NUM_ROWS)
    assert len(content) < 20_000
    before = pa.total_allocated_bytes()
    with pytest.raises(InputError, match=r"has texts of 600,000,000 bytes, more than 536,870,912"):
        read_parquet(content)
    assert pa.total_allocated_bytes() - before < 10**6


@pytest.mark.parametrize("nested", NESTED)
def test_short_texts_are_read_wherever_they_are(
    nested: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [NESTED[nested](text) for text in ("", "ニュース", "a" * 100)] + [None]
    content = file_of(values)
    monkeypatch.setattr("xlt.data.tables.parquet.MOST_BYTES", 112)  # so that the texts are counted
    assert read_parquet(content)["pieces"].to_pylist() == values
    monkeypatch.setattr("xlt.data.tables.parquet.MOST_BYTES", 111)
    with pytest.raises(InputError, match=r"has texts of 112 bytes, more than 111"):
        read_parquet(content)
