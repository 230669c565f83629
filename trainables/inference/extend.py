"""More test languages for a finished trial: its kept model predicts, and nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.inference.explain_kept import refuse_changed_scores
from xlt.trainables.inference.kept_model import load_kept_model
from xlt.trainables.loading.tokenize import count_truncated, encode
from xlt.trainables.results.layout import MODEL, is_model, is_weights, trial_file
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.methods import KeepModels, keeps_model
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import predict
from xlt.trainables.trial.clock import Clock
from xlt.trainables.trial.rows import draw_rows, make_predictions, score_languages
from xlt.trainables.trial.signature import list_differences, make_signature

NUM_CHECKED = 64
"""Test rows of the earlier trial whose scores are computed again, to see that it is the model."""


def extend_trial(
    spec: TrialSpec,
    dataset: Dataset,
    results: Results,
    earlier_id: str,
    keep_models: KeepModels = "none",
) -> TrialResult:
    """Test the kept model of a finished trial on the test rows that it was not tested on.

    Args:
        spec: The trial with more test languages; it trains on the same rows.
        dataset: Data set whose fingerprint is ``spec.data_fingerprint``.
        results: Location of both trials.
        earlier_id: Id of the finished trial.
        keep_models: Weights in the result, as in :func:`run_trial`; the earlier trial keeps its
            own.

    Returns:
        The result that training ``spec`` would give, but for rounding of scores whose texts share
        a batch with others. Training and scores of earlier test rows are those of the earlier
        trial, which ``execution`` names.

    Raises:
        InputError: The kept model cannot be loaded, gives other scores than the trial wrote, or
            this machine computes with other versions or another processor than it did.
    """
    clock = Clock()
    state = results.state(earlier_id)
    if state.state != "done" or state.record is None:
        raise InputError(f"trial {earlier_id} is {state.state}; start again")
    record = state.record
    own = {"base_path": spec.base_path, "resources": spec.resources}
    earlier = TrialSpec.parse(record["spec"]).model_copy(update=own)
    base, model = load_kept_model(earlier, results, len(dataset.classes))
    signature = make_signature(spec, base, next(model.parameters()).device)
    _refuse_other_machine(record["signature"], signature)
    clock.lap("load")

    train, test = draw_rows(dataset, spec)
    tables = {
        name: results.read_table(earlier_id, name)
        for name in ("predictions", "history", "train_rows")
    }
    written = tables["train_rows"]["id"].to_pylist()
    if written != train["id"].to_pylist():
        raise InputError(f"trial {earlier_id} was trained on other rows; train this one by itself")
    ids = tables["predictions"]["id"]
    is_earlier = pc.is_in(test["id"], ids.combine_chunks())
    more, again = test.filter(pc.invert(is_earlier)), test.filter(is_earlier).slice(0, NUM_CHECKED)
    both = pa.concat_tables([again, more])
    clock.lap("draw")
    max_length = spec.training.max_length
    scores = predict(model, encode(base, both, max_length), spec)
    clock.lap("predict")
    refuse_changed_scores(again["id"].to_pylist(), scores[: len(again)], results, earlier)

    score_of: dict[str, Any] = dict(
        zip(ids.to_pylist(), tables["predictions"]["y_score"].to_pylist(), strict=True)
    )
    score_of |= zip(more["id"].to_pylist(), scores[len(again) :].tolist(), strict=True)
    y_score = np.array([score_of[row_id] for row_id in test["id"].to_pylist()], np.float64)
    cut, num_cut = record["execution"]["truncated_texts"], count_truncated(base, more, max_length)
    is_kept = keeps_model(keep_models, spec.method)
    metrics, by_lang = score_languages(spec, test, y_score)
    return TrialResult(
        spec=spec,
        metrics=metrics,
        metrics_by_lang=by_lang,
        signature=record["signature"],
        timings={**record["timings"], "extend": round(sum(clock.seconds.values()), 4)},
        convergence=record["convergence"],
        predictions=make_predictions(spec, test, y_score),
        history=tables["history"],
        train_rows=tables["train_rows"],
        model=_read_model(record, results, earlier_id) if is_kept else {},
        execution=record["execution"]
        | {
            "extends": earlier_id,
            "keep_models": keep_models,
            "truncated_texts": {"train": cut["train"], "test": cut["test"] + num_cut},
        },
    )


def _refuse_other_machine(written: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to mix scores of different versions or processors in one trial."""
    if differ := list_differences(written, now):
        raise InputError(
            "its model was trained under other conditions, whose scores are not mixed: "
            f"{'; '.join(differ)}; run it where it was trained, or train it again under another "
            "name (--set name=...)"
        )


def _read_model(record: Mapping[str, Any], results: Results, trial_id: str) -> dict[str, bytes]:
    """Read the files of a kept model: file name -> content."""
    files: dict[str, bytes] = {}
    for name, entry in record["files"].items():
        if is_weights(name):
            files[name.removeprefix(f"{MODEL}/")] = results.read_weights(
                trial_id, name, entry["sha256"]
            )
        elif is_model(name):
            files[name.removeprefix(f"{MODEL}/")] = results.read(trial_file(trial_id, name))
    return files
