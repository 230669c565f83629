"""Files of labelled texts: every format gives the same rows; bad files are told with the row."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import InputError
from data.schema import Dataset
from data.sources import load_dataset, parse_source

ROWS = [
    {"id": f"{n:03}", "text": f'headline {n}, "quoted" 炭素', "lang": "ja", "label": "ab"[n % 2]}
    for n in range(6)
] + [{"id": "100", "text": "NA", "lang": "en", "label": "a"}]


def load(path: Path, **options: Any) -> Dataset:
    values = {"source": "table", "path": str(path), "positive": ["a"], "columns": {"id": "id"}}
    return load_dataset(parse_source(values | options))


def write(path: Path, rows: list[dict[str, str]] = ROWS) -> Path:
    kind = path.suffixes[0]
    if kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if kind == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        separator = "\t" if kind == ".tsv" else ","
        quoted = [['"' + v.replace('"', '""') + '"' for v in row.values()] for row in rows]
        lines = [separator.join(rows[0]), *(separator.join(line) for line in quoted)]
        text = "\n".join(lines) + "\n"
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.jsonl", "x.csv.gz", "x.jsonl.gz"])
def test_every_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    expected = load(write(tmp_path / "x.parquet")).table.drop_columns("source")
    assert load(write(tmp_path / name)).table.drop_columns("source").equals(expected)
    assert expected["id"].to_pylist()[0] == "000"
    assert expected["text"].to_pylist()[-1] == "NA"


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        ({"text": " "}, {}, "1 rows with empty text; fill or remove them: row 2"),
        ({"label": "c"}, {"negative": ["b"]}, "1 rows with an unknown label: row 2 ('c')"),
        ({"id": "001"}, {}, "ids must be unique: row 3"),
        ({}, {"columns": {"id": "ident"}}, "ident"),
        ({}, {"positive": ["z"]}, "no row has the positive label"),
        ({}, {"columns": {"text": "label"}}, "its own label"),
    ],
)
def test_bad_tables_are_told(
    change: dict[str, str], options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "x.csv", [ROWS[0] | change, *ROWS[1:]])
    with pytest.raises(InputError) as caught:
        load(path, **options)
    assert told in str(caught.value)


def test_unreadable_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        load(tmp_path / "none.csv")
    bad = tmp_path / "bad.csv"
    bad.write_bytes(b"id,text,lang,label\n1,\xff,en,a\n")
    with pytest.raises(InputError, match="line 2"):
        load(bad)
    packed = write(tmp_path / "x.csv.gz")
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"x\.csv\.gz"):
        load(packed)


def test_a_label_inside_the_text_is_refused(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "text": f"[{'ab'[n % 2]}] headline {n} of the day", "lang": "en",
         "label": "ab"[n % 2]}
        for n in range(100)
    ]  # fmt: skip
    with pytest.raises(InputError, match="away"):
        load(write(tmp_path / "leak.csv", rows))
