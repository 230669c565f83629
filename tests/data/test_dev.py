"""Development rows: separate from training and test rows."""

from __future__ import annotations

from typing import Any

import pytest
from draw_rows import PLAIN, TWINS, make_dataset, make_rows, pattern
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from xlt.data.core.errors import InputError
from xlt.data.dataset.dev import (
    Dev,
    SourceDev,
    TargetFold,
    draw_dev,
    draw_with_dev,
    without_test,
)
from xlt.data.dataset.draws import draw
from xlt.data.dataset.patterns import Sampling
from xlt.data.dataset.schema import Dataset

SAMPLING = Sampling(test_rows=10)


def search_rows(dataset: Dataset, sampling: Sampling = SAMPLING) -> Dataset:
    return without_test(dataset, draw(dataset, "en", pattern(8), sampling).test, "en")


@given(
    draw_seed=st.integers(0, 10**6),
    draw_index=st.integers(0, 3),
    stories=st.lists(st.none() | st.integers(0, 8), min_size=240, max_size=240),
    dev=st.sampled_from([SourceDev(rows=6), TargetFold(num_folds=4, fold=2)]),
)
def test_without_test_rows_the_same_rows_are_trained_on(
    draw_seed: int, draw_index: int, stories: list[int | None], dev: Dev
) -> None:
    rows: list[dict[str, Any]] = [
        {**row, "story": None if story is None else f"s{story}"}
        for row, story in zip(TWINS + make_rows(60, ("de", "fr")), stories, strict=False)
    ]
    dataset = make_dataset(rows)
    sampling = Sampling(test_rows=4, draw_seed=draw_seed)
    try:
        whole = draw(dataset, "en", pattern(8), sampling, draw_index)
    except InputError:  # one big story in the test
        return
    seen = without_test(dataset, whole.test, "en")
    drawn = draw_dev(seen, "en", pattern(8), sampling, draw_index, dev)
    assert drawn.source == whole.source
    assert [row for row in whole.target if row in set(drawn.target)] == list(drawn.target)
    held_out = set(whole.target) - set(drawn.target)
    assert held_out == (set(drawn.test) if isinstance(dev, TargetFold) else set())
    assert not set(drawn.test) & set(drawn.train)
    assert not set(whole.test) & set(seen.index)


@given(
    draw_seed=st.integers(0, 10**6),
    draw_index=st.integers(0, 3),
    stories=st.lists(st.none() | st.integers(0, 8), min_size=240, max_size=240),
    dev=st.sampled_from([SourceDev(rows=6), TargetFold(num_folds=4, fold=0)]),
    test_langs=st.sampled_from([None, ("ja", "en", "de")]),
)
def test_dev_rows_beside_test_rows_change_no_row_that_is_trained_on(
    draw_seed: int, draw_index: int, stories: list[int | None], dev: Dev, test_langs: Any
) -> None:
    rows: list[dict[str, Any]] = [
        {**row, "story": None if story is None else f"s{story}"}
        for row, story in zip(TWINS + make_rows(60, ("de", "fr")), stories, strict=False)
    ]
    dataset = make_dataset(rows)
    sampling = Sampling(test_rows=4, draw_seed=draw_seed, test_langs=test_langs)
    try:
        whole = draw(dataset, "en", pattern(8), sampling, draw_index)
        drawn, held_out = draw_with_dev(dataset, "en", pattern(8), sampling, draw_index, dev)
    except InputError:  # one big story in the test
        return
    assert (drawn.source, drawn.test) == (whole.source, whole.test)
    if isinstance(dev, SourceDev):
        assert drawn.target == whole.target and len(held_out) == 6
    else:
        assert {*drawn.target, *held_out} == {*whole.target} and len(held_out) == 2
    assert not {*held_out} & {*drawn.train, *drawn.test}
    by_id = {row.id: row for in_lang in dataset.by_lang.values() for row in in_lang}
    kept, tested = ([by_id[i] for i in ids] for ids in (held_out, drawn.test))
    assert not {row.key for row in kept} & {row.key for row in tested}
    assert not {row.story for row in kept} & ({row.story for row in tested} - {None})
    assert draw_with_dev(dataset, "en", pattern(8), sampling, draw_index, None) == (whole, ())
    seen = without_test(dataset, whole.test, "en")  # as a search of this cell alone draws them
    assert draw_dev(seen, "en", pattern(8), sampling, draw_index, dev).test == held_out


def test_poisoned_test_rows_change_nothing_that_a_search_sees() -> None:
    test = set(draw(PLAIN, "en", pattern(8), SAMPLING).test)
    rows = PLAIN.table.to_pylist()
    poisoned = make_dataset(
        [{**row, "text": f"poison {row['id']}"} if row["id"] in test else row for row in rows]
    )
    assert poisoned.fingerprint != PLAIN.fingerprint
    assert search_rows(poisoned).fingerprint == search_rows(PLAIN).fingerprint


@given(num_pairs=st.integers(2, 20), num_folds=st.integers(2, 5), repeat=st.integers(0, 3))
def test_folds_are_a_stratified_partition(num_pairs: int, num_folds: int, repeat: int) -> None:
    asked = pattern(2 * num_pairs)
    if num_pairs < num_folds:
        with pytest.raises(InputError, match=f"{2 * num_pairs} target rows cannot be split into"):
            draw_dev(PLAIN, "en", asked, SAMPLING, 0, TargetFold(num_folds=num_folds, fold=0))
        return
    folds = [
        draw_dev(
            PLAIN, "en", asked, SAMPLING, 0,
            TargetFold(num_folds=num_folds, fold=fold, repeat=repeat),
        )
        for fold in range(num_folds)
    ]  # fmt: skip
    held_out = [row for fold in folds for row in fold.test]
    assert sorted(held_out) == sorted({*folds[0].target, *folds[0].test})
    # Class counts as scikit-learn's, in whatever order.
    labels = PLAIN.rows(held_out)["label"].to_numpy()
    ours = sorted(tuple(PLAIN.rows(fold.test)["label"].to_pylist()) for fold in folds)
    theirs = sorted(
        tuple(sorted(labels[test].tolist()))
        for _, test in StratifiedKFold(num_folds).split(labels, labels)
    )
    assert [sum(fold) for fold in ours] == [sum(fold) for fold in theirs]
    assert sorted(map(len, ours)) == sorted(map(len, theirs))
    for number, fold in enumerate(folds):
        dev = TargetFold(num_folds=num_folds, fold=number, repeat=repeat)
        assert len(fold.test) == dev.num_rows(asked.target_rows)


def test_another_repeat_cuts_otherwise() -> None:
    first, second = (
        draw_dev(
            PLAIN, "en", pattern(16), SAMPLING, 0, TargetFold(num_folds=4, fold=0, repeat=repeat)
        )
        for repeat in (0, 1)
    )
    assert set(first.test) != set(second.test)


def test_source_dev_rows_are_balanced_and_the_same_for_all_counts() -> None:
    drawn = [
        draw_dev(PLAIN, "en", pattern(rows), SAMPLING, 0, SourceDev(rows=12)) for rows in (0, 8)
    ]
    assert drawn[0].test == drawn[1].test
    assert PLAIN.rows(drawn[0].test)["label"].to_pylist() == [1, 0] * 6
    assert set(PLAIN.rows(drawn[0].test)["lang"].to_pylist()) == {"en"}


@pytest.mark.parametrize(
    ("dev", "source_rows", "problem"),
    [
        (SourceDev(rows=7), 8, "dev_rows must be even"),
        (SourceDev(rows=60), 8, "ja8 dev needs 30 positive en rows; 26 left; ask for fewer rows"),
        (SourceDev(rows=4), 0, "ja8: trains on no en rows, so none can be dev rows"),
        (TargetFold(num_folds=5, fold=0), 8, "8 target rows cannot be split into 5 folds"),
    ],
)
def test_impossible_dev_rows_are_reported(dev: Dev, source_rows: int, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        draw_dev(PLAIN, "en", pattern(8, source_rows), SAMPLING, 0, dev)


def test_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="fold 4 of 4 does not exist; count from 0"):
        TargetFold.parse({"num_folds": 4, "fold": 4})
