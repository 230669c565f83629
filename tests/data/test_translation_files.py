"""Translations are read from columns and files, and bad ones are refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_rows import load

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.translations import Direction

EN_JA = Direction("en", "ja")

HEAD = "id,text,lang,label,text_ja,text_en\n"
CELLS = HEAD + "1,wind,en,esg,風,\n2,goal,en,sport,,goal\n3,電力,ja,esg,電力,power\n"


def listed(dataset: Dataset) -> list[tuple[str, str, str, str | None]]:
    return [
        (row_id, direction.target, text.text, text.text_pair)
        for direction, by_id in dataset.translations.by_direction.items()
        for row_id, text in by_id.items()
    ]


def test_columns_hold_translations(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(CELLS, "utf-8")
    plain = load(file)
    columns = {"translations": {"ja": "text_ja", "en": "text_en"}}
    dataset = load(file, columns=columns)
    # An empty cell is none, nor is the cell of the row's own language.
    assert listed(dataset) == [("1", "ja", "風", None), ("3", "en", "power", None)]
    assert dataset.translations.find(EN_JA)["1"].origin == "column text_ja"
    assert dataset.fingerprint == plain.fingerprint
    file.write_text(CELLS + "4,x,en,other,訳,\n", "utf-8")
    kept = load(file, columns=columns, negative=["sport"], drop_other_labels=True)
    assert listed(kept) == listed(dataset)  # none of the row that is dropped


def test_one_of_several_files_may_lack_the_column(tmp_path: Path) -> None:
    (tmp_path / "en.csv").write_text(CELLS, "utf-8")
    (tmp_path / "ja.csv").write_text("id,text,lang,label\n4,気候,ja,esg\n", "utf-8")
    columns = {"translations": {"ja": "text_ja"}}
    dataset = load([str(tmp_path / "en.csv"), str(tmp_path / "ja.csv")], columns=columns)
    assert listed(dataset) == [("1", "ja", "風", None)]
    with pytest.raises(InputError, match=r"unknown column 'text_ja'.*columns.translations.ja"):
        load(tmp_path / "ja.csv", columns=columns)


def test_pairs_have_two_columns(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(
        "id,text,second,lang,label,a,b\n1,wind,sun,en,esg,風,日\n2,x,y,ja,z,,\n", "utf-8"
    )
    columns: dict[str, Any] = {"text_pair": "second"}
    pairs = {"ja": {"text": "a", "text_pair": "b"}}
    assert listed(load(file, columns=columns | {"translations": pairs})) == [
        ("1", "ja", "風", "日")
    ]
    with pytest.raises(InputError, match=r"1 translations have another number of texts .*'1'"):
        load(file, columns=columns | {"translations": {"ja": "a"}})


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_files_hold_translations(tmp_path: Path, ending: str) -> None:
    file, rows = tmp_path / "a.csv", tmp_path / f"t.{ending}"
    file.write_text(CELLS, "utf-8")
    values = [("1", "ja", "風力"), ("3", "en", "power"), ("9", "ja", "of no row"), ("2", "ja", "")]
    if ending == "parquet":
        names = ("id", "lang", "text")
        pq.write_table(pa.table(dict(zip(names, zip(*values, strict=True), strict=True))), rows)
    elif ending == "jsonl":
        lines = (f'{{"id": "{i}", "lang": "{lang}", "text": "{t}"}}\n' for i, lang, t in values)
        rows.write_text("".join(lines), "utf-8")
    else:
        mark = "," if ending == "csv" else "\t"
        lines = (mark.join(value) + "\n" for value in (("id", "lang", "text"), *values))
        rows.write_text("".join(lines), "utf-8")
    dataset = load(file, translations={"path": str(rows)})
    assert listed(dataset) == [("1", "ja", "風力", None), ("3", "en", "power", None)]
    digest = hashlib.sha256(rows.read_bytes()).hexdigest()
    assert dataset.translations.find(EN_JA)["1"].origin == f"sha256:{digest}"


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        ("id,lang,text\n1,ja,a\n1,ja,b\n", {},
         "1 rows are translated twice: '1' into ja (row 3); keep one translation"),
        ("id,lang,text\n7,ja,a\n1,en,wind\n", {},
         "translates nothing: no row of the data set has such an id and another language; check "
         "ids and languages"),
        ("id,lang,text\n1,日本語,a\n", {},
         "language '日本語' is not a BCP-47 code such as en or zh-Hant, and not the English name "
         "of one language: row 2"),
        ("id,text\n1,a\n", {}, "unknown column 'lang'. Known: id, text. Name it in columns.lang."),
        ("id,text\n,a\n", {"lang": "ja"},
         "1 rows without id or language: row 2; fill or remove them"),
        ("id,text,second\n1,a,b\n", {"lang": "ja", "columns": {"text_pair": "second"}},
         "1 translations have another number of texts than their row: '1' (row 2); translate "
         "both texts of a pair, and name columns.text_pair"),
    ],
)  # fmt: skip
def test_bad_files_are_refused(
    tmp_path: Path, content: str, options: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "a.csv").write_text(CELLS, "utf-8")
    (tmp_path / "t.csv").write_text(content, "utf-8")
    with pytest.raises(InputError) as caught:
        load(tmp_path / "a.csv", translations={"path": str(tmp_path / "t.csv"), **options})
    assert (caught.value.problems, caught.value.where) == ([sentence], str(tmp_path / "t.csv"))


def test_a_row_may_not_have_both_a_cell_and_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CELLS, "utf-8")
    (tmp_path / "t.csv").write_text("id,text\n1,a\n", "utf-8")
    with pytest.raises(InputError, match="translated twice: '1' into ja"):
        load(
            tmp_path / "a.csv", columns={"translations": {"ja": "text_ja"}},
            translations={"path": str(tmp_path / "t.csv"), "lang": "ja"},
        )  # fmt: skip


def test_corrected_labels_keep_translations(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CELLS, "utf-8")
    (tmp_path / "fixes.csv").write_text("id,label\n1,negative\n", "utf-8")
    columns = {"translations": {"ja": "text_ja"}}
    fixed = load(
        tmp_path / "a.csv", columns=columns, corrections={"path": str(tmp_path / "fixes.csv")}
    )
    assert fixed.table["label"][0].as_py() == 0 and listed(fixed) == [("1", "ja", "風", None)]
