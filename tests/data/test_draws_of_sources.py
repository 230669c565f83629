"""Several source languages: rows divided evenly, balanced, and never those of the test."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from draw_rows import make_dataset, make_rows, pattern
from hypothesis import given
from hypothesis import strategies as st

from xlt.data.core.errors import InputError
from xlt.data.dataset.dev import SourceDev, draw_dev, without_test
from xlt.data.dataset.draws import draw
from xlt.data.dataset.patterns import Pattern, Sampling, parse_pattern_name, spell_pattern_name
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.source_langs import divide_rows, parse_source_lang
from xlt.data.dataset.translated_rows import read_translated
from xlt.data.dataset.translations import TRANSLATION_SCHEMA, Translations

LANGS = ("en", "de", "fr", "ja")
SOURCES = LANGS[:3]
ROWS = make_rows(40, LANGS)
DATASET = make_dataset(ROWS)
SAMPLING = Sampling(test_rows=8)


def count(dataset: Dataset, ids: tuple[str, ...]) -> Counter[tuple[str, int]]:
    """Rows of each language and class."""
    rows = dataset.rows(list(ids)).to_pylist()
    return Counter((row["lang"], row["label"]) for row in rows)


@pytest.mark.parametrize(
    ("num_rows", "num_langs", "num_classes", "shares"),
    [
        (1024, 1, 2, (1024,)),
        (12, 3, 2, (4, 4, 4)),
        (16, 3, 2, (6, 6, 4)),  # 8 rounds of two classes: 3 + 3 + 2
        (1024, 3, 2, (342, 342, 340)),
        (10, 2, 3, (7, 3)),  # 3 rounds of three classes, and a row of no round
        (0, 2, 2, (0, 0)),
    ],
)
def test_the_remainder_goes_to_the_first_languages(
    num_rows: int, num_langs: int, num_classes: int, shares: tuple[int, ...]
) -> None:
    assert divide_rows(num_rows, num_langs, num_classes) == shares


def test_one_language_of_several_is_drawn_as_alone() -> None:
    asked = pattern(4, 24)
    alone = {lang: draw(DATASET, lang, asked, SAMPLING) for lang in SOURCES}
    mixed = draw(DATASET, SOURCES, asked, SAMPLING)
    assert mixed.source == tuple(i for lang in SOURCES for i in alone[lang].source[:8])
    assert (mixed.target, mixed.test) == (alone["en"].target, alone["en"].test)
    assert draw(DATASET, ("fr", "en"), asked, SAMPLING).source[:12] == alone["fr"].source[:12]
    assert draw(DATASET, ("en",), asked, SAMPLING) == alone["en"]


@given(
    texts=st.lists(st.none() | st.integers(0, 20), min_size=len(ROWS), max_size=len(ROWS)),
    stories=st.lists(st.none() | st.integers(0, 20), min_size=len(ROWS), max_size=len(ROWS)),
    num_langs=st.integers(2, 3),
    half=st.integers(3, 9),
    draw_seed=st.integers(0, 10**6),
    test_langs=st.none() | st.just(("ja", "de")),
)
def test_rows_are_divided_evenly_and_share_nothing_with_the_test(
    texts: list[int | None], stories: list[int | None], num_langs: int, half: int, draw_seed: int,
    test_langs: tuple[str, ...] | None,
) -> None:  # fmt: skip
    rows: list[dict[str, Any]] = []
    for row, text, story in zip(ROWS, texts, stories, strict=True):
        rows.append(row | {"story": None if story is None else f"story {story}"})
        rows[-1]["text"] = row["text"] if text is None else f"shared {text}"
    dataset = make_dataset(rows)
    langs, sampling = SOURCES[:num_langs], Sampling(
        test_rows=4, draw_seed=draw_seed, test_langs=test_langs
    )  # fmt: skip
    try:
        drawn = draw(dataset, langs, pattern(2, 2 * half), sampling)
    except InputError as error:
        assert "left; ask for fewer rows" in str(error)
        return
    counts = count(dataset, drawn.source)
    by_class = [[counts[lang, label] for lang in langs] for label in (0, 1)]
    assert by_class[0] == by_class[1] == sorted(by_class[0], reverse=True)
    assert sum(by_class[0]) == half and max(by_class[0]) - min(by_class[0]) <= 1
    by_id = {row["id"]: row for row in rows}
    trained, tested = ([by_id[i] for i in ids] for ids in (drawn.train, drawn.test))
    for ids in (drawn.source, drawn.target):
        assert len({by_id[i]["text"] for i in ids}) == len(ids)
    assert not {row["text"] for row in trained} & {row["text"] for row in tested}
    assert not {r["story"] for r in trained if r["story"]} & {r["story"] for r in tested}
    foreign = {row["text"] for row in rows if row["lang"] == "ja"}
    assert not foreign & {by_id[i]["text"] for i in drawn.source}


def test_dev_rows_are_of_all_source_languages() -> None:
    asked = pattern(4, 18)
    whole = draw(DATASET, SOURCES, asked, SAMPLING)
    left = without_test(DATASET, whole.test, SOURCES)
    dev = draw_dev(left, SOURCES, asked, SAMPLING, 0, SourceDev(rows=12))
    assert dev.train == whole.train and not {*dev.test} & {*dev.train}
    assert count(DATASET, dev.test) == {(lang, label): 2 for lang in SOURCES for label in (0, 1)}


def test_a_text_of_two_source_languages_is_drawn_once() -> None:
    rows = [row | {"text": f"text {row['id'][3:]}"} if row["lang"] != "ja" else row for row in ROWS]
    dataset = make_dataset(rows)
    source = draw(dataset, ("en", "de"), pattern(0, 40), SAMPLING).source
    assert len({row_id[3:] for row_id in source}) == 40
    with pytest.raises(InputError, match="needs 12 positive de rows; 8 left"):
        draw(dataset, ("en", "de"), pattern(0, 48), SAMPLING)


def test_languages_that_cannot_be_drawn() -> None:
    with pytest.raises(InputError, match="unknown source language 'xx'"):
        draw(DATASET, ("en", "xx"), pattern(0), SAMPLING)
    with pytest.raises(InputError, match="4 source rows give not every class a row in each of "
                       r"en\+de\+fr; set source_rows to 6 or more"):  # fmt: skip
        draw(DATASET, SOURCES, pattern(0, 4), SAMPLING)
    with pytest.raises(InputError, match="source and target language are both 'de'"):
        draw(DATASET, ("en", "de"), pattern(4, lang="de"), SAMPLING)
    own = draw(DATASET, "de", pattern(0, 20, "de"), SAMPLING)  # all training rows are source rows
    assert len(own.source) == 20 and not {*own.source} & {*own.test}


def test_names_and_settings() -> None:
    assert parse_pattern_name("de:ja16") == Pattern(
        name="de:ja16", target_lang="ja", target_rows=16, source_lang="de"
    )
    assert parse_pattern_name("de:ja0+tt").translate == "train"
    assert spell_pattern_name("deu_Latn:Japanese16+tt") == "de:ja16+tt"
    assert spell_pattern_name("de:mix") == "de:mix"
    assert parse_source_lang(("English", "deu")) == ("en", "de")
    assert parse_source_lang(("en", "eng")) == "en"  # one spelling, so that equal trials are equal
    values = {"name": "mix", "target_lang": "ja", "target_rows": 0}
    assert Pattern.parse(values | {"source_lang": ["en", "de"]}).source_lang == ("en", "de")
    assert "source_lang" not in Pattern.parse(values).model_dump(mode="json")
    for wrong, message in (
        ({"name": "de:ja0", "source_lang": "en"}, "the name says source_lang: de, the fields say"),
        ({"source_lang": []}, "source_lang: is empty; give at least one language"),
        ({"source_lang": "xx-x"}, "source_lang: language 'xx-x' is not"),
        ({"source_lang": ["en", "de"], "translate": "test"}, "en and de; name one source_lang"),
    ):
        with pytest.raises(InputError, match=message):
            Pattern.parse(values | wrong)


def test_each_source_language_is_read_in_its_own_translations() -> None:
    origins = [
        {"id": row["id"], "source_lang": row["lang"], "lang": "ja", "text": f"和訳 {row['id']}",
         "text_pair": None, "origin": "test"}
        for row in ROWS if row["lang"] in SOURCES
    ]  # fmt: skip
    table = pa.Table.from_pylist(origins, schema=TRANSLATION_SCHEMA)
    dataset = replace(DATASET, translations=Translations(table))
    asked = pattern(4, 24).model_copy(update={"name": "mix", "translate": "train"})
    directions = asked.directions(SOURCES)
    assert list(map(str, directions)) == ["en -> ja", "de -> ja", "fr -> ja"]
    drawn = draw(dataset, SOURCES, asked, SAMPLING)
    read = read_translated(dataset, dataset.rows(list(drawn.train)), *directions).to_pylist()
    assert [row["id"] for row in read] == list(drawn.train)  # in the same order
    for row in read:
        is_source = row["id"] in drawn.source
        assert row["translated"] == is_source and row["lang"] == "ja"
        assert row["text"] == (
            f"和訳 {row['id']}" if is_source else f"ja text {int(row['id'][3:])}"
        )
    known = dataset.translations
    one, all_three = known.fingerprint(directions[0]), known.fingerprint(*directions)
    assert None not in (one, all_three) and one != all_three != known.fingerprint(*directions[:2])
    others = known.only([row["id"] for row in ROWS if row["lang"] != "de"])
    with pytest.raises(InputError, match="mix: 8 of 8 drawn de rows have no translation into ja"):
        draw(replace(DATASET, translations=others), SOURCES, asked, SAMPLING)
