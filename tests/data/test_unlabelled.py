"""Unlabelled texts: every format gives the same rows, and bad rows have a problem."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_rows import FORMATS, ROWS, to_separated

from xlt.data.core.errors import InputError
from xlt.data.tables import stream as table_stream
from xlt.data.tables.files import find_files
from xlt.data.tables.unlabelled import TextRow, Unlabelled, check_unlabelled, read_unlabelled
from xlt.data.tables.whole import read_records


def read(path: Path | str, **options: Any) -> list[TextRow]:
    return list(read_unlabelled(Unlabelled.parse({"path": str(path), **options})))


def errors(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(path, **options)
    with pytest.raises(InputError) as checked:
        check_unlabelled(Unlabelled.parse({"path": str(path), **options}))
    assert caught.value.problems[0] in str(checked.value)
    return str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FORMATS[name](ROWS))
    rows = read(tmp_path / name, keep={"source": "from"})
    assert [(r.id, r.text, r.lang, r.kept) for r in rows] == [
        (r[0], r[1], r[2], (r[5],)) for r in ROWS
    ]
    assert not any(row.problem for row in rows)


@pytest.mark.parametrize("block", [300, 1 << 20])
def test_streamed_and_whole_files_give_the_same_rows(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [[f"{n}", f'wind, "{n}"\nand\n\ntides 風力', "en", "a", "", "w"] for n in range(500)]
    (tmp_path / "a.csv").write_bytes(to_separated(rows))
    whole = read_records(find_files(str(tmp_path / "a.csv"), None)[0], ["id", "text"], True)
    monkeypatch.setattr(table_stream, "BLOCK", block)
    streamed = read(tmp_path / "a.csv")
    assert [row.text for row in streamed] == whole.columns["text"]
    assert [row.row for row in streamed] == list(whole.rows)


@pytest.mark.parametrize("block", [40, 1 << 20])
def test_bad_rows_of_csv_have_a_problem(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_stream, "BLOCK", block)
    lines = [b"id,text", b"1,wind", b"2,wind,tides", b"", b"4,\xff\xfe", b"5,  ", b"6", b"7,sun"]
    (tmp_path / "a.csv").write_bytes(b"\n".join(lines) + b"\n")
    assert [(r.row, r.id, r.text, r.problem) for r in read(tmp_path / "a.csv")] == [
        (2, "1", "wind", ""),
        (3, "3", "", "not the cells of the header: 3 instead of 2"),
        (5, "5", "", "not UTF-8: column 'text'"),
        (6, "5", "", "empty text"),
        (7, "7", "", "not the cells of the header: 1 instead of 2"),
        (8, "7", "sun", ""),
    ]


def test_bad_rows_of_jsonl_have_a_problem(tmp_path: Path) -> None:
    lines = [
        b'{"text": "wind", "n": {"a": 1}}', "\u3000".encode(), b"[1]", b"{", b'{"text": "\xff"}',
        b'{"text": "\\ud83d"}', b'{"n": 1}', b'{"text": ["a"]}', b'{"text": 42, "n": 1.0}',
    ]  # fmt: skip
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    rows = read(tmp_path / "a.jsonl", keep={"n": "n"})
    assert [(r.row, r.text, r.kept[0]) for r in rows if not r.problem] == [
        (1, "wind", '{"a": 1}'),
        (9, "42", "1"),
    ]
    kinds = {r.row: r.problem.partition(":")[0] for r in rows if r.problem}
    assert kinds == {
        3: "not a JSON object", 4: "not a JSON object", 5: "not UTF-8", 6: "not a JSON object",
        7: "empty text", 8: "no text",
    }  # fmt: skip


def test_text_of_parquet_that_is_not_utf8(tmp_path: Path) -> None:
    raw = pa.array([b"wind", b"\xff", None], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    pq.write_table(pa.table({"text": text, "n": [1, 2, 3]}), tmp_path / "a.parquet")
    rows = read(tmp_path / "a.parquet", keep={"n": "n"})
    assert [row.problem for row in rows] == ["", "not UTF-8: column 'text'", "empty text"]
    assert rows[0].kept == ("1",)


def test_a_folder_is_its_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.csv").write_text("text\nwind\n")
    (tmp_path / "deep" / "c.jsonl.gz").write_bytes(gzip.compress(b'{"text": "sun"}\n'))
    (tmp_path / "readme.md").write_text("no rows")
    (tmp_path / "deep" / ".half.csv").write_text("text\nwi")
    assert [(r.id, r.text) for r in read(tmp_path)] == [
        ("b.csv:2", "wind"),
        ("deep/c.jsonl.gz:1", "sun"),
    ]
    (tmp_path / "b.csv").write_text("texts\nwind\n")
    problem = "unknown column 'text'. Did you mean 'texts'? Known: texts."
    assert problem in errors(tmp_path)


def test_lines_of_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    class Piped:
        buffer = io.BytesIO(b"\xef\xbb\xbfwind\r\n\n\xff\nsun")

    monkeypatch.setattr(sys, "stdin", Piped())
    assert [(r.file, r.id, r.text, r.problem) for r in read("-")] == [
        ("stdin", "1", "wind", ""),
        ("stdin", "2", "", "empty text"),
        ("stdin", "3", "", "not UTF-8: column 'text'"),
        ("stdin", "4", "sun", ""),
    ]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", b"headline\nwind\n", "unknown column 'text'."),
        ("a.jsonl", b'{"txt": 1}\n', "unknown column 'text'. Did you mean 'txt'?"),
        ("a.csv", b"", "is empty"),
        ("a.jsonl", b"\n", "is empty"),
        ("a.csv", "text\nwind".encode("utf-16"), "is UTF-16"),
        ("a.csv", b"te\xffxt\nwind\n", "the header is not UTF-8"),
        (
            "a.csv",
            b"text,id\nwind,1\n\xff,2,\n",
            "row 3 has 3 cells instead of 2, and bytes that are",
        ),
        ("a.csv", b"text;id\nwind;1\n", "save it with commas"),
        ("a.csv", b"text,text\nwind,sun\n", "occur more than once"),
        ("a.csv.gz", b"no gzip", "cannot be read"),
        ("a.parquet", b"no parquet", "cannot be read"),
        ("a.xlsx", b"", "unknown file suffix '.xlsx'"),
    ],
)
def test_files_that_cannot_be_read(name: str, content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert problem in errors(tmp_path / name)


def test_no_files(tmp_path: Path) -> None:
    assert "there is no such file" in errors(tmp_path / "a.csv")
    assert "the folder holds no file that ends with .csv" in errors(tmp_path)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"columns": {"headline": "a"}}, "unknown key 'headline'"),
        ({"columns": {"text": "a", "id": "a"}}, "columns.id and columns.text are both 'a'"),
        ({"path": "-", "columns": {"text": "a"}}, "lines of stdin have no columns"),
    ],
)
def test_options_that_contradict(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        Unlabelled.parse({"path": "a.csv", **options})
    assert problem in str(caught.value)


def test_columns_that_are_asked_for_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,key\nwind,1\n")
    columns = {"id": "kei", "text_pair": "premise"}
    problems = errors(tmp_path / "a.csv", columns=columns, keep={"kee": "k"})
    assert "unknown column 'kei'. Did you mean 'key'?" in problems
    assert "unknown column 'premise'" in problems
    assert "unknown column to keep 'kee'" in problems
    assert [r.id for r in read(tmp_path / "a.csv", columns={"id": None})] == ["2"]
