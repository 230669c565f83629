"""Unreadable tables: every bad file is reported with its rows."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_rows import (
    HEAD,
    ROWS,
    errors,
    load,
    to_parquet,
    to_separated,
)

from xlt.data.core.errors import InputError
from xlt.data.tables import memory
from xlt.data.tables.encodings import refuse_other_encodings


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("id,txt,lang,label\n1,a,en,esg\n",
         ["unknown column 'text'. Did you mean 'txt'? Known: id, label, lang, txt. "
          "Name the right one in columns.text."]),
        (HEAD + "1,a,en,esgg\n", ["no row has the positive label: unknown label 'esg'. "
                                  "Did you mean 'esgg'? Known: esgg."]),
        (HEAD + "1,a,en,esg\n2, ,en,esg\n\n4,,en,x\n",
         ["2 rows with empty text; fill or remove them: row 3, row 5"]),
        (HEAD + '1,"a\nb",en,esg\n1,b,en,x\n',
         ["1 rows with the id of an earlier row; ids must be unique: row 3"]),
        (HEAD + "1,a,en,esg\n,b,,\n", ["1 rows without id; give every row one: row 3",
                                       "1 rows without language; fill or remove them: row 3",
                                       "1 rows without label; fill or remove them: row 3"]),
        (HEAD + "1,a,xx,esg\n",
         ["language 'xx' is not a BCP-47 code such as en or zh-Hant, and not the English name of "
          "one language: row 2"]),
        (HEAD + "1,a,en,esg\n2,b, with comma,en,x\n3,c\n",
         ["2 rows do not have 4 columns as the header: row 3 (5), row 4 (2); enclose cells that "
          'hold separators or line breaks in double quotes ("), and set quoting: false if the '
          "file's double quotes enclose nothing"]),
        ("id,text,text,lang,label\n1,a,b,en,esg\n",
         ["columns ['text'] occur more than once; rename all but one of each"]),
        (HEAD, ["has no rows; nothing can be drawn from it"]),
        ("", ["is empty"]),
        (b"id,text,lang,label\n1,a,en,esg\n2,caf\xe9,en,x\n",
         ["is not UTF-8 at byte offset 35 (0xe9): line 3; save it as UTF-8"]),
    ],
)  # fmt: skip
def test_bad_csv_is_reported(content: str | bytes, problems: list[str], tmp_path: Path) -> None:
    assert errors(tmp_path, "a.csv", content) == problems


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", "id;text;lang;label\n1;Wind, sun;en;esg\n",
         "has one column, 'id;text;lang;label' in row 1, whose cells seem to be separated by ';', "
         "not ','; save it with commas"),
        ("a.csv", "id\ttext\tlang\tlabel\n1\ta\ten\tesg\n",
         "has one column, 'id\\ttext\\tlang\\tlabel' in row 1, whose cells seem to be separated "
         "by '\\t', not ','; set format: tsv"),
        ("a.tsv", HEAD + "1,a,en,esg\n",
         "has one column, 'id,text,lang,label' in row 1, whose cells seem to be separated by ',', "
         "not '\\t'; set format: csv"),
    ],
)  # fmt: skip
def test_other_separators_are_named(name: str, content: str, problem: str, tmp_path: Path) -> None:
    assert errors(tmp_path, name, content) == [problem]


JAPANESE = HEAD + "1,脱炭素へ舵を切る,ja,esg\n2,ボンド上昇の理由,ja,x\n"


@pytest.mark.parametrize(
    ("codec", "problem"),
    [
        ("cp932", "is not UTF-8 at byte offset 21 (0x92): line 2, line 3; "
                  "it looks like Shift-JIS; save it as UTF-8"),
        ("euc_jp", "is not UTF-8 at byte offset 25 (0xc1): line 2, line 3; "
                   "it looks like EUC-JP; save it as UTF-8"),
        ("utf-16", "is UTF-16 by its first bytes (from line 1 on); save it as UTF-8"),
        ("utf-16-le", "is UTF-16 by its first bytes (from line 1 on); save it as UTF-8"),
        ("utf-16-be", "is UTF-16 by its first bytes (from line 1 on); save it as UTF-8"),
    ],
)  # fmt: skip
def test_other_encodings_are_named(codec: str, problem: str, tmp_path: Path) -> None:
    assert errors(tmp_path, "a.csv", JAPANESE.encode(codec)) == [problem]


@given(
    st.lists(st.text("いろはカナ、。脱炭素電力株価・（）ABC 123"), min_size=1, max_size=5),
    st.sampled_from([("cp932", "Shift-JIS"), ("euc_jp", "EUC-JP")]),
)
def test_japanese_encodings_are_distinguished(texts: list[str], encoding: tuple[str, str]) -> None:
    lines = "".join(f"あ{text}\n" for text in texts)
    with pytest.raises(InputError, match=f"it looks like {encoding[1]}; save it as UTF-8"):
        refuse_other_encodings(lines.encode(encoding[0]))
    refuse_other_encodings(lines.encode())


def test_a_stray_byte_is_not_another_encoding(tmp_path: Path) -> None:
    content = JAPANESE.encode() + b"3,\x82\xa0,ja,x\n" + "4,あめ,ja,x\n".encode()
    (problem,) = errors(tmp_path, "a.csv", content)
    assert problem.endswith("(0x82): line 4; save it as UTF-8")
    (problem,) = errors(tmp_path, "a.csv", HEAD.encode() + b"1,un \xe9t\xe9,fr,esg\n")
    assert problem.endswith("(0xe9): line 2; save it as UTF-8")


def test_problems_of_a_file_are_reported_together(tmp_path: Path) -> None:
    content = "text,lang,label,published\n,en,esg,31.8.2022\nb,xx,odd,\n"
    assert errors(tmp_path, "a.csv", content, negative=["z"]) == [
        "1 rows have a date that is not written as 2022-08-31 or 2022-08-31T09:30:00+09:00: row 2 "
        "('31.8.2022'); correct them, set date_format to their format, or set "
        "columns.published: null",
        "1 rows with an unknown label: row 3 ('odd'); known: 'esg', 'z'; "
        "add to positive or negative, or set drop_other_labels: true",
        "no row has the negative label: unknown label 'z'. Known: esg, odd.",
        "1 rows with empty text; fill or remove them: row 2",
        "language 'xx' is not a BCP-47 code such as en or zh-Hant, and not the English name of one "
        "language: row 3",
    ]


def test_problems_of_several_files_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEAD + "1,a,en,esg\n")
    (tmp_path / "b.csv").write_text(HEAD + "1,,en,x\n")
    (tmp_path / "c.csv").write_text("id,lang,label\n1,en,x\n")
    with pytest.raises(InputError) as caught:
        load(tmp_path / "*.csv")
    assert caught.value.problems == [
        "c.csv unknown column 'text'. Known: id, label, lang. Name the right one in columns.text.",
        "1 rows with empty text; fill or remove them: b.csv row 2",
        "1 rows with the id of an earlier row; ids must be unique: b.csv row 2",
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"text": "a"', "row 3 (Expecting ',' delimiter: line 1 column 13 (char 12))"),
        ("[1]", "row 3 (not an object)"),
        (r'{"text": "\ud800"}', "row 3 ('utf-8' codec can't encode character"),
        ('{"text": ' + "[" * 5000, "row 3 (lists or objects are nested deeper than 100 levels)"),
        ('{"text": ' + "9" * 5000 + "}", "row 3 (Exceeds the limit (4300 digits)"),
    ],
)
def test_bad_jsonl_is_reported(line: str, problem: str, tmp_path: Path) -> None:
    good = '{"text": "a", "lang": "en", "label": "esg"}\n'
    (text,) = errors(tmp_path, "a.jsonl", good + "\n" + line + "\n" + good + "oops\n")
    assert text.startswith(f"2 rows are not JSON objects: {problem}")
    assert "row 5 (Expecting value" in text


def test_nested_cells_are_reported(tmp_path: Path) -> None:
    line = '{"text": "a", "lang": "en", "label": ["esg"]}\n'
    assert errors(tmp_path, "a.jsonl", line) == [
        "column 'label' has lists, objects or bytes (row 1); name a column of text or numbers"
    ]


def test_broken_files_are_reported(tmp_path: Path) -> None:
    packed = gzip.compress(os.urandom(200) + to_separated(ROWS))
    assert errors(tmp_path, "a.csv.gz", packed[:-20])[0].startswith("cannot be read: Truncated")
    assert errors(tmp_path, "b.csv.gz", b"no gzip")[0].startswith("cannot be read: zlib inflate")
    for content in (b"no parquet at all", to_parquet(ROWS)[:-30]):
        (problem,) = errors(tmp_path, "a.parquet", content)
        assert problem.startswith("is not a readable Parquet file: ")
    text = pa.array([b"ok", b"b\xff"]).view(pa.string())
    table = pa.table({"text": text, "lang": ["en"] * 2, "label": ["esg", "x"]})
    pq.write_table(table, tmp_path / "c.parquet")
    assert errors(tmp_path, "c.parquet", (tmp_path / "c.parquet").read_bytes()) == [
        "column 'text' is not UTF-8: row 2 at byte 1 of the cell; write it again"
    ]


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("us")])
def test_a_day_after_the_calendar_is_refused(kind: pa.DataType, tmp_path: Path) -> None:
    days = pa.array([19_000, 5_000_000], pa.int32()).cast(pa.date32()).cast(kind)
    columns = {"text": ["a", "b"], "lang": ["en"] * 2, "label": ["esg", "x"], "published": days}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    (problem,) = errors(tmp_path, "a.parquet", (tmp_path / "a.parquet").read_bytes())
    assert problem.startswith("has a value that Python cannot hold: ")


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.csv.gz", "a.jsonl.gz"])
def test_a_file_that_memory_does_not_hold_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file may hold much: equal rows, or gzip of equal bytes."""
    monkeypatch.setattr(memory, "read_memory", lambda: 3_000_000)
    rows = 10_000
    if name.endswith("parquet"):
        table = pa.table({c: ["x"] * rows for c in ("id", "text", "lang", "label")})
        pq.write_table(table, tmp_path / name)
        content, what = (tmp_path / name).read_bytes(), "10,000 rows need 0.0 GB of memory or more"
    else:
        content, what = b"x" * 4_000_000, "the bytes of the file need"
    if name.endswith("gz"):
        content, what = gzip.compress(content), "the unpacked bytes of the file need"
    (problem,) = errors(tmp_path, name, content)
    assert problem.startswith(what) and problem.endswith("leave out rows, or use a larger machine")
    monkeypatch.undo()


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.jsonl.gz"])
def test_pipes_and_devices_are_no_files(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    (tmp_path / f"zero-{name}").symlink_to("/dev/zero")
    for path in (name, f"zero-{name}"):
        with pytest.raises(InputError, match="there is no such file"):
            load(tmp_path / path)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("none.csv", "there is no such file"),
        ("none*.csv", "there is no such file"),
        (".", "there is no such file"),
        ("gone/none*.csv", "cannot be read: "),
        ("s4://bucket/a.csv", "cannot be read: Unrecognized filesystem type in URI: s4://"),
        ("a.xlsx", "unknown file suffix '.xlsx'. Known: .csv, .jsonl, .ndjson, .parquet, .tsv. "),
        ("a", "unknown file suffix ''"),
    ],
)  # fmt: skip
def test_paths_without_files_are_reported(
    path: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.xlsx", "a"):
        (tmp_path / name).touch()
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {problem}")
