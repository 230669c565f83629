"""xlt check: the money of a run, estimated from its time and the prices of the experiment."""

from __future__ import annotations

from typing import Any

import pytest
from preflights import A100, V100, make_node, one, preflight, with_settings

from xlt.sweep.check import time
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.machines.nodes import Node
from xlt.sweep.planning.grid import expand
from xlt.sweep.planning.prepare import prepare

PRICES = {"currency": "USD", "per_gpu_hour": {"A100": 2.0, "V100": 3.0}, "per_cpu_hour": 0.5}


@pytest.fixture(autouse=True)
def two_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trial takes two hours."""
    guess = time._Guess(7200.0, "test")
    monkeypatch.setattr(time, "_guess", lambda preflight, group: guess)


def list_costs(experiment: Experiment, node: Node) -> list[str]:
    notes = one("time", preflight(experiment, node)).notes
    return [note for note in notes if note.startswith("estimated cost")]


def test_money_is_hours_of_all_trials_times_their_share_and_price(small: Experiment) -> None:
    num = len(expand(prepare(small)).specs)

    def cost(node: Node, **resources: Any) -> list[str]:
        return list_costs(with_settings(small, cost=PRICES, resources=resources), node)

    gpus = make_node(gpus=(A100, A100))
    assert cost(gpus, gpus=0.25) == [
        f"estimated cost: {num * 0.5:.2f} A100 hours x 2 = {num:.2f} USD"
    ]
    assert cost(gpus, workers=2) == [
        f"estimated cost: {num * 4:.2f} A100 hours x 2 = {num * 8:.2f} USD"
    ]
    assert cost(make_node(), cpus=4) == [
        f"estimated cost: {num * 8:.2f} CPU hours x 0.5 = {num * 4:.2f} USD"
    ]


def test_the_type_of_gpu_is_the_requested_one_or_the_dearest(small: Experiment) -> None:
    node = make_node(
        gpus=(A100, V100), others={"accelerator_type:A100": 1, "accelerator_type:V100": 1}
    )
    (cost,) = list_costs(with_settings(small, cost=PRICES), node)
    assert " V100 hours x 3 = " in cost and cost.endswith("the dearest is assumed")
    asked = with_settings(small, cost=PRICES, resources={"accelerator_type": "A100"})
    (cost,) = list_costs(asked, node)
    assert " A100 hours x 2 = " in cost


def test_a_type_of_gpu_without_a_price_is_named_and_not_guessed(small: Experiment) -> None:
    priced = with_settings(small, cost={"per_gpu_hour": {"H10": 2.0}})
    for node, kind in (
        (make_node(gpus=(A100,)), "A100"),
        (make_node(num_gpus=1), "GPU"),
        (make_node(), "CPU"),
    ):
        (cost,) = list_costs(priced, node)
        assert "not included, because no price is known: " in cost
        assert cost.endswith(f" {kind} hours; there are prices of H10")


def test_prices_change_no_trial_and_no_plan_without_them(small: Experiment) -> None:
    priced = with_settings(small, cost=PRICES)
    grids = expand(prepare(small)), expand(prepare(priced))
    assert grids[0].specs == grids[1].specs
    plans = [grid.plan().model_dump(mode="json") for grid in grids]
    assert "cost" not in plans[0] and "cost" not in small.to_yaml()
    assert plans[1] == {**plans[0], "cost": PRICES}
    assert Experiment.from_yaml(priced.to_yaml(), "copy") == priced
    assert list_costs(small, make_node()) == []
