"""Draws: nested, balanced, disjoint, and independent of the order of the file."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.patterns import Draw, Pattern, Sampling, draw
from data.schema import Dataset

relaxed = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def drawn(dataset: Dataset, target_rows: int, draw_seed: int = 0) -> Draw:
    pattern = Pattern(name="ja", target_lang="ja", target_rows=target_rows, source_rows=10)
    return draw(dataset, "en", pattern, Sampling(test_rows=20, draw_seed=draw_seed), seed=0)


@relaxed
@given(small=st.integers(0, 9), more=st.integers(0, 9), seed=st.integers(0, 99))
def test_draws_nest_balance_and_never_meet_the_test(
    tiny_dataset: Dataset, small: int, more: int, seed: int
) -> None:
    few = drawn(tiny_dataset, 2 * small, seed)
    many = drawn(tiny_dataset, 2 * (small + more), seed)
    assert many.target[: 2 * small] == few.target
    assert many.test == few.test
    for rows in (many.source, many.target, many.test):
        labels = tiny_dataset.rows(list(rows))["label"].to_pylist()
        assert all(sum(labels[:n]) * 2 == n for n in range(0, len(rows) + 1, 2))
    texts = [tiny_dataset.rows(list(r))["text"].to_pylist() for r in (many.train, many.test)]
    assert not set(texts[0]) & set(texts[1])


@relaxed
@given(order=st.integers(0, 99))
def test_the_order_of_the_file_does_not_matter(tiny_dataset: Dataset, order: int) -> None:
    rows = list(range(len(tiny_dataset.table)))
    random.Random(order).shuffle(rows)
    shuffled = Dataset.from_table(tiny_dataset.table.take(rows))
    assert shuffled.fingerprint == tiny_dataset.fingerprint
    assert drawn(shuffled, 8) == drawn(tiny_dataset, 8)


def test_too_few_rows_are_told(tiny_dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"52 positive ja rows"):
        drawn(tiny_dataset, 104)
