"""Translations: drawn as the rows they belong to, never a leak."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from draw_rows import PLAIN, make_dataset, make_rows
from hypothesis import given, settings
from hypothesis import strategies as st

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
    """Letters and the direction of the translation do not matter."""
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
    assert PLAIN.translations.fingerprint(EN_JA) is None is BOTH.translations.fingerprint()
    other = translated({**ALL, "ja-001": "other"}).translations
    assert other.fingerprint(EN_JA) == one
    assert other.fingerprint(JA_EN) != BOTH.translations.fingerprint(JA_EN)
    table = BOTH.translations.table
    assert Translations(table.take(list(range(len(table)))[::-1])).fingerprint(EN_JA) == one
    elsewhere = pa.array(["other"] * len(table))
    assert Translations(table.set_column(5, "origin", elsewhere)).fingerprint(EN_JA) != one


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
