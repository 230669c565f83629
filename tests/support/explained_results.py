"""Result folders whose trials have attributions of texts given piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from result_folders import make_plan, make_results, save_done

from xlt.trainables.results.attributions import COLUMNS, Attributions, save_attributions
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain

LIME = Explain().resolved()
Text = tuple[Sequence[str], Sequence[float], float]
"""Pieces, contributions, p_original."""


def attributions(texts: Sequence[Text], error: float = 0.01) -> pa.Table:
    """A table of texts whose pieces are put together with a space between."""
    rows = []
    for number, (pieces, values, score) in enumerate(texts):
        ends = np.cumsum([len(piece) + 1 for piece in pieces]) - 1
        rows.append(
            {
                "id": f"t{number:03}", "lang": "ja", "y_true": number % 2, "text": " ".join(pieces),
                "token_ids": list(range(len(pieces))), "pieces": list(pieces),
                "starts": [e - len(p) for e, p in zip(ends, pieces, strict=True)], "ends": ends,
                "coefficients": list(values), "standard_errors": [error] * len(values),
                "intercept": 0.1, "r2": 0.75, "p_original": score, "p_masked": 0.2,
                "total": float(np.abs(values).sum()), "comprehensiveness": 0.3,
                "sufficiency": 0.1, "random_comprehensiveness": 0.2, "random_sufficiency": 0.2,
            }
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=COLUMNS)


def explained(folder: Path, cells: dict[str, list[list[Text]]], **changes: Any) -> Results:
    """Result folders of ``elyza``: pattern -> texts of each seed."""
    seeds = range(max(len(seeds) for seeds in cells.values()))
    results = make_results(folder, make_plan(["elyza"], list(cells), seeds))
    for pattern, by_seed in cells.items():
        for seed, texts in enumerate(by_seed):
            trial_id = save_done(results, "elyza", pattern, seed, {"f1": 0.5})
            if texts:
                saved = Attributions(LIME, attributions(texts, **changes), {"hidden_as": "<unk>"})
                save_attributions(results, trial_id, saved)
    return results
