"""Results for pages and figures: done, failed and missing trials, names that are hostile."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from result_folders import make_plan, make_results, save_done, save_failed
from simulated_scores import predictions, simulate

from xlt.data.dataset.schema import HEADLINE_SCHEMA, Dataset
from xlt.trainables.metrics.registry import score as score_rows
from xlt.trainables.results.result import Results
from xlt.trainables.results.texts import save_texts

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
SECRET = "hf_" + "a1B2" * 8


def history(num_steps: int = 200) -> pa.Table:
    steps = np.arange(1, num_steps + 1)
    loss = 0.7 * np.exp(-steps / 60)
    return pa.table(
        {"step": steps, "epoch": steps / 64, "learning_rate": loss, "loss": loss, "grad_norm": loss}
    )


def make_page_results(
    folder: Path,
    models: Sequence[str] = ("elyza", "mbert"),
    patterns: Sequence[str] = ("ja0", "ja104"),
    seeds: Sequence[int] = (0, 1, 2),
    num_items: int = 60,
    **plan: Any,
) -> str:
    """Every trial done; returns the location."""
    results = make_results(folder, make_plan(models, patterns, seeds, **plan))
    rng = np.random.default_rng(7)
    rows = rng.standard_normal(num_items)
    for model in models:
        for k, pattern in enumerate(patterns):
            cell = simulate(rng, len(seeds), num_items, 1 + k % 3, 0.05, rows)
            for seed, score in zip(seeds, cell.scores, strict=True):
                values = score_rows(cell.y_true, score)
                table = predictions(cell.ids, cell.y_true.tolist(), score)
                save_done(
                    results, model, pattern, seed, values, predictions=table, history=history()
                )
    return results.uri


def keep_texts(location: Results, ids: Sequence[str], text: str) -> None:
    """One text for all of these rows, beside the plan of experiment ``test``."""
    rows = [
        {
            "id": row_id, "text": text, "text_pair": "second", "lang": "ja", "label": 1,
            "published": datetime.date(2022, 8, 1), "source": "test",
        }
        for row_id in ids
    ]  # fmt: skip
    dataset = Dataset.from_table(pa.Table.from_pylist(rows, schema=HEADLINE_SCHEMA))
    save_texts(location, "test", dataset, ids)


def make_hostile_results(folder: Path) -> str:
    """A model, a title, texts and an error with scripts in them; a token in the error."""
    model = f"m{HOSTILE}"
    plan = make_plan(["elyza", model], ["ja16"], title=HOSTILE, data_warnings=(HOSTILE,))
    results = make_results(folder, plan)
    rng = np.random.default_rng(3)
    cell = simulate(rng, 3, 40, 1.5, 0.05)
    for seed, score in enumerate(cell.scores):
        values = score_rows(cell.y_true, score)
        ids = [f"{HOSTILE}{n}" for n in cell.ids]
        table = predictions(ids, cell.y_true.tolist(), score)
        save_done(results, "elyza", "ja16", seed, values, predictions=table, history=history())
    keep_texts(results, [f"{HOSTILE}{n}" for n in cell.ids], f"text {HOSTILE}")
    save_failed(results, model, "ja16", 0, f"{HOSTILE} s3://me:pass@bucket\ntoken={SECRET}")
    return results.uri
