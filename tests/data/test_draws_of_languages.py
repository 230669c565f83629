"""Test rows in several languages: equal for all patterns, of the same stories, never trained on."""

from __future__ import annotations

import random
from typing import Any

import pytest
from draw_rows import PLAIN, make_dataset, make_rows, pattern

from xlt.data.core.errors import InputError
from xlt.data.dataset.class_counts import count_available_test_rows
from xlt.data.dataset.dev import SourceDev, draw_dev, without_test
from xlt.data.dataset.draws import Draw, draw
from xlt.data.dataset.patterns import Sampling
from xlt.data.dataset.schema import Dataset

LANGS = ("ja", "en", "de")
SAMPLING = Sampling(test_rows=8, test_langs=LANGS)


def parallel(num_stories: int = 60) -> list[dict[str, Any]]:
    """Each story once in each of four languages, with the same label."""
    rows = make_rows(num_stories, ("en", "ja", "de", "fr"))
    for row in rows:
        row["story"] = row["id"].partition("-")[2]
    return rows


def ids_by_lang(dataset: Dataset, drawn: Draw) -> dict[str, list[str]]:
    by_lang: dict[str, list[str]] = {}
    for row in dataset.rows(drawn.test).to_pylist():
        by_lang.setdefault(row["lang"], []).append(row["id"])
    return by_lang


def test_all_patterns_have_the_same_test_rows_and_the_first_language_those_of_one() -> None:
    dataset = make_dataset(make_rows(60, ("en", "ja", "de")))
    drawn = [draw(dataset, "en", pattern(n, 8, lang), SAMPLING) for n, lang in
             ((0, "ja"), (16, "ja"), (0, "de"), (4, "de"))]  # fmt: skip
    assert len({one.test for one in drawn}) == 1
    assert drawn[0].source == drawn[2].source  # ja0 and de0 are one training
    by_lang = ids_by_lang(dataset, drawn[0])
    assert list(by_lang) == [*LANGS] and {len(ids) for ids in by_lang.values()} == {8}
    alone = draw(PLAIN, "en", pattern(0), Sampling(test_rows=8))
    assert tuple(by_lang["ja"]) == alone.test
    for one in drawn:
        assert not {*one.train} & {*one.test}


def test_languages_are_tested_on_the_same_stories_and_none_is_trained_on() -> None:
    rows = parallel()
    random.Random(0).shuffle(rows)
    dataset = make_dataset(rows)
    drawn = draw(dataset, "en", pattern(16, 24), SAMPLING)
    stories = {lang: {i.partition("-")[2] for i in ids}
               for lang, ids in ids_by_lang(dataset, drawn).items()}  # fmt: skip
    assert stories["ja"] == stories["en"] == stories["de"]
    assert not stories["ja"] & {row_id.partition("-")[2] for row_id in drawn.train}
    # Without the rule 24 stories of 60 would be lost for training, and this draw impossible.
    assert len(drawn.source) == 24
    draw(dataset, "en", pattern(16, 52), SAMPLING)


def test_stories_that_only_some_languages_have_are_filled_up() -> None:
    rows = [row for row in parallel() if row["lang"] != "de" or int(row["story"]) % 4 < 2]
    dataset = make_dataset(rows)
    by_lang = ids_by_lang(dataset, draw(dataset, "en", pattern(0), SAMPLING))
    shared = {i.partition("-")[2] for i in by_lang["ja"]} & {
        row["story"] for row in rows if row["lang"] == "de"
    }
    assert len(by_lang["de"]) == 8
    assert shared and shared <= {i.partition("-")[2] for i in by_lang["de"]}


def test_a_language_with_fewer_rows_is_tested_on_what_it_has() -> None:
    rows = make_rows(60, ("en", "ja"))
    few = make_rows(7, ("de",))
    few[6]["text"] = few[4]["text"]  # a text counts once
    dataset = make_dataset(rows + few)
    by_lang = ids_by_lang(dataset, draw(dataset, "en", pattern(0), SAMPLING))
    assert len(by_lang["de"]) == 6 and len(by_lang["ja"]) == 8
    natural = Sampling(test_rows=8, test_langs=LANGS, test_balance="natural")
    assert len(ids_by_lang(dataset, draw(dataset, "en", pattern(0), natural))["de"]) == 6
    one_class = make_dataset(rows + [row for row in few if row["label"]])
    with pytest.raises(InputError, match="negative de rows"):
        draw(one_class, "en", pattern(0), SAMPLING)


def test_fewer_test_rows_than_classes_stay_as_few() -> None:
    rows, classes = make_dataset(make_rows(9, ("de",))).by_lang["de"], ("a", "b", "c")
    few = Sampling(test_rows=2, test_langs=LANGS)
    assert sum(count_available_test_rows(few, rows, classes)) == 2


def test_a_source_row_in_another_test_language_is_not_trained_on() -> None:
    rows = make_rows(60, ("en", "ja", "de"))
    for row in rows:
        if row["lang"] == "de" and int(row["id"][3:]) < 30:
            row["text"] = f"en text {int(row['id'][3:])}"
    dataset = make_dataset(rows)
    source = draw(dataset, "en", pattern(0, 20), SAMPLING).source
    assert all(int(row_id[3:]) >= 30 for row_id in source)


def test_unknown_and_repeated_languages() -> None:
    with pytest.raises(InputError, match=r"test_langs: unknown language 'fr'.*en, ja"):
        draw(PLAIN, "en", pattern(0), Sampling(test_rows=8, test_langs=("ja", "fr")))
    with pytest.raises(InputError, match="ja given more than once"):
        Sampling.parse({"test_langs": ["ja", "ja"]})
    with pytest.raises(InputError, match="test_langs"):
        Sampling.parse({"test_langs": []})


def test_the_default_stays_out_of_identities() -> None:
    assert "test_langs" not in Sampling().model_dump(mode="json")


def test_dev_rows_are_apart_from_all_test_rows() -> None:
    dataset = make_dataset(parallel())
    asked = pattern(8, 16)
    whole = draw(dataset, "en", asked, SAMPLING)
    left = without_test(dataset, whole.test, "en")
    dev = draw_dev(left, "en", asked, SAMPLING, 0, SourceDev(rows=8))
    assert dev.train == whole.train
    tested = {row_id.partition("-")[2] for row_id in whole.test}
    assert not tested & {row_id.partition("-")[2] for row_id in dev.test}
