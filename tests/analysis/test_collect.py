"""collect: one row for each trial in any state, refused differences and warnings."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from page_results import make_page_results
from repository import ROOT
from result_folders import (
    FINGERPRINT,
    SIGNATURE,
    VERSIONS,
    make_plan,
    make_results,
    make_spec,
    save_done,
    save_failed,
)

from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.signatures import RULES
from xlt.analysis.trials.trial_row import COLUMNS, TrialRow
from xlt.data.core.errors import InputError
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import seal_record
from xlt.trainables.spec.cell_key import CellKey

SCORES = {"f1": 0.5, "auroc": 0.75}


@pytest.fixture
def three(tmp_path: Path) -> Results:
    """An experiment of one cell with three seeds, none run."""
    return make_results(tmp_path / "results", make_plan())


def edit_record(results: Results, trial_id: str, **values: Any) -> None:
    path = Path(results.path("trials", trial_id, "trial.json"))
    path.write_text(json.dumps(seal_record(json.loads(path.read_text()) | values)))


def test_every_planned_trial_is_one_row_in_any_state(tmp_path: Path) -> None:
    plan = make_plan(["elyza", "opencalm"], ["ja0", "ja16"], skipped={("opencalm", "ja0"): "no"})
    results = make_results(tmp_path / "results", plan)
    save_done(results, "elyza", "ja0", 0, SCORES)
    save_failed(results, "elyza", "ja0", 1, "loss is nan\nsecond line")
    half = save_done(results, "elyza", "ja0", 2, SCORES)
    Path(results.path("trials", half, "trial.json")).unlink()
    changed = save_done(results, "elyza", "ja16", 0, SCORES)
    Path(results.path("trials", changed, "predictions.parquet")).write_bytes(b"x")

    collected = collect(results)

    rows = collected.table.to_pylist()
    assert [row["trial_id"] for row in rows] == plan.trial_ids
    assert [row["state"] for row in rows] == (
        ["done", "failed", "corrupt", "corrupt", "missing", "missing"] + ["missing"] * 3
    )
    assert rows[1]["detail"] == "loss is nan\nsecond line"
    assert "half-written" in rows[2]["detail"]
    assert "predictions.parquet" in rows[3]["detail"]
    assert collected.table.schema.names == [*COLUMNS.names, "f1", "auroc"]
    assert rows[0] == {
        "experiment": "test",
        "base_model": "elyza",
        "pattern": "ja0",
        "draw_index": 0,
        "seed": 0,
        "trial_id": plan.trial_ids[0],
        "state": "done",
        "detail": "",
        "method": "full",
        "learning_rate": 5e-5,
        "num_train_rows": 1024,
        "num_target_rows": 0,
        "num_test_rows": 10_000,
        "device": "cpu",
        "fit_seconds": 1.5,
        "training": "trained",
        "training_evidence": "",
        "f1": 0.5,
        "auroc": 0.75,
    }
    assert all(row["f1"] is None and row["method"] is None for row in rows[1:])


def test_rows_are_frozen_and_have_a_field_for_each_column(three: Results) -> None:
    collected = collect(three)
    row = collected.rows[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(row, COLUMNS.names[-1], "changed")
    fields = {field.name for field in dataclasses.fields(TrialRow)} - {"cell", "metrics"}
    assert fields | set(CellKey._fields) == set(COLUMNS.names)
    assert list(row.columns())[: len(COLUMNS)] == COLUMNS.names
    assert [*collected.by_cell] == [CellKey("elyza", "ja16")]
    assert list(collected.by_cell[row.cell]) == list(collected.rows)


def test_a_notebook_gets_the_trials_as_a_data_frame(tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", make_plan(["elyza"], ["ja0", "ja16"], seeds=[0]))
    save_done(results, "elyza", "ja0", 0, SCORES)
    collected = collect(results)

    frame = collected.to_pandas()

    assert [*frame.columns] == collected.table.schema.names == [*COLUMNS.names, "f1", "auroc"]
    assert frame["trial_id"].tolist() == collected.plan.trial_ids
    assert frame["state"].tolist() == ["done", "missing"]
    assert frame.loc[0, "f1"] == 0.5 and frame["f1"].isna().tolist() == [False, True]
    assert [*map(str, frame[["seed", "num_train_rows"]].dtypes)] == ["Int64", "Int64"]
    assert frame["num_train_rows"].isna().tolist() == [False, True]
    assert frame.groupby(["base_model", "pattern"])["auroc"].mean()["elyza", "ja0"] == 0.75


def test_the_location_may_be_a_path_and_the_only_experiment_needs_no_name(three: Results) -> None:
    assert collect(three.uri).plan == collect(three, "test").plan


def test_several_experiments_must_be_named(tmp_path: Path) -> None:
    other = make_plan(experiment="other")
    results = make_results(tmp_path / "results", make_plan(), other)
    with pytest.raises(InputError, match="2 experiments, name one of them: other, test"):
        collect(results)
    assert collect(results, "other").plan == other
    with pytest.raises(InputError, match=r"unknown experiment 'oter'\. Did you mean 'other'"):
        collect(results, "oter")


def test_locations_that_hold_no_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no experiment; run one into it with `xlt run`"):
        collect(str(tmp_path / "nowhere"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(InputError, match=r"holds other files and no xlt-results\.json"):
        collect(str(tmp_path / "photos"))


def test_another_format_version_is_refused(three: Results) -> None:
    Path(three.path("xlt-results.json")).write_text('{"format": 99}')
    with pytest.raises(InputError, match="has format 99"):
        collect(three)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"experiment": "test", "cells": []}'])
def test_a_damaged_plan_is_refused(three: Results, text: str) -> None:
    Path(three.path("experiments", "test.plan.json")).write_text(text)
    with pytest.raises(InputError, match=r"test\.plan\.json"):
        collect(three)


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        ({"metrics": None}, "has no metrics"),
        ({"metrics": {}}, "has no metrics"),
        ({"metrics": {"f1": float("nan")}}, "not finite numbers: {'f1': nan}"),
        ({"metrics": {"f1": "0.5"}}, "not finite numbers: {'f1': '0.5'}"),
        ({"metrics": {"f1": True}}, "not finite numbers"),
        ({"metrics": {"f1": 10**400}}, "not finite numbers"),
        ({"metrics": {"seed": 0.5}}, "names of columns: ['seed']"),
        ({"signature": None}, "has no signature"),
        ({"signature": {"device": "cpu"}}, "has no signature"),
        ({"format": 99}, "format 99"),
    ],
)
def test_a_record_that_cannot_be_used_is_corrupt(
    three: Results, values: dict[str, Any], detail: str
) -> None:
    edit_record(three, save_done(three, "elyza", "ja16", 0, SCORES), **values)
    row = collect(three).table.to_pylist()[0]
    assert row["state"] == "corrupt"
    assert detail in row["detail"]
    assert row.get("f1") is None


def test_a_trial_of_another_cell_is_corrupt(tmp_path: Path) -> None:
    plan = make_plan(seeds=[0, 1]).model_dump(mode="json")
    trials = plan["cells"][0]["trials"]
    trials[0]["seed"], trials[1]["seed"] = 1, 0
    results = make_results(tmp_path / "results", type(make_plan()).parse(plan))
    save_done(results, "elyza", "ja16", 0, SCORES)
    row = collect(results).table.to_pylist()[0]
    assert (row["state"], row["detail"]) == (
        "corrupt",
        "the spec in trial.json is not that of the cell in the plan",
    )


def test_timings_may_be_absent(three: Results) -> None:
    edit_record(three, save_done(three, "elyza", "ja16", 0, SCORES), timings=None)
    assert collect(three).table["fit_seconds"].to_pylist() == [None] * 3


# --- signatures -----------------------------------------------------------------------------


def with_key(key: str, value: Any) -> dict[str, Any]:
    """Keywords of save_done that change one key of the signature."""
    return {"versions": {key: value}} if key in VERSIONS else {key: value}


def test_the_shared_signature_is_kept(three: Results) -> None:
    save_done(three, "elyza", "ja16", 0, SCORES)
    collected = collect(three)
    assert collected.warnings == ()
    assert collected.signature == {
        "torch": "2.11.0",
        "transformers": "5.17.0",
        "peft": "0.21.0",
        "tokenizers": "0.23.0",
        "data_fingerprint": FINGERPRINT,
        "precision": "fp32",
    }


def test_the_rules_name_every_key_of_a_signature() -> None:
    assert {rule.key for rule in RULES} == set(VERSIONS) | set(SIGNATURE)


@pytest.mark.parametrize("key", [rule.key for rule in RULES if rule.refused])
def test_refused_differences_name_the_rarer_value_and_its_trials(three: Results, key: str) -> None:
    usual = save_done(three, "elyza", "ja16", 0, SCORES)
    rare = save_done(three, "elyza", "ja16", 1, SCORES, **with_key(key, "other"))
    save_done(three, "elyza", "ja16", 2, SCORES)
    with pytest.raises(InputError) as refused:
        collect(three)
    text = str(refused.value)
    assert f"{key} is " in text
    assert f"in 2 trial(s) but other in {rare}; " in text
    assert usual not in text
    assert "remove the folders named above from trials/ and `xlt run` again" in text
    assert "another results location" in text


@pytest.mark.parametrize("key", [rule.key for rule in RULES if not rule.refused])
def test_other_differences_are_warned_about(three: Results, key: str) -> None:
    save_done(three, "elyza", "ja16", 0, SCORES)
    save_done(three, "elyza", "ja16", 1, SCORES)
    rare = save_done(three, "elyza", "ja16", 2, SCORES, **with_key(key, "other"))
    (warning,) = collect(three).warnings
    assert f"{key} is " in warning
    assert f"in 2 trial(s) but other in {rare}; " in warning


def test_all_differences_are_reported_at_once(three: Results) -> None:
    save_done(three, "elyza", "ja16", 0, SCORES)
    save_done(three, "elyza", "ja16", 1, SCORES, precision="bf16", versions={"torch": "2.12.0"})
    with pytest.raises(InputError) as refused:
        collect(three)
    assert len(refused.value.problems) == 3  # torch, precision, the remedy


@pytest.mark.parametrize("first", ["none", "bf16"])
def test_a_trial_without_base_model_has_no_precision_to_compare(three: Results, first: str) -> None:
    save_done(three, "elyza", "ja16", 0, SCORES, precision=first, base_weights="none")
    save_done(three, "elyza", "ja16", 1, SCORES, precision="bf16")
    save_done(three, "elyza", "ja16", 2, SCORES, precision="none")
    collected = collect(three)
    assert collected.signature["precision"] == "bf16"
    assert collected.warnings == ()


def test_a_value_that_was_not_recorded_is_a_difference(three: Results) -> None:
    save_done(three, "elyza", "ja16", 0, SCORES)
    edit_record(
        three,
        save_done(three, "elyza", "ja16", 1, SCORES),
        signature={"versions": VERSIONS} | {k: v for k, v in SIGNATURE.items() if k != "precision"},
    )
    with pytest.raises(InputError, match=r"precision is fp32 in 1 trial.* but not recorded in"):
        collect(three)


def test_a_key_of_a_later_version_is_warned_about(three: Results) -> None:
    save_done(three, "elyza", "ja16", 0, SCORES, cuda="13.0")
    save_done(three, "elyza", "ja16", 1, SCORES, cuda="13.1")
    assert "this version does not know the key" in collect(three).warnings[0]


def test_base_models_have_weights_and_hardware_of_their_own(tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", make_plan(["elyza", "mbert"], seeds=[0]))
    save_done(results, "elyza", "ja16", 0, SCORES)
    save_done(
        results, "mbert", "ja16", 0, SCORES, base_weights="m", device="cuda:H100", num_threads=8
    )
    assert collect(results).warnings == ()


def test_base_weights_must_agree_between_the_cells_of_a_base_model(tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", make_plan(patterns=["ja0", "ja16"], seeds=[0]))
    save_done(results, "elyza", "ja0", 0, SCORES)
    save_done(results, "elyza", "ja16", 0, SCORES, base_weights="m", device="cuda:H100")
    with pytest.raises(InputError, match=r"elyza: base_weights is w{12} in 1 .* not the same base"):
        collect(results)


def test_data_other_than_the_plans_are_refused(three: Results) -> None:
    trial_id = save_done(three, "elyza", "ja16", 0, SCORES, data_fingerprint="f" * 64)
    with pytest.raises(InputError, match=f"is abababababab in the plan but not in {trial_id}"):
        collect(three)


def test_only_done_trials_are_compared(three: Results) -> None:
    save_done(three, "elyza", "ja16", 0, SCORES)
    edit_record(three, save_done(three, "elyza", "ja16", 1, SCORES, precision="bf16"), metrics=None)
    assert collect(three).table["state"].to_pylist() == ["done", "corrupt", "missing"]


def test_many_trials_are_not_all_named(tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", make_plan(seeds=range(17)))
    for seed in range(17):
        save_done(results, "elyza", "ja16", seed, SCORES, device="cpu" if seed < 9 else "cuda:x")
    (warning,) = collect(results).warnings
    assert make_spec("elyza", "ja16", 9).trial_id in warning
    assert warning.count("elyza-ja16-s") == 6
    assert "and 2 more" in warning


# --- purity ---------------------------------------------------------------------------------

PURITY = """
import sys
{first}
from xlt.analysis.tables.formats import FORMATS
from xlt.analysis.trials.collect import collect
from xlt.analysis.tables.report import render_tables
for format in FORMATS:
    assert render_tables(collect({uri!r}), format, published=True)
print(sorted({{"torch", "ray", "transformers", "sklearn"}} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("first", "loaded"),
    [("", "[]"), ("import sklearn", "['sklearn']")],  # the second shows that the check can fail
)
def test_a_report_loads_no_heavy_package(three: Results, first: str, loaded: str) -> None:
    save_done(three, "elyza", "ja16", 0, SCORES)
    done = subprocess.run(
        [sys.executable, "-c", PURITY.format(uri=three.uri, first=first)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.strip() == loaded


def test_texts_that_were_cut_are_reported(three: Results) -> None:
    for seed, counts in enumerate([{"test": 2, "train": 0}, {"test": 1, "train": 7}, None]):
        trial_id = save_done(three, "elyza", "ja16", seed, SCORES)
        edit_record(three, trial_id, execution={"truncated_texts": counts} if counts else {})
    told = (
        "elyza: up to 2 test texts and 7 training texts of a trial have more than 128 tokens and "
        "were cut"
    )
    assert collect(three).warnings == (told,)


def test_only_the_selected_cells_are_kept(tmp_path: Path) -> None:
    uri = make_page_results(tmp_path / "r")
    every = collect(uri)
    model, pattern = every.plan.base_models[0], every.plan.patterns[0]
    collected = collect(uri, only=f"model={model},pattern={pattern}")
    assert {row.cell for row in collected.rows} == {(model, pattern)}
    kept = [row for row in every.rows if row.cell == (model, pattern)]
    assert list(collected.rows) == kept
    with pytest.raises(InputError, match="--only: unknown model 'elyzza'"):
        collect(uri, only="model=elyzza")
