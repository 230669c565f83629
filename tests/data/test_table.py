"""The source table: every format, column name and option gives the same rows."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from repository import ROOT
from table_rows import (
    FORMATS,
    ROWS,
    errors,
    load,
    load_bytes,
    to_separated,
)

from xlt.data.core.errors import InputError
from xlt.data.sources.registry import load_dataset, parse_source, read_source


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


DAY = datetime.date(2022, 8, 31)
SPACES = "\u3000\x1c\x85 wind \u2003"


@pytest.mark.parametrize(
    ("column", "arrays"),
    [
        ("id", [[" 1", "2\u3000", "3"], pa.array([1, 2, 3], pa.uint8()), pa.array([1.0, 2, 3])]),
        ("text", [[SPACES, "a", "7"], pa.array([SPACES, "a", "7"], pa.large_string())]),
        ("label", [["1", "0 ", "0"], [1, 0, 0], [1.0, 0.0, 0.0]]),
        ("published", [[DAY, None, DAY], pa.array([DAY, None, DAY], pa.date64())]),
    ],
)
def test_arrays_and_python_values_give_the_same_rows(
    column: str, arrays: list[Any], tmp_path: Path
) -> None:
    columns = {"id": ["1", "2", "3"], "text": ["x", "y", "z"], "label": ["1", "0", "0"]}
    seen = []
    for array in arrays:
        pq.write_table(pa.table({**columns, column: array}), tmp_path / "a.parquet")
        dataset = load(tmp_path / "a.parquet", lang="en", positive=[1], negative=[0])
        seen.append(dataset.table[column].to_pylist())
    assert all(values == seen[0] for values in seen)


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
    first = load_bytes(tmp_path, "one.csv", "\n".join(["text,lang,label", *rows]).encode())
    second = load_bytes(tmp_path, "two.csv", "\n".join(["text,lang,label", *rows[::-1]]).encode())
    assert first.fingerprint == second.fingerprint
    ids = first.table["id"].to_pylist()
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
    assert errors(tmp_path, "a.csv", content, negative=["other"]) == [
        "1 rows with an unknown label: row 5 ('sport'); known: 'esg', 'other'; "
        "add to positive or negative, or set drop_other_labels: true"
    ]
    dataset = load_bytes(tmp_path, "a.csv", content, negative=["other"], drop_other_labels=True)
    assert dataset.table["id"].to_pylist() == ["007", "8", "nan"]


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
         "drop_other_labels needs a list of classes; all has no other labels"),
        ({"positive": "esg"}, "positive: should be a valid tuple (got 'esg')"),
        ({"format": "xls"}, "format: should be 'csv', 'tsv', 'jsonl' or 'parquet' (got 'xls')"),
        ({"colums": {}}, "unknown key 'colums'. Did you mean 'columns'?"),
    ],
)  # fmt: skip
def test_contradictory_options_are_reported(options: dict[str, Any], problem: str) -> None:
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
    guide = (ROOT / "docs" / "data.md").read_text("utf-8")
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
