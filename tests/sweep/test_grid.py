"""The grid: what is counted, what is skipped, what cannot be drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from grids import load_grid

from xlt.data.core.errors import InputError
from xlt.data.dataset.dev import TargetFold
from xlt.data.dataset.draws import draw
from xlt.data.dataset.schema import Dataset, text_key
from xlt.sweep.experiment.chosen_rates import ChosenRates
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.plan_text.text import describe_plan
from xlt.sweep.planning.grid import Grid, expand
from xlt.sweep.planning.prepare import prepare
from xlt.trainables.results.result import Results


def test_quickstart_is_the_papers_grid() -> None:
    grid = load_grid("quickstart")
    assert len(grid.specs) == len({spec.trial_id for spec in grid.specs}) == 39
    skipped = {c.key: c.skipped for c in grid.cells if not c.specs}
    assert sorted(skipped) == [("mini-bert-ja", "ja0"), ("mini-opencalm", "ja0")]
    assert "not pre-trained on en" in skipped["mini-opencalm", "ja0"]
    monolingual = [s for s in grid.specs if s.base_model in ("mini-opencalm", "mini-bert-ja")]
    assert {spec.pattern.source_rows for spec in monolingual} == {0}


def test_overrides_reach_their_cell_only() -> None:
    grid = load_grid("paper", "seeds=[0]")
    rates = {s.cell: s.learning_rate for s in grid.specs}
    assert rates["opencalm", "ja16"] == 7e-3
    assert rates["opencalm", "ja104"] == rates["elyza", "ja16"] == 5e-4
    (cell,) = (c for c in grid.plan().cells if (c.base_model, c.pattern) == ("opencalm", "ja16"))
    assert "did not train" in cell.note


def test_the_plan_knows_test_rows_of_one_story() -> None:
    grid = load_grid("quickstart", "seeds=[0]")
    assert grid.plan().same_story == ()
    test, train = grid.draws[0].test, grid.draws[0].train
    stories = dict.fromkeys((test[3], test[40], train[0]), "a")
    ids = grid.dataset.table["id"].to_pylist()
    table = grid.dataset.table.drop_columns(["story"])
    table = table.append_column("story", pa.array([stories.get(i) for i in ids], pa.string()))
    told = replace(grid, dataset=Dataset.from_table(table, classes=grid.dataset.classes))
    assert told.plan().same_story == ((test[3], test[40]),)


def test_the_plan_knows_test_rows_with_wrong_labels() -> None:
    grid = load_grid("quickstart", "seeds=[0]")
    wrong = grid.plan().wrong_labels
    assert len(wrong) == 31 and set(wrong) <= set(grid.draws[0].test)
    clean = replace(grid, dataset=replace(grid.dataset, wrong_labels=frozenset()))
    assert "wrong_labels" not in clean.plan().model_dump(mode="json")


def test_test_rows_are_held_out_and_the_same_for_every_cell() -> None:
    grid = load_grid("quickstart", "seeds=[0]")
    draws = [
        draw(grid.dataset, s.source_lang, s.pattern, s.sampling, s.draw_index) for s in grid.specs
    ]
    assert len({drawn.test for drawn in draws}) == 1
    texts = grid.dataset.rows(list(draws[0].test))["text"].to_pylist()
    assert {text_key(text) for text in texts} == grid.held_out
    trained = {t for d in draws for t in grid.dataset.rows(list(d.train))["text"].to_pylist()}
    assert not {text_key(text) for text in trained} & grid.held_out


def test_impossible_counts_are_told_together() -> None:
    experiment = load_experiment("quickstart", ["data.num_target=1000", "sampling.test_rows=900"])
    with pytest.raises(InputError) as caught:
        expand(prepare(experiment))
    assert "needs 450 positive ja rows" in str(caught.value)
    assert "negative ja rows" in str(caught.value)


def test_a_grid_without_cells_is_refused() -> None:
    with pytest.raises(InputError, match="no cell of the grid can exist"):
        load_grid("quickstart", "models=[mini-bert-ja]", "patterns=[ja0]")


def rates(grid: Grid, **changes: Any) -> ChosenRates:
    """A rate of 0.5 for mini-mbert x ja16, as a search would have found it."""
    spec = next(s for s in grid.specs if s.cell == ("mini-mbert", "ja16"))
    cell = {
        "model": "mini-mbert", "pattern": "ja16", "base_identity": spec.base_identity,
        "learning_rate": 0.5, "dev": ["target"], "dev_score": 0.9, "num_replicates": 8,
        "instead_of": spec.learning_rate, "dev_interval": [0.8, 1.0],  # as in early versions
    }  # fmt: skip
    return ChosenRates.parse(
        {
            "search_id": "a", "experiment": "quickstart", "metric": "auroc", "seeds": [1000],
            "data_fingerprint": grid.dataset.fingerprint, "cells": [cell | changes],
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "applies"),
    [({}, True), ({"instead_of": 0.1}, False), ({"base_identity": "hub:other@1"}, False)],
)
def test_a_rescue_holds_for_the_rate_and_weights_that_were_stuck(
    changes: dict[str, Any], applies: bool
) -> None:
    experiment = load_experiment("quickstart", ["seeds=[0]"])
    prepared = prepare(experiment)
    before = expand(prepared)
    after = expand(prepared, rates(before, **changes))
    moved = [s for s, t in zip(after.specs, before.specs, strict=True) if s != t]
    assert [(s.base_model, s.pattern.name, s.learning_rate) for s in moved] == (
        [("mini-mbert", "ja16", 0.5)] if applies else []
    )


def test_a_rate_set_by_hand_is_not_told_as_chosen() -> None:
    by_hand = "overrides=[{match: {model: mini-mbert}, learning_rate: 0.25}]"
    prepared = prepare(load_experiment("quickstart", ["seeds=[0]", by_hand]))
    grid = expand(prepared.with_rates(rates(expand(prepared))))
    cell = next(c for c in grid.cells if c.pattern.name == "ja16" and c.overrides)
    assert cell.specs[0].learning_rate == 0.25 and cell.chosen is None


def test_a_prevalence_changes_no_trial() -> None:
    plain, asked = (
        load_grid("quickstart", *settings) for settings in ([], ["task.prevalence=0.02"])
    )
    assert [spec.trial_id for spec in asked.specs] == [spec.trial_id for spec in plain.specs]
    assert "prevalence" not in plain.plan().model_dump_json()
    assert asked.plan().prevalence == 0.02


def test_a_prevalence_is_for_two_classes() -> None:
    prepared = prepare(load_experiment("quickstart", ["task.prevalence=0.02"]))
    three = replace(prepared, dataset=replace(prepared.dataset, classes=("a", "b", "c")))
    with pytest.raises(InputError, match=r"task\.prevalence: is the share of one class of two"):
        expand(three)


def with_training(*settings: str) -> Grid:
    return load_grid("quickstart", "seeds=[0]", *settings)


def test_a_mean_of_epochs_is_the_cells_own_and_baselines_have_none() -> None:
    last_3 = "training.average={last_k: 3}"
    plain, averaged = with_training(), with_training(last_3)
    assert not {s.trial_id for s in plain.specs} & {s.trial_id for s in averaged.specs}
    own = "overrides=[{match: {pattern: ja16}, training: {average: null}}]"
    apart = with_training(last_3, own, "models=[mini-mbert, {name: ngram, method: ngram}]")
    last_k = {s.cell: s.training.average and s.training.average.last_k for s in apart.specs}
    assert last_k["mini-mbert", "ja16"] is None and last_k["mini-mbert", "ja0"] == 3
    assert {last_k[cell] for cell in last_k if cell.base_model == "ngram"} == {None}
    ids = {s.cell: s.trial_id for s in plain.specs}
    assert {s.trial_id for s in apart.specs if s.cell == ("mini-mbert", "ja16")} == {
        ids["mini-mbert", "ja16"]
    }
    text = describe_plan(averaged, Results("/nowhere/results"))
    assert "the mean of the weights after each of the last 3 epochs" in text
    assert "the mean of the weights" not in describe_plan(plain, Results("/nowhere/results"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["training.average={last_k: 6}"], r"average.last_k 6 is more than num_train_epochs 5"),
        (
            [
                "training.average={last_k: 3}",
                "overrides=[{match: {pattern: ja16}, training: {num_train_epochs: 2}}]",
            ],
            r"training of mini-mbert x ja16: average.last_k 3 is more than num_train_epochs 2",
        ),
        (
            ["overrides=[{match: {pattern: ja16}, training: {average: {last_k: 0}}}]"],
            r"training.average.last_k: should be greater than 1",
        ),
    ],
)
def test_a_mean_of_more_epochs_than_there_are_is_refused(
    settings: list[str], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        with_training("models=[mini-mbert]", *settings)


def test_an_override_may_average_more_epochs_than_the_default_has() -> None:
    more = "overrides=[{match: {pattern: ja16}, training: {average: {last_k: 12}}}]"
    grid = with_training("training.num_train_epochs=20", more)
    (last_k,) = {s.training.average.last_k for s in grid.specs if s.training.average}
    assert last_k == 12


def test_early_stopping_is_planned_with_its_dev_rows() -> None:
    plain = with_training("models=[mini-mbert, {name: ngram, method: ngram}]")
    asked = with_training(
        "models=[mini-mbert, {name: ngram, method: ngram}]", "training.early_stopping={}"
    )
    for spec, changed in zip(plain.specs, asked.specs, strict=True):
        assert (changed.trial_id == spec.trial_id) == spec.is_baseline
        assert changed.num_steps == spec.num_steps
    text = describe_plan(asked, Results("/nowhere/results"))
    assert "Each: at most 5 epochs" in text and "test rows; at most " in text
    stops = "Early stopping on source rows: training ends after 2 epochs without a better loss"
    assert stops in text
    assert f"at most {3 * 5 * 64:,} rows in all trials" in text
    assert "at most" not in describe_plan(plain, Results("/nowhere/results"))
    fold = with_training("models=[mini-mbert]", "patterns=[ja104]", ON_TARGET)
    (spec,) = fold.specs
    assert isinstance(spec.stopping_dev, TargetFold)
    assert spec.num_steps == 5 * -(-(spec.pattern.num_train_rows - 26) // 16)
    assert f"at most {5 * 26} rows" in describe_plan(fold, Results("/nowhere/results"))


ON_TARGET = "training.early_stopping={dev: target}"
REMEDY = r"give such cells other dev rows in an override"


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        (["training.early_stopping={metric: aurok}"], ["Did you mean 'auroc'"]),
        (
            ["training.early_stopping={}", "models=[mini-bert-ja]"],
            [
                "training.early_stopping: ",
                "mini-bert-ja, ja16: trains on no en rows, so none can be dev rows",
                REMEDY,
            ],
        ),
        (
            ["training.early_stopping={dev_rows: 100000}", "models=[mini-mbert]"],
            ["mini-mbert, ja0 dev needs 50000 positive en rows", REMEDY],
        ),
        (
            [ON_TARGET, "models=[mini-mbert]"],
            ["mini-mbert, ja0: 0 target rows cannot be split into 4 folds", REMEDY],
        ),
        (
            [
                "training.average={last_k: 2}",
                "models=[mini-mbert]",
                "overrides=[{match: {pattern: ja16}, training: {early_stopping: {}}}]",
            ],
            ["training of mini-mbert x ja16: average and early_stopping both choose the weights"],
        ),
    ],
)
def test_early_stopping_that_cannot_be_is_refused(
    settings: list[str], sentences: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        with_training(*settings)
    for sentence in sentences:
        assert sentence in str(caught.value)


def test_an_override_gives_a_cell_other_dev_rows() -> None:
    none = "overrides=[{match: {pattern: ja0}, training: {early_stopping: null}}]"
    grid = with_training("models=[mini-mbert]", ON_TARGET, none)
    kinds = {s.pattern.name: s.stopping_dev and s.stopping_dev.kind for s in grid.specs}
    assert kinds == {"ja0": None, "ja16": "target", "ja104": "target"}
