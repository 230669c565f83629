"""xlt plan: what the test rows can show about false alarms."""

from __future__ import annotations

from grids import load_grid
from scipy import stats

from xlt.sweep.plan_text.negatives import count_negatives_for, describe_test_rows


def test_so_many_negatives_give_an_interval_of_the_wanted_width() -> None:
    needed = count_negatives_for(0.01, 0.005)
    assert needed == 1522
    interval = stats.binomtest(round(0.01 * needed), needed).proportion_ci(method="wilson")
    assert 0.0045 < (interval.high - interval.low) / 2 < 0.0055


def test_the_plan_says_what_the_test_rows_can_show() -> None:
    settings = ["seeds=[0]", "models=[mini-mbert]", "task.prevalence=0.02"]
    balance = "sampling.test_balance={positive: 100, negative: 270}"
    (drawn,) = describe_test_rows(load_grid("quickstart", *settings))
    assert drawn.startswith("Test rows (ja): 256 ESG, 256 others. Without a false alarm a rate up ")
    bound = stats.binomtest(0, 256, alternative="less").proportion_ci(0.95, "exact").high
    assert f"up to {100 * bound:.3g} % is possible (95 %), 11 in 1,000 texts at 2 % ESG" in drawn
    assert "+/-0.5 % with 1,522 (`test_rows: 1778, test_balance: {positive: 256, neg" in drawn
    larger = ["sampling.test_rows=370", balance]
    grid = load_grid("quickstart", *settings, *larger)
    (drawn,) = describe_test_rows(grid)
    assert drawn.startswith("Test rows (ja): 100 ESG, 270 others.")
    assert {spec.sampling.test_rows for spec in grid.specs} == {370}
