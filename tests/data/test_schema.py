"""Data sets: accepted tables, fingerprints, and light imports of data."""

from __future__ import annotations

import datetime
import hashlib
import json
import pickle
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlt.data.core.errors import InputError, unknown
from xlt.data.dataset.schema import HEADLINE_SCHEMA, Dataset, text_key

DAY = datetime.date(2022, 8, 31)
ROW = {"id": "a", "text": "Wind", "lang": "en", "label": 1, "published": DAY, "source": "s"}
ROWS = [ROW, {**ROW, "id": "b", "text": "風力", "lang": "ja", "label": 0, "published": None}]
HEAVY = ("torch", "ray", "transformers", "sklearn", "pandas", "peft", "tokenizers", "datasets")


def dataset(rows: list[dict[str, Any]]) -> Dataset:
    schema = pa.schema([field.with_nullable(True) for field in HEADLINE_SCHEMA])
    return Dataset.from_table(pa.Table.from_pylist(rows, schema=schema), "x.csv")


def errors(rows: list[dict[str, Any]]) -> str:
    with pytest.raises(InputError) as caught:
        dataset(rows)
    return str(caught.value)


def test_fingerprint_is_the_sha256_of_the_rows_in_id_order() -> None:
    lines = [
        '["a", "Wind", "en", 1, "2022-08-31", "s"]',
        '["b", "\\u98a8\\u529b", "ja", 0, null, "s"]',
    ]
    assert [json.loads(line)[0] for line in lines] == ["a", "b"]
    expected = hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()
    assert dataset(ROWS).fingerprint == expected


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    st.none() | st.dates(),
)
def test_fingerprint_is_that_of_json_for_any_text(text: str, day: datetime.date | None) -> None:
    line = json.dumps(["a", text, "en", 1, day and day.isoformat(), text])
    expected = hashlib.sha256(f"{line}\n".encode()).hexdigest()
    row = {**ROW, "text": text, "published": day, "source": text}
    assert dataset([row]).fingerprint == expected


@given(st.permutations(range(12)))
def test_fingerprint_does_not_depend_on_row_order(order: list[int]) -> None:
    rows = [{**ROW, "id": f"id{n}"} for n in range(12)]
    assert dataset([rows[n] for n in order]).fingerprint == dataset(rows).fingerprint


@pytest.mark.parametrize(
    ("column", "value"),
    [("id", "c"), ("text", "Wind "), ("lang", "de"), ("label", 0), ("published", None),
     ("published", datetime.date(2022, 9, 1)), ("source", "t"), ("text_pair", "Storm"),
     ("story", "n1")],
)  # fmt: skip
def test_fingerprint_changes_with_any_cell(column: str, value: object) -> None:
    other = {**ROWS[1], "text_pair": "嵐"} if column == "text_pair" else ROWS[1]
    assert dataset([{**ROW, column: value}, other]).fingerprint != dataset(ROWS).fingerprint


def test_classes_are_part_of_the_fingerprint() -> None:
    table = dataset(ROWS).table
    kinds = (("negative", "positive"), ("a", "b"), ("b", "a"), ("a", "b", "c"))
    fingerprints = {Dataset.from_table(table, classes=kind).fingerprint for kind in kinds}
    assert len(fingerprints) == 4
    assert Dataset.from_table(table).fingerprint in fingerprints


def test_nullable_columns_may_be_absent() -> None:
    few = dataset(ROWS).table.drop_columns(["text_pair", "story"])
    assert Dataset.from_table(few).table.equals(dataset(ROWS).table)
    with pytest.raises(InputError, match=r"labels \['7'\] are not 0 to 2"):
        Dataset.from_table(pa.Table.from_pylist([{**ROW, "label": 7}]), classes=("a", "b", "c"))


def test_pairs_are_whole_and_both_texts_make_the_key() -> None:
    pair = {"text_pair": "Storm"}
    assert "1 rows without the second text of their pair; fill or remove them: id 'b'" in errors(
        [{**ROW, **pair}, ROWS[1]]
    )
    rows = [
        {**ROW, **pair},
        {**ROW, "id": "b", "text_pair": "storm "},
        {**ROW, "id": "c", "text_pair": "Sun"},
    ]
    keys = [row.key for row in dataset(rows).by_lang["en"]]
    assert keys[0] == keys[1] != keys[2]


def test_fingerprint_does_not_confuse_neighbouring_cells() -> None:
    assert (
        dataset([{**ROW, "id": "a", "text": "bc"}]).fingerprint
        != dataset([{**ROW, "id": "ab", "text": "c"}]).fingerprint
    )


def test_columns_in_any_order_and_others_left_out() -> None:
    table = dataset(ROWS).table
    mixed = table.select(list(reversed(table.column_names))).append_column("x", pa.array([1, 2]))
    assert Dataset.from_table(mixed).table.equals(table)


def test_rows_come_in_the_order_asked_for() -> None:
    assert dataset(ROWS).rows(["b", "a"])["id"].to_pylist() == ["b", "a"]
    assert dataset(ROWS).rows(()).num_rows == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"text": " \n　"}, "1 rows with empty text; fill or remove them: id 'c'"),
        ({"text": None}, "1 rows with empty text; fill or remove them: id 'c'"),
        ({"id": "a"}, "1 rows with the id of an earlier row; ids must be unique: id 'a'"),
        ({"id": None}, "1 rows without id; give every row one: row 3"),
        ({"id": ""}, "1 rows without id; give every row one: row 3"),
        ({"lang": None}, "1 rows without language; fill or remove them: id 'c'"),
        (
            {"lang": "Englsh"},
            "language 'Englsh' is not a BCP-47 code such as en or zh-Hant, and not the English "
            "name of one language; perhaps English (en): id 'c'",
        ),
        ({"label": None}, "1 rows without label; fill or remove them: id 'c'"),
        ({"label": 2}, "labels ['2'] are not 0 or 1"),
        ({"source": None}, "1 rows without source; fill them: id 'c'"),
    ],
)
def test_bad_rows_are_reported(change: dict[str, Any], sentence: str) -> None:
    assert errors([*ROWS, {**ROW, "id": "c", **change}]) == f"x.csv: {sentence}"


def test_all_kinds_of_problems_at_once_with_the_first_rows() -> None:
    bad = [{**ROW, "id": f"c{n}", "text": "", "label": 3} for n in range(9)]
    text = errors(bad)
    assert text.startswith("x.csv: 2 problems\n  - ")
    assert (
        "9 rows with empty text; fill or remove them: id 'c0', id 'c1', id 'c2' and 6 more" in text
    )
    assert "labels ['3']" in text


def test_no_rows_missing_columns_and_wrong_types_are_reported() -> None:
    assert "has no rows" in errors([])
    table = dataset(ROWS).table
    with pytest.raises(InputError, match=r"missing columns \['text'\]; got \['id', 'text_pair'"):
        Dataset.from_table(table.drop_columns("text"))
    wrong = table.set_column(4, "label", pa.array(["yes", "no"]))
    wrong = wrong.set_column(1, "text", pa.array([{"a": 1}, {"a": 2}]))
    with pytest.raises(InputError) as caught:
        Dataset.from_table(wrong)
    assert [p.split(":")[0] for p in caught.value.problems] == [
        "column 'text' is not string", "column 'label' is not int8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Wind  farm\n", "wind farm"),
        ("ＥＳＧ投資", "ESG投資"),
        ("ｶﾞｽ", "ガス"),
        ("STRASSE", "Straße"),
        ("a　b", "A b"),
    ],
)
def test_texts_that_count_as_the_same(text: str, other: str) -> None:
    assert text_key(text) == text_key(other)


@given(st.text())
def test_text_key_of_a_key_is_itself_but_for_odd_foldings(text: str) -> None:
    key = text_key(text)
    assert key == key.strip() and "  " not in key
    assert text_key(f" {text}\t") == key


def test_errors_survive_pickling_and_name_the_nearest() -> None:
    error = InputError(["a", "b"], "f.yaml")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.problems, copy.where, str(copy)) == (error.problems, "f.yaml", str(error))
    assert str(error) == "f.yaml: 2 problems\n  - a\n  - b"
    assert unknown("metric", "aurok", ["f1", "auroc"]) == (
        "unknown metric 'aurok'. Did you mean 'auroc'? Known: auroc, f1."
    )
    assert unknown("label", "true", ["True", "False"]).startswith(
        "unknown label 'true'. Did you mean 'True'?"
    )


MODULES = (
    "xlt.data.dataset.schema xlt.data.dataset.patterns xlt.data.core.seeds xlt.data.core.settings "
    "xlt.data.audit.registry xlt.data.audit.leaks xlt.data.sources.registry xlt.data.sources.table "
    "xlt.data.tables.files xlt.data.sources.synthetic xlt.data.sources.corrections"
)


def imported(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split()) & set(HEAVY)


def test_data_imports_nothing_heavy() -> None:
    assert not imported(f"import {MODULES.replace(' ', ', ')}")


def test_the_purity_test_can_fail() -> None:
    assert imported("import types; sys.modules['torch'] = types.ModuleType('torch')") == {"torch"}


def test_by_lang_holds_every_row_once() -> None:
    by_lang = dataset([*ROWS, {**ROW, "id": "c", "text": "ＷＩＮＤ  farm"}]).by_lang
    assert list(by_lang) == ["en", "ja"]
    assert [row.key for row in by_lang["en"]] == ["wind", "wind farm"]
    assert [(row.id, row.label, row.published) for row in by_lang["ja"]] == [("b", 0, None)]


def test_rows_are_selected_by_id_in_any_order() -> None:
    data = dataset([{**ROW, "id": row_id} for row_id in "abcd"])
    assert data.rows(["d", "a", "d"])["id"].to_pylist() == ["d", "a", "d"]
    assert len(data.rows([])) == 0
    with pytest.raises(KeyError, match="'x'"):
        data.rows(["a", "x"])
