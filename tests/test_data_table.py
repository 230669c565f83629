"""The table source: the same rows from every format, and each bad file told with its rows."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.schema import Dataset
from data.sources import load_dataset, parse_source, read_source
from data.sources.cells import DATE_FORMATS, cell_day
from data.sources.encodings import refuse_other_encodings

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


def told(folder: Path, name: str, content: bytes | str, **options: Any) -> list[str]:
    content = content.encode() if isinstance(content, str) else content
    with pytest.raises(InputError) as caught:
        load_bytes(folder, name, content, **options)
    assert caught.value.where == str(folder / name)
    return caught.value.problems


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    dataset = load_bytes(tmp_path, name, FORMATS[name](ROWS))
    assert dataset.table["id"].to_pylist() == ["007", "8", "nan", "1e5"]
    assert dataset.table["text"].to_pylist() == [row[1] for row in ROWS]
    assert dataset.table["label"].to_pylist() == [1, 0, 1, 0]
    assert dataset.table["published"].to_pylist() == [
        datetime.date(2022, 8, 31), None, datetime.date(2022, 9, 1), datetime.date(2022, 9, 1),
    ]  # fmt: skip
    reference = load_bytes(tmp_path, "reference.csv", to_separated(ROWS))
    assert dataset.fingerprint == reference.fingerprint


# Any characters that are no control characters; csv ends rows at the others.
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20
).filter(str.strip)


@given(st.lists(TEXTS, min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_any_text_survives_every_format(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    rows = [[f"id{n}", text, "en", "esg", "", "wire"] for n, text in enumerate(texts)]
    for name in ("a.csv", "a.tsv", "a.jsonl", "a.parquet"):
        dataset = load_bytes(folder, name, FORMATS[name](rows))
        assert dataset.table["text"].to_pylist() == texts


def test_columns_can_have_any_names_and_types(tmp_path: Path) -> None:
    when = datetime.datetime(2022, 8, 31, 23)  # UTC; the next day in Tokyo
    table = pa.table(
        {
            "key": pa.array([1, 2], pa.int64()),
            "headline": pa.array(["Wind", "Goal"]).dictionary_encode(),
            "topic": pa.array([1.0, 0.0]),
            "when": pa.array([when] * 2, pa.timestamp("ns", "Asia/Tokyo")),
            "more": pa.array([[1], [2]]),
        }
    )  # fmt: skip
    pq.write_table(table, tmp_path / "a.parquet")
    columns = {"id": "key", "text": "headline", "label": "topic", "published": "when"}
    dataset = load(tmp_path / "a.parquet", columns=columns, lang="en", positive=[1])
    assert dataset.table.to_pylist() == [
        {"id": "1", "text": "Wind", "lang": "en", "label": 1, "source": "table",
         "published": datetime.date(2022, 9, 1), "text_pair": None, "story": None},
        {"id": "2", "text": "Goal", "lang": "en", "label": 0, "source": "table",
         "published": datetime.date(2022, 9, 1), "text_pair": None, "story": None},
    ]  # fmt: skip


def test_labels_are_compared_as_text(tmp_path: Path) -> None:
    lines = '{"text": "Wind", "label": true}\n\n{"text": "Sun", "label": 1}\n'
    lines += '{"text": "Goal", "label": "x"}\n{"text": "Match", "label": 2.0}\n'
    dataset = load_bytes(tmp_path, "a.jsonl", lines.encode(), lang="en", positive=[True, 1, 2])
    assert dataset.table["label"].to_pylist() == [1, 1, 0, 1]


def test_a_null_date_column_and_columns_that_are_switched_off(tmp_path: Path) -> None:
    table = pa.table({"id": ["x", "x"], "text": ["a", "b"], "lang": ["en", "ja"],
                      "label": ["esg", "z"], "date": pa.nulls(2)})  # fmt: skip
    pq.write_table(table, tmp_path / "a.parquet")
    dataset = load(tmp_path / "a.parquet", columns={"id": None, "published": "date"})
    assert dataset.table["published"].to_pylist() == [None, None]
    assert len(set(dataset.table["id"].to_pylist())) == 2


def test_made_ids_do_not_depend_on_file_names_and_order(tmp_path: Path) -> None:
    rows = [
        f"{text},en,{label}" for text, label in (("a", "esg"), ("b", "z"), ("c", "z"), ("c", "z"))
    ]
    one = load_bytes(tmp_path, "one.csv", "\n".join(["text,lang,label", *rows]).encode())
    two = load_bytes(tmp_path, "two.csv", "\n".join(["text,lang,label", *rows[::-1]]).encode())
    assert one.fingerprint == two.fingerprint
    ids = one.table["id"].to_pylist()
    assert len(set(ids)) == 4 and ids[3] == f"{ids[2]}-2"


def test_several_files_globs_uris_and_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rows in (("p1.csv", ROWS[:2]), ("p2.csv", ROWS[2:]), ("all.txt", ROWS)):
        (tmp_path / name).write_bytes(to_separated(rows))
    whole = load(tmp_path / "all.txt", format="csv")
    assert load(tmp_path / "p*.csv").table.equals(whole.table)
    several = [str(tmp_path / "p1.csv"), str(tmp_path / "p2.csv")]
    assert load(several).table.equals(whole.table)
    assert load((tmp_path / "p*.csv").as_uri().replace("%2A", "*")).table.equals(whole.table)
    monkeypatch.chdir(tmp_path)
    assert load("p*.csv").table.equals(whole.table)


def test_quotes_can_stand_for_themselves(tmp_path: Path) -> None:
    content = b'text\tlang\tlabel\n"Green\ten\tesg\nA "b" c"\ten\tz\n'
    dataset = load_bytes(tmp_path, "a.tsv", content, quoting=False)
    assert dataset.table["text"].to_pylist() == ['"Green', 'A "b" c"']


def test_other_labels(tmp_path: Path) -> None:
    content = to_separated(ROWS)
    assert told(tmp_path, "a.csv", content, negative=["other"]) == [
        "1 rows with an unknown label: row 5 ('sport'); known: 'esg', 'other'; "
        "add to positive or negative, or set drop_other_labels: true"
    ]
    dataset = load_bytes(tmp_path, "a.csv", content, negative=["other"], drop_other_labels=True)
    assert dataset.table["id"].to_pylist() == ["007", "8", "nan"]


HEAD = "id,text,lang,label\n"


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
         ["1 rows whose id an earlier row has; ids must be unique: row 3"]),
        (HEAD + "1,a,en,esg\n,b,,\n", ["1 rows without id; give every row one: row 3",
                                       "1 rows without language; fill or remove them: row 3",
                                       "1 rows without label; fill or remove them: row 3"]),
        (HEAD + "1,a,english,esg\n",
         ["language 'english' is no BCP-47 code such as en or zh-Hant: row 2"]),
        (HEAD + "1,a,en,esg\n2,b, with comma,en,x\n3,c\n",
         ["2 rows do not have 4 columns as the header: row 3 (5), row 4 (2); enclose cells that "
          'hold separators or line breaks in double quotes ("), and set quoting: false if the '
          "file's double quotes enclose nothing"]),
        ("id,text,text,lang,label\n1,a,b,en,esg\n",
         ["columns ['text'] are there more than once; rename all but one of each"]),
        (HEAD, ["has no rows; nothing can be drawn from it"]),
        ("", ["is empty"]),
        (b"id,text,lang,label\n1,a,en,esg\n2,caf\xe9,en,x\n",
         ["is not UTF-8 at byte offset 35 (0xe9): line 3; save it as UTF-8"]),
    ],
)  # fmt: skip
def test_bad_csv_is_told(content: str | bytes, problems: list[str], tmp_path: Path) -> None:
    assert told(tmp_path, "a.csv", content) == problems


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
def test_other_separators_are_told(name: str, content: str, problem: str, tmp_path: Path) -> None:
    assert told(tmp_path, name, content) == [problem]


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
    assert told(tmp_path, "a.csv", JAPANESE.encode(codec)) == [problem]


@given(
    st.lists(st.text("いろはカナ、。脱炭素電力株価・（）ABC 123"), min_size=1, max_size=5),
    st.sampled_from([("cp932", "Shift-JIS"), ("euc_jp", "EUC-JP")]),
)
def test_japanese_encodings_are_told_apart(texts: list[str], encoding: tuple[str, str]) -> None:
    lines = "".join(f"あ{text}\n" for text in texts)
    with pytest.raises(InputError, match=f"it looks like {encoding[1]}; save it as UTF-8"):
        refuse_other_encodings(lines.encode(encoding[0]))
    refuse_other_encodings(lines.encode())


def test_a_stray_byte_is_not_another_encoding(tmp_path: Path) -> None:
    content = JAPANESE.encode() + b"3,\x82\xa0,ja,x\n" + "4,あめ,ja,x\n".encode()
    (problem,) = told(tmp_path, "a.csv", content)
    assert problem.endswith("(0x82): line 4; save it as UTF-8")
    (problem,) = told(tmp_path, "a.csv", HEAD.encode() + b"1,un \xe9t\xe9,fr,esg\n")
    assert problem.endswith("(0xe9): line 2; save it as UTF-8")


def test_problems_of_a_file_are_told_together(tmp_path: Path) -> None:
    content = "text,lang,label,published\n,en,esg,31.8.2022\nb,Japanese,odd,\n"
    assert told(tmp_path, "a.csv", content, negative=["z"]) == [
        "1 rows whose date is none such as 2022-08-31 or 2022-08-31T09:30:00+09:00: row 2 "
        "('31.8.2022'); mend them, say how they are written in date_format, or set "
        "columns.published: null",
        "1 rows with an unknown label: row 3 ('odd'); known: 'esg', 'z'; "
        "add to positive or negative, or set drop_other_labels: true",
        "no row has the negative label: unknown label 'z'. Known: esg, odd.",
        "1 rows with empty text; fill or remove them: row 2",
        "language 'Japanese' is no BCP-47 code such as en or zh-Hant: row 3",
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
        "1 rows whose id an earlier row has; ids must be unique: b.csv row 2",
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"text": "a"', "row 3 (Expecting ',' delimiter: line 1 column 13 (char 12))"),
        ("[1]", "row 3 (not an object)"),
        (r'{"text": "\ud800"}', "row 3 ('utf-8' codec can't encode character"),
    ],
)
def test_bad_jsonl_is_told(line: str, problem: str, tmp_path: Path) -> None:
    good = '{"text": "a", "lang": "en", "label": "esg"}\n'
    (text,) = told(tmp_path, "a.jsonl", good + "\n" + line + "\n" + good + "oops\n")
    assert text.startswith(f"2 rows are not JSON objects: {problem}")
    assert "row 5 (Expecting value" in text


def test_nested_cells_are_told(tmp_path: Path) -> None:
    line = '{"text": "a", "lang": "en", "label": ["esg"]}\n'
    assert told(tmp_path, "a.jsonl", line) == [
        "column 'label' holds lists, objects or bytes (row 1)"
    ]


def test_broken_files_are_told(tmp_path: Path) -> None:
    packed = gzip.compress(os.urandom(200) + to_separated(ROWS))
    assert told(tmp_path, "a.csv.gz", packed[:-20])[0].startswith("cannot be read: Truncated")
    assert told(tmp_path, "b.csv.gz", b"no gzip")[0].startswith("cannot be read: zlib inflate")
    for content in (b"no parquet at all", to_parquet(ROWS)[:-30]):
        (problem,) = told(tmp_path, "a.parquet", content)
        assert problem.startswith("is not a readable Parquet file: ")
    text = pa.array([b"ok", b"b\xff"]).view(pa.string())
    table = pa.table({"text": text, "lang": ["en"] * 2, "label": ["esg", "x"]})
    pq.write_table(table, tmp_path / "c.parquet")
    assert told(tmp_path, "c.parquet", (tmp_path / "c.parquet").read_bytes()) == [
        "column 'text' is not UTF-8: row 2 at byte 1 of the cell; write it anew"
    ]


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
def test_paths_that_lead_nowhere_are_told(
    path: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.xlsx", "a"):
        (tmp_path / name).touch()
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {problem}")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"columns": {"text": "label"}},
         "columns.text and columns.label are both 'label'; a text would be its own label; "
         "name another column"),
        ({"columns": {"id": "text"}}, "columns.id and columns.text are both 'text'; name another"),
        ({"lang": "en", "columns": {"lang": "l"}}, "lang and columns.lang are both given"),
        ({"negative": ["esg", "x"]}, "['esg'] are both positive and negative; remove them"),
        ({"drop_other_labels": True}, "drop_other_labels needs negative, or every other label is"),
        ({"positive": []}, "positive: "),
        ({"positive": None}, "positive and classes are missing; set positive for a task of two"),
        ({"classes": "all"}, "positive and classes are both given; set positive for a task of two"),
        ({"positive": None, "classes": ["a"]}, "1 classes; list 2 to 128"),
        ({"positive": None, "classes": "every"}, "classes: "),
        ({"positive": None, "classes": ["a", "b", 1, "1"]},
         "classes ['1'] are listed more than once; remove all but one"),
        ({"positive": None, "classes": ["a", "b"], "negative": ["c"]},
         "negative goes with positive, not with classes; remove it"),
        ({"positive": None, "classes": "all", "drop_other_labels": True},
         "drop_other_labels needs a list of classes; with all there are no others"),
        ({"positive": "esg"}, "positive: should be a valid tuple (got 'esg')"),
        ({"format": "xls"}, "format: should be 'csv', 'tsv', 'jsonl' or 'parquet' (got 'xls')"),
        ({"colums": {}}, "unknown key 'colums'. Did you mean 'columns'?"),
    ],
)  # fmt: skip
def test_contradictory_options_are_told(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_source({"source": "table", "path": "a.csv", "positive": ["esg"], **options})
    assert str(caught.value).startswith(problem)


def test_sources_are_found_by_name() -> None:
    with pytest.raises(InputError, match=r"unknown source 'tabel'\. Did you mean 'table'\?"):
        parse_source({"source": "tabel"})
    with pytest.raises(InputError, match=r"data: source is required\. Known: .*synthetic, table"):
        parse_source({}, "data")
    options = parse_source({"source": "table", "path": "a.csv", "positive": [1, True, "x"]})
    values = options.model_dump(mode="json", exclude_unset=True)
    assert values["positive"] == ["1", "true", "x"]
    assert parse_source(values) == options


def test_the_guide_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).parent.parent / "docs" / "data.md").read_text("utf-8")
    blocks = [block.split("\n", 1)[1] for block in guide.split("```")[1::2]]
    first, table, second, fixed, fixes, *_ = blocks
    (tmp_path / "headlines.csv").write_text(table, "utf-8")
    monkeypatch.chdir(tmp_path)
    dataset = load_dataset(parse_source(yaml.safe_load(first)["data"]))
    assert dataset.table["label"].to_pylist() == [1, 0, 1]
    assert dataset.table["published"].null_count == 0
    options = parse_source(yaml.safe_load(second)["data"])
    for option in type(options).model_fields:
        assert option == "source" or f"| `{option}` |" in guide
    (tmp_path / "fixes.csv").write_text(fixes, "utf-8")
    reading = read_source(parse_source(yaml.safe_load(fixed)["data"]))
    assert reading.dataset.table["label"].to_pylist() == [1, 1, 1]
    assert reading.corrections is not None
    assert (reading.corrections.num_corrected, reading.corrections.num_confirmed) == (1, 1)


def test_second_texts_and_stories_have_columns_of_their_own(tmp_path: Path) -> None:
    content = b"text,label,claim,story\nWind,esg,It blows,n1\nWind,esg,It rains,\n"
    columns = {"text_pair": "claim", "story": "story", "id": None}
    dataset = load_bytes(tmp_path, "a.csv", content, lang="en", columns=columns)
    assert dataset.table["text_pair"].to_pylist() == ["It blows", "It rains"]
    assert dataset.table["story"].to_pylist() == ["n1", None]
    assert "-" not in "".join(dataset.table["id"].to_pylist())  # not the same row twice


TOPICS = b"""id,text,lang,label,published
1,Wind,en,esg,2022-08-31T23:30:00-08:00
2,Goal,en,sport,2022-08-31T23:30:00+09:00
3,Bonds,ja,money,
4,Match,ja,sport,2022-09-01
"""


@pytest.mark.parametrize(
    ("classes", "names", "labels"),
    [
        ("all", ("esg", "money", "sport"), [0, 2, 1, 2]),
        (["sport", "money", "esg"], ("sport", "money", "esg"), [2, 0, 1, 0]),
    ],
)
def test_several_classes(
    classes: Any, names: tuple[str, ...], labels: list[int], tmp_path: Path
) -> None:
    dataset = load_bytes(tmp_path, "a.csv", TOPICS, positive=None, classes=classes)
    assert (dataset.classes, dataset.table["label"].to_pylist()) == (names, labels)
    assert [str(day) for day in dataset.table["published"].to_pylist()] == [
        "2022-08-31", "2022-08-31", "None", "2022-09-01",
    ]  # fmt: skip
    lines = TOPICS.splitlines(keepends=True)
    other = b"".join([lines[0], *lines[:0:-1]])
    assert load_bytes(tmp_path, "b.csv", other, positive=None, classes=classes).fingerprint == (
        dataset.fingerprint
    )


def test_made_ids_of_several_classes_do_not_depend_on_other_labels(tmp_path: Path) -> None:
    columns = {"id": None}
    three = load_bytes(tmp_path, "a.csv", TOPICS, positive=None, classes="all", columns=columns)
    two = load_bytes(
        tmp_path, "a.csv", TOPICS, positive=None, classes=["sport", "esg"], columns=columns,
        drop_other_labels=True,
    )  # fmt: skip
    assert two.table["label"].to_pylist() == [1, 0, 0]
    assert set(two.table["id"].to_pylist()) < set(three.table["id"].to_pylist())


def test_labels_that_are_no_class_are_told_or_dropped(tmp_path: Path) -> None:
    options: dict[str, Any] = {"positive": None, "classes": ["esg", "sport"]}
    assert told(tmp_path, "a.csv", TOPICS, **options) == [
        "1 rows with an unknown label: row 4 ('money'); known: 'esg', 'sport'; "
        "add to classes, or set drop_other_labels: true"
    ]
    values = {"source": "table", "path": str(tmp_path / "a.csv"), "drop_other_labels": True}
    reading = read_source(parse_source({**values, "classes": ["esg", "sport"]}))
    assert reading.dropped == {"label that is no class": 1}
    assert told(tmp_path, "a.csv", TOPICS, positive=None, classes=["esg", "money", "sports"]) == [
        "2 rows with an unknown label: row 3 ('sport'), row 5 ('sport'); "
        "known: 'esg', 'money', 'sports'; add to classes, or set drop_other_labels: true",
        "no row has the class label: unknown label 'sports'. Did you mean 'sport'? "
        "Known: esg, money, sport.",
    ]
    lines = "".join(f"{n},t{n},en,l{n}\n" for n in range(200))
    assert told(tmp_path, "b.csv", HEAD + lines, positive=None, classes="all") == [
        "classes: all makes 200 classes of the label column; 2 to 128 can be learnt; "
        "name the right column, or list the classes"
    ]


def test_leaks_are_looked_for_in_two_classes_only(tmp_path: Path) -> None:
    lines = "".join(f"{n},[{'abc'[n % 3]}] text {n},en,{'abc'[n % 3]}\n" for n in range(300))
    dataset = load_bytes(tmp_path, "a.csv", (HEAD + lines).encode(), positive=None, classes="all")
    assert dataset.classes == ("a", "b", "c")
    (problem,) = told(
        tmp_path, "a.csv", HEAD + lines, positive=None, classes=["a", "b"], drop_other_labels=True
    )
    assert problem.startswith("the en texts give their labels away")


def test_rows_that_are_dropped_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,lang,label\n1,a,en,x\n2,b,en,y\n3,c,en,z\n")
    options = {"positive": ["x"], "negative": ["y"], "drop_other_labels": True}
    reading = read_source(
        parse_source({"source": "table", "path": str(tmp_path / "a.csv"), **options})
    )
    assert (reading.num_read, len(reading.dataset.table)) == (3, 2)
    assert reading.dropped == {"label in neither list": 1}


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2022-08-31", 31), ("20220831", 31), ("2022-08-31T23:30:00Z", 31), ("2022/8/31", 31),
        ("2022/08/31 23:30", 31), ("2022.08.31", 31), ("2022年8月31日", 31), ("31 Aug 2022", 31),
        ("August 31, 2022", 31), ("Aug 31, 2022 23:30:05", 31), ("2022/08/31 23:30 +0900", 31),
        ("Wed, 31 Aug 2022 23:30:00 -0400", 31),
    ],
)  # fmt: skip
def test_usual_ways_to_write_a_date_are_read(written: str, day: int) -> None:
    assert cell_day(written) == datetime.date(2022, 8, day)


@pytest.mark.parametrize(
    "written",
    ["08/09/2022", "31.8.2022", "2022", "2022-13-01", "yesterday", "1661904000", "1 2 3", "-", "0"],
)
def test_dates_that_can_be_read_in_two_ways_or_none_are_refused(written: str) -> None:
    with pytest.raises(ValueError):
        cell_day(written)


@given(st.dates(datetime.date(1990, 1, 1)), st.sampled_from([*DATE_FORMATS, "%Y-%m-%d"]))
def test_every_listed_format_reads_what_it_writes(day: datetime.date, written: str) -> None:
    assert cell_day(day.strftime(written)) == day


def test_dates_can_be_said_to_be_written_otherwise_and_to_count_elsewhere(tmp_path: Path) -> None:
    rows = "a,en,esg,31/08/2022 23:30 +0000\nb,en,x,01/09/2022 01:00 +0000\n"
    content = f"text,lang,label,published\n{rows}".encode()
    options = {"date_format": "%d/%m/%Y %H:%M %z"}
    days = load_bytes(tmp_path, "a.csv", content, **options).table["published"].to_pylist()
    assert days == [datetime.date(2022, 8, 31), datetime.date(2022, 9, 1)]
    there = load_bytes(tmp_path, "a.csv", content, **options, timezone="Asia/Tokyo")
    assert there.table["published"].to_pylist() == [datetime.date(2022, 9, 1)] * 2
    assert told(tmp_path, "a.csv", content)[0].startswith("2 rows whose date is none such as 2022")
    with pytest.raises(InputError, match="'%Q' reads no date"):
        load_bytes(tmp_path, "a.csv", content, date_format="%Q")
    with pytest.raises(InputError, match=r"unknown time zone 'Asia/Tokio'; .*Asia/Tokyo"):
        load_bytes(tmp_path, "a.csv", content, timezone="Asia/Tokio")
