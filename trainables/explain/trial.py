"""Explain the test rows of a trained trial: right after it was scored, or later if it was kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from xlt.data.core.errors import InputError
from xlt.trainables.explain.classifier import make_target
from xlt.trainables.explain.explain_texts import explain_texts, measure_explanations
from xlt.trainables.explain.target import Target
from xlt.trainables.explain.tokens import (
    find_replacement_id,
    find_special_ids,
    locate_tokens,
    make_readable,
)
from xlt.trainables.loading.base import Base
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.results.attributions import COLUMNS, Attributions
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec


def explain_trial(
    model: Any, base: Base, spec: TrialSpec, test: pa.Table, settings: Explain
) -> Attributions:
    """Explain the test rows of a trained classifier.

    Args:
        model: The trained classifier.
        base: Its tokenizer.
        spec: Its trial.
        test: num_test_rows x at least (id, text, text_pair, lang, label), as they were drawn.
        settings: How, and how many of the rows.

    Returns:
        The attributions; bad input is told in their ``error``, because the trial is none the
        worse for it.
    """
    start = time.perf_counter()
    chosen = settings.resolved()
    try:
        if model.config.num_labels != 2:
            raise InputError("more than two classes; explanations are of two")
        rows = test.slice(0, settings.rows)
        replacement = find_replacement_id(base.tokenizer, chosen["replacement"])
        ids = encode(base, rows, spec.data_fingerprint, spec.training.max_length)
        target = make_target(model, spec)
        table = explain_rows(target, base, spec, rows, ids, settings, replacement)
    except (InputError, RuntimeError) as error:  # RuntimeError: of torch, such as out of memory
        return Attributions(chosen, error=str(error))
    token = base.tokenizer.convert_ids_to_tokens(replacement) if replacement is not None else None
    details = {
        "hidden_as": token,
        "device": str(model.device.type),
        "torch": torch.__version__,
        "seconds": round(time.perf_counter() - start, 4),
    }
    return Attributions(chosen, table, details)


def explain_rows(
    target: Target,
    base: Base,
    spec: TrialSpec,
    rows: pa.Table,
    ids: Sequence[Sequence[int]],
    settings: Explain,
    replacement: int | None,
) -> pa.Table:
    """One row of attributions a test row.

    Args:
        target: The trained classifier.
        base: Its tokenizer.
        spec: Its trial.
        rows: num_rows x at least (id, text, text_pair, lang, label).
        ids: Token ids of each row.
        settings: How.
        replacement: Token id that stands for a hidden token; None: it is deleted.

    Raises:
        InputError: As :func:`explain`.
    """
    max_length = spec.training.max_length
    texts = rows["text"].to_pylist()
    pairs = rows["text_pair"].to_pylist() if rows["text_pair"].null_count == 0 else None
    whole, places = locate_tokens(base.tokenizer, texts, pairs, max_length)
    special = find_special_ids(base.tokenizer)
    names = rows["id"].to_pylist()
    explanations = explain_texts(
        target.predict, ids, hidden_as=replacement, never_hidden=special, settings=settings,
        names=names, integrate=target.integrate,
    )  # fmt: skip
    faithful = measure_explanations(
        target, ids, explanations, hidden_as=replacement, never_hidden=special, names=names
    )
    records = []
    for number, (made, faith) in enumerate(zip(explanations, faithful, strict=True)):
        tokens = [n for n, i in enumerate(ids[number]) if i not in special]
        own = [ids[number][n] for n in tokens]
        records.append(
            {
                "id": names[number],
                "lang": rows["lang"][number].as_py(),
                "y_true": rows["label"][number].as_py(),
                "text": whole[number],
                "token_ids": own,
                "pieces": make_readable(base.tokenizer, own),
                "starts": [places[number][n][0] for n in tokens],
                "ends": [places[number][n][1] for n in tokens],
                "coefficients": made.coefficients,
                "standard_errors": made.standard_errors,
                "intercept": made.intercept,
                "r2": None if np.isnan(made.r2) else made.r2,
                "p_original": made.p_original,
                "p_masked": made.p_masked,
                "total": float(np.abs(made.coefficients).sum()),
                **vars(faith),
            }
        )
    return pa.Table.from_pylist(records, schema=COLUMNS)
