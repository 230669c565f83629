"""Instance records: one line for each test row of each run, in the schema of Every Eval Ever.

Source: every_eval_ever 0.3.0, schemas/instance_level_eval.schema.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from xlt.analysis.eee.aggregates import SCHEMA_VERSION, Origin, Row, as_strings, make_result_id
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.trial_names import has_draws, run_name
from xlt.data.core.errors import InputError
from xlt.trainables.metrics.arrays import THRESHOLD
from xlt.trainables.results.plan import PlannedCell

LINKED = "accuracy"
"""Metric of the results that instances belong to: it is the mean of ``is_correct``."""


def make_instances(
    tested: Collected,
    cell: PlannedCell,
    lang: str,
    origin: Origin,
    texts: Mapping[str, Mapping[str, Any]],
) -> Iterator[Row]:
    """Make the records of a cell in a test language, run by run.

    Args:
        tested: The experiment in this language.
        cell: The cell in the plan.
        lang: Test language.
        origin: Parts that are the same in all records.
        texts: Row id -> texts; empty: records hold no texts.

    Raises:
        InputError: Predictions cannot be used, or a test row has no text.
    """
    classes = tested.plan.class_names
    rows = tested.by_cell[(cell.tested_in(lang) or cell).key]
    with_draw = has_draws([row.draw_index for row in rows])
    for row in rows:
        if not row.is_done:
            continue
        run = run_name(row.run, with_draw)
        common = {
            "schema_version": SCHEMA_VERSION,
            "evaluation_id": origin.evaluation_id(cell),
            "model_id": origin.model_id(cell),
            "evaluation_name": origin.evaluation_name(lang),
            "evaluation_result_id": make_result_id(lang, LINKED, run),
        }
        test = tested.predictions.of(row.trial_id)
        binary = test.y_score.ndim == 1
        decided = test.y_score >= THRESHOLD if binary else test.y_score.argmax(axis=1)
        for row_id, truth, predicted, y_score in zip(
            test.ids, test.y_true, decided.astype(np.intp), test.y_score, strict=True
        ):
            label = classes[predicted]
            values = [1 - y_score, y_score] if binary else y_score
            probabilities = {
                f"p({name})": f"{value:.6g}" for name, value in zip(classes, values, strict=True)
            }
            yield {
                **common,
                "sample_id": row_id,
                **_describe_input(row_id, classes[truth], classes, texts),
                "interaction_type": "single_turn",
                "output": {"raw": [label]},
                "answer_attribution": [
                    {
                        "turn_idx": 0,
                        "source": "output.raw",
                        "extracted_value": label,
                        "extraction_method": f"probability >= {THRESHOLD}" if binary else "argmax",
                        "is_terminal": True,
                    }
                ],
                "evaluation": {
                    "score": float(predicted == truth),
                    "is_correct": bool(predicted == truth),
                },
                "metadata": as_strings({"lang": lang, "run": run, **probabilities}),
            }


def _describe_input(
    row_id: str, label: str, classes: tuple[str, ...], texts: Mapping[str, Mapping[str, Any]]
) -> Row:
    raw, hashed = "", {}
    if texts:
        if row_id not in texts:
            raise InputError(f"test row {row_id!r} has no kept text; omit --texts")
        text, pair = texts[row_id]["text"], texts[row_id]["text_pair"]
        raw = text if pair is None else f"{text}\n{pair}"
        hashed = {"sample_hash": hashlib.sha256(f"{raw}{label}".encode()).hexdigest()}
    return {"input": {"raw": raw, "reference": [label], "choices": list(classes)}, **hashed}
