"""An experiment on four languages with source languages as an axis; n-grams tell the label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from draw_rows import make_rows

from xlt.data.dataset.schema import HEADLINE_SCHEMA

LANGS = ("en", "de", "ja", "fr")
MIX = {"target_lang": "ja", "target_rows": 8, "source_rows": 42, "source_lang": ["en", "de"]}


def write_experiment(folder: Path) -> Path:
    """Write rows and an experiment of baselines, one of which knows no English."""
    rows = make_rows(200, LANGS)
    for row in rows:
        noise = int(row["id"][3:]) % 7 == 0
        row["text"] += " risk" if (row["label"] == 1) != noise else " sport"
    pq.write_table(pa.Table.from_pylist(rows, schema=HEADLINE_SCHEMA), folder / "rows.parquet")
    names = ("ja0", "ja8", "de0", "de8")
    values: dict[str, Any] = {
        "name": "sources",
        "task": {"source_lang": ["en", "de"]},
        "data": {
            "source": "table",
            "path": str(folder / "rows.parquet"),
            "positive": [1],
            "leak_check": False,
        },
        "models": [
            {"name": "grams", "method": "ngram"},
            {"name": "german", "method": "ngram", "languages": ["de", "ja"]},
        ],
        "patterns": [*({name: {"source_rows": 40}} for name in names), {"mix": MIX}],
        "seeds": [0, 1],
        "draws": "per_seed",
        "accept_findings": ["cues", "language", "near_duplicates", "duplicates"],
        "sampling": {"test_rows": 40},
    }
    path = folder / "sources.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path
