"""Sizes of experiments: power of scipy's noncentral t, known variances, the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from result_folders import make_plan, make_results
from scipy import stats
from simulated_scores import make_cell, save_simulated, simulate

from xlt.analysis.trials.collect import collect
from xlt.analysis.uncertainty.mean_variance import components
from xlt.analysis.uncertainty.runs import Runs
from xlt.sweep.cli.exit_status import BAD_INPUT, OK
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.plan_text.to_find import (
    Variances,
    describe_sizes,
    earlier_variances,
    numbers_needed,
    state_variances,
)


def test_seeds_alone_need_as_many_as_a_t_test() -> None:
    """With rows that move nothing: the number by the noncentral t of scipy, or one more."""
    experiment = load_experiment("quickstart", ["seeds=[0,1,2,3]"])
    (known,) = state_variances(experiment, (0.02, 0.0))
    for size in (0.02, 0.03, 0.05):
        (found,), _ = numbers_needed(known, size)
        enough = next(
            n
            for n in range(2, 100)
            if stats.nct.sf(stats.t.ppf(0.975, 2 * n - 2), 2 * n - 2, size / 0.02 * (n / 2) ** 0.5)
            >= 0.8
        )
        assert found in (enough, enough + 1)


def test_rows_that_hide_the_difference_leave_no_number() -> None:
    (known,) = state_variances(load_experiment("quickstart", []), (0.01, 0.02))
    assert numbers_needed(known, 0.03)[0] == (None,)
    for draws, planned in (("per_seed", "3 draws"), ("[0]", "3 seeds")):
        experiment = load_experiment("quickstart", [f"draws={draws}"])
        text = describe_sizes(experiment, 0.03, "auroc", [known])
        assert "as stated" in text and f"with {planned} and 512 test rows" in text


def test_intervals_of_needed_seeds_hold_the_truth() -> None:
    """Three seeds in each cell, whose true standard deviation is 0.02."""
    rng, seeds = np.random.default_rng(0), ((0, 0), (0, 1), (0, 2))
    (truth,), _ = numbers_needed(
        state_variances(load_experiment("quickstart", []), (0.02, 0.0))[0], 0.03
    )
    assert truth is not None
    held, found = 0, []
    for _ in range(200):
        runs = [Runs(0.02 * rng.standard_normal(3), np.zeros((3, 512)), seeds) for _ in range(2)]
        parts = components(runs)
        number, low, high = numbers_needed(Variances("a:b", parts, 512, parts.unit_freedom), 0.03)[
            0
        ]
        held += (low or 10**6) <= truth <= (high or 10**6)
        found.append(number or 10**6)
    # Point estimates alone go far astray; a coverage of 0.95 is seen as 0.91 or more in 99 %.
    assert np.quantile(found, 0.95) > 3 * np.quantile(found, 0.05)
    assert held >= 0.91 * 200


def test_earlier_results_give_the_variances_of_the_plan(tmp_path: Path) -> None:
    """Twice the seeds halve the variance of seeds, and twice the rows that of rows."""
    results = make_results(tmp_path / "r", make_plan(patterns=["ja0", "ja16"]))
    rng, rows = np.random.default_rng(0), np.random.default_rng(1).standard_normal(256)
    for pattern in ("ja0", "ja16"):
        cell = simulate(rng, 3, 256, 1.5, 0.3, rows)
        save_simulated(results, "elyza", pattern, cell, cell.ids)
    collected = collect(results)
    as_before = load_experiment("quickstart", ["sampling.test_rows=256"])
    doubled = load_experiment("quickstart", ["sampling.test_rows=512", "seeds=[0,1,2,3,4,5]"])
    (before,), left_out = earlier_variances(as_before, collected, "auroc")
    (after,), _ = earlier_variances(doubled, collected, "auroc")
    assert before.name == "elyza/ja0:elyza/ja16" and left_out == []
    assert after.parts.unit == pytest.approx(before.parts.unit / 2)
    assert after.parts.item == pytest.approx(before.parts.item / 2)
    assert after.parts.both == pytest.approx(before.parts.both / 4)
    assert after.freedom == before.freedom
    (number, low, high), _ = numbers_needed(before, 0.1)
    assert number and low and low <= number and (high is None or high >= number)


def test_the_command_plans_before_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["plan", "quickstart", "--results", str(tmp_path / "none")]
    assert main([*plan, "--to-find", "0.03", "--std", "0.02", "0.005"]) == OK
    told = capsys.readouterr().out
    assert "To find a true difference of 0.03 in auroc with probability 0.8 at level 0.05" in told
    assert "39 trials" in told
    results = make_results(tmp_path / "r", make_plan(patterns=["ja0", "ja16", "ja104"]))
    for number, pattern in enumerate(("ja0", "ja16")):
        cell = simulate(np.random.default_rng(number), 3, 64, 1.5, 0.3)
        save_simulated(results, "elyza", pattern, cell, cell.ids)
    alone = make_cell(cell.y_true, cell.scores[:1])
    save_simulated(results, "elyza", "ja104", alone, alone.ids)
    assert (
        main([*plan, "--to-find", "0.1", "--metric", "f1", "--earlier", str(tmp_path / "r")]) == OK
    )
    told = capsys.readouterr().out
    assert "in f1 with" in told and "elyza/ja0:elyza/ja16" in told
    assert "Left out: elyza/ja0:elyza/ja104: one seed gives no variance of seeds" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to-find", "0.03"], "--to-find needs earlier results (--earlier) or --std SEEDS ROWS"),
        (
            ["--to-find", "3", "--std", "0.1", "0.1"],
            "--to-find 3: give a difference between 0 and 1",
        ),
        (
            ["--to-find", "0.1", "--std", "2", "0"],
            "--std 2 0: give two standard deviations below 1",
        ),
        (["--to-find", "0.1", "--std", "0", "0"], "--std 0 0: give two standard deviations"),
        (
            ["--to-find", "0.1", "--std", "0.1", "0", "--set", "seeds=[0]"],
            "one seed finds no difference; plan 2 or more",
        ),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "quickstart", "--results", str(tmp_path / "r"), *arguments]) == BAD_INPUT
    assert told in capsys.readouterr().err
