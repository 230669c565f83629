"""A finished trial in more test languages: what a new training gives, without training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_data import with_german

from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.backends.events import Failed, Finished
from xlt.sweep.backends.worker import run_and_save, run_and_save_pack
from xlt.trainables.inference import extend
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec

BEFORE, AFTER = {"test_rows": 20}, {"test_rows": 20, "test_langs": ["ja", "de"]}
KEEP = ArtifactPolicy(models="all")


@pytest.fixture(scope="module")
def dataset(tiny_dataset: Dataset) -> Dataset:
    return with_german(tiny_dataset)


@pytest.fixture(scope="module")
def make(make_spec: Callable[..., TrialSpec], dataset: Dataset) -> Callable[..., TrialSpec]:
    return partial(make_spec, data_fingerprint=dataset.fingerprint)


def run(spec: TrialSpec, dataset: Dataset, results: Results, policy: ArtifactPolicy = KEEP) -> Any:
    return run_and_save(spec, dataset, results, policy, lambda *_: None)


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_extended_trials_are_new_ones(
    architecture: str, make: Callable[..., TrialSpec], dataset: Dataset, tmp_path: Path
) -> None:
    training = {"num_train_epochs": 2, "batch_size": 8, "max_length": 5}  # cuts texts
    before, after = (
        make(architecture, sampling=sampling, training=training) for sampling in (BEFORE, AFTER)
    )
    new, old = Results(str(tmp_path / "new")), Results(str(tmp_path / "old"))
    for results in (new, old):
        results.prepare()
    run(after, dataset, new)
    run(before, dataset, old)
    extensions = {after.trial_id: before.trial_id}
    policy = ArtifactPolicy(models="all", extensions=extensions)
    ((_, ended),) = run_and_save_pack(
        [after], dataset, old, policy, {after.trial_id: lambda *_: None}
    )
    assert isinstance(ended, Finished)
    files = [
        {name: r.read("trials", name) for name in r.sizes("trials") if after.trial_id in name}
        for r in (new, old)
    ]
    tables = [r.read_table(after.trial_id, "predictions") for r in (new, old)]
    assert tables[0].drop_columns("y_score") == tables[1].drop_columns("y_score")
    new_scores, old_scores = (table["y_score"].to_numpy() for table in tables)
    assert np.abs(new_scores - old_scores).max() < 1e-6  # other texts share a batch
    left = "trial.json", "predictions.parquet"
    names = [name for name in files[0] if not name.endswith(left)]
    assert any("safetensors" in name for name in names)
    assert {n: files[0][n] for n in names} == {n: files[1][n] for n in names}
    records = [r.state(after.trial_id).record or {} for r in (new, old)]
    for name in ("test_rows_by_lang", "convergence"):
        assert records[0][name] == records[1][name]
    for lang in ("ja", "de"):
        expected = pytest.approx(records[0]["metrics_by_lang"][lang], abs=1e-6)
        assert records[1]["metrics_by_lang"][lang] == expected
    assert records[1]["execution"]["extends"] == before.trial_id
    truncated = [record["execution"]["truncated_texts"] for record in records]
    assert truncated[0] == truncated[1] and truncated[0]["test"]


def test_another_model_is_refused(
    make: Callable[..., TrialSpec], dataset: Dataset, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    before, after = (make("bert", sampling=sampling) for sampling in (BEFORE, AFTER))
    results = Results(str(tmp_path / "results"))
    results.prepare()
    run(before, dataset, results)
    policy = ArtifactPolicy(models="all", extensions={after.trial_id: before.trial_id})
    predict = extend.predict
    with monkeypatch.context() as patch:
        patch.setattr(extend, "predict", lambda *words: 0 * predict(*words))
        ended = run(after, dataset, results, policy)
        assert isinstance(ended, Failed) and "scores differ" in ended.error
    with monkeypatch.context() as patch:
        patch.setattr(extend, "make_signature", lambda *_: {"device": "cuda", "versions": {}})
        ended = run(after, dataset, results, policy)
        assert isinstance(ended, Failed) and "device" in ended.error and "here cuda" in ended.error
    other_rows = make("bert", sampling=AFTER, draw_index=1)
    policy = ArtifactPolicy(extensions={other_rows.trial_id: before.trial_id})
    ended = run(other_rows, dataset, results, policy)
    assert isinstance(ended, Failed) and "other rows" in ended.error
