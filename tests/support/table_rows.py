"""Tables as tests write and read them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.data.sources.registry import load_dataset, parse_source

HEAD = "id,text,lang,label\n"
NAMES = ["id", "text", "lang", "label", "published", "source"]
ROWS = [
    ["007", 'Wind, "sun"\nand tides', "en", "esg", "2022-08-31", "wire"],
    ["8", "NA", "en", "other", "", "wire"],
    ["nan", "風力発電　", "ja", "esg", "2022-09-01T23:30:00+09:00", "wire"],
    ["1e5", "null", "ja", "sport", "2022-09-01", "wire"],
]


def to_separated(rows: list[list[str]], separator: str = ",") -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator, lineterminator="\n").writerows([NAMES, *rows])
    return out.getvalue().encode()


def to_jsonl(rows: list[list[str]]) -> bytes:
    lines = (dict(zip(NAMES, row, strict=True)) for row in rows)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def to_parquet(rows: list[list[str]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))), out)
    return out.getvalue()


FORMATS: dict[str, Callable[[list[list[str]]], bytes]] = {
    "a.csv": to_separated,
    "a.tsv": lambda rows: to_separated(rows, "\t"),
    "a.jsonl": to_jsonl,
    "a.ndjson": to_jsonl,
    "a.parquet": to_parquet,
    "a.CSV.gz": lambda rows: gzip.compress(to_separated(rows)),
    "a.jsonl.gz": lambda rows: gzip.compress(to_jsonl(rows)),
    "bom.csv": lambda rows: b"\xef\xbb\xbf" + to_separated(rows),
    "crlf.csv": lambda rows: to_separated(rows).replace(b"wire\n", b"wire\r\n"),
}


def load(path: Path | str | list[str], **options: Any) -> Dataset:
    values = {
        "source": "table",
        "path": path if isinstance(path, list) else str(path),
        "positive": ["esg"],
        **options,
    }
    return load_dataset(parse_source(values))


def load_bytes(folder: Path, name: str, content: bytes, **options: Any) -> Dataset:
    (folder / name).write_bytes(content)
    return load(folder / name, **options)


def errors(folder: Path, name: str, content: bytes | str, **options: Any) -> list[str]:
    content = content.encode() if isinstance(content, str) else content
    with pytest.raises(InputError) as caught:
        load_bytes(folder, name, content, **options)
    assert caught.value.where == str(folder / name)
    return caught.value.problems
