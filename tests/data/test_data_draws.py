"""Draws: balanced, nested, separate from test rows, reproducible; impossible draws are refused."""

from __future__ import annotations

import datetime
import hashlib
import random
from typing import Any

import pyarrow as pa
import pytest
from draw_rows import (
    FIRST,
    PLAIN,
    TWINS,
    make_dataset,
    make_rows,
    pattern,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from xlt.data.core.errors import InputError
from xlt.data.dataset.draws import draw
from xlt.data.dataset.patterns import Pattern, Sampling, Window, parse_pattern_name
from xlt.data.dataset.schema import HEADLINE_SCHEMA, Dataset


def errors(dataset: Dataset, asked: Pattern, sampling: Sampling, source_lang: str = "en") -> str:
    with pytest.raises(InputError) as caught:
        draw(dataset, source_lang, asked, sampling, 0)
    return str(caught.value)


for _number, _row in enumerate(TWINS):
    if _number % 60 < 24:
        _row["text"] = f"{_row['lang']} twin {_number // 3}" + " " * (_number % 2)
        _row["text"] = _row["text"].upper() if _number % 3 else _row["text"]
    elif _number % 60 < 28:
        _row["text"] = f"shared {_number % 60}"
TWINS_DATASET = make_dataset(TWINS)
SAMPLING = st.builds(
    Sampling,
    test_rows=st.integers(1, 6).map(lambda n: 2 * n),
    draw_seed=st.integers(0, 10**6),
)


def reference(rows: list[dict[str, Any]], seed: int, purpose: str, num_rows: int) -> list[str]:
    """Ranks by hashlib alone; texts must be unique."""
    classes = []
    for label in (1, 0):
        ids = [row["id"] for row in rows if row["label"] == label]
        ids.sort(key=lambda i: hashlib.sha256(f"{seed}\x1f{purpose}\x1f{i}".encode()).hexdigest())
        classes.append(ids[: num_rows // 2])
    return [row_id for pair in zip(*classes, strict=True) for row_id in pair]


def test_draws_are_ranks_by_sha256() -> None:
    drawn = draw(PLAIN, "en", pattern(16, 24), Sampling(test_rows=20, draw_seed=5))
    rows = PLAIN.table.to_pylist()
    japanese = [row for row in rows if row["lang"] == "ja"]
    test = reference(japanese, 5, "test-ja", 20)
    assert list(drawn.test) == test
    left = [row for row in japanese if row["id"] not in test]
    assert list(drawn.target) == reference(left, 5, "train-ja", 16)
    english = [row for row in rows if row["lang"] == "en"]
    assert list(drawn.source) == reference(english, 5, "train-en", 24)
    assert drawn.train == drawn.source + drawn.target


def test_golden_rows() -> None:
    # sha256sum over "0<US>test-ja<US>ja-NNN" by hand (printf and sort), per class.
    drawn = draw(PLAIN, "en", pattern(2, 2), Sampling(test_rows=4))
    assert drawn.test == ("ja-023", "ja-034", "ja-013", "ja-042")


@given(SAMPLING, st.integers(0, 99), st.integers(1, 5), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_draws_nest_and_are_balanced_at_every_even_prefix(
    sampling: Sampling, seed: int, num_pairs: int, num_fewer: int
) -> None:
    more = draw(TWINS_DATASET, "en", pattern(2 * num_pairs), sampling, seed)
    fewer = draw(
        TWINS_DATASET, "en", pattern(2 * max(num_pairs - num_fewer, 0)), sampling, seed
    )  # fmt: skip
    assert fewer.target == more.target[: len(fewer.target)]
    assert (fewer.source, fewer.test) == (more.source, more.test)
    for ids in (more.source, more.target, more.test):
        labels = TWINS_DATASET.rows(ids)["label"].to_pylist()
        assert labels == [1, 0] * (len(ids) // 2)


@given(SAMPLING, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_no_text_is_drawn_twice_in_whatever_letters(sampling: Sampling, seed: int) -> None:
    drawn = draw(TWINS_DATASET, "en", pattern(10, 16), sampling, seed)
    ids = drawn.train + drawn.test
    keys = [text.lower().strip() for text in TWINS_DATASET.rows(ids)["text"].to_pylist()]
    assert len(set(keys)) == len(keys) == len(set(ids))
    target_keys = {row["text"].lower().strip() for row in TWINS if row["lang"] == "ja"}
    assert not set(keys[: len(drawn.source)]) & target_keys


@given(SAMPLING, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_file_order_and_other_rows_do_not_matter(
    sampling: Sampling, shuffler: random.Random
) -> None:
    rows = make_rows(60)
    shuffler.shuffle(rows)
    other = [{**row, "id": f"x{row['id']}", "lang": "de"} for row in make_rows(60, ("en",))]
    assert draw(make_dataset(other + rows), "en", pattern(8), sampling, 3) == draw(
        PLAIN, "en", pattern(8), sampling, 3
    )


def test_another_draw_changes_training_rows_and_another_seed_all() -> None:
    fixed = Sampling(test_rows=10)
    first, second = (draw(PLAIN, "en", pattern(8), fixed, index) for index in (1, 2))
    assert first.test == second.test
    assert first.target != second.target and first.source != second.source
    other = draw(PLAIN, "en", pattern(8), fixed.model_copy(update={"draw_seed": 1}), 1)
    assert other.test != first.test


def test_a_monolingual_cell_gets_the_same_target_and_test_rows() -> None:
    both = draw(TWINS_DATASET, "en", pattern(8, 16), Sampling(test_rows=10), 0)
    alone = draw(TWINS_DATASET, "en", pattern(8, 0), Sampling(test_rows=10), 0)
    assert alone.source == ()
    assert (alone.target, alone.test) == (both.target, both.test)


def test_windows_hold_and_include_both_ends() -> None:
    day = datetime.timedelta(1)
    train = Window(start=FIRST, end=FIRST + 19 * day)
    test = Window(start=FIRST + 20 * day, end=FIRST + 29 * day)
    sampling = Sampling(test_rows=10, train_window=train, test_window=test)
    drawn = draw(PLAIN, "en", pattern(20, 20), sampling, 0)
    for ids, window in ((drawn.train, train), (drawn.test, test)):
        days = PLAIN.rows(ids)["published"].to_pylist()
        assert (min(days), max(days)) == (window.start, window.end)


def test_undated_rows_are_in_no_window() -> None:
    rows = [{**row, "published": None} if row["label"] else row for row in make_rows(60)]
    window = Window(start=FIRST, end=FIRST + datetime.timedelta(99))
    text = errors(make_dataset(rows), pattern(2), Sampling(test_rows=4, test_window=window))
    assert text == (
        "ja2 test needs 2 positive ja rows published 2022-01-01..2022-04-10 "
        "(30 ja rows have no date); 0 left; ask for fewer rows or add data, or widen the window"
    )


def test_impossible_counts_are_reported_together() -> None:
    text = errors(PLAIN, pattern(44, 64), Sampling(test_rows=20))
    assert text.splitlines() == [
        "Problems",
        "  - ja44 needs 22 positive ja rows after the 10 of the test; 20 left; "
        "ask for fewer rows or add data",
        "  - ja44 needs 22 negative ja rows after the 10 of the test; 20 left; "
        "ask for fewer rows or add data",
        "  - ja44 needs 32 positive en rows; 30 left; ask for fewer rows or add data",
        "  - ja44 needs 32 negative en rows; 30 left; ask for fewer rows or add data",
    ]


def test_languages_that_are_not_there_are_reported() -> None:
    sampling = Sampling(test_rows=4)
    assert errors(PLAIN, pattern(2, lang="jaa"), sampling) == (
        "jaa2: unknown target language 'jaa'. Did you mean 'ja'? Known: en, ja."
    )
    assert "unknown source language 'de'" in errors(PLAIN, pattern(2), sampling, "de")
    assert draw(PLAIN, "de", pattern(2, 0), sampling, 0).source == ()
    assert "source and target language are both 'ja'; set source_rows: 0" in errors(
        PLAIN, pattern(2), sampling, "ja"
    )


@given(
    st.sampled_from(["ja", "en", "zh-Hant", "sr-Latn", "yue"]),
    st.integers(0, 10**6).map(lambda n: 2 * n),
)
def test_names_say_language_and_count(lang: str, rows: int) -> None:
    assert parse_pattern_name(f"{lang}{rows}") == Pattern(
        name=f"{lang}{rows}", target_lang=lang, target_rows=rows, source_rows=1024
    )


@pytest.mark.parametrize(
    "name", ["ja", "16", "japan16", "ja-16", "ja 16", "ja016", "ja16x", "ja１６", ""]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not a language code and a count such as ja16, which"):
        parse_pattern_name(name)


def test_impossible_settings_are_refused() -> None:
    assert errors(PLAIN, pattern(15), Sampling(test_rows=5)) == (
        "ja15: target_rows and test_rows must be even: rows are drawn 1:1"
    )
    for values, sentence in (
        ({"name": "ja32", "target_lang": "ja", "target_rows": 16},
         "ja32: the name says 32 ja rows, the fields say 16 ja rows; "
         "correct one of them, or take a name that is not a language and a count"),
        ({"name": "x", "target_lang": "ja", "target_rows": -2},
         "target_rows: should be greater than or equal to 0 (got -2)"),
        ({"name": "x", "target_lang": "ja", "target_rows": "16"},
         "target_rows: '16' is text, not a number; write it as 16"),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            Pattern.parse(values)
        assert str(caught.value) == sentence
    for sampling, sentence in (
        ({"train_window": {"start": "2022-02-01", "end": "2022-01-01"}},
         "train_window: window ends 2022-01-01 before it starts 2022-02-01; swap them"),
        ({"train_window": {"start": "2022-01-01", "end": "2022-02-01"},
          "test_window": {"start": "2022-02-01", "end": "2022-03-01"}},
         "train_window 2022-01-01..2022-02-01 overlaps test_window 2022-02-01..2022-03-01; "
         "separate them"),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            Sampling.parse(sampling)
        assert str(caught.value) == sentence


THREE = Dataset.from_table(
    pa.Table.from_pylist(
        [{**row, "label": number % 3} for number, row in enumerate(make_rows(60))],
        schema=HEADLINE_SCHEMA,
    ),
    classes=("a", "b", "c"),
)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_more_than_two_classes_come_in_turn(
    num_test: int, num_target: int, num_source: int
) -> None:
    asked = pattern(num_target, num_source)
    drawn = draw(THREE, "en", asked, Sampling(test_rows=num_test), 0)
    for ids, num_rows in ((drawn.test, num_test), (drawn.target, num_target)):
        labels = THREE.rows(ids)["label"].to_pylist()
        assert labels == ([2, 1, 0] * num_rows)[:num_rows]


def test_a_class_with_too_few_rows_is_named() -> None:
    text = errors(THREE, pattern(50), Sampling(test_rows=13))
    assert "ja50 needs 17 c ja rows after the 5 of the test; 15 left" in text
    assert "ja50 needs 16 a ja rows after the 4 of the test; 16 left" not in text
    assert "ja50 needs 17 b ja rows after the 4 of the test; 16 left" in text


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_no_story_is_in_both_train_and_test(draw_seed: int) -> None:
    rows = [
        {**row, "story": f"n{number % 20}" if number % 3 else None}
        for number, row in enumerate(make_rows(60))
    ]
    dataset = make_dataset(rows)
    drawn = draw(dataset, "en", pattern(4, 4), Sampling(test_rows=10, draw_seed=draw_seed), 0)
    train, test = (
        set(dataset.rows(ids)["story"].to_pylist()) - {None} for ids in (drawn.train, drawn.test)
    )
    assert not train & test


def count_classes(dataset: Dataset, ids: tuple[str, ...]) -> tuple[int, int]:
    labels = dataset.rows(list(ids))["label"].to_pylist()
    return labels.count(1), labels.count(0)


def test_more_negatives_contain_the_balanced_test_rows() -> None:
    balanced = draw(PLAIN, "en", pattern(4), Sampling(test_rows=12))
    many = Sampling.parse({"test_balance": {"positive": 6, "negative": 20}})
    drawn = draw(PLAIN, "en", pattern(4), many)
    assert many.test_rows == 26
    assert count_classes(PLAIN, drawn.test) == (6, 20)
    assert drawn.test[:12] == balanced.test
    assert not set(drawn.test) & set(drawn.train)
    assert drawn.source == balanced.source  # training rows of the source do not change
    assert count_classes(PLAIN, drawn.target) == (2, 2)


def test_a_natural_test_has_the_shares_of_the_data() -> None:
    rows = [row | {"label": int(n % 10 == 0)} for n, row in enumerate(make_rows(200))]
    dataset = make_dataset(rows)
    natural = Sampling(test_rows=60, test_balance="natural")
    drawn = draw(dataset, "en", pattern(4), natural)
    assert count_classes(dataset, drawn.test) == (6, 54)
    balanced = draw(dataset, "en", pattern(4), Sampling(test_rows=12))
    assert set(balanced.test) <= set(drawn.test)
    told = "4 test rows in the shares of the data would have no row of positive (20 of 200); raise"
    few = Sampling(test_rows=4, test_balance="natural")
    assert told in errors(dataset, pattern(4), few)


def test_too_few_negatives_are_counted_by_class() -> None:
    asked = Sampling.parse({"test_balance": {"positive": 2, "negative": 29}})
    assert "ja6 needs 3 negative ja rows after the 29 of the test; 1 left" in errors(
        PLAIN, pattern(6), asked
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"test_balance": "2:1"}, "test_balance: should be '1:1' or 'natural' (got '2:1')"),
        ({"test_balance": {"positive": 0, "negative": 5}}, "should be greater than 0 (got 0)"),
        (
            {"test_rows": 10, "test_balance": {"positive": 4, "negative": 5}},
            "test_rows 10 is not the sum of test_balance; set it to 9, or remove it",
        ),
    ],
)
def test_a_bad_balance_is_one_sentence(values: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        Sampling.parse(values)
    assert told in str(caught.value)


def test_the_default_balance_is_not_written() -> None:
    assert "test_balance" not in Sampling().model_dump()
    assert Sampling.parse({"test_balance": 61}) == Sampling()  # YAML reads 1:1 as 61 seconds
    many = Sampling.parse({"test_balance": {"positive": 4, "negative": 5}})
    assert Sampling.parse(many.model_dump(mode="json")) == many
