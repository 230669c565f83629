"""Translations: read from columns and files, drawn as the rows they belong to, never a leak."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from draw_rows import PLAIN, make_dataset, make_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from table_rows import load

from xlt.data.core.errors import InputError
from xlt.data.dataset.dev import SourceDev, draw_dev, without_test
from xlt.data.dataset.draws import draw
from xlt.data.dataset.patterns import Pattern, Sampling, parse_pattern_name
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.translated_rows import read_translated
from xlt.data.dataset.translations import TRANSLATION_SCHEMA, Direction, Translations
from xlt.data.sources.prepared_store import PreparedData
from xlt.data.sources.reading import Reading
from xlt.data.sources.registry import load_dataset, parse_source

EN_JA, JA_EN = Direction("en", "ja"), Direction("ja", "en")
SAMPLING = Sampling(test_rows=10)


def translated(texts: dict[str, str], dataset: Dataset = PLAIN) -> Dataset:
    """Add translations: id -> text in the other language."""
    rows = [
        {
            "id": row_id, "source_lang": row_id[:2], "lang": "ja" if row_id[:2] == "en" else "en",
            "text": text, "origin": "test",
        }
        for row_id, text in texts.items()
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=TRANSLATION_SCHEMA)
    return replace(dataset, translations=Translations(table))


ALL = {row["id"]: f"translation of {row['text']}" for row in make_rows(60)}
BOTH = translated(ALL)


def small(name: str, source_rows: int = 8) -> Pattern:
    return parse_pattern_name(name).model_copy(update={"source_rows": source_rows})


@pytest.mark.parametrize(
    ("name", "translate"),
    [("ja0+tt", "train"), ("ja16+tt", "train"), ("ja0+tts", "train+source"), ("ja0+te", "test")],
)
def test_a_suffix_says_what_is_translated(name: str, translate: str) -> None:
    pattern = parse_pattern_name(name)
    assert (pattern.name, pattern.translate) == (name, translate)
    plain = parse_pattern_name(name.partition("+")[0])
    assert plain.translate is None and "translate" not in plain.model_dump()
    assert pattern.num_train_rows == plain.num_train_rows + 1024 * (translate == "train+source")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": "ja0"}, "ja0: the name says translate: null, the fields say train; "
         "correct one of them, or take another name"),
        ({"name": "ja0+te"}, "ja0+te: the name says translate: test, the fields say train; "
         "correct one of them, or take another name"),
        ({"name": "x", "source_rows": 0, "target_rows": 8},
         "x: has no source rows to translate; set source_rows"),
        ({"name": "x", "translate": "tt"},
         "translate: should be 'train', 'train+source' or 'test' (got 'tt')"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        Pattern.parse({"target_lang": "ja", "target_rows": 0, "translate": "train"} | values)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("suffix", ["tt", "tts", "te"])
@given(seed=st.integers(0, 99), num_pairs=st.integers(0, 5), index=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_the_rows_are_those_of_the_plain_pattern(
    suffix: str, seed: int, num_pairs: int, index: int
) -> None:
    sampling = Sampling(test_rows=10, draw_seed=seed)
    plain, other = small(f"ja{2 * num_pairs}"), small(f"ja{2 * num_pairs}+{suffix}")
    assert draw(BOTH, "en", other, sampling, index) == draw(PLAIN, "en", plain, sampling, index)


def test_translations_of_test_rows_are_not_trained_on() -> None:
    """In whatever letters, and in whichever direction they were translated."""
    drawn = draw(PLAIN, "en", small("ja4"), SAMPLING)
    texts = dict(zip(PLAIN.table["id"].to_pylist(), PLAIN.table["text"].to_pylist(), strict=True))
    leaks = ALL | {
        drawn.source[1]: texts[drawn.test[0]].upper(),  # a source row translated to a test text
        drawn.test[1]: f" {texts[drawn.source[4]]}",  # a test row translated to a source text
    }
    for suffix in ("tt", "tts", "te"):
        clean = draw(translated(leaks), "en", small(f"ja4+{suffix}"), SAMPLING)
        assert (clean.test, clean.target) == (drawn.test, drawn.target)
        assert not {drawn.source[1], drawn.source[4]} & {*clean.source}
        longer = draw(PLAIN, "en", small("ja4", 12), SAMPLING).source
        left = [i for i in longer if i not in (drawn.source[1], drawn.source[4])]
        labels = PLAIN.rows(clean.source)["label"].to_pylist()
        assert {*clean.source} == {*left[:8]} and labels == [1, 0] * 4  # the next rows by rank
    assert draw(translated(leaks), "en", small("ja4"), SAMPLING) == drawn


def test_a_target_row_with_the_translation_of_a_test_row_is_not_trained_on() -> None:
    plain = draw(PLAIN, "en", small("ja4"), SAMPLING)
    leaks = ALL | {plain.target[0]: "the same", plain.test[0]: "The  same"}
    drawn = draw(translated(leaks), "en", small("ja4+te"), SAMPLING)
    assert plain.target[0] not in drawn.target and len(drawn.target) == 4


def test_missing_translations_are_one_error() -> None:
    drawn = draw(PLAIN, "en", small("ja4"), SAMPLING)
    few = {row_id: text for row_id, text in ALL.items() if row_id not in drawn.source[:5]}
    with pytest.raises(InputError) as caught:
        draw(translated(few), "en", small("ja4+tt"), SAMPLING)
    named = ", ".join(drawn.source[:3])
    assert caught.value.problems == [
        f"ja4+tt: 5 of 8 drawn en rows have no translation into ja: {named} and 2 more; add them "
        "to the file of data.translations, or make them with `translate` in `xlt data prepare`"
    ]
    with pytest.raises(InputError, match="ja4\\+te: 14 of 14 drawn ja rows have no translation"):
        draw(PLAIN, "en", small("ja4+te"), SAMPLING)
    draw(translated(few), "en", small("ja4+te"), SAMPLING)


def test_rows_are_read_in_translation() -> None:
    rows = PLAIN.rows(["en-001", "ja-002", "en-003"])
    read = read_translated(BOTH, rows, EN_JA)
    assert read["text"].to_pylist() == [ALL["en-001"], "ja text 2", ALL["en-003"]]
    assert read["lang"].to_pylist() == ["ja", "ja", "ja"]
    assert read["translated"].to_pylist() == [True, False, True]
    for name in ("id", "label", "published", "source"):
        assert read[name].to_pylist() == rows[name].to_pylist()
    assert read_translated(BOTH, rows, JA_EN)["text"].to_pylist() == [
        "en text 1", ALL["ja-002"], "en text 3",
    ]  # fmt: skip


def test_a_search_sees_neither_test_rows_nor_their_translations() -> None:
    drawn = draw(PLAIN, "en", small("ja4"), SAMPLING)
    test_text = PLAIN.rows(drawn.test[:1])["text"][0].as_py()
    dataset = translated(ALL | {"en-007": test_text, drawn.test[1]: "en text 8"})
    seen = without_test(dataset, drawn.test, "en", (EN_JA, JA_EN))
    removed = {*dataset.index} - {*seen.index}
    assert removed == {*drawn.test, "en-007", "en-008"}
    assert {*seen.translations.table["id"].to_pylist()} == {*seen.index}
    assert {*without_test(dataset, drawn.test, "en").index} == {*seen.index, "en-007", "en-008"}
    dev = draw_dev(seen, "en", small("ja0+tt"), SAMPLING, 0, SourceDev(rows=12))
    assert len(dev.test) == 12 and not {*dev.test} & {*dev.source}
    bare = without_test(PLAIN, drawn.test, "en")
    with pytest.raises(InputError, match="20 of 20 drawn en rows have no translation into ja"):
        draw_dev(bare, "en", small("ja0+tt"), SAMPLING, 0, SourceDev(rows=12))


def test_the_fingerprint_is_that_of_a_direction_and_of_origins() -> None:
    assert BOTH.fingerprint == PLAIN.fingerprint
    one = BOTH.translations.fingerprint(EN_JA)
    assert one and one != BOTH.translations.fingerprint(JA_EN)
    assert PLAIN.translations.fingerprint(EN_JA) is None is BOTH.translations.fingerprint(None)
    other = translated({**ALL, "ja-001": "other"}).translations
    assert other.fingerprint(EN_JA) == one
    assert other.fingerprint(JA_EN) != BOTH.translations.fingerprint(JA_EN)
    table = BOTH.translations.table
    assert Translations(table.take(list(range(len(table)))[::-1])).fingerprint(EN_JA) == one
    elsewhere = pa.array(["other"] * len(table))
    assert Translations(table.set_column(5, "origin", elsewhere)).fingerprint(EN_JA) != one


# --- columns and files ----------------------------------------------------------------------

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
         "language '日本語' is not a BCP-47 code such as en or zh-Hant: row 2"),
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


def test_a_prepared_data_set_keeps_them(tmp_path: Path) -> None:
    place = PreparedData(str(tmp_path / "kept"))
    manifest = place.save(Reading(BOTH), {"source": "table"})
    assert manifest.translations
    assert manifest.translations.origins == {"en -> ja": {"test": 60}, "ja -> en": {"test": 60}}
    loaded = place.load()
    assert loaded.translations.table.equals(BOTH.translations.table)
    assert loaded.translations.fingerprints == BOTH.translations.fingerprints
    file = tmp_path / "kept" / "translations.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"translations.parquet: was changed after it was written"):
        place.load()
    bare = place.save(Reading(PLAIN), {"source": "table"})
    assert "translations" not in bare.model_dump() and not len(place.load().translations.table)


def test_built_in_headlines_have_exact_translations() -> None:
    options = parse_source({"source": "synthetic", "num_source": 40, "num_target": 40})
    dataset = load_dataset(options)
    counts = {d: len(by_id) for d, by_id in dataset.translations.by_direction.items()}
    assert counts == {EN_JA: 40, JA_EN: 40}
    assert dataset.fingerprint == load_dataset(options).fingerprint
    english = dataset.table.to_pylist()
    years = [(r["text"], dataset.translations.find(EN_JA)[r["id"]].text) for r in english
             if r["lang"] == "en" and r["text"][-4:].isdecimal()]  # fmt: skip
    assert years and all(text[-4:] in translation for text, translation in years)
    drawn = draw(dataset, "en", small("ja0+tt"), SAMPLING)
    assert drawn == draw(dataset, "en", small("ja0"), SAMPLING)


def test_classes_and_rows_of_a_subset_stay_together() -> None:
    few = BOTH.translations.only(["en-001", "ja-001"])
    assert {*few.table["id"].to_pylist()} == {"en-001", "ja-001"}
    assert make_dataset(make_rows(4)).translations.by_direction == {}
