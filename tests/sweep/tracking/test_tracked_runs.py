"""Trackers get settings, metrics and history of a trial, and never texts, paths or names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from result_folders import FINGERPRINT, make_results, make_spec, save_done, save_failed

from xlt.sweep.tracking.runs import TrackedRun, find_digest, read_run
from xlt.trainables.results.result import Results

HISTORY = pa.table(
    {
        "step": [1, 2],
        "epoch": [0.5, 1.0],
        "learning_rate": [1e-5, 5e-6],
        "loss": [0.7, float("nan")],
        "grad_norm": [2.0, None],
    }
)
METRICS = {"f1": 0.5, "auroc": 0.75}


@pytest.fixture
def location(tmp_path: Path) -> Results:
    return make_results(tmp_path / "results")


def read(location: Results, trial_id: str, **changes: Any) -> TrackedRun:
    record = location.state(trial_id).record
    assert record is not None
    return read_run(location, "test", {**record, **changes}, with_artifacts=True)


def test_a_done_trial(location: Results) -> None:
    run = read(location, save_done(location, "elyza", "ja16", 1, METRICS, history=HISTORY))
    spec = make_spec("elyza", "ja16", 1)
    assert (run.trial_id, run.experiment, run.cell) == (spec.trial_id, "test", "elyza x ja16")
    assert run.status == "finished"
    assert run.metrics == METRICS | {"seconds/fit": 1.5}
    assert run.history == [
        (1, {"train/epoch": 0.5, "train/learning_rate": 1e-5, "train/loss": 0.7,
             "train/grad_norm": 2.0}),
        (2, {"train/epoch": 1.0, "train/learning_rate": 5e-6}),
    ]  # fmt: skip
    assert run.params["training.batch_size"] == 16
    assert run.params["pattern.target_rows"] == 16
    assert run.params["learning_rate"] == 5e-5
    assert run.params["seed"] == 1
    assert run.tags["state"] == "done"
    assert run.tags["versions.torch"] == "2.11.0"
    assert run.tags["device"] == "cpu"
    assert run.tags["data_fingerprint"] == FINGERPRINT
    written = Path(location.record_path(run.trial_id)).stat().st_mtime
    assert (run.started, run.ended) == pytest.approx((written - 1.5, written), abs=0.01)
    assert {*run.artifacts} == {"trial.json", "predictions.parquet"}


def test_metrics_in_each_test_language(location: Results) -> None:
    trial_id = save_done(location, "elyza", "ja16", 0, METRICS)
    run = read(location, trial_id, metrics_by_lang={"de": {"f1": 0.25}})
    assert run.metrics["de/f1"] == 0.25
    assert run.metrics["f1"] == 0.5


def test_a_failed_trial_has_its_settings_and_the_type_of_its_error(location: Results) -> None:
    error = "FileNotFoundError: /home/somebody/model on node-17"
    run = read(location, save_failed(location, "elyza", "ja16", 0, error))
    assert run.status == "failed"
    assert run.tags == {"state": "failed", "error": "FileNotFoundError"}
    assert run.params["training.batch_size"] == 16
    assert not run.metrics and not run.history and not run.artifacts


def test_an_error_of_another_form_is_not_sent(location: Results) -> None:
    run = read(location, save_failed(location, "elyza", "ja16", 0, "node-17 died: no memory"))
    assert run.tags == {"state": "failed"}


def test_no_texts_paths_or_machines_are_sent(location: Results) -> None:
    spec = make_spec("elyza", "ja0", 0).model_dump(mode="json")
    words = {"ja": {"positive": "SECRETWORD", "negative": "no"}}
    prompt = {
        "templates": {"ja": "SECRETTEXT {text} ->"},
        "instructions": {"ja": "SECRETTEXT"},
        "label_words": words,
    }
    changes = {
        "method": "prompt",
        "prompt": prompt,
        "learning_rate": None,
        "pattern": {"name": "ja0", "target_lang": "ja", "target_rows": 0, "source_rows": 0},
        "base_path": "/home/SECRETUSER/model",
        "resources": {"custom_resources": {"node:SECRETHOST": 1.0}},
    }
    trial_id = save_done(location, "elyza", "ja0", 0, METRICS)
    execution = {"checkpoint_error": "/home/SECRETUSER is full"}
    run = read(location, trial_id, spec=spec | changes, execution=execution)
    assert run.params["prompt.calibration"] == "none"
    assert "SECRET" not in repr(run)
    assert json.loads(run.artifacts["trial.json"])["metrics"] == METRICS


def test_a_trial_that_ran_again_has_another_digest(location: Results) -> None:
    digests = set()
    for score in (0.5, 0.5, 0.6):
        trial_id = save_done(location, "elyza", "ja16", 0, {"f1": score})
        record = location.state(trial_id).record
        assert record is not None
        assert read(location, trial_id).digest == find_digest(record, True)
        digests |= {find_digest(record, True), find_digest(record, False)}
    assert len(digests) == 4
