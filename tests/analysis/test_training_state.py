"""Whether a trial trained: from its training rows and history alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from result_folders import TRAINED, make_plan, make_results, save_done

from xlt.analysis.tables.report import render_tables
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.training_state import TrainingState, cell_training, training_state

STUCK = {"final_loss": 0.69, "train_auroc": 0.55, "score_std": 0.03}


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "trained"),
        (STUCK, "stuck"),
        ({"final_loss": 0.64, "train_auroc": 0.92}, "trained"),  # ranks, though barely moved
        ({"final_loss": 0.68, "train_auroc": 0.66}, "trained"),  # a little, and beyond doubt
        ({"final_loss": 0.70, "train_auroc": 0.66}, "stuck"),  # so may a head that never trained
        ({"final_loss": 0.68, "train_auroc": 0.85, "auroc_noise": 0.15}, "stuck"),  # 16 rows
        ({"final_loss": 0.40, "train_auroc": 0.85, "auroc_noise": 0.15}, "trained"),
        ({"score_std": 0.0005, "train_auroc": 0.93}, "stuck"),  # says the same of every row
        ({"final_loss": 3.0, "train_auroc": 0.5, "score_std": 0.4}, "diverged"),
        ({"final_loss": math.nan}, "diverged"),
        ({"label_entropy": 0.0, "train_auroc": math.nan}, "trained"),  # one class: no verdict
    ],
)
def test_trained_stuck_and_diverged_trials_are_distinguished(
    changes: dict[str, float], state: str
) -> None:
    found, evidence = training_state(TRAINED | changes)
    assert found == state
    assert bool(evidence) == (state != "trained")


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        ({}, STUCK, "trained"),  # too few steps to change a trained model
        (STUCK, STUCK, "stuck"),
        (STUCK, {}, "trained"),
        ({}, {"score_std": 0.0005}, "stuck"),  # the second stage spoiled the model
        ({}, {"final_loss": 3.0, "train_auroc": 0.5, "score_std": 0.4}, "diverged"),
    ],
)
def test_a_second_stage_may_change_little(
    first: dict[str, float], second: dict[str, float], state: str
) -> None:
    before = {f"first_stage_{name}": value for name, value in (TRAINED | first).items()}
    assert training_state(before | TRAINED | second)[0] == state


def test_trials_without_the_numbers_count_as_trained() -> None:
    assert training_state({}) == ("trained", "")
    lacking = {k: v for k, v in (TRAINED | STUCK).items() if k != "auroc_noise"}
    assert training_state(lacking) == ("trained", "")


@pytest.mark.parametrize(
    ("states", "cell"),
    [
        (["trained", "trained"], "trained"),
        (["trained", "stuck"], "unstable"),
        (["diverged", "trained", "stuck"], "unstable"),
        (["stuck", "stuck"], "stuck"),
        (["stuck", "diverged"], "diverged"),
    ],
)
def test_states_of_cells(states: list[TrainingState], cell: str) -> None:
    assert cell_training(states) == cell


def test_tables_show_who_did_not_train_and_average_openly(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan(["elyza"], ["ja0", "ja16"], [0, 1]))
    for seed, numbers in ((0, STUCK), (1, {})):
        save_done(results, "elyza", "ja0", seed, {"f1": 0.4, "auroc": 0.5}, convergence=numbers)
        save_done(results, "elyza", "ja16", seed, {"f1": 0.4, "auroc": 0.5})
    text = render_tables(collect(results))
    assert "0.400 (0.000)‡" in text and text.count("‡") == 4  # a cell and a note in two tables
    assert (
        "‡ elyza x ja0: unstable: seed 0 stuck, the others trained; still counted in the mean"
        in text
    )
    assert "training loss 0.690 in the last epoch, 0.693 by the labels' frequencies" in text
