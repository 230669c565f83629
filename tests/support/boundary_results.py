"""Predictions of known ranking and threshold."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy.special import expit


def predictions(
    seed: int, *, gain: float = 2.0, shift: float = 0.0, positive: float = 0.5, num_rows: int = 512
) -> pa.Table:
    """Rows whose classes lie 2 x gain logits apart, with the boundary ``shift`` logits off."""
    rng = np.random.default_rng(seed)
    y_true = (np.arange(num_rows) < positive * num_rows).astype(np.int8)
    logits = rng.normal(gain * (2.0 * y_true - 1), 1.5) - shift - 0.1 * seed
    return pa.table(
        {
            "id": [str(k) for k in range(num_rows)],
            "lang": ["ja"] * num_rows,
            "split": ["test"] * num_rows,
            "y_true": y_true,
            "y_score": expit(logits),
        }
    )


def train_rows(num_target: int) -> pa.Table:
    langs = ["en"] * 32 + ["ja"] * num_target
    return pa.table({"id": [str(k) for k in range(len(langs))], "lang": langs})
