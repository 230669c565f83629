"""The chooser, on hand-made curves: ties, edges, bad seeds, failures; and what it may not see."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import sem

from xlt.analysis.search.choose import (
    Choice,
    TriedConfig,
    average_by_kind,
    choose,
    count_epochs,
    rank,
)
from xlt.analysis.search.table import make_search_tables
from xlt.trainables.results.search_plan import Replicate, SearchedCell, SearchedConfig, SearchPlan

NAN = math.nan


def tried(
    rate: float, scores: list[float], losses: list[float] | None = None, *failures: str,
    kinds: tuple[str, ...] = (),
) -> TriedConfig:  # fmt: skip
    ids = tuple(f"t{rate}-{n}" for n in range(len(scores)))
    config = SearchedConfig(learning_rate=rate, trial_ids=ids, num_tried=len(scores))
    told = [0.5] * len(scores) if losses is None else losses
    kinds = kinds or ("target",) * len(scores)
    return TriedConfig(config, np.array(scores), np.array(told), failures, 5 * len(scores), kinds)


def cell(num_replicates: int, **changes: object) -> SearchedCell:
    replicates = tuple(
        Replicate(seed=n, dev="target", name=f"dev-target{n}.0") for n in range(num_replicates)
    )
    known = SearchedCell(
        base_model="m", pattern="ja16", base_identity="i", own_rate=1e-3, replicates=replicates,
        low=1e-4, high=1e-1,
    )  # fmt: skip
    return known.model_copy(update=changes)


def rate_of(*curve: TriedConfig, one_standard_error: bool = False) -> float | None:
    made = choose(cell(len(curve[0].scores)), curve, one_standard_error=one_standard_error)
    return made.best.config.learning_rate if made.best else None


def test_the_highest_mean_wins_whatever_the_order() -> None:
    curve = [tried(0.1, [0.5, 0.6]), tried(0.01, [0.9, 0.7]), tried(0.001, [0.8, 0.7])]
    assert rate_of(*curve) == rate_of(*curve[::-1]) == 0.01


def test_equal_scores_are_decided_by_loss_then_by_the_smaller_rate() -> None:
    """Sixteen rows give few different AUROCs, so equal means are common."""
    curve = [tried(0.01, [1.0, 0.75], [0.6, 0.6]), tried(0.1, [0.75, 1.0], [0.2, 0.3])]
    assert rate_of(*curve) == 0.1
    same = [tried(0.1, [0.5, 1.0]), tried(0.01, [1.0, 0.5]), tried(0.001, [0.75, 0.75])]
    assert rate_of(*same) == 0.001
    # A third of three thirds is not one by floating point.
    thirds = [tried(0.1, [0.1, 0.2, 0.3], [1.0] * 3), tried(0.2, [0.2, 0.2, 0.2], [0.5] * 3)]
    assert rate_of(*thirds) == 0.2


def test_one_bad_seed_counts() -> None:
    curve = [tried(0.01, [0.95, 0.95, 0.40]), tried(0.001, [0.80, 0.80, 0.80])]
    assert rate_of(*curve) == 0.001


def test_fewer_replicates_and_failures_are_never_chosen() -> None:
    curve = [
        tried(0.1, [1.0, NAN]),
        tried(0.05, [1.0, 1.0], [0.1, 0.1], "DivergedError: nan"),
        tried(0.01, [0.6, 0.6]),
    ]
    assert rate_of(*curve) == 0.01
    nothing = choose(cell(2), curve[:2])
    assert (nothing.best, nothing.why) == (None, "no config finished")


def test_a_rate_that_does_not_train_is_not_chosen_for_a_lucky_dev_score() -> None:
    lucky = replace(tried(0.001, [0.9, 0.9]), num_stuck=1)
    assert rate_of(lucky, tried(0.1, [0.6, 0.6])) == 0.1
    assert rate_of(lucky, replace(tried(0.1, [0.6, 0.6]), num_stuck=2)) == 0.001  # none trains


def test_the_ends_of_the_range_are_told() -> None:
    curve = [tried(0.001, [0.5]), tried(0.01, [0.6]), tried(0.1, [0.7])]
    assert choose(cell(1), curve).edge == "high"
    curve[0] = tried(0.001, [0.8])
    assert choose(cell(1), curve).edge == "low"
    curve[1] = tried(0.01, [0.9])
    assert choose(cell(1), curve).edge == ""
    assert choose(cell(1), curve[:1]).edge == ""  # one rate has no ends


def test_one_standard_error_takes_the_smallest_rate_that_is_as_good() -> None:
    best = [0.9, 0.8, 0.7]
    near = 0.8 - sem(best)
    curve = [
        tried(0.001, [near - 0.001] * 3), tried(0.01, [near + 0.001] * 3), tried(0.1, best)
    ]  # fmt: skip
    assert rate_of(*curve) == 0.1
    assert rate_of(*curve, one_standard_error=True) == 0.01
    assert "within one standard error" in choose(cell(3), curve, one_standard_error=True).why


@given(st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=6))
def test_nothing_complete_beats_the_choice(scores: list[list[float]]) -> None:
    curve = [tried(0.001 * 2**n, row) for n, row in enumerate(scores)]
    best = choose(cell(4), curve).best
    assert best is not None
    assert best.score >= max(np.mean(row) for row in scores) - 1e-9


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=3, max_size=3),
            st.lists(st.floats(0, 30), min_size=3, max_size=3),
            st.integers(0, 3),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_what_asha_ranks_first_is_what_is_chosen(
    curves: list[tuple[list[float], list[float], int]],
) -> None:
    """Halving by another order than the choice's would give up what would have been chosen."""
    configs = [
        replace(tried(0.001 * 2**n, scores, losses), num_stuck=num_stuck)
        for n, (scores, losses, num_stuck) in enumerate(curves)
    ]
    ranks = [rank(t.scores, t.losses, t.kinds, t.num_stuck) for t in configs]
    best = choose(cell(3), configs).best
    assert best is not None
    assert ranks[configs.index(best)] == pytest.approx(max(ranks), abs=1e-12)


@pytest.mark.parametrize(
    ("convergence", "counted"),
    [({}, 10), ({"num_epochs": 4}, 4), ({"num_epochs": 40}, 10), ({"num_epochs": "4"}, 10)],
)
def test_a_trial_that_stopped_early_costs_the_epochs_that_it_trained(
    convergence: dict[str, Any], counted: int
) -> None:
    assert count_epochs(10, convergence) == counted


def test_a_rank_is_over_what_was_tried_until_now() -> None:
    kinds = ("target",) * 3
    tied = [rank(np.array([0.75, NAN, NAN]), np.array([x, NAN, NAN]), kinds, 0) for x in (0.4, 0.6)]
    assert tied[0] > tied[1] > 0.75 - 1e-6
    assert rank(np.array([1.0, 1.0, NAN]), np.full(3, 0.1), kinds, 1) < 0.01


def test_source_and_target_rows_count_alike_however_many() -> None:
    kinds = ("source", "target", "target", "target")
    assert average_by_kind(np.array([0.9, 0.5, 0.6, 0.7]), kinds) == pytest.approx((0.9 + 0.6) / 2)
    assert average_by_kind(np.array([0.9, NAN, NAN, 0.7]), kinds) == pytest.approx(0.8)
    assert math.isnan(average_by_kind(np.full(4, NAN), kinds))


def test_the_tables_say_what_was_chosen_and_what_was_not() -> None:
    curve = (
        tried(0.001, [0.5, NAN]), tried(0.01, [0.6, 0.8]),
        tried(0.1, [NAN, NAN], None, "DivergedError: nan"),
    )  # fmt: skip
    made = choose(cell(2), curve)
    plan = SearchPlan(
        experiment="e", search_id="abc", settings={}, data_fingerprint="f", metric="auroc",
        cells=(cell(2),), why_stopped="max_epochs: 5 is used up",
    )  # fmt: skip
    first, every = make_search_tables(plan, [made], every=True)
    assert first.lines == (
        ("m", "ja16", "target", "0.01", "0.700 ± 0.100", "1/3", "30", "highest dev score"),
    )
    assert any("max_epochs: 5 is used up" in note for note in first.footnotes)
    assert any("not finished" in note for note in first.footnotes)
    assert [line[-1] for line in every.lines] == ["stopped early", "chosen", "DivergedError: nan"]
    none = make_search_tables(plan, [Choice(cell(2), (), None, "", "no config finished")])
    assert none[0].lines[0][3:5] == ("-", "-")
