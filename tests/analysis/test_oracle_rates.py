"""Rates chosen on test rows: which trials count as the same but for the rate, and the label."""

from __future__ import annotations

from pathlib import Path

import pytest
from result_folders import make_plan, make_results, save_done

from xlt.analysis.search.oracle_rates import find_oracle_rates
from xlt.analysis.trials.collect import collect
from xlt.data.core.errors import InputError
from xlt.sweep.cli.main import main
from xlt.trainables.results.result import Results

SCORES = {5e-5: (0.70, 0.72), 1e-3: (0.80, 0.90), 1e-2: (0.60, 0.50)}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = make_results(tmp_path / "r", make_plan(["elyza"], ["ja0", "ja16"], [0, 1]))
    for rate, scores in SCORES.items():
        for seed, score in enumerate(scores):
            save_done(made, "elyza", "ja16", seed, {"auroc": score}, learning_rate=rate)
    for seed in (0, 1):
        save_done(made, "elyza", "ja0", seed, {"auroc": 0.6})
    return made


def test_the_best_of_the_means_over_all_runs_is_told_beside_the_one_that_was_run(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, found = find_oracle_rates(collect(results))
    assert (alone.best_rate, alone.lost) == (5e-5, 0)
    assert (found.run_rate, found.best_rate) == (5e-5, 1e-3)
    assert dict(found.scores) == pytest.approx({5e-5: 0.71, 1e-3: 0.85, 1e-2: 0.55})
    assert found.lost == pytest.approx(0.14)
    assert main(["oracle", results.uri]) == 0
    text = capsys.readouterr().out
    assert "best ON THE TEST ROWS" in text and "Never choose a rate by this table" in text
    assert text.count("0.140") == 1
    assert "ja0 " not in text and "Left out: 1 cells, which ran at one rate." in text


def test_other_seeds_other_versions_and_half_a_cell_do_not_count(results: Results) -> None:
    save_done(results, "elyza", "ja16", 0, {"auroc": 0.99}, learning_rate=2e-3)
    for seed in (2, 3):
        save_done(results, "elyza", "ja16", seed, {"auroc": 0.99}, learning_rate=3e-3)
    for seed in (0, 1):
        save_done(
            results, "elyza", "ja16", seed, {"auroc": 0.99}, {"torch": "1.0"}, learning_rate=4e-3
        )
        save_done(
            results, "elyza", "ja16", seed, {"auroc": 0.99}, learning_rate=6e-3, precision="bf16"
        )
    assert set(find_oracle_rates(collect(results))[1].scores) == set(SCORES)


def test_unknown_metrics_and_unfinished_cells_are_refused(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="auroc"):
        find_oracle_rates(collect(results), "aurok")
    empty = make_results(tmp_path / "empty", make_plan())
    assert main(["oracle", empty.uri]) == 2
    assert "no cell has all of its trials done" in capsys.readouterr().err
    assert main(["oracle", results.uri, "--only", "pattern=ja0"]) == 2
    assert "every cell ran at one learning rate" in capsys.readouterr().err
