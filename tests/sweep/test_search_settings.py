"""What a search tries: ranges, replicates, searchers, and the settings that cannot be."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlt.data.core.errors import InputError
from xlt.data.dataset.dev import SourceDev, TargetFold
from xlt.data.dataset.patterns import Pattern
from xlt.sweep.experiment.search import LearningRates, Search
from xlt.sweep.experiment.searcher_names import SEARCHERS
from xlt.sweep.search.budget import Budget
from xlt.sweep.search.config_report import ConfigReport
from xlt.sweep.search.searchers import make_searcher
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.selection import parse_selection


def pattern(target_rows: int) -> Pattern:
    return Pattern(name="few", target_lang="ja", target_rows=target_rows)


def asked(search: Search, own_rate: float = 1e-3) -> list[dict[str, Any]]:
    searcher = make_searcher(search, search.rates(own_rate), own_rate, "m x ja0")
    configs = []
    while not searcher.is_exhausted:
        config = searcher.ask()
        assert config is not None
        configs.append(config)
        searcher.tell(config, 0.5)
    return configs


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"learning_rate": []}, "names no rate"),
        ({"learning_rate": [1e-3, -1e-3]}, "-0.001 is not a positive number"),
        ({"learning_rate": {"low": 1e-2, "high": 1e-3}}, "low 0.01 is not below high 0.001"),
        ({"learning_rate": {"low": -1.0, "high": 1.0}}, "low"),
        ({"learning_rate": {"low": 1e-5, "high": 1e-1, "log": False}}, "log: false spreads rates"),
        ({"num_configs": 0}, "num_configs"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"max_trials": 0}, "max_trials"),
        ({"max_gpu_hours": 0.0}, "max_gpu_hours"),
        ({"seeds": [1, 1]}, "more than once"),
        ({"training": {"num_train_epochs": []}}, "names no value"),
        ({"training": {"num_train_epoch": [5]}}, "num_train_epochs"),
        ({"lora": {"r": [8, "x"]}}, "lora.r"),
        ({"dev": "targets"}, "dev"),
    ],
)
def test_settings_that_cannot_be_are_told(values: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Search.parse(values)


def test_every_seed_cuts_the_target_rows_anew_and_first_trials_differ_in_both() -> None:
    few = Search(seeds=(7, 8)).replicates(pattern(16))
    folds = [(dev.fold, dev.repeat, seed) for dev, seed in few if isinstance(dev, TargetFold)]
    assert folds == [(f, r, s) for f in range(4) for r, s in ((0, 7), (1, 8))]
    assert len(Search(seeds=(7, 8)).replicates(pattern(104))) == 10
    assert len(Search(seeds=(7, 8), num_folds=3).replicates(pattern(104))) == 6
    zero = Search(seeds=(7, 8)).replicates(pattern(0))
    assert zero == [(SourceDev(rows=256), 7), (SourceDev(rows=256), 8)]
    both = Search(seeds=(7,), dev="both").replicates(pattern(16))
    assert [dev.kind for dev, _ in both] == ["source"] + ["target"] * 4


def test_a_grid_is_even_in_logarithms_and_starts_near_the_own_rate() -> None:
    rates = [config["learning_rate"] for config in asked(Search(num_configs=11))]
    assert rates[0] == 1e-3
    assert sorted(rates) == pytest.approx(np.geomspace(1e-3 / 32, 1e-3 * 32, 11), rel=5e-3)
    steps = [abs(math.log(rate / 1e-3)) for rate in rates]
    assert all(two >= one - 0.02 for one, two in itertools.pairwise(steps))


def test_a_grid_of_more_settings_has_every_combination() -> None:
    search = Search.parse(
        {
            "learning_rate": [1e-3, 1e-2],
            "training": {"num_train_epochs": [5, 10]},
            "lora": {"r": [4, 8, 16]},
        }
    )
    found = {
        (c["learning_rate"], c["training"]["num_train_epochs"], c["lora"]["r"])
        for c in asked(search)
    }
    assert found == {(rate, e, r) for rate in (1e-3, 1e-2) for e in (5, 10) for r in (4, 8, 16)}


@given(
    name=st.sampled_from(sorted(SEARCHERS)),
    low=st.floats(1e-7, 1e-2),
    factor=st.floats(1.5, 1e4),
    num_configs=st.integers(1, 12),
)
def test_every_searcher_stays_in_its_range_and_within_its_number(
    name: str, low: float, factor: float, num_configs: int
) -> None:
    rates = LearningRates(low=low, high=low * factor)
    configs = asked(Search(searcher=name, learning_rate=rates, num_configs=num_configs))
    assert 1 <= len(configs) <= num_configs
    assert all(low * 0.99 <= config["learning_rate"] <= low * factor * 1.01 for config in configs)


@pytest.mark.parametrize("name", ["grid", "random"])
def test_lists_are_the_same_each_time(name: str) -> None:
    assert asked(Search(searcher=name)) == asked(Search(searcher=name))
    assert {c["learning_rate"] for c in asked(Search(searcher=name, learning_rate=(0.1, 0.2)))} <= {
        0.1, 0.2
    }  # fmt: skip


def test_tpe_waits_for_results_and_goes_where_they_are_good() -> None:
    search = Search(searcher="tpe", num_configs=24)
    searcher = make_searcher(search, search.rates(1e-3), 1e-3, "m x ja0")
    out = []
    while (config := searcher.ask()) is not None:
        out.append(config)
    assert len(out) == 6 and out[0]["learning_rate"] == 1e-3
    scores = {}
    while out:
        config = out.pop(0)
        rate = config["learning_rate"]
        scores[rate] = 1 - abs(math.log(rate / 1e-2)) / 10
        searcher.tell(config, scores[rate])
        if (more := searcher.ask()) is not None:
            out.append(more)
    best = max(scores, key=scores.__getitem__)
    assert abs(math.log(best / 1e-2)) < math.log(1.6)
    late = list(scores)[12:]
    near = [rate for rate in late if abs(math.log(rate / 1e-2)) < math.log(4)]
    assert len(near) > len(late) / 2


def test_a_range_is_widened_beyond_one_end() -> None:
    rates = LearningRates(low=1e-4, high=1e-2)
    up, down = rates.widened(upwards=True), rates.widened(upwards=False)
    assert (up.low, up.high) == pytest.approx((1e-2, 1e-1))
    assert (down.low, down.high) == pytest.approx((1e-5, 1e-4))


def test_cells_are_selected_by_name() -> None:
    chosen = parse_selection("model=a,model=b,pattern=ja0", "abc", ["ja0", "ja16"])
    assert chosen.has(CellKey("a", "ja0")) and chosen.has(CellKey("b", "ja0"))
    assert not chosen.has(CellKey("c", "ja0")) and not chosen.has(CellKey("a", "ja16"))
    assert parse_selection("", "abc", ["ja0"]).has(CellKey("c", "ja0"))
    with pytest.raises(InputError, match="Did you mean 'ja16'") as caught:
        parse_selection("pattern=ja17,models=a", "abc", ["ja0", "ja16"])
    assert "'models=a' is neither model=NAME" in str(caught.value)


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"max_trials": 2}, "max_trials: 2 is used up"),
        ({"max_epochs": 6}, "max_epochs: 6 is used up"),
        ({"max_gpu_hours": 0.5}, "max_gpu_hours: 0.5 is used up"),
    ],
)
def test_budgets_count_what_was_trained_and_not_what_was_known(
    budget: dict[str, float], told: str
) -> None:
    spent = Budget(Search.parse(budget))
    spent.add(ConfigReport(1, 0.5))  # finished by an earlier search
    spent.add(ConfigReport(2, 0.5, epochs=3, hours=0.25))
    assert not spent.is_over
    spent.add(ConfigReport(2, 0.5, epochs=3, hours=0.25))
    assert spent.is_over and spent.why == told
